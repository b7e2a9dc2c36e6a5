"""`csctl local`: parses the arguments and prints; the operations are in `lifecycle`."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import click

from collectionstore.cli.commands import Group
from collectionstore.cli.options import LONG_DURATION, state_dir_option
from collectionstore.cli.terminal import Progress, console
from collectionstore_local.commands import (
    backup_objects_commands,
    console_output,
    fault_commands,
    lifecycle,
    log_reader,
    planned_work_commands,
    status_tables,
)
from collectionstore_local.commands.options import (
    cluster_options,
    file_option,
    timeout_option,
    wait_option,
)
from collectionstore_local.commands.readiness import ready, refresh
from collectionstore_local.state import applied_resource, manifest
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_local.state.published_status import read_observed, read_status
from collectionstore_local.state.run_state import RunState, read_run_state
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import Observed
from collectionstore_operator.planning.plan import plan as make_plan
from collectionstore_operator.status.report import report

HELP = """Run clusters as processes of this machine.

The planner of the Kubernetes operator runs in the background, on processes in place of pods. State is kept in
./.collectionstore, or the directory that --state-dir or COLLECTIONSTORE_STATE_DIR names.

\b
Examples:
  csctl local up -f examples/local.yaml      start a cluster, wait until it is Ready
  csctl local status                         show members, leader, conditions and plan
  csctl local status --watch                 ... and refresh it
  csctl local scale --replicas 5             scale up, and show the steps
  csctl local apply -f examples/local.yaml   apply the manifest again
  csctl local plan -f examples/local.yaml    show what apply would do, change nothing
  csctl local kill demo-1                    kill -9 a node
  csctl local partition demo-1               isolate a node from its peers
  csctl local pause demo-1 --for 5s          pause a node, like a stalled machine
  csctl local heal                           end all faults
  csctl local transfer-leader                let another member lead
  csctl local rotate-authority               replace the key of the certificate authority
  csctl local logs demo-1 -f                 follow a node's log
  csctl local get schedules                  show schedules of backups, and backups
  csctl local delete backup nightly-1        delete one of them
  csctl local down                           stop the cluster, keep the data
  csctl local clean                          delete the cluster and its data

\b
Exit codes:
  0 done                   4 a port is in use
  1 failed                 5 no such cluster, or it is down
  2 wrong usage            6 timed out; the reconcile loop continues
  3 invalid manifest       7 refused: not a state directory of csctl
