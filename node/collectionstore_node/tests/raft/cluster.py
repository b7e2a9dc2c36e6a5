"""A whole Raft group in one thread: cores, disks that lose what was not synced, and a network of single messages.

Nothing here is random. Scripted tests drive it in a fixed order (`settle`), simulations choose the order from a seed
(`chaos`). Every effect passes an `Observer` that checks the invariants of the algorithm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from collectionstore_node.errors import MessageRejected, StorageFailed
from collectionstore_node.raft.messages import (
    GENESIS_CHAIN,
    Change,
    ChangeKind,
    ConfigChange,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Index,
    InstallSnapshot,
    Message,
    NodeId,
    Term,
    TimeoutNow,
    chain_hash,
    decode_messages,
    encode,
)
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.tests.raft.disk import Disk, Image
from collectionstore_node.tests.raft.invariants import Observer
from collectionstore_node.tests.raft.server import Server

__all__ = ["Cluster", "Disk", "Image", "Server"]


def _reraise(_server: Server, error: StorageFailed) -> None:
    raise error


def _ignore(_message: Message, _data: bytes) -> None:
    """Ignores everything."""


@dataclass
class Cluster:
    """Servers by id, and the messages between them, oldest first."""

    settings: RaftSettings = field(default_factory=RaftSettings)
    random_ticks: Callable[[int, int], int] | None = None
    """Without it every server has a fixed timeout of its own, lower ids the shorter ones."""
    founders: Configuration = field(default_factory=Configuration)
    """The voters with whom the log begins."""
    servers: dict[NodeId, Server] = field(default_factory=dict)
    wire: list[Message] = field(default_factory=list)
    blocked: set[tuple[NodeId, NodeId]] = field(default_factory=set)
    """Directed links that lose everything."""
    observer: Observer = field(default_factory=Observer)
    rejected: list[str] = field(default_factory=list)
    storage_failed: Callable[[Server, StorageFailed], None] = _reraise
    """Decides what becomes of a server whose disk failed. Scripted tests want to see the error."""
    carried: Callable[[Message, bytes], None] = _ignore
    """Called with every message as it is sent."""

    @classmethod
    def of(
        cls, *voters: int, settings: RaftSettings | None = None, random_ticks: Callable[[int, int], int] | None = None
    ) -> Cluster:
        """Return a running cluster whose log begins with these voters."""
        founders = Configuration(voters=tuple(NodeId(voter) for voter in voters))
        cluster = cls(settings=settings or RaftSettings(), random_ticks=random_ticks, founders=founders)
        change = ConfigChange(tuple(Change(ChangeKind.ADD_VOTER, voter) for voter in founders.voters))
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
        data = encode((message,))
        self.carried(message, data)
        self.wire.extend(decode_messages(data))

    def block(self, one: int, other: int, *, both: bool = True) -> None:
        self.blocked.add((NodeId(one), NodeId(other)))
        if both:
            self.blocked.add((NodeId(other), NodeId(one)))

    def isolate(self, *nodes: int) -> None:
        """Partition `nodes` from all others; they can still reach each other."""
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
            if receiver.paused:
                receiver.inbox.append(message)
                return
            self.hand_over(receiver, message)
        sender = self.servers.get(message.sender)
        if isinstance(message, InstallSnapshot) and sender is not None and sender.alive:
            sender.core.report_snapshot(message.to, delivered=arrived)

    def hand_over(self, receiver: Server, message: Message) -> None:
        """Step a message that arrived."""
        try:
            receiver.step(message)
        except MessageRejected as error:
            self.rejected.append(f"{message}: {error}")
        except StorageFailed as error:
            self.storage_failed(receiver, error)

    def deliver_all(self) -> None:
        """Deliver what is on the wire now, in order, doing no I/O."""
        messages, self.wire = self.wire, []
        for message in messages:
            self.deliver(message)

    def settle(self, rounds: int = 3000) -> None:
        """Do all I/O and deliver everything in order, until nothing moves."""
        for _ in range(rounds):
            worked = [self._work(server) for server in self.alive()]
            delivered = bool(self.wire)
            self.deliver_all()
            if not delivered and not any(worked):
                return
        raise AssertionError("the cluster does not come to rest")

    def _work(self, server: Server) -> bool:
        try:
            return server.run_io()
        except StorageFailed as error:
            self.storage_failed(server, error)
            return True

    def tick(self, count: int = 1) -> None:
        """Advance time for all nodes, settling after every tick."""
        for _ in range(count):
            for server in self.alive():
                try:
                    server.tick()
                except StorageFailed as error:
                    self.storage_failed(server, error)
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
