"""`csctl local transfer-leader`: planned work on a local cluster, by the annotations of the operator."""

from __future__ import annotations

import click

from collectionstore.cli.exit_codes import ExitCode
from collectionstore.cli.terminal import Progress
from collectionstore_local.commands import lifecycle
from collectionstore_local.commands.options import cluster_options, timeout_option
from collectionstore_local.commands.readiness import ReadinessWatcher
from collectionstore_local.errors import LocalError
from collectionstore_local.state import applied_resource
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_local.state.published_status import read_status
from collectionstore_operator.planning.switchover import ANY


class NoLeader(LocalError):
    """The cluster has no leader that could transfer leadership."""

    exit_code = ExitCode.FAILED


@click.command(name="transfer-leader")
@click.argument("member", default=ANY)
@cluster_options
@timeout_option(30)
def transfer_leader(state: StateDirectory, directory: ClusterDirectory, member: str, timeout_s: float) -> None:
    """Transfer leadership to MEMBER, or to the voter that is furthest ahead, while the cluster serves.

    The members hold writes for some milliseconds, and pass them on to the next leader.

    \b
    Examples:
      csctl local transfer-leader            to any other voter
      csctl local transfer-leader demo-2
    """
    lifecycle.require_running(directory)
    target = member if member == ANY else lifecycle.member_name(directory, member)
    before = read_status(directory)
    if before is None or not before.leader:
        raise NoLeader(f"{directory.name} has no leader; see csctl local status")
    with Progress() as progress:
        watcher = ReadinessWatcher(directory, progress)
        with directory.edit_lock():
            applied_resource.write(directory, applied_resource.prepare_transfer(directory, target))
        watcher.wake_or_start()
        status = watcher.wait_until(
            lambda now: bool(now.leader) and (now.term > before.term if target == ANY else now.leader == target),
            timeout_s=timeout_s,
            goal=f"{target if target != ANY else 'another member'} to lead {directory.name}",
        )
    click.echo(f"{status.leader} leads {directory.name} in term {status.term}.")


COMMANDS = (transfer_leader,)
