"""Writes to a cluster of several Raft groups, each with three members on different nodes.

What a write does, and what is left out:
1. It arrives at a random process of its leader's node, as connections do that are spread by the kernel (SO_REUSEPORT).
   If that is not its leader, forwarding costs both processes `forward_us`. With one group there is nothing to forward.
2. The leader takes it in: `LEADER_FIRST` of `leader_us`. While no sync of the group runs, the leader's driver takes its
   turn, behind the work that waits (`batch_us`): what has come together until then becomes one entry, which is sent to
   the followers (`network_us`) and synced (`sync_us`) at the same time.
3. A follower takes the entry in (`batch_us`, and `follower_us` for each write), syncs it, and acknowledges.
4. When two of the three members have it on disk, the leader applies and answers: `batch_us`, and the rest of
   `leader_us` for each write.

Keys are spread evenly over the groups, there are no transactions across groups, no reads, no elections, no compaction;
the network has no limit but its delay; a process wants a core only for the service times above.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from collectionstore_bench.scale.groups.cores import Node, Process
from collectionstore_bench.scale.groups.engine import Engine

MEMBERS: Final = 3
LEADER_FIRST: Final = 0.6
"""The part of a leader's work for a write that comes before its entry; the rest is for commit, apply and answer."""
BATCH_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Costs:
    """Service times in microseconds."""

    leader_us: float = 130.0
    follower_us: float = 55.0
    batch_us: float = 150.0
    sync_us: float = 300.0
    network_us: float = 60.0
    forward_us: float = 20.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """What is simulated."""

    groups: int
    nodes: int
    cores: int
    costs: Costs = Costs()


@dataclass(frozen=True, slots=True)
class Result:
    """What a run showed, in its window."""

    seconds: float
    latencies: list[float]
    """Of the writes that were answered in the window, in seconds, ascending."""
    inflight: float
    """Writes in the system, on average over time."""
    busy: list[float]
    """Processor seconds per second of each node."""
    disk_busy: list[float]
    leader_busy: list[float]
    """Of the process of each leader: it has one core at most."""

    @property
    def per_second(self) -> float:
        """Answered writes per second."""
        return len(self.latencies) / self.seconds


class Group:
    """One Raft group: member 0 leads."""

    def __init__(self, engine: Engine, members: list[Process], costs: Costs) -> None:
        self._engine, self._members, self._costs = engine, members, costs
        self._open: list[Callable[[], None]] = []
        self._syncing = False

    @property
    def leader(self) -> Process:
        """The process that leads."""
        return self._members[0]

    def write(self, done: Callable[[], None]) -> None:
        """Take in a write at the leader; `done` is called when it is answered."""
        self.leader.work(LEADER_FIRST * self._costs.leader_us * 1e-6, partial(self._queue, done))

    def _queue(self, done: Callable[[], None]) -> None:
        self._open.append(done)
        self._turn()

    def _turn(self) -> None:
        if self._open and not self._syncing:
            self._syncing = True
            self.leader.work(self._costs.batch_us * 1e-6, self._propose)

    def _propose(self) -> None:
        batch, self._open = self._open[:BATCH_MAX], self._open[BATCH_MAX:]
        stored = _Stored(self, batch)
        costs, network_s = self._costs, self._costs.network_us * 1e-6
        self.leader.node.sync(costs.sync_us * 1e-6, partial(self._synced, stored))
        for member in self._members[1:]:
            take_in = (costs.batch_us + len(batch) * costs.follower_us) * 1e-6
            self._engine.after(network_s, partial(self._follow, member, take_in, stored))

    def _follow(self, member: Process, seconds: float, stored: _Stored) -> None:
        network_s = self._costs.network_us * 1e-6
        acknowledge = partial(self._engine.after, network_s, stored.count)
        member.work(seconds, partial(member.node.sync, self._costs.sync_us * 1e-6, acknowledge))

    def _synced(self, stored: _Stored) -> None:
        stored.count()
        self._syncing = False
        self._turn()

    def commit(self, batch: list[Callable[[], None]]) -> None:
        """Apply and answer the writes of an entry that a majority has."""
        each = (1 - LEADER_FIRST) * self._costs.leader_us * 1e-6
        self.leader.work(self._costs.batch_us * 1e-6, _nothing)
        for done in batch:
            self.leader.work(each, done)


