"""The verbs that only look: status, members, plan, certificates, logs."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any, Final

import click
from rich.live import Live

from collectionstore.cli.commands import Command
from collectionstore.cli.options import LONG_DURATION
from collectionstore.operate import views
from collectionstore.operate.access import LogLine, LogQuery, member_names, members_of
from collectionstore.operate.goals import status_of
from collectionstore.operate.kubernetes_access import list_clusters
from collectionstore.operate.manifest import load_manifest
from collectionstore.operate.options import Place, place_options
from collectionstore.operate.output import output_option, print_document, printable, result_console

WATCH_S: Final = 1.0
COLORS: Final = ("cyan", "magenta", "blue", "green", "bright_cyan", "bright_magenta", "bright_blue")
DOCUMENTS: Final = ("json", "yaml")

cluster_argument = click.argument("cluster", required=False)


@click.command("status", cls=Command, short_help="Members, leader, conditions and plan; or all clusters.")
@cluster_argument
@click.option("-A", "--all-namespaces", is_flag=True, help="List the clusters of all namespaces.")
@click.option("-w", "--watch", is_flag=True, help="Refresh until Ctrl-C.")
@output_option
@place_options
def status(cluster: str | None, output: str, place: Place, *, all_namespaces: bool, watch: bool) -> None:
    """Show members, leader, conditions and the plan of a cluster.

    Without CLUSTER, the only one; the list of all if there are several, or with -A.

    \b
    Examples:
      kubectl collectionstore status demo -n shop
      kubectl collectionstore status demo -o wide     with node IDs, volumes and addresses
      kubectl collectionstore status -A               all clusters
      kubectl collectionstore status --local          the cluster of csctl local up
    """
    if watch and output in DOCUMENTS:
        raise click.UsageError("--watch requires -o table or -o wide")
    if place.kubernetes and (all_namespaces or cluster is None) and _listed(place, output, everywhere=all_namespaces):
        return
    with place.open(cluster) as access:
        if output in DOCUMENTS:
            print_document(access.read(), output)
            return
        console, wide = result_console(), output == "wide"

        def view() -> Any:
            return views.status_view(
                printable(access.read()), place=access.place, width=console.width, wide=wide, now=views.utc_now()
            )

        if not watch:
            console.print(view())
            return
        with contextlib.suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False, screen=True) as live:
            while True:
                live.update(view(), refresh=True)
                time.sleep(WATCH_S)


def _listed(place: Place, output: str, *, everywhere: bool) -> bool:
    """Print the list of clusters and return True; False if there is one alone, which is shown whole."""
    with place.server() as server:
        namespace = None if everywhere else place.namespace or server.namespace
        found = list_clusters(server, namespace)
    if len(found) < 2 and not everywhere:
        return False
    if output in DOCUMENTS:
        print_document({"apiVersion": "v1", "kind": "List", "items": found}, output)
        return True
    if not found:
        click.echo("There is no CollectionStoreCluster.", err=True)
        return True
    console = result_console()
    console.print(views.clusters_view(printable(found), width=console.width, namespaces=everywhere))
    return True


@click.command("members", cls=Command, short_help="The members, their roles and what is wrong.")
@cluster_argument
@output_option
@place_options
def members(cluster: str | None, output: str, place: Place) -> None:
    """List the members of a cluster: role, lag, version, restarts, certificate, and what is wrong.

    \b
    Examples:
      kubectl collectionstore members demo
      kubectl collectionstore members demo -o json
    """
    with place.open(cluster) as access:
        resource = access.read()
    if output in DOCUMENTS:
        print_document(members_of(resource), output)
        return
    console = result_console()
    console.print(
        views.members_view(printable(resource), width=console.width, wide=output == "wide", now=views.utc_now()),
    )


@click.command("plan", cls=Command, short_help="What applying a manifest would do.")
@cluster_argument
@click.option(
    "-f",
    "--filename",
    "file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True),
    help="Manifest to try, a CollectionStoreCluster in YAML or JSON; - for stdin.",
)
@output_option
@place_options
def plan(cluster: str | None, file: Path | None, output: str, place: Place) -> None:
    """Show what applying a manifest would do, and change nothing. Without -f, what the operator is doing.

    The operator's own planner runs here, on what you may read of the cluster: pods, claims, StatefulSet, and the status
    of each member (`get` of `pods/proxy`).

    \b
    Examples:
      kubectl collectionstore plan -f demo.yaml
      kubectl collectionstore plan demo
      kubectl get csc demo -o yaml | sed s/replicas:.*/replicas:\\ 5/ | kubectl collectionstore plan -f -
    """
    if file is None:
        with place.open(cluster) as access:
            resource = access.read()
        if output in DOCUMENTS:
            print_document(list(status_of(resource).get("plan") or ()), output)
        else:
            result_console().print(views.plan_view(printable(resource)))
        return
    manifest = load_manifest(file)
    name = str(manifest["metadata"]["name"])
    if cluster not in (None, name):
        raise click.UsageError(f"the manifest is of {name}, not of {cluster}")
    with place.of_manifest(manifest).open(name, may_be_new=True) as access:
        found = access.preview(manifest)
    if output in DOCUMENTS:
        print_document({"name": name, **found}, output)
        return
    console = result_console()
    console.print(views.preview_view(printable(found), name=name, width=console.width))
    click.echo("Nothing was changed.")


@click.command("certificates", cls=Command, short_help="Expiry of certificates, rotation of the key.")
@cluster_argument
@output_option
@place_options
def certificates(cluster: str | None, output: str, place: Place) -> None:
    """Show when the certificates of a cluster expire, and the rotation of its authority's key.

    To replace the key now: rotate-authority. No key and no certificate is printed.

    \b
    Examples:
      kubectl collectionstore certificates demo
      kubectl collectionstore certificates demo -o json
    """
    with place.open(cluster) as access:
        resource = access.read()
    if output in DOCUMENTS:
        keys = ("name", "certificateExpires", "certificateSerial", "certificateAuthority")
        found = [{key: one[key] for key in keys if key in one} for one in members_of(resource)]
        authorities = {key: status_of(resource).get(key) or {} for key in ("authority", "peerAuthority")}
        print_document({**authorities, "members": found}, output)
        return
    console = result_console()
    console.print(views.certificates_view(printable(resource), width=console.width, now=views.utc_now()))


@click.command("logs", cls=Command, short_help="The logs of members, merged by time.")
@cluster_argument
@click.argument("member", nargs=-1)
@click.option("-f", "--follow", is_flag=True, help="Follow the logs until Ctrl-C.")
@click.option("--tail", type=click.IntRange(min=0), help="Lines of each member. [default: 50, all with --since]")
@click.option("--since", "since_s", type=LONG_DURATION, metavar="DURATION", help="Only newer lines: 30s, 10m, 2h.")
@place_options
def logs(
    cluster: str | None, member: tuple[str, ...], tail: int | None, since_s: float | None, place: Place, *, follow: bool
) -> None:
    """Show the logs of members, of all without MEMBER, merged by time; each line with the name of its member.

    MEMBER is a name (demo-1) or an ordinal (1).

    \b
    Examples:
      kubectl collectionstore logs demo
      kubectl collectionstore logs demo 1 -f
      kubectl collectionstore logs demo --since 10m
    """
    count = tail if tail is not None else None if since_s else 50
    with place.open(cluster) as access, contextlib.suppress(KeyboardInterrupt):
        resource = access.read()
        wanted = member_names(resource, member) or tuple(str(one["name"]) for one in members_of(resource))
        for line in access.logs(LogQuery(wanted, count, since_s, follow)):
            _print_line(line, wanted)


def _print_line(line: LogLine, order: tuple[str, ...]) -> None:
    color = COLORS[order.index(line.member) % len(COLORS)]
    click.echo(f"{click.style(line.member, fg=color)} {line.text}")
