"""What the commands of `csctl local` do: up, apply, scale, down, clean, kill, restart, replace. No parsing, no tables.

Every change goes the same way: prepare and check first, with nothing touched; then write the resource or the intent
durably; then wake the loop, which alone starts and stops nodes; then watch.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from collectionstore_local.commands.follow import Follower, WaitTimedOut, ready
from collectionstore_local.commands.preflight import check_ports
from collectionstore_local.commands.terminal import Progress
from collectionstore_local.errors import LocalError
from collectionstore_local.faults import injection
from collectionstore_local.faults.injection import ClusterDown
from collectionstore_local.processes import records
from collectionstore_local.processes.supervision import is_supervised
from collectionstore_local.state import applied, manifest
from collectionstore_local.state.applied import Applied
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_local.state.intent import Intent, read_intent, write_intent
from collectionstore_operator.status.report import Status

STOP_TIMEOUT_S = 60.0
POLL_S = 0.05


def find_or_name(state: StateDirectory, name: str) -> ClusterDirectory:
    """Return the folder a cluster of this name has or would have; nothing is made."""
    return ClusterDirectory(state.path / name)


def up(state: StateDirectory, file: Path) -> tuple[ClusterDirectory, Applied, bool]:
    """Apply a manifest and have its cluster running; returns the folder, what changed, and whether it ran already.

    Raises ManifestInvalid, ChangeRefused or PortsTaken with nothing started or changed.
    """
    loaded = manifest.load(file)
    directory = find_or_name(state, loaded.desired.name)
    running = is_running(directory)
    check_ports(state, directory, applied.prepare_start(directory, loaded).desired)
    state.create_cluster(directory.name)
    if not running:
        injection.heal(directory)
    with directory.edit():
        # Prepared again: another csctl may have changed the resource since the check.
        change = applied.prepare_start(directory, loaded)
        applied.write(directory, change)
        if read_intent(directory) is not Intent.RUNNING:
            write_intent(directory, Intent.RUNNING)
    return directory, change, running


def apply(state: StateDirectory, file: Path) -> tuple[ClusterDirectory, Applied]:
    """Apply a manifest; a stopped cluster stays stopped, a new one is meant to run. Raises as `up` does."""
    loaded = manifest.load(file)
    directory = find_or_name(state, loaded.desired.name)
    change = applied.prepare(directory, loaded)
    if read_intent(directory) is Intent.RUNNING:
        check_ports(state, directory, change.desired)
    state.create_cluster(directory.name)
    with directory.edit():
        change = applied.prepare(directory, loaded)
        applied.write(directory, change)
    return directory, change


def scale(state: StateDirectory, directory: ClusterDirectory, replicas: int, unsafe: Mapping[str, bool]) -> Applied:
    """Change the number of replicas in the applied resource. Raises ChangeRefused or PortsTaken, nothing changed."""
    with directory.edit():
        change = applied.prepare_scale(directory, replicas, unsafe=unsafe)
        if read_intent(directory) is Intent.RUNNING:
            check_ports(state, directory, change.desired)
        applied.write(directory, change)
    return change


def restart(directory: ClusterDirectory) -> Applied:
    """Ask for a restart of every member, one after the other."""
    require_running(directory)
    with directory.edit():
        change = applied.prepare_restart(directory)
        applied.write(directory, change)
    return change


def wait_ready(directory: ClusterDirectory, generation: int, progress: Progress, *, timeout_s: float) -> Status:
    """Wake the loop, or start it, and show what it does until the cluster is ready. Raises WaitTimedOut."""
    follower = Follower(directory, progress)
    follower.nudge()
    return follower.until(lambda status: ready(status, generation), timeout_s=timeout_s, goal=f"{directory.name} Ready")


def down(directory: ClusterDirectory, progress: Progress) -> int:
    """Stop every node, the leader last, then the loop; data stays. Returns how many nodes were stopped."""
    # A paused node cannot stop, and no fault is to be waiting for the next start.
    injection.heal(directory)
    living = living_nodes(directory)
    with directory.edit():
        write_intent(directory, Intent.STOPPED)
    if not living and not is_supervised(directory):
        return 0
    follower = Follower(directory, progress)
    follower.nudge()
    _wait(lambda: _report_stopping(directory, progress), "the nodes to stop")
    return len(living)


def clean(state: StateDirectory, directory: ClusterDirectory, progress: Progress) -> None:
    """Stop a cluster and delete everything of it."""
    down(directory, progress)
    state.delete_cluster(directory)


def kill(directory: ClusterDirectory, member: str, number: signal.Signals) -> int:
    """Send a signal to the process of a member; returns its pid. Raises ClusterDown when it does not run."""
    return injection.signal_member(directory, full_name(directory, member), number)


def replace(directory: ClusterDirectory, member: str) -> None:
    """Ask for a member to be replaced now by a new incarnation on an empty disk."""
    require_running(directory)
    directory.node(full_name(directory, member)).replace_request.touch(mode=0o600)


def is_running(directory: ClusterDirectory) -> bool:
    """Return whether the cluster is meant to run and a supervisor sees to it."""
    return is_supervised(directory) and read_intent(directory) is Intent.RUNNING


def require_running(directory: ClusterDirectory) -> None:
    """Raise ClusterDown when the cluster was stopped."""
    if read_intent(directory) is not Intent.RUNNING:
        raise ClusterDown(f"{directory.name} is down. Start it: csctl local up -f FILE")


def require_supervised(directory: ClusterDirectory) -> None:
    """Raise ClusterDown unless the cluster is meant to run and a supervisor sees to it."""
    if not is_running(directory):
        raise ClusterDown(f"{directory.name} is down. Start it: csctl local up -f FILE")


def living_nodes(directory: ClusterDirectory) -> tuple[str, ...]:
    """Return the nodes whose process runs."""
    return tuple(name for name in directory.node_names() if records.living_process(directory.node(name)))


def full_name(directory: ClusterDirectory, member: str) -> str:
    """Return the member's full name; the ordinal alone is enough. Raises LocalError naming those there are."""
    names = directory.node_names()
    full = f"{directory.name}-{member}" if member.isdigit() else member
    if full not in names:
        raise LocalError(f"no member {member!r} in {directory.name}; there are: {', '.join(names) or 'none'}")
    return full


def supervisor_pid(directory: ClusterDirectory) -> int | None:
    """Return the pid of the supervisor for people, None when none is in charge."""
    if not is_supervised(directory):
        return None
    return int(directory.pid.read_text()) if directory.pid.exists() else 0


def _report_stopping(directory: ClusterDirectory, progress: Progress) -> bool:
    living = living_nodes(directory)
    progress.waiting(f"stopping {', '.join(living)}" if living else "stopping the reconcile loop")
    return not living and not is_supervised(directory)


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise WaitTimedOut(f"waited {STOP_TIMEOUT_S:g} s for {what}; see csctl local logs supervisor")
        time.sleep(POLL_S)
