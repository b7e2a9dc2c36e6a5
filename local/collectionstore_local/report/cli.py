"""`csctl report` and `csctl log-level`: parse arguments, call what does the work, and say what came of it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, get_args

import aiohttp
import click
import msgspec

from collectionstore_local.commands.lifecycle import full_name
from collectionstore_local.commands.options import LocalCommand, cluster_options, output_option, state_option
from collectionstore_local.commands.terminal import Progress
from collectionstore_local.errors import ExitCode, LocalError
from collectionstore_local.report import levels, on_kubernetes, on_machine
from collectionstore_local.report.archive import Archive, Manifest
from collectionstore_local.report.gathering import gather
from collectionstore_local.report.items import Subject
from collectionstore_local.report.redaction import Redactor
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_operator.kubernetes.api import ApiError
from collectionstore_operator.kubernetes.api.client import ConfigException, connect
from collectionstore_operator.settings import KUBECONFIG

PAGE_S: Final = 10.0
CONFIGURED: Final = "configured"
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class NothingHad(LocalError):
    """Not one item of a report could be had; the text says why."""


@click.command("report", cls=LocalCommand, short_help="Gather everything for a bug report, redacted.")
@click.argument("name", required=False)
@click.option("-k", "--kubernetes", is_flag=True, help="A cluster on Kubernetes, reached as kubectl does.")
@click.option("-n", "--namespace", default="default", show_default=True, help="Its namespace.")
@click.option("--operator-namespace", default="collectionstore", show_default=True, help="The operator's.")
@click.option("--since", default="24h", show_default=True, metavar="DURATION", help="Logs of pods: 30m, 24h, 7d.")
@click.option(
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write it. [default: collectionstore-report-NAME-TIME.tar.gz here]",
)
@output_option
@state_option
def report(
    name: str | None,
    namespace: str,
    operator_namespace: str,
    since: str,
    file: Path | None,
    output: str,
    state_dir: Path,
    *,
    kubernetes: bool,
) -> None:
    """Gather logs, status, metrics, configuration, events and debug pages of a cluster in one .tar.gz.

    Secrets are taken out, documents are never read; look into it before you send it all the same. What cannot be had
    is written down with the reason, in the manifest of the archive: a report of a broken cluster is worth having.

    \b
    Examples:
      csctl report                          the cluster on this machine
      csctl report demo -k -n shop          one on Kubernetes
      csctl report --file /tmp/bug.tar.gz   elsewhere
    """
    since_s = _duration(since, "--since")
    if not kubernetes:
        directory = StateDirectory.open(state_dir).cluster(name)
        manifest, path = asyncio.run(_local(directory, file))
    elif name is None:
        raise click.UsageError("name the cluster: csctl report NAME -k -n NAMESPACE")
    else:
        config = os.environ.get(KUBECONFIG) or str(Path("~/.kube/config").expanduser())
        manifest, path = asyncio.run(_kubernetes(config, name, namespace, operator_namespace, since_s, file))
    _tell(manifest, path, output)


async def _local(directory: ClusterDirectory, file: Path | None) -> tuple[Manifest, Path]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PAGE_S)) as session:
        return await _write(on_machine.subject(directory, session), file)


async def _kubernetes(
    config: str, name: str, namespace: str, operator_namespace: str, since_s: int, file: Path | None
) -> tuple[Manifest, Path]:
    try:
        async with connect(config) as kube:
            subject = await on_kubernetes.subject(
                kube, namespace=namespace, name=name, operator_namespace=operator_namespace, since_s=since_s
            )
            return await _write(subject, file)
    except ConfigException as error:
        raise LocalError(f"no Kubernetes to ask: {error}") from error
    except ApiError as error:
        raise LocalError(f"Kubernetes does not answer: {error}") from error


async def _write(subject: Subject, file: Path | None) -> tuple[Manifest, Path]:
    now = datetime.now(UTC)
    root = f"collectionstore-report-{subject.name}-{now:%Y%m%dT%H%M%SZ}"
    path = file or Path(f"{root}.tar.gz")
    if path.exists():
        raise LocalError(f"{path} exists already; choose another --file")
    redactor = Redactor(subject.known_secrets)
    with Archive(path, root=root, modified=time.time(), redactor=redactor) as archive, Progress() as progress:
        await gather(subject, archive, partial(_show, progress))
        manifest = archive.finish(
            cluster=subject.name, place=subject.place, created=now.isoformat(), csctl=version("collectionstore")
        )
        for one in manifest.missing:
            progress.note(f"{one.path}: {one.reason}")
        if not manifest.included:
            raise NothingHad(f"nothing of {subject.name} could be had; first: {manifest.missing[0].reason}")
    return manifest, path


def _show(progress: Progress, done: int, total: int, path: str) -> None:
    progress.waiting(f"{done}/{total} {path}" if path else "")


def _tell(manifest: Manifest, path: Path, output: str) -> None:
    size = path.stat().st_size
    if output == "json":
        summary = {
            "file": str(path),
            "bytes": size,
            "cluster": manifest.cluster,
            "place": manifest.place,
            "included": len(manifest.included),
            "redactions": manifest.redactions,
            "missing": [msgspec.to_builtins(one) for one in manifest.missing],
        }
        click.echo(json.dumps(summary, indent=2))
        return
    missing = f", {len(manifest.missing)} could not be had (manifest.json says why)" if manifest.missing else ""
    click.echo(f"{path}: {len(manifest.included)} files of {manifest.cluster}, {size / 1024:.0f} KiB{missing}.")
    click.echo(f"{manifest.redactions} secrets were taken out. Look into it before you send it.")


@click.command("log-level", cls=LocalCommand, short_help="Show or change what a local cluster logs.")
@click.argument("level", required=False, type=click.Choice([*get_args(levels.Level), CONFIGURED]))
@click.argument("members", nargs=-1, metavar="[MEMBER]...")
@click.option("--for", "duration", metavar="DURATION", help="Only for so long: 30s, 10m, 2h. Not for the supervisor.")
@output_option
@cluster_options
def log_level(
    state: StateDirectory,
    directory: ClusterDirectory,
    level: str | None,
    members: tuple[str, ...],
    duration: str | None,
    output: str,
) -> None:
    """Change what members of a local cluster log while they run, until they end; without LEVEL, show it.

    MEMBER is a name or an ordinal; all of them when none is named. "supervisor" is the reconcile loop, which knows
    `debug` and `configured`. On Kubernetes it takes a signal: docs/logs.md.

    \b
    Examples:
      csctl log-level                    what is logged
      csctl log-level debug --for 10m    everything, for ten minutes
      csctl log-level configured         as it was
    """
    seconds = None if duration is None else _duration(duration, "--for")
    names = tuple(one for one in members if one != levels.SUPERVISOR)
    if len(names) < len(members):
        _signal(directory, level)
    if names or not members:
        asked = tuple(full_name(directory, one) for one in names) or directory.node_names()
        _show_levels(asyncio.run(_change(directory, asked, level, seconds)), output)


async def _change(
    directory: ClusterDirectory, names: tuple[str, ...], level: str | None, seconds: int | None
) -> dict[str, levels.MemberLevel]:
    if level != CONFIGURED:
        wanted = next((one for one in get_args(levels.Level) if one == level), None)
        return await levels.change(directory, names, wanted, seconds=seconds)
    found = await levels.change(directory, names, None, seconds=None)
    back: dict[str, levels.MemberLevel] = {}
    for name, one in found.items():
        configured = next(known for known in get_args(levels.Level) if known == one.configured)
        back |= await levels.change(directory, (name,), configured, seconds=None)
    return back


def _signal(directory: ClusterDirectory, level: str | None) -> None:
    if level == "debug":
        levels.signal_supervisor(directory, "debug")
    elif level == CONFIGURED:
        levels.signal_supervisor(directory, CONFIGURED)
    else:
        raise click.UsageError(f"the supervisor can be told debug or {CONFIGURED}")
    click.echo(f"{levels.SUPERVISOR}  {level}")


def _show_levels(found: dict[str, levels.MemberLevel], output: str) -> None:
    if output == "json":
        click.echo(json.dumps(msgspec.to_builtins(found), indent=2))
        return
    for name, one in found.items():
        again = "" if one.reverts_in_s is None else f", {one.configured} again in {one.reverts_in_s:.0f} s"
        click.echo(f"{name}  {one.level}{again}")


def _duration(text: str, option: str) -> int:
    number, unit = text[:-1], text[-1:]
    if unit not in _SECONDS or not number.isascii() or not number.isdigit() or not 0 < int(number) <= 10_000:
        raise click.BadParameter("allowed: a number and s, m, h or d, such as 10m", param_hint=option)
    return int(number) * _SECONDS[unit]


__all__ = ["ExitCode", "log_level", "report"]
