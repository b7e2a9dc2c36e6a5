"""A node's process in the planner's model: as a pod, with the kind of its failure."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from collectionstore_local.processes.node_process import CANNOT_START, Node
from collectionstore_operator.model.exit_reason import exit_reason, is_too_new
from collectionstore_operator.model.observed import ABSENT, Absent, Failure, NodeStatus, Pod, Preparation, Unknown
from collectionstore_operator.resource import labels

STARTING_S = 10.0
"""For this long after its start, an unreachable node is reported as starting."""
LOG_END_BYTES = 16 << 10
CRASHES = 3
"""A process that ends this often in a row before it is stable counts as crashing; fewer may be an accident."""

FAILURES = {
    64: Failure.CONFIGURATION,
    65: Failure.DAMAGED,
    69: Failure.CONFIGURATION,
    74: Failure.DISK,
    CANNOT_START: Failure.IMAGE,
}


class PodView:
    """Turns nodes into pods, and records since when each is not ready.

    Counted from the start of this supervisor at the earliest: a new one gives every node its grace time again.
    """

    def __init__(self) -> None:
        self._unready_since: dict[str, float] = {}

    def look(self, node: Node, *, ready: bool, peer_address: str, http_address: str) -> Pod | Absent:
        """Return the node's process as a pod; ABSENT for a node that neither runs nor should run."""
        if not node.running and not node.record.should_run:
            self._unready_since.pop(node.name, None)
            return ABSENT
        unready_s = self._unready_s(node.name, ready=ready)
        failure = Failure.NONE if ready else failure_kind(node)
        return Pod(
            uid=self.uid(node),
            running=node.running,
            ready=ready,
            revision=node.record.launch.revision if node.record.launch else "",
            restarts=node.record.restarts,
            unready_s=unready_s,
            failure=failure,
            detail="" if ready else failure_detail(node),
            replace_requested=node.directory.replace_request.exists(),
            replace_in_place=_in_place(node.directory.replace_request),
            peer_address=peer_address,
            http_address=http_address,
            preparation=None if ready else _preparation(node.directory.restore_failure),
        )

    def uid(self, node: Node) -> str:
        """Return the uid of the process, a new one after each start; empty if none was started."""
        process = node.record.process
        if process is None or not (node.running or node.record.should_run):
            return ""
        return f"{process.boot_id[:8]}-{process.pid}-{process.start_ticks}"

    def _unready_s(self, name: str, *, ready: bool) -> float:
        if ready:
            self._unready_since.pop(name, None)
            return 0.0
        # Monotonic: a step of the wall clock must not make a node look unready for hours, and get its disk replaced.
        now = time.monotonic()
        return now - self._unready_since.setdefault(name, now)


def _preparation(file: Path) -> Preparation | None:
    """Return how the restore that a node begins with has failed last; None if it has not."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Preparation)
    except FileNotFoundError:
        return None


def _in_place(request: Path) -> bool:
    """Return whether a requested replacement is to retire the volume at once."""
    try:
        return request.read_text() == labels.IN_PLACE
    except FileNotFoundError:
        return False


def explain(node: Node, answer: NodeStatus | Unknown) -> NodeStatus | Unknown:
    """Return a node's response; if there is none because the node is starting, that reason."""
    if isinstance(answer, NodeStatus) or not node.running:
        return answer
    if time.time() - node.record.started_at > STARTING_S:
        return answer
    last_exit = node.record.last_exit
    return Unknown(f"it is starting again: {last_exit.reason}" if last_exit is not None else "it is starting")


def failure_kind(node: Node) -> Failure:
    """Return the kind of failure that the last exits of a node show."""
    last_exit = node.record.last_exit
    # The exit code of an adopted process is unknown: no failure is concluded from it, because some of them justify
    # replacing the member.
    if last_exit is None or last_exit.code is None or node.quick_exits == 0:
        return Failure.NONE
    if is_too_new(last_exit.code, exit_reason(_end_of(node.directory.log))):
        return Failure.DOWNGRADED
    if last_exit.code in FAILURES:
        return FAILURES[last_exit.code]
    return Failure.CRASH if node.quick_exits >= CRASHES else Failure.NONE


def failure_detail(node: Node) -> str:
    """Return why a node ended last, from its log or else the place of that; empty if no failure is known."""
    last_exit = node.record.last_exit
    if last_exit is None or node.quick_exits == 0:
        return ""
    reason = exit_reason(_end_of(node.directory.log)) or f"see {node.directory.log}"
    return f"{last_exit.reason}: {reason}"


def _end_of(log: Path) -> str:
    """Return the end of a log; empty if it cannot be read: the exit code alone says what kind of failure it is."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_END_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
