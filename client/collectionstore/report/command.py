"""`csctl report`: parses the arguments, plans and gathers the report, and prints a summary."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

import click

from collectionstore.cli.commands import Command
from collectionstore.cli.exit_codes import CommandError
from collectionstore.cli.options import LONG_DURATION, ON_KUBERNETES, output_option, state_dir_option
from collectionstore.cli.terminal import Progress
from collectionstore.kubernetes.api_server import (
    ApiError,
    ApiServer,
    KubernetesUnavailable,
    connect,
    find_kubeconfig,
)
from collectionstore.report.archive import Archive, Manifest
from collectionstore.report.gather import gather
from collectionstore.report.items import ReportPlan
from collectionstore.report.kubernetes_items import plan_report
from collectionstore.report.local_plugin import load_local_plugin
from collectionstore.report.redaction import Redactor


class ReportEmpty(CommandError):
    """Not one item of a report could be gathered; the text has the reason of the first."""


@click.command("report", cls=Command, short_help="Gather the data for a bug report, redacted.")
@click.argument("name", required=False)
@click.option("-k", "--kubernetes", is_flag=True, help="The cluster is on Kubernetes; uses the kubeconfig of kubectl.")
@click.option("--local", is_flag=True, help="The cluster runs on this machine.")
@click.option("-n", "--namespace", help="Namespace of the cluster. [default: that of the kubeconfig's context]")
@click.option("--context", help="Context of the kubeconfig. [default: the current one]")
@click.option("--kubeconfig", help="The kubeconfig. [default: KUBECONFIG, ~/.kube/config]")
@click.option("--operator-namespace", help="Namespace of the operator. [default: all that have one]")
@click.option(
    "--since",
    "since_s",
    type=LONG_DURATION,
    default="24h",
    show_default=True,
    metavar="DURATION",
    help="Age of the oldest log lines of pods: 30m, 24h, 7d.",
)
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write. [default: ./collectionstore-report-NAME-TIME.tar.gz]",
)
@output_option
@state_dir_option
def report(
    name: str | None,
    namespace: str | None,
    context: str | None,
    kubeconfig: str | None,
    operator_namespace: str | None,
    since_s: float,
    file: Path | None,
    output: str,
    state_dir: Path,
    *,
    kubernetes: bool,
    local: bool,
) -> None:
    """Gather logs, status, metrics, configuration, events and debug pages of a cluster in one .tar.gz.

    Secrets are removed and documents are never read; still, review the archive before you send it. An item that cannot
    be gathered does not fail the report: manifest.json in the archive lists it with the reason.

    NAME is optional for a local cluster if there is only one.

    \b
    Examples:
      csctl report                          the cluster on this machine
      csctl report demo -k -n shop          a cluster on Kubernetes
      csctl report --file /tmp/bug.tar.gz   write another file
    """
    kubernetes = kubernetes or any(one is not None for one in (namespace, context, kubeconfig))
    if local and kubernetes:
        raise click.UsageError("--local excludes --kubernetes, --namespace, --context and --kubeconfig")
    usual = bool(click.get_current_context().find_root().meta.get(ON_KUBERNETES))
    if not kubernetes and (local or not usual):
        manifest, path = asyncio.run(_report_local(state_dir, name, file))
    elif name is None:
        raise click.UsageError("NAME is required for a cluster on Kubernetes: report NAME -n NAMESPACE")
    else:
        with connect(find_kubeconfig(kubeconfig), context=context) as server:
            manifest, path = _report_kubernetes(
                server, name, namespace, operator_namespace, max(1, round(since_s)), file
            )
    _print_summary(manifest, path, output)


async def _report_local(state_dir: Path, name: str | None, file: Path | None) -> tuple[Manifest, Path]:
    plan_local_report = load_local_plugin()
    async with plan_local_report(state_dir, name) as plan:
        return await _write(plan, file)


def _report_kubernetes(
    server: ApiServer, name: str, namespace: str | None, operator_namespace: str | None, since_s: int, file: Path | None
) -> tuple[Manifest, Path]:
    try:
        plan = plan_report(
            server,
            namespace=namespace or server.namespace,
            cluster=name,
            operator_namespace=operator_namespace,
            since_s=since_s,
        )
    except ApiError as error:
        raise KubernetesUnavailable(f"cannot list the pods of {name}: {error}") from error
    return asyncio.run(_write(plan, file))


async def _write(plan: ReportPlan, file: Path | None) -> tuple[Manifest, Path]:
    now = datetime.now(UTC)
    root = f"collectionstore-report-{plan.cluster}-{now:%Y%m%dT%H%M%SZ}"
    path = file or Path(f"{root}.tar.gz")
    if path.exists():
        raise CommandError(f"{path} exists already; choose another --file")
    redactor = Redactor(plan.known_secrets)
    with Archive(path, root=root, modified=time.time(), redactor=redactor) as archive, Progress() as progress:
        await gather(plan, archive, partial(_show, progress))
        manifest = archive.finish(
            cluster=plan.cluster, place=plan.place, created=now.isoformat(), csctl=version("collectionstore")
        )
        for one in manifest.missing:
            progress.warn(f"{one.path}: {one.reason}")
        if not manifest.included:
            raise ReportEmpty(
                f"no item of the report of {plan.cluster} could be gathered; the first: {manifest.missing[0].reason}"
            )
    return manifest, path


def _show(progress: Progress, done: int, total: int, path: str) -> None:
    progress.waiting(f"{done}/{total} {path}" if path else "")


def _print_summary(manifest: Manifest, path: Path, output: str) -> None:
    size = path.stat().st_size
    if output == "json":
        summary = {
            "file": str(path),
            "bytes": size,
            "cluster": manifest.cluster,
            "place": manifest.place,
            "included": len(manifest.included),
            "redactions": manifest.redactions,
            "missing": [dataclasses.asdict(one) for one in manifest.missing],
        }
        click.echo(json.dumps(summary, indent=2))
        return
    missing = f", {len(manifest.missing)} missing (manifest.json has the reasons)" if manifest.missing else ""
    click.echo(f"{path}: {len(manifest.included)} files of {manifest.cluster}, {size / 1024:.0f} KiB{missing}.")
    click.echo(f"{manifest.redactions} secrets were removed. Review the archive before you send it.")
