"""A cluster without faults, in micro-steps: one message arrives, or one server does one piece of its I/O.

Connections keep the order of their messages, servers work at any pace, and no time passes: whatever leadership is
handed over meanwhile, there must be a leader when everything has come to rest. No election timeout may be needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from collectionstore_node.errors import NotNow
from collectionstore_node.raft.messages import Change, ChangeKind, ConfigChange, Message, NodeId
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.server import Server

STEPS_MAX: Final = 20_000


def add(node_id: int) -> Change:
    return Change(ChangeKind.ADD_VOTER, NodeId(node_id))


def learn(node_id: int) -> Change:
    return Change(ChangeKind.ADD_LEARNER, NodeId(node_id))


def remove(node_id: int) -> Change:
    return Change(ChangeKind.REMOVE, NodeId(node_id))


@dataclass(frozen=True, slots=True)
class Case:
    """A change of membership, led by 1 as it begins."""

    voters: tuple[int, ...]
    learners: tuple[int, ...]
    steps: tuple[Change, ...]


CASES: Final = {
    "promote": Case((1, 2, 3), (4,), (add(4),)),
    "promote two": Case((1, 2, 3), (4, 5), (add(4), add(5))),
    "replace": Case((1, 2, 3), (4,), (add(4), remove(3))),
    "replace the leader": Case((1, 2, 3), (4,), (add(4), remove(1))),
    "demote": Case((1, 2, 3, 4), (), (learn(4),)),
    "demote the leader": Case((1, 2, 3, 4), (), (learn(1),)),
    "remove": Case((1, 2, 3), (), (remove(3),)),
    "remove the leader": Case((1, 2, 3), (), (remove(1),)),
    "shrink": Case((1, 2, 3, 4, 5), (), (remove(4), remove(5))),
    "shrink to one": Case((1, 2), (), (remove(1),)),
    "replace all": Case((1, 2, 3), (4, 5, 6), (add(4), add(5), add(6), remove(1), remove(2), remove(3))),
    "add a learner": Case((1, 2, 3), (), (learn(4),)),
}


class Scheduler:
    """Chooses the next micro-step of a cluster. Without `random` always the oldest message, and eager servers."""

    def __init__(self, cluster: Cluster, random: Random | None) -> None:
        self._cluster = cluster
        self._random = random

    def step(self) -> bool:
        """Do one micro-step; return False when there is none left."""
        choices = self._choices()
        choice = next(choices, None) if self._random is None else _drawn(self._random, choices)
        if choice is not None:
            choice()
        return choice is not None

    def rest(self) -> None:
        """Do micro-steps until nothing moves."""
        for _ in range(STEPS_MAX):
            if not self.step():
                return
        raise AssertionError("the cluster does not come to rest")

    def _choices(self) -> Iterator[Callable[[], object]]:
        for server in self._cluster.alive():
            yield from _next_pieces(server)
        links: dict[tuple[NodeId, NodeId], Message] = {}
        for message in self._cluster.wire:
            links.setdefault((message.sender, message.to), message)
        for message in links.values():
            yield partial(self._deliver, message)

    def _deliver(self, message: Message) -> None:
        self._cluster.wire.remove(message)
        self._cluster.deliver(message)


def _drawn(random: Random, choices: Iterator[Callable[[], object]]) -> Callable[[], object] | None:
    found = list(choices)
    return random.choice(found) if found else None


def _next_pieces(server: Server) -> Iterator[Callable[[], object]]:
    """Yield the next piece of a server's I/O, as its driver does it, and the next of its sync, as far as there are."""
    if server.writing is not None:
        if not server.written:
            yield server.write_io
        else:
            yield server.advance_io if server.has_applied else server.apply_io
    elif server.has_work():
        yield server.take_io
    if server.syncing:
        yield server.end_sync
    elif server.backlog:
        yield server.begin_sync


def begin(case: Case, schedule: int) -> tuple[Cluster, Scheduler]:
    """Return a cluster led by 1 that has just been asked for the change, and its scheduler; 0 is the eager one."""
    cluster = Cluster.of(*case.voters)
    leader = cluster.elect(1)
    for learner in case.learners:
        cluster.add(learner)
        leader.core.propose_change(ConfigChange((learn(learner),)))
        cluster.settle()
    for step in case.steps:
        if NodeId(int(step.node_id)) not in cluster.servers:
            cluster.add(step.node_id)
    leader.core.propose_change(ConfigChange(case.steps))
    return cluster, Scheduler(cluster, Random(schedule) if schedule else None)


def length(case: Case, schedule: int) -> int:
    """Return in how many micro-steps the change ends without a handover."""
    _, scheduler = begin(case, schedule)
    return next(count for count in range(STEPS_MAX) if not scheduler.step())


def led_by(cluster: Cluster) -> Server | None:
    """Return the leader that a majority of each half of its configuration follows; None if there is none."""
    leader = cluster.leader()
    if leader is None:
        return None
    followers = {one.node_id for one in cluster.alive() if _follows(one, leader)}
    configuration = leader.core.configuration
    halves = (configuration.voters, configuration.outgoing)
    return leader if all(2 * len(followers & set(half)) > len(half) for half in halves if half) else None


def _follows(server: Server, leader: Server) -> bool:
    return (server.core.term, server.core.leader) == (leader.core.term, leader.node_id)


def hand_over(case: Case, schedule: int, at: int, to: int) -> str:
    """Hand leadership to `to` after `at` micro-steps; return how it ended: "refused", "leaderless", "kept" or "done".

    Raises `AssertionError` when the change does not end.
    """
    cluster, scheduler = begin(case, schedule)
    for _ in range(at):
        scheduler.step()
    leader = cluster.leader()
    if leader is None or leader.node_id == to or NodeId(to) not in leader.core.configuration.voters:
        return "refused"
    try:
        leader.core.transfer_leadership(NodeId(to))
    except NotNow:
        return "refused"
    scheduler.rest()
    after = led_by(cluster)
    if after is None:
        return "leaderless"
    status = after.core.status()
    assert not status.transferring_to, f"a transfer that never ends: {status}"
    assert not status.configuration.joint, f"the change does not end: {status}"
    assert status.pending_change_index <= status.applied_index, f"the change does not end: {status}"
    assert after.node_id in status.configuration.voters, f"{after.node_id} leads, and is no voter: {status}"
    return "done" if after.node_id == to or NodeId(to) not in status.configuration.voters else "kept"
