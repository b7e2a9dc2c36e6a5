"""The lifecycle operations of a local cluster: up, apply, scale, restart, replace, kill, down, clean. No output.

Every change takes the same steps: prepare and check it, with nothing changed; write the resource or the run state,
durably; wake the reconcile loop, which alone starts and stops nodes; wait.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from collectionstore.cli.terminal import Progress
from collectionstore_local.commands.port_check import check_ports
from collectionstore_local.commands.readiness import ReadinessWatcher, WaitTimedOut, ready
from collectionstore_local.errors import LocalError
from collectionstore_local.faults import injection
from collectionstore_local.faults.injection import ClusterDown
from collectionstore_local.processes import node_records
from collectionstore_local.processes.supervisor_process import is_supervised, wake_supervisor
from collectionstore_local.state import applied_resource, companions, manifest
from collectionstore_local.state.applied_resource import ResourceChange
from collectionstore_local.state.companions import Applied
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_local.state.run_state import RunState, read_run_state, write_run_state
from collectionstore_operator.resource import labels
from collectionstore_operator.status.published import AuthorityStatus, Status

STOP_TIMEOUT_S = 60.0
POLL_S = 0.05


def cluster_directory(state: StateDirectory, name: str) -> ClusterDirectory:
    """Return the directory of a cluster of this name, which need not exist; nothing is created."""
    return ClusterDirectory(state.path / name)


def up(state: StateDirectory, file: Path) -> tuple[ClusterDirectory, ResourceChange, list[Applied], bool]:
    """Apply a manifest and start its cluster.

    Returns its directory, the change, what became of the other documents, and whether it was running before.

    Raises ManifestInvalid, ChangeRefused or PortsTaken with nothing started or changed.
    """
    loaded = manifest.load(file)
    directory = cluster_directory(state, loaded.desired.name)
    running = is_running(directory)
    companions.check(directory, loaded.companions)
    check_ports(state, directory, applied_resource.prepare_start(directory, loaded).desired)
    # AFTER the checks: a manifest or port that is refused must leave no directory behind.
    state.create_cluster(directory.name)
    if not running:
        # BEFORE the nodes start: routes that a killed proxy left would lead them nowhere.
        injection.heal(directory)
    with directory.edit_lock():
        # Prepared again: another csctl may have changed the resource since the check.
        change = applied_resource.prepare_start(directory, loaded)
        companions.check(directory, loaded.companions)
        applied_resource.write(directory, change)
        applied = companions.write(directory, loaded.companions)
        if read_run_state(directory) is not RunState.RUNNING:
            write_run_state(directory, RunState.RUNNING)
    return directory, change, applied, running


def apply_beside(state: StateDirectory, file: Path) -> tuple[ClusterDirectory, list[Applied]] | None:
    """Apply a manifest of backups, schedules and Secrets alone to its cluster; None if a cluster is in it.

    Raises ManifestInvalid, ClusterNotFound or ImmutableChanged with nothing changed.
    """
    found = manifest.load_companions(file)
    if found is None:
        return None
    # Secrets name no cluster: by themselves they are for the only one.
    directory = state.cluster(next((one.cluster for one in found if one.cluster), None))
    with directory.edit_lock():
        companions.check(directory, found)
        return directory, companions.write(directory, found)


def apply(state: StateDirectory, file: Path) -> tuple[ClusterDirectory, ResourceChange, list[Applied]]:
    """Apply a manifest; a stopped cluster stays stopped, a new one is to run. Raises the errors of `up`."""
    loaded = manifest.load(file)
    directory = cluster_directory(state, loaded.desired.name)
    companions.check(directory, loaded.companions)
    change = applied_resource.prepare_apply(directory, loaded)
    if read_run_state(directory) is RunState.RUNNING:
        check_ports(state, directory, change.desired)
    state.create_cluster(directory.name)
    with directory.edit_lock():
        companions.check(directory, loaded.companions)
        change = applied_resource.prepare_apply(directory, loaded)
        applied_resource.write(directory, change)
        applied = companions.write(directory, loaded.companions)
    return directory, change, applied


def tell_applied(directory: ClusterDirectory, applied: Sequence[Applied]) -> None:
    """Wake the supervisor, if one runs, when a document beside the cluster has changed."""
    if any(one.outcome != "unchanged" for one in applied):
        wake_supervisor(directory)


def scale(
    state: StateDirectory, directory: ClusterDirectory, replicas: int, unsafe: Mapping[str, bool]
) -> ResourceChange:
    """Change the number of replicas. Raises ChangeRefused or PortsTaken with nothing changed."""
    with directory.edit_lock():
        change = applied_resource.prepare_scale(directory, replicas, unsafe=unsafe)
        if read_run_state(directory) is RunState.RUNNING:
            check_ports(state, directory, change.desired)
        applied_resource.write(directory, change)
    return change


def restart(directory: ClusterDirectory) -> ResourceChange:
    """Request a rolling restart of all members."""
    require_running(directory)
    with directory.edit_lock():
        change = applied_resource.prepare_restart(directory)
        applied_resource.write(directory, change)
    return change


def rotate_authority(directory: ClusterDirectory) -> ResourceChange:
    """Request a new key of the certificate authority."""
    require_running(directory)
    with directory.edit_lock():
        change = applied_resource.prepare_rotation(directory)
        applied_resource.write(directory, change)
    return change


def wait_rotated(directory: ClusterDirectory, before: AuthorityStatus, progress: Progress, *, timeout_s: float) -> None:
    """Wait until another key signs and is the only one that is trusted. Raises WaitTimedOut."""
    watcher = ReadinessWatcher(directory, progress)
    watcher.wake_or_start()
    watcher.wait_until(
        lambda status: (
            status.authority.phase == "Steady"
            and status.authority.key not in ("", before.key)
            and status.peer_authority.phase in ("", "Steady")
        ),
        timeout_s=timeout_s,
        goal=f"the authority of {directory.name} to have a new key",
    )


def wait_ready(directory: ClusterDirectory, generation: int, progress: Progress, *, timeout_s: float) -> Status:
    """Wake or start the reconcile loop and show its steps until the cluster is ready. Raises WaitTimedOut."""
    watcher = ReadinessWatcher(directory, progress)
    watcher.wake_or_start()
    return watcher.wait_until(
        lambda status: ready(status, generation), timeout_s=timeout_s, goal=f"{directory.name} to be Ready"
    )


def down(directory: ClusterDirectory, progress: Progress) -> int:
    """Stop all nodes, the leader last, then the reconcile loop; data is kept. Return how many nodes were stopped."""
    # BEFORE the stop: a paused node does not handle SIGTERM, and no fault may outlive the cluster.
    injection.heal(directory)
    running = running_nodes(directory)
    with directory.edit_lock():
        # BEFORE the wake-up: the supervisor reads it then, and a supervisor that crashed finds it at its next start.
        write_run_state(directory, RunState.STOPPED)
    if not running and not is_supervised(directory):
        return 0
    ReadinessWatcher(directory, progress).wake_or_start()
    _wait(lambda: _is_down(directory, progress), "the nodes to stop")
    return len(running)


def clean(state: StateDirectory, directory: ClusterDirectory, progress: Progress) -> None:
    """Stop a cluster and delete all its data."""
    down(directory, progress)
    state.delete_cluster(directory)


def kill(directory: ClusterDirectory, member: str, number: signal.Signals) -> int:
    """Send a signal to the process of a member; return its pid. Raises ClusterDown if it does not run."""
    return injection.signal_member(directory, member_name(directory, member), number)


def replace(directory: ClusterDirectory, member: str, *, in_place: bool) -> None:
    """Request the replacement of a member by a new one; `in_place`: without a copy to an extra member first."""
    require_running(directory)
    request = directory.node(member_name(directory, member)).replace_request
    request.touch(mode=0o600)
    request.write_text(labels.IN_PLACE if in_place else "")


def is_running(directory: ClusterDirectory) -> bool:
    """Return whether the cluster is to run and has a supervisor."""
    return is_supervised(directory) and read_run_state(directory) is RunState.RUNNING


def require_running(directory: ClusterDirectory) -> None:
    """Raise ClusterDown if the cluster is stopped."""
    if read_run_state(directory) is not RunState.RUNNING:
        raise ClusterDown(f"{directory.name} is down. Start it: csctl local up -f FILE")


def require_supervised(directory: ClusterDirectory) -> None:
    """Raise ClusterDown unless the cluster is to run and has a supervisor."""
    if not is_running(directory):
        raise ClusterDown(f"{directory.name} is down. Start it: csctl local up -f FILE")


def running_nodes(directory: ClusterDirectory) -> tuple[str, ...]:
    """Return the names of the nodes whose process runs."""
    return tuple(name for name in directory.node_names() if node_records.running_process(directory.node(name)))


def member_name(directory: ClusterDirectory, member: str) -> str:
    """Return the name of a member from its name or ordinal. Raises LocalError listing the members."""
    names = directory.node_names()
    full = f"{directory.name}-{member}" if member.isdigit() else member
    if full not in names:
        raise LocalError(f"no member {member!r} in {directory.name}; its members: {', '.join(names) or 'none'}")
    return full


def supervisor_pid(directory: ClusterDirectory) -> int | None:
    """Return the pid of the supervisor for messages, None if none runs, 0 if it has not written it yet."""
    if not is_supervised(directory):
        return None
    return int(directory.pid.read_text()) if directory.pid.exists() else 0


def _is_down(directory: ClusterDirectory, progress: Progress) -> bool:
    running = running_nodes(directory)
    progress.waiting(f"stopping {', '.join(running)}" if running else "stopping the reconcile loop")
    return not running and not is_supervised(directory)


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise WaitTimedOut(
                f"timed out after {STOP_TIMEOUT_S:g} s waiting for {what}; see csctl local logs supervisor"
            )
        time.sleep(POLL_S)
