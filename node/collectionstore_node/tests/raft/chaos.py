"""One seed, one run: a cluster under every fault that the algorithm must survive, then a phase in which it must live.

Each seed turns off a random part of the faults, so that some runs go deep where others go wide. The same seed gives
the same run.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from collectionstore_node.errors import InvalidRequest, NotNow
from collectionstore_node.raft.messages import (
    NO_NODE,
    Change,
    ChangeKind,
    ConfigChange,
    Index,
    Message,
    NodeId,
    TimeoutNow,
)
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.tests.raft.cluster import Cluster, Server

WIRE_MAX = 300
LATE_MAX = 60
MEMBERS_MAX = 7


class Chaos:
    """A seeded scheduler over single deliveries, ticks, disk operations and faults."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.cluster = Cluster.of(
            *range(1, self.random.choice((1, 2, 3, 3, 3, 4, 5, 5)) + 1),
            settings=self._draw_settings(),
            random_ticks=self.random.randrange,
        )
        self.ever: set[NodeId] = set(self.cluster.servers)
        self.late: list[Message] = []
        self._next_id = len(self.ever) + 1
        self._request_id = 0
        self._actions, self._weights = self._draw_actions()

    def _draw_settings(self) -> RaftSettings:
        draw = self.random
        return RaftSettings(
            election_ticks=draw.choice((4, 10)),
            heartbeat_ticks=draw.choice((1, 3)),
            message_bytes_max=draw.choice((1, 40, 1 << 20)),
            inflight_messages_max=draw.choice((1, 2, 256)),
            inflight_bytes_max=draw.choice((20, 1 << 20)),
            uncommitted_bytes_max=draw.choice((100, 1 << 20)),
            apply_bytes_max=draw.choice((1, 30, 1 << 20)),
            pre_vote=draw.random() < 0.7,
            check_quorum=draw.random() < 0.7,
        )

    def _draw_actions(self) -> tuple[list[Callable[[], None]], list[float]]:
        always: dict[Callable[[], None], float] = {
            self._deliver: 40,
            self._io: 40,
            self._tick: 25,
            self._propose: 6,
            self._restart: 4,
            self._heal: 2,
        }
        sometimes: dict[Callable[[], None], float] = {
            self._deliver_any: 20,
            self._lose: 3,
            self._duplicate: 3,
            self._delay: 2,
            self._deliver_late: 1,
            self._read: 4,
            self._crash: 0.8,
            self._crash_leader: 0.4,
            self._partition: 0.7,
            self._block_one_way: 0.5,
            self._change_members: 2,
            self._retire: 1,
            self._transfer: 0.7,
            self._campaign: 0.3,
            self._usurp: 1,
            self._compact: 1,
            self._unreachable: 0.5,
        }
        calm = self.random.choice((0.1, 0.4, 1))
        for action in (self._lose, self._crash, self._crash_leader, self._partition, self._block_one_way):
            sometimes[action] *= calm
        chosen = always | {action: weight for action, weight in sometimes.items() if self.random.random() < 0.7}
        return list(chosen), list(chosen.values())

    def run(self, steps: int) -> None:
        """Do `steps` random actions, then heal everything and require the cluster to work."""
        for action in self.random.choices(self._actions, self._weights, k=steps):
            action()
        self.recover()

    def recover(self) -> None:
        """Without faults a leader must emerge, end every change and bring all members to the same state."""
        cluster = self.cluster
        cluster.heal()
        cluster.wire += self.late
        for server in cluster.servers.values():
            if not server.alive:
                server.start()
        cluster.settle()
        # Long enough to lose some elections, abort a transfer and give up reads.
        for _ in range(30 * cluster.settings.election_ticks):
            cluster.tick()
            if self._whole():
                break
        leader = cluster.leader()
        assert leader is not None, "no leader emerges"
        assert self._whole(), f"the members do not come together: {leader.core.status()}"
        index = cluster.propose(b"after")
        cluster.tick(2 * cluster.settings.election_ticks)
        for member in leader.core.configuration.members():
            server = cluster.servers[member]
            assert server.core.applied >= index, f"{member} does not apply what is proposed after the faults"
        assert not cluster.rejected, cluster.rejected[0]
        waiting = [key for key in cluster.observer.waiting_reads() if self._still_lives(*key[:2])]
        if not cluster.settings.check_quorum:
            # Nobody tells a removed leader so, and without check-quorum it does not notice either.
            waiting = [key for key in waiting if key[0] in leader.core.configuration.members()]
        assert not waiting, f"reads that wait for ever: {waiting}"

    def _still_lives(self, node_id: NodeId, life: int) -> bool:
        server = self.cluster.servers.get(node_id)
        return server is not None and server.life == life

    def _whole(self) -> bool:
        leader = self.cluster.leader()
        if leader is None:
            return False
        status = leader.core.status()
        return (
            leader.node_id in status.configuration.voters
            and not status.configuration.joint
            and status.pending_change_index <= status.applied_index
            and not status.transferring_to
            and all(
                self.cluster.servers[member].core.applied == status.last_index
                for member in status.configuration.members()
            )
        )

    # Ordinary life

    def _deliver(self) -> None:
        if self.cluster.wire:
            self.cluster.deliver(self.cluster.wire.pop(0))
        else:
            self._io()

    def _deliver_any(self) -> None:
        if self.cluster.wire:
            self.cluster.deliver(self.cluster.wire.pop(self.random.randrange(len(self.cluster.wire))))

    def _io(self) -> None:
        alive = self.cluster.alive()
        for server in self.random.sample(alive, len(alive)):
            if server.writing is not None:
                server.finish_io()
                break
            if server.begin_io():
                break
        while len(self.cluster.wire) > WIRE_MAX:
            self._lose()

    def _tick(self) -> None:
        server = self._any_alive()
        if server is not None:
            server.tick()

    def _propose(self) -> None:
        for server in self._leaders():
            try:
                server.core.propose(self.random.randbytes(self.random.choice((0, 5, 30))))
            except NotNow:
                return

    def _read(self) -> None:
        server = self._any_alive()
        if server is not None:
            self._request_id += 1
            server.read(self._request_id)

    # Faults

    def _lose(self) -> None:
        wire = self.cluster.wire
        if wire:
            self.cluster.deliver(wire.pop(self.random.randrange(len(wire))), lost=True)

    def _duplicate(self) -> None:
        wire = self.cluster.wire
        if wire:
            wire.append(self.random.choice(wire))

    def _delay(self) -> None:
        """Put a message aside, for so long that it belongs to another time."""
        wire = self.cluster.wire
        if wire and len(self.late) < LATE_MAX:
            self.late.append(wire.pop(self.random.randrange(len(wire))))

    def _deliver_late(self) -> None:
        if self.late:
            self.cluster.deliver(self.late.pop(self.random.randrange(len(self.late))))

    def _usurp(self) -> None:
        """Order a random follower to campaign: it overrides every lease."""
        server = self._any_alive()
        if server is not None and server.core.leader not in (NO_NODE, server.node_id):
            server.step(TimeoutNow(server.core.leader, server.node_id, server.core.term))

    def _crash(self) -> None:
        server = self._any_alive()
        if server is not None:
            server.crash(kept=self.random.randrange(server.disk.unsynced + 1))

    def _crash_leader(self) -> None:
        for server in self._leaders():
            server.crash(kept=self.random.randrange(server.disk.unsynced + 1))

    def _restart(self) -> None:
        down = [server for server in self.cluster.servers.values() if not server.alive]
        if down:
            self.random.choice(down).start()

    def _partition(self) -> None:
        servers = list(self.cluster.servers)
        self.cluster.isolate(*self.random.sample(servers, self.random.randrange(len(servers))))

    def _block_one_way(self) -> None:
        one, other = (self.random.choice(list(self.cluster.servers)) for _ in range(2))
        self.cluster.block(one, other, both=False)

    def _heal(self) -> None:
        self.cluster.heal()

    def _unreachable(self) -> None:
        server = self._any_alive()
        if server is not None:
            server.core.report_unreachable(self.random.choice(list(self.cluster.servers)))

    def _campaign(self) -> None:
        server = self._any_alive()
        if server is not None:
            server.core.campaign()

    def _compact(self) -> None:
        server = self._any_alive()
        if server is not None:
            server.compact(keep=self.random.choice((0, 0, 3)))

    # Administration

    def _transfer(self) -> None:
        for server in self._leaders():
            try:
                server.core.transfer_leadership(self.random.choice(server.core.configuration.voters))
            except NotNow:
                return

    def _change_members(self) -> None:
        for server in self._leaders():
            change = self._draw_change(server)
            try:
                server.core.propose_change(change)
            except (NotNow, InvalidRequest):
                continue
            for step in change.changes:
                if step.node_id not in self.ever:
                    self.ever.add(step.node_id)
                    self.cluster.add(step.node_id)

    def _draw_change(self, server: Server) -> ConfigChange:
        draw = self.random
        members = sorted(server.core.configuration.members())
        steps: dict[NodeId, ChangeKind] = {}
        for _ in range(draw.choice((1, 1, 2, 3))):
            if draw.random() < 0.4 and len(members) < MEMBERS_MAX:
                steps[NodeId(self._next_id)] = draw.choice((ChangeKind.ADD_VOTER, ChangeKind.ADD_LEARNER))
                self._next_id += 1
            else:
                steps[draw.choice(members)] = draw.choice(list(ChangeKind))
        return ConfigChange(tuple(Change(kind, node_id) for node_id, kind in steps.items()))

    def _retire(self) -> None:
        """Switch off for good whoever a completed change has removed, as an operator would."""
        for server in self._leaders():
            if not server.alive:
                continue
            status = server.core.status()
            if status.configuration.joint or status.pending_change_index > status.applied_index:
                continue
            known = self.cluster.observer.members_until(status.applied_index)
            for node_id in sorted(known - status.configuration.members()):
                removed = self.cluster.servers.pop(node_id, None)
                if removed is not None and removed.alive:
                    removed.crash()

    def _any_alive(self) -> Server | None:
        alive = self.cluster.alive()
        return self.random.choice(alive) if alive else None

    def _leaders(self) -> list[Server]:
        return [server for server in self.cluster.alive() if server.core.is_leader]


def run(seed: int, steps: int) -> Index:
    """Run one seed; return how far the cluster committed."""
    chaos = Chaos(seed)
    chaos.run(steps)
    return chaos.cluster.observer.commit
