"""`csctl local`: clusters on this machine. Parses arguments and prints; what the commands do is in `lifecycle`."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

import click

from collectionstore_local.commands import fault_commands, lifecycle, log_view, tables, views
from collectionstore_local.commands.follow import read_observed, read_status, ready, refresh
from collectionstore_local.commands.options import (
    LocalGroup,
    cluster_options,
    file_option,
    state_option,
    timeout_option,
    wait_option,
)
from collectionstore_local.commands.terminal import Progress, console
from collectionstore_local.state import applied, manifest
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_local.state.intent import Intent, read_intent
from collectionstore_operator.model.observed import Observed
from collectionstore_operator.planning.plan import plan as make_plan
from collectionstore_operator.status.report import report

HELP = """Run clusters as processes of this machine.

The same planner that drives Kubernetes runs here in the background, on processes in place of pods. State is kept in
./.collectionstore unless --state-dir or COLLECTIONSTORE_STATE_DIR says otherwise.

\b
Examples:
  csctl local up -f examples/local.yaml      start a cluster, wait until it is ready
  csctl local status                         one look at everything
  csctl local status --watch                 ... again and again
  csctl local scale --replicas 5             grow, and watch the steps
  csctl local apply -f examples/local.yaml   make it as the file says again
  csctl local plan -f examples/local.yaml    what would happen, without doing it
  csctl local kill demo-1                    kill -9 a node, to see what happens
  csctl local partition demo-1               cut a node off from the others
  csctl local pause demo-1 --for 5s          hold a node, as a stalled machine does
  csctl local heal                           end every fault
  csctl local logs demo-1 -f                 follow a node's log
  csctl local down                           stop everything, keep the data
  csctl local clean                          delete everything

\b
Exit codes:
  0 done                      4 a port is taken
  1 failed                    5 no such cluster, or it is down
  2 wrong usage               6 timed out; the loop goes on trying
  3 the manifest is invalid   7 refused: not our folder
