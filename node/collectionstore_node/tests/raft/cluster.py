"""A whole Raft group in one thread: cores, disks that lose what was not synced, and a network of single messages.

Nothing here is random. Scripted tests drive it in a fixed order (`settle`), simulations choose the order from a seed
(`chaos`). Every effect passes an `Observer` that checks the invariants of the algorithm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from collectionstore_node.errors import MessageRejected
from collectionstore_node.raft.memory_log import MemoryLog
from collectionstore_node.raft.messages import (
    GENESIS_CHAIN,
    Change,
    ChangeKind,
    ConfigChange,
    Entry,
    EntryKind,
    HardState,
    Index,
    InstallSnapshot,
    Message,
    NodeId,
    SnapshotMetadata,
    Term,
    TimeoutNow,
    chain_hash,
    decode_messages,
    encode,
)
from collectionstore_node.raft.node import RaftNode
from collectionstore_node.raft.ready import Ready
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.tests.raft.invariants import Observer

EMPTY_SNAPSHOT: Final = SnapshotMetadata()
EMPTY_HARD_STATE: Final = HardState()


@dataclass(frozen=True)
class Image:
    """What a disk holds at one moment; cheap to copy, as nothing in it changes."""

    snapshot: SnapshotMetadata = EMPTY_SNAPSHOT
    entries: tuple[Entry, ...] = ()
    hard_state: HardState = EMPTY_HARD_STATE
    applied: SnapshotMetadata = EMPTY_SNAPSHOT
    """Where the state machine stands."""


class Disk:
    """One write-ahead log: writes reach the disk in their order, and a crash keeps some prefix of the unsynced ones."""

    def __init__(self, image: Image) -> None:
        self._unsynced: list[Image] = []
        self._durable = image

    @property
    def durable(self) -> Image:
        """What survives any crash."""
        return self._durable

    @property
    def current(self) -> Image:
        """What a read returns."""
        return self._unsynced[-1] if self._unsynced else self._durable

    @property
    def unsynced(self) -> int:
        """How many writes a crash may lose."""
        return len(self._unsynced)

    def write(self, image: Image) -> None:
        self._unsynced.append(image)

    def sync(self) -> None:
        self._durable = self.current
        self._unsynced.clear()

    def crash(self, kept: int = 0) -> None:
        """Lose all unsynced writes but the first `kept`."""
        if kept:
            self._durable = self._unsynced[kept - 1]
        self._unsynced.clear()


class Server:
    """A core with its driver and disk. The driver's work is cut in two, so that anything may happen in between."""

    def __init__(self, node_id: NodeId, disk: Disk, cluster: Cluster) -> None:
        self.node_id = node_id
        self.disk = disk
        self._cluster = cluster
        self.log = MemoryLog()
        self.node: RaftNode | None = None
        self.writing: Ready | None = None
        self.applied = SnapshotMetadata()
        self.life = 0

    @property
    def alive(self) -> bool:
        return self.node is not None

    @property
    def core(self) -> RaftNode:
        assert self.node is not None, f"server {self.node_id} is down"
        return self.node

    def start(self) -> None:
        """Start the process from what the disk holds, making all of it durable first."""
        assert self.node is None
        self.disk.sync()
        image = self.disk.durable
        self.log = MemoryLog(image.entries, image.snapshot)
        self.applied = image.applied
        self.life += 1
        self.node = RaftNode(
            self.node_id,
            self._cluster.settings,
            self.log,
            hard_state=image.hard_state,
            configuration=image.applied.configuration,
            applied=image.applied.index,
            random_ticks=self._cluster.random_ticks or self._own_ticks,
        )
        self._cluster.observer.started(self.node)

    def _own_ticks(self, lo: int, hi: int) -> int:
        return lo + (2 * self.node_id - 1) % (hi - lo)

    def crash(self, kept: int = 0) -> None:
        """Stop without warning; of the unsynced writes only the first `kept` survive."""
        self.node = None
        self.writing = None
        self.disk.crash(min(kept, self.disk.unsynced))

    def step(self, message: Message) -> None:
        """Hand a message to the core. No correct peer's message may be rejected."""
        self.core.step(message)
        self._observe()

    def tick(self) -> None:
        self.core.tick()
        self._observe()

    def begin_io(self) -> bool:
        """Take a Ready, send what may leave at once and write, without a sync. Return whether there was one."""
        if self.writing is not None or not self.core.has_ready():
            return False
        ready = self.core.ready()
        self.writing = ready
        self._cluster.observer.ready(self.core, ready, self.disk.durable)
        self._send(ready.messages)
        if ready.snapshot is not None:
            self._install(ready.snapshot)
        if ready.entries:
            self.log.append(ready.entries)
        if ready.entries or ready.hard_state is not None:
            self._write(ready.hard_state)
        if self.core.is_leader:
            self._cluster.observer.leading(self.core, self.log)
        self._observe()
        return True

    def finish_io(self) -> None:
        """Sync, send the rest, apply, and tell the core."""
        ready = self.writing
        assert ready is not None
        if ready.must_sync:
            self.disk.sync()
        self._send(ready.messages_after_append)
        for entry in ready.committed:
            configuration = self.applied.configuration
            if entry.kind is EntryKind.CHANGE:
                configuration = self.core.apply_change(entry)
                self._cluster.observer.configured(entry.index, configuration)
            self.applied = SnapshotMetadata(entry.index, entry.term, entry.chain, configuration)
            self._cluster.observer.applied(self.core, entry)
        if ready.committed:
            self._write(None)
        self.writing = None
        self.core.advance(ready)
        for state in ready.read_states:
            self._cluster.observer.read_answered((self.node_id, self.life, state.request_id), state.index)
        for request_id in ready.failed_reads:
            self._cluster.observer.read_failed((self.node_id, self.life, request_id))
        self._observe()

    def run_io(self) -> bool:
        """Do all the driver's work there is; return whether there was any."""
        worked = False
        if self.writing is not None:
            self.finish_io()
            worked = True
        while self.begin_io():
            self.finish_io()
            worked = True
        return worked

    def compact(self, keep: int = 0) -> None:
        """Drop the log up to what is applied, but for the last `keep` entries. AFTER the applied state is durable."""
        index = Index(self.applied.index - keep)
        if self.writing is not None or index <= self.log.snapshot().index:
            return
        self.disk.sync()
        configuration = self._cluster.observer.configuration_at(index)
        self.log.compact(SnapshotMetadata(index, self.log.term(index), self.log.chain(index), configuration))
        self._write(None)
        self.disk.sync()

    def read(self, request_id: int) -> None:
        """Ask for a linearizable read; the observer knows what it must not miss."""
        self._cluster.observer.read_asked((self.node_id, self.life, request_id))
        self.core.read_index(request_id)
        self._observe()

    def _install(self, metadata: SnapshotMetadata) -> None:
        self.log.install(metadata)
        self.applied = metadata
        self._write(None)
        self.disk.sync()
        self._cluster.observer.installed(self.core, metadata)

    def _write(self, hard_state: HardState | None) -> None:
        current = self.disk.current
        lo, hi = self.log.first_index(), Index(self.log.last_index() + 1)
        entries = self.log.entries(lo, hi, 1 << 60) if lo < hi else ()
        self.disk.write(Image(self.log.snapshot(), entries, hard_state or current.hard_state, self.applied))

    def _send(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._cluster.observer.sent(self.core, self.disk.durable, message)
            if isinstance(message, InstallSnapshot):
                # The driver sends the state as it is now, which is at least what the log starts from.
                message = InstallSnapshot(message.sender, message.to, message.term, self.applied)
            self._cluster.transmit(message)

    def _observe(self) -> None:
        self._cluster.observer.changed(self.core, self._cluster.durable_images())


@dataclass
class Cluster:
    """Servers by id, and the messages between them, oldest first."""

    settings: RaftSettings = field(default_factory=RaftSettings)
    random_ticks: Callable[[int, int], int] | None = None
    """Without it every server has a fixed timeout of its own, lower ids the shorter ones."""
    servers: dict[NodeId, Server] = field(default_factory=dict)
    wire: list[Message] = field(default_factory=list)
    blocked: set[tuple[NodeId, NodeId]] = field(default_factory=set)
    """Directed links that lose everything."""
    observer: Observer = field(default_factory=Observer)
    rejected: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls, *voters: int, settings: RaftSettings | None = None, random_ticks: Callable[[int, int], int] | None = None
    ) -> Cluster:
        """Return a running cluster whose log begins with these voters."""
        cluster = cls(settings=settings or RaftSettings(), random_ticks=random_ticks)
        change = ConfigChange(tuple(Change(ChangeKind.ADD_VOTER, NodeId(voter)) for voter in voters))
        data = encode(change)
        chain = chain_hash(GENESIS_CHAIN, Index(1), Term(1), EntryKind.CHANGE, data)
        first = Entry(Index(1), Term(1), EntryKind.CHANGE, data, chain)
        image = Image(entries=(first,), hard_state=HardState(Term(1), NodeId(0), Index(1)))
        for voter in voters:
            cluster.add(voter, image)
        cluster.settle()
        return cluster

    def add(self, node_id: int, image: Image | None = None) -> Server:
        """Add a server, by default with an empty disk, as a new member starts."""
        server = Server(NodeId(node_id), Disk(image or Image()), self)
        self.servers[server.node_id] = server
        server.start()
        return server

    def __getitem__(self, node_id: int) -> Server:
        return self.servers[NodeId(node_id)]

    def alive(self) -> list[Server]:
        return [server for server in self.servers.values() if server.alive]

    def leader(self) -> Server | None:
        """Return the leader of the highest term."""
        leaders = [server for server in self.alive() if server.core.is_leader]
        return max(leaders, key=lambda server: server.core.term, default=None)

    def durable_images(self) -> dict[NodeId, Image]:
        return {node_id: server.disk.durable for node_id, server in self.servers.items()}

    # The network

    def transmit(self, message: Message) -> None:
        """Put a message on the wire, as bytes would do it."""
        self.wire.extend(decode_messages(encode((message,))))

    def block(self, one: int, other: int, *, both: bool = True) -> None:
        self.blocked.add((NodeId(one), NodeId(other)))
        if both:
            self.blocked.add((NodeId(other), NodeId(one)))

    def isolate(self, *nodes: int) -> None:
        """Cut `nodes` off from everybody else; among themselves they can talk."""
        for one in nodes:
            for other in self.servers:
                if other not in nodes:
                    self.block(one, other)

    def heal(self) -> None:
        self.blocked.clear()

    def deliver(self, message: Message, *, lost: bool = False) -> None:
        """Hand `message` to its receiver, unless the link or the receiver is down; report a snapshot's fate."""
        receiver = self.servers.get(message.to)
        arrived = not lost and (message.sender, message.to) not in self.blocked
        arrived = arrived and receiver is not None and receiver.alive
        if arrived and receiver is not None:
            try:
                receiver.step(message)
            except MessageRejected as error:
                self.rejected.append(f"{message}: {error}")
        sender = self.servers.get(message.sender)
        if isinstance(message, InstallSnapshot) and sender is not None and sender.alive:
            sender.core.report_snapshot(message.to, delivered=arrived)

    def deliver_all(self) -> None:
        """Deliver what is on the wire now, in order, doing no I/O."""
        messages, self.wire = self.wire, []
        for message in messages:
            self.deliver(message)

    def settle(self, rounds: int = 3000) -> None:
        """Do all I/O and deliver everything in order, until nothing moves."""
        for _ in range(rounds):
            worked = [server.run_io() for server in self.alive()]
            delivered = bool(self.wire)
            self.deliver_all()
            if not delivered and not any(worked):
                return
        raise AssertionError("the cluster does not come to rest")

    def tick(self, count: int = 1) -> None:
        """Let time pass for everybody, settling after every tick."""
        for _ in range(count):
            for server in self.alive():
                server.tick()
            self.settle()

    def elect(self, node_id: int) -> Server:
        """Make a server the leader, by order of the one it follows if there is one: that overrides leases."""
        core = self[node_id].core
        if core.leader:
            core.step(TimeoutNow(core.leader, core.node_id, core.term))
        else:
            core.campaign()
        self.settle()
        assert self[node_id].core.is_leader
        return self[node_id]

    def propose(self, data: bytes = b"x") -> Index:
        """Propose on the leader and settle; return the index."""
        leader = self.leader()
        assert leader is not None
        index, _ = leader.core.propose(data)
        self.settle()
        return index