class _Stored:
    """An entry, and how many members have it on disk."""

    __slots__ = ("_batch", "_count", "_group")

    def __init__(self, group: Group, batch: list[Callable[[], None]]) -> None:
        self._group, self._batch, self._count = group, batch, 0

    def count(self) -> None:
        """One more has."""
        self._count += 1
        if self._count == MEMBERS // 2 + 1:
            self._group.commit(self._batch)


class Run:
    """One simulated run."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._engine = Engine()
        self._chance = random.Random(seed)
        self._costs = cluster.costs
        self._nodes = [Node(self._engine, cluster.cores) for _ in range(cluster.nodes)]
        self._processes: dict[int, list[Process]] = {number: [] for number in range(cluster.nodes)}
        self._groups: list[tuple[int, Group]] = []
        for number in range(cluster.groups):
            places = [(number + step) % cluster.nodes for step in range(MEMBERS)]
            members = [Process(self._nodes[place]) for place in places]
            for place, member in zip(places, members, strict=True):
                self._processes[place].append(member)
            self._groups.append((places[0], Group(self._engine, members, cluster.costs)))
        self._latencies: list[float] = []
        self._inflight = 0
        self._inflight_s = 0.0
        self._changed_at = 0.0

    def open_loop(self, rate: float, *, warm_up_s: float, seconds: float) -> Result:
        """Offer `rate` writes per second, at random times."""

        def arrive() -> None:
            self._start(_nothing)
            self._engine.after(self._chance.expovariate(rate), arrive)

        self._engine.after(self._chance.expovariate(rate), arrive)
        return self._measure(warm_up_s, seconds)

    def closed_loop(self, clients: int, *, warm_up_s: float, seconds: float) -> Result:
        """Let `clients` write, each again as soon as it has its answer: the most that the cluster can do."""

        def again() -> None:
            self._start(again)

        for number in range(clients):
            self._engine.after(number * 1e-6, again)
        return self._measure(warm_up_s, seconds)

    def _start(self, then: Callable[[], None]) -> None:
        place, group = self._groups[self._chance.randrange(len(self._groups))]
        began = self._engine.now
        self._count(1)

        def done() -> None:
            self._count(-1)
            self._latencies.append(self._engine.now - began)
            then()

        accepting = self._processes[place][self._chance.randrange(len(self._processes[place]))]
        if accepting is group.leader or len(self._groups) == 1:
            group.write(done)
            return
        forward_s = self._costs.forward_us * 1e-6
        accepting.work(forward_s, partial(group.leader.work, forward_s, partial(group.write, done)))

    def _count(self, change: int) -> None:
        now = self._engine.now
        self._inflight_s += self._inflight * (now - self._changed_at)
        self._changed_at = now
        self._inflight += change

    def _measure(self, warm_up_s: float, seconds: float) -> Result:
        self._engine.run(warm_up_s)
        self._count(0)
        self._latencies.clear()
        inflight_s = self._inflight_s
        busy, disk_busy = [one.busy_s for one in self._nodes], [one.disk_busy_s for one in self._nodes]
        leaders = [group.leader for _, group in self._groups]
        leader_busy = [one.busy_s for one in leaders]
        self._engine.run(warm_up_s + seconds)
        self._count(0)
        return Result(
            seconds=seconds,
            latencies=sorted(self._latencies),
            inflight=(self._inflight_s - inflight_s) / seconds,
            busy=[(one.busy_s - before) / seconds for one, before in zip(self._nodes, busy, strict=True)],
            disk_busy=[
                (one.disk_busy_s - before) / seconds for one, before in zip(self._nodes, disk_busy, strict=True)
            ],
            leader_busy=[(one.busy_s - before) / seconds for one, before in zip(leaders, leader_busy, strict=True)],
        )


def _nothing() -> None:
    """Follow with nothing."""