"""


@click.group("local", cls=LocalGroup, help=HELP, short_help="Run clusters as processes of this machine.")
def local() -> None:
    """Group the commands."""


@local.command()
@file_option
@state_option
@timeout_option(60)
def up(file: Path, state_dir: Path, timeout_s: float) -> None:
    """Start the cluster of a manifest and wait until it is ready.

    Says so and changes nothing when it runs already. A manifest that was applied before is not applied again: what
    `scale` has changed since stays. `apply` makes the cluster as the manifest says.
    """
    directory, change, running = lifecycle.up(StateDirectory.at(state_dir), file)
    views.tell_kept(change, file)
    if running and change.outcome == "unchanged" and _is_ready_now(directory, change.desired.generation):
        click.echo(f"{directory.name} is unchanged and ready, nothing to do.")
    else:
        views.tell_change(directory, change)
        views.watch_until_ready(directory, change.desired.generation, timeout_s)
    views.print_endpoints(directory)


@local.command()
@file_option
@state_option
@wait_option
@timeout_option(180)
def apply(file: Path, state_dir: Path, timeout_s: float, *, wait: bool) -> None:
    """Make a cluster as a manifest says, and watch the steps."""
    directory, change = lifecycle.apply(StateDirectory.at(state_dir), file)
    views.tell_change(directory, change)
    if read_intent(directory) is Intent.STOPPED:
        click.echo(f"{directory.name} is down, so nothing moves. Start it: csctl local up -f {file}")
    elif wait and change.outcome != "unchanged":
        views.watch_until_ready(directory, change.desired.generation, timeout_s)


@local.command()
@click.option("--replicas", type=click.IntRange(1, 9), required=True, help="How many members to have.")
@click.option("--allow-single-replica", is_flag=True, help="Accept 1: no failure is tolerated, one copy of the data.")
@click.option("--allow-even-replicas", is_flag=True, help="Accept 2, 4, 6 or 8: no better than one fewer.")
@cluster_options
@wait_option
@timeout_option(180)
def scale(
    state: StateDirectory,
    directory: ClusterDirectory,
    replicas: int,
    timeout_s: float,
    *,
    allow_single_replica: bool,
    allow_even_replicas: bool,
    wait: bool,
) -> None:
    """Change the number of members, and watch the steps.

    \b
    Examples:
      csctl local scale --replicas 5
      csctl local scale --replicas 1 --allow-single-replica
    """
    flags = {"allowSingleReplica": allow_single_replica, "allowEvenReplicas": allow_even_replicas}
    change = lifecycle.scale(state, directory, replicas, {name: value for name, value in flags.items() if value})
    views.tell_change(directory, change)
    if read_intent(directory) is Intent.STOPPED:
        click.echo(f"{directory.name} is down: it will have {replicas} when it is started.")
    elif wait:
        views.watch_until_ready(directory, change.desired.generation, timeout_s)


@local.command()
@cluster_options
@wait_option
@timeout_option(180)
def restart(state: StateDirectory, directory: ClusterDirectory, timeout_s: float, *, wait: bool) -> None:
    """Restart all members, one after the other, the leader last."""
    change = lifecycle.restart(directory)
    views.tell_change(directory, change)
    if wait:
        views.watch_until_ready(directory, change.desired.generation, timeout_s)


@local.command()
@click.argument("member")
@cluster_options
@timeout_option(180)
def replace(state: StateDirectory, directory: ClusterDirectory, member: str, timeout_s: float) -> None:
    """Replace a member by a new one on an empty disk; the old disk is kept aside."""
    lifecycle.replace(directory, member)
    views.watch_until_ready(directory, applied.read_desired(directory).generation, timeout_s)


@local.command()
@cluster_options
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "yaml"]),
    default="table",
    show_default=True,
    help="How to show it.",
)
@click.option("-w", "--watch", is_flag=True, help="Show it again and again, until ctrl-c.")
def status(state: StateDirectory, directory: ClusterDirectory, output: str, *, watch: bool) -> None:
    """Show members, leader, conditions, fault tolerance and the current plan."""
    if watch and output in ("json", "yaml"):
        raise click.UsageError("--watch goes with -o table and -o wide")
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            views.watch_status(directory, wide=output == "wide")
        return
    refresh(directory, timeout_s=views.REFRESH_S)
    views.print_status(directory, output)


@local.command()
@click.argument("members", nargs=-1, metavar="[MEMBER]...")
@cluster_options
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written, until ctrl-c.")
@click.option("--since", metavar="DURATION", help="Only lines this recent: 30s, 10m, 2h.")
@click.option("--tail", type=click.IntRange(min=0), help="Only so many lines. [default: 50, all with --since]")
@click.option("--raw", is_flag=True, help="The lines as they are written, JSON.")
def logs(
    state: StateDirectory,
    directory: ClusterDirectory,
    members: tuple[str, ...],
    since: str | None,
    tail: int | None,
    *,
    follow: bool,
    raw: bool,
) -> None:
    """Show the logs of members and of the reconcile loop, merged by time.

    MEMBER is a name or an ordinal, or "supervisor" for the reconcile loop; all of them when none is named.
    """
    start = time.time() - _seconds(since) if since else 0.0
    count = tail if tail is not None else None if since else 50
    sources = _log_sources(directory, members)
    order = {source.name: position for position, source in enumerate(sources)}
    tails = [log_view.Tail(source) for source in sources]
    for line in log_view.read_last(tails, since=start, count=count):
        views.print_line(line, order=order[line.source], raw=raw)
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            for line in log_view.follow(tails):
                views.print_line(line, order=order[line.source], raw=raw)


@local.command()
@file_option
@state_option
def plan(file: Path, state_dir: Path) -> None:
    """Show what applying a manifest would do, without doing anything."""
    loaded = manifest.load(file)
    state = StateDirectory.at(state_dir)
    directory = lifecycle.find_or_name(state, loaded.desired.name)
    change = applied.prepare(directory, loaded)
    refresh(directory, timeout_s=views.REFRESH_S)
    observed = read_observed(directory) or Observed(now=time.time())
    planned = make_plan(change.desired, observed)
    click.echo(f"{directory.name} would be {change.outcome}.")
    for line in change.changes:
        click.echo(f"  {line}")
    console().print(tables.plan_view(report(change.desired, observed, planned, read_status(directory))))
    click.echo("Nothing was changed.")


@local.command()
@cluster_options
def down(state: StateDirectory, directory: ClusterDirectory) -> None:
    """Stop all members, the leader last, then the reconcile loop. Data is kept."""
    with Progress() as progress:
        stopped = lifecycle.down(directory, progress)
    what = "is down already" if stopped == 0 else f"is down, {stopped} {'node' if stopped == 1 else 'nodes'} stopped"
    click.echo(f"{directory.name} {what}. Its data is kept in {directory.path}")


@local.command()
@cluster_options
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def clean(state: StateDirectory, directory: ClusterDirectory, *, yes: bool) -> None:
    """Stop a cluster and delete all its data."""
    if not yes:
        nodes = len(directory.node_names())
        click.confirm(f"Delete {directory.path} with the data of {nodes} nodes?", abort=True)
    with Progress() as progress:
        lifecycle.clean(state, directory, progress)
    click.echo(f"{directory.name} is deleted.")


for command in fault_commands.COMMANDS:
    local.add_command(command)


def _is_ready_now(directory: ClusterDirectory, generation: int) -> bool:
    fresh = refresh(directory, timeout_s=views.REFRESH_S)
    current = read_status(directory)
    return fresh and current is not None and ready(current, generation)


def _log_sources(directory: ClusterDirectory, members: tuple[str, ...]) -> list[log_view.Source]:
    names = members or (*directory.node_names(), "supervisor")
    sources = []
    for name in names:
        if name == "supervisor":
            sources.append(log_view.Source(name, directory.log))
        else:
            full = lifecycle.full_name(directory, name)
            sources.append(log_view.Source(full, directory.node(full).log))
    return sources


def _seconds(duration: str) -> float:
    match = re.fullmatch(r"([0-9]+)(s|m|h|d)", duration)
    if match is None:
        raise click.BadParameter("allowed: a number and s, m, h or d, such as 10m", param_hint="--since")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]
