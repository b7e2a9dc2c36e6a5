"""A node's process as the planner sees it: as a pod, with what is wrong with it in the planner's words."""

from __future__ import annotations

import time

from collectionstore_local.processes.nodes import CANNOT_START, Node
from collectionstore_operator.model.observed import ABSENT, Absent, Failure, NodeStatus, Pod, Unknown

STARTING_S = 10.0
"""For so long after its start a node's silence needs no other explanation."""
CRASHES = 3
"""A process that ends this often in a row before it is stable counts as crashing; once or twice may be an accident."""

FAILURES = {
    64: Failure.CONFIGURATION,
    65: Failure.DISK,
    69: Failure.CONFIGURATION,
    74: Failure.DISK,
    CANNOT_START: Failure.IMAGE,
}


class PodView:
    """Turns nodes into pods, and remembers since when each is not ready.

    Since this supervisor began, at most: a fresh one gives every node its grace time again.
    """

    def __init__(self) -> None:
        self._unready_since: dict[str, float] = {}

    def look(
        self, node: Node, *, ready: bool, certificate_at: float, peer_address: str, http_address: str
    ) -> Pod | Absent:
        """Return the node's process as a pod; a node that is not wanted and does not run has none."""
        if not node.running and not node.record.wanted:
            self._unready_since.pop(node.name, None)
            return ABSENT
        unready_s = self._unready_s(node.name, ready=ready)
        failure = Failure.NONE if ready else failure_of(node)
        renewed = node.running and certificate_at > node.record.started_at
        return Pod(
            uid=self.uid(node),
            running=node.running,
            ready=ready,
            revision=node.record.launch.revision if node.record.launch else "",
            restarts=node.record.restarts,
            unready_s=unready_s,
            failure=failure,
            detail="" if ready else detail_of(node),
            replace_requested=node.directory.replace_request.exists(),
            restart_reason="its certificate was renewed after it had started" if renewed else "",
            peer_address=peer_address,
            http_address=http_address,
        )

    def uid(self, node: Node) -> str:
        """Return what changes whenever the process is started again; empty when none was ever started."""
        name = node.record.process
        if name is None or not (node.running or node.record.wanted):
            return ""
        return f"{name.boot_id[:8]}-{name.pid}-{name.start_ticks}"

    def _unready_s(self, name: str, *, ready: bool) -> float:
        if ready:
            self._unready_since.pop(name, None)
            return 0.0
        now = time.monotonic()
        return now - self._unready_since.setdefault(name, now)


def explain(node: Node, answer: NodeStatus | Unknown) -> NodeStatus | Unknown:
    """Return a node's answer; for one that has only just been started, that this is why there is none."""
    if isinstance(answer, NodeStatus) or not node.running:
        return answer
    if time.time() - node.record.started_at > STARTING_S:
        return answer
    last_exit = node.record.last_exit
    return Unknown(f"it is starting again: {last_exit.reason}" if last_exit is not None else "it is starting")


def failure_of(node: Node) -> Failure:
    """Return what kind of trouble a node is in, as far as its last exits tell."""
    last_exit = node.record.last_exit
    if last_exit is None or last_exit.code is None or node.quick_exits == 0:
        return Failure.NONE
    if last_exit.code in FAILURES:
        return FAILURES[last_exit.code]
    return Failure.CRASH if node.quick_exits >= CRASHES else Failure.NONE


def detail_of(node: Node) -> str:
    """Return in words what happened to a node last; empty while nothing is known to be wrong."""
    last_exit = node.record.last_exit
    if last_exit is None or node.quick_exits == 0:
        return ""
    return f"{last_exit.reason}; see {node.directory.log}"