"""


@click.group("local", cls=Group, help=HELP, short_help="Run clusters as processes of this machine.")
def local() -> None:
    """Run the group; the commands do the work."""


@local.command()
@file_option
@state_dir_option
@timeout_option(60)
def up(file: Path, state_dir: Path, timeout_s: float) -> None:
    """Start the cluster of a manifest and wait until it is Ready.

    Changes nothing if it is running already. The manifest applied last is not applied again, so that later changes by
    `scale` stay; use `apply` for that.
    """
    directory, change, applied, running = lifecycle.up(StateDirectory.at(state_dir), file)
    console_output.print_applied(applied)
    console_output.print_kept_differences(change, file)
    if running and change.outcome == "unchanged" and _is_ready_now(directory, change.desired.generation):
        click.echo(f"{directory.name} is unchanged and Ready, nothing to do.")
    else:
        console_output.print_change(directory, change)
        console_output.watch_until_ready(directory, change.desired.generation, timeout_s)
    console_output.print_endpoints(directory)


@local.command()
@file_option
@state_dir_option
@wait_option
@timeout_option(180)
def apply(file: Path, state_dir: Path, timeout_s: float, *, wait: bool) -> None:
    """Apply a manifest to a cluster, and show the steps.

    Beside the cluster it may have CollectionStoreBackups, CollectionStoreBackupSchedules, and the Secrets that they
    name, as documents of one file or of files of their own. What is not in it any more stays: `csctl local delete`.
    """
    state = StateDirectory.at(state_dir)
    beside = lifecycle.apply_beside(state, file)
    if beside is not None:
        directory, applied = beside
        console_output.print_applied(applied)
        lifecycle.tell_applied(directory, applied)
        return
    directory, change, applied = lifecycle.apply(state, file)
    console_output.print_change(directory, change)
    console_output.print_applied(applied)
    lifecycle.tell_applied(directory, applied)
    if read_run_state(directory) is RunState.STOPPED:
        click.echo(f"{directory.name} is down; the change takes effect with csctl local up -f {file}")
    elif wait and change.outcome != "unchanged":
        console_output.watch_until_ready(directory, change.desired.generation, timeout_s)


@local.command()
@click.option("--replicas", type=click.IntRange(1, 9), required=True, help="Desired number of members.")
@click.option("--allow-single-replica", is_flag=True, help="Allow 1: no fault tolerance, a single copy of the data.")
@click.option("--allow-even-replicas", is_flag=True, help="Allow 2, 4, 6 or 8: tolerates no more than one fewer.")
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
    """Change the number of members, and show the steps.

    \b
    Examples:
      csctl local scale --replicas 5
      csctl local scale --replicas 1 --allow-single-replica
    """
    flags = {"allowSingleReplica": allow_single_replica, "allowEvenReplicas": allow_even_replicas}
    change = lifecycle.scale(state, directory, replicas, {name: value for name, value in flags.items() if value})
    console_output.print_change(directory, change)
    if read_run_state(directory) is RunState.STOPPED:
        click.echo(f"{directory.name} is down; it scales to {replicas} when it is started.")
    elif wait:
        console_output.watch_until_ready(directory, change.desired.generation, timeout_s)


@local.command()
@cluster_options
@wait_option
@timeout_option(180)
def restart(state: StateDirectory, directory: ClusterDirectory, timeout_s: float, *, wait: bool) -> None:
    """Restart all members one by one, the leader last."""
    change = lifecycle.restart(directory)
    console_output.print_change(directory, change)
    if wait:
        console_output.watch_until_ready(directory, change.desired.generation, timeout_s)


@local.command(name="rotate-authority")
@cluster_options
@wait_option
@timeout_option(180)
def rotate_authority(state: StateDirectory, directory: ClusterDirectory, timeout_s: float, *, wait: bool) -> None:
    """Replace the key of the certificate authority while the cluster serves.

    Members trust both keys, get new certificates, and drop the old one; none restarts. Clients need the new ca.crt.
    """
    before = read_status(directory)
    change = lifecycle.rotate_authority(directory)
    console_output.print_change(directory, change)
    if wait and before is not None:
        console_output.watch_until_rotated(directory, before.authority, timeout_s)


@local.command()
@click.argument("member")
@click.option("--in-place", is_flag=True, help="Retire the volume at once, without an extra member.")
@cluster_options
@timeout_option(180)
def replace(
    state: StateDirectory, directory: ClusterDirectory, member: str, timeout_s: float, *, in_place: bool
) -> None:
    """Replace a member by a new one with an empty volume.

    One that works is copied to an extra member first, which votes in its place until the new one does. The old volume
    is kept in the directory of the member, under retired/.
    """
    lifecycle.replace(directory, member, in_place=in_place)
    console_output.watch_until_ready(directory, applied_resource.read_desired(directory).generation, timeout_s)


@local.command()
@cluster_options
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Output format.",
)
@click.option("-w", "--watch", is_flag=True, help="Refresh until Ctrl-C.")
def status(state: StateDirectory, directory: ClusterDirectory, output: str, *, watch: bool) -> None:
    """Show members, leader, conditions and the plan."""
    if watch and output in ("json", "yaml"):
        raise click.UsageError("--watch requires -o table or -o wide")
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            console_output.watch_status(directory, wide=output == "wide")
        return
    refresh(directory, timeout_s=console_output.REFRESH_S)
    console_output.print_status(directory, output)


@local.command()
@click.argument("members", nargs=-1, metavar="[MEMBER]...")
@cluster_options
@click.option("-f", "--follow", is_flag=True, help="Follow the logs until Ctrl-C.")
@click.option(
    "--since", "since_s", type=LONG_DURATION, metavar="DURATION", help="Only lines newer than this: 30s, 10m, 2h."
)
@click.option("--tail", type=click.IntRange(min=0), help="Number of lines. [default: 50, all with --since]")
@click.option("--raw", is_flag=True, help="Print the JSON lines unchanged.")
def logs(
    state: StateDirectory,
    directory: ClusterDirectory,
    members: tuple[str, ...],
    since_s: float | None,
    tail: int | None,
    *,
    follow: bool,
    raw: bool,
) -> None:
    """Show the logs of members and the reconcile loop.

    Lines are merged by time.

    MEMBER is a name or an ordinal, or "supervisor" for the reconcile loop; the default is all of them.
    """
    start = time.time() - since_s if since_s else 0.0
    count = tail if tail is not None else None if since_s else 50
    sources = _log_sources(directory, members)
    order = {source.name: position for position, source in enumerate(sources)}
    tails = [log_reader.Tail(source) for source in sources]
    for line in log_reader.read_last(tails, since=start, count=count):
        console_output.print_line(line, order=order[line.source], raw=raw)
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            for line in log_reader.follow(tails):
                console_output.print_line(line, order=order[line.source], raw=raw)


@local.command()
@file_option
@state_dir_option
def plan(file: Path, state_dir: Path) -> None:
    """Show what `apply` would do, and change nothing."""
    loaded = manifest.load(file)
    state = StateDirectory.at(state_dir)
    directory = lifecycle.cluster_directory(state, loaded.desired.name)
    change = applied_resource.prepare_apply(directory, loaded)
    refresh(directory, timeout_s=console_output.REFRESH_S)
    observed = read_observed(directory) or Observed(now=time.time())
    assessment = assess(change.desired, observed)
    planned = make_plan(assessment)
    click.echo(f"{directory.name} would be {change.outcome}.")
    for line in change.changes:
        click.echo(f"  {line}")
    console().print(status_tables.plan_view(report(assessment, planned, read_status(directory))))
    click.echo("Nothing was changed.")


@local.command()
@cluster_options
def down(state: StateDirectory, directory: ClusterDirectory) -> None:
    """Stop all members and the reconcile loop; keep the data.

    The leader stops last, so that no member starts an election meanwhile.
    """
    with Progress() as progress:
        stopped = lifecycle.down(directory, progress)
    what = "is already down" if stopped == 0 else f"is down, {stopped} {'node' if stopped == 1 else 'nodes'} stopped"
    click.echo(f"{directory.name} {what}. Its data is in {directory.path}")


@local.command()
@cluster_options
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
def clean(state: StateDirectory, directory: ClusterDirectory, *, yes: bool) -> None:
    """Stop a cluster and delete all its data."""
    if not yes:
        nodes = len(directory.node_names())
        click.confirm(f"Delete {directory.path} with the data of {nodes} nodes?", abort=True)
    with Progress() as progress:
        lifecycle.clean(state, directory, progress)
    click.echo(f"{directory.name} is deleted.")


for command in (*backup_objects_commands.COMMANDS, *fault_commands.COMMANDS, *planned_work_commands.COMMANDS):
    local.add_command(command)


def _is_ready_now(directory: ClusterDirectory, generation: int) -> bool:
    fresh = refresh(directory, timeout_s=console_output.REFRESH_S)
    current = read_status(directory)
    return fresh and current is not None and ready(current, generation)


def _log_sources(directory: ClusterDirectory, members: tuple[str, ...]) -> list[log_reader.Source]:
    names = members or (*directory.node_names(), "supervisor")
    sources = []
    for name in names:
        if name == "supervisor":
            sources.append(log_reader.Source(name, directory.log))
        else:
            full = lifecycle.member_name(directory, name)
            sources.append(log_reader.Source(full, directory.node(full).log))
    return sources
