"""The cluster of the simulations with what a story needs besides: finer steps, a memory of what happened, and nodes
that stop, as a process would, when their core or their disk says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from collectionstore_node.errors import Fatal
from collectionstore_node.raft.messages import (
    GENESIS_CHAIN,
    Change,
    ChangeKind,
    ConfigChange,
    Entry,
    EntryKind,
    HardState,
    Index,
    Message,
    NodeId,
    Term,
    chain_hash,
    encode,
)
from collectionstore_node.tests.raft.cluster import Cluster, Image, Server
from collectionstore_node.tests.raft.invariants import Observer
from collectionstore_node.tests.raft.promises import ReadKey
from collectionstore_node.tests.scenarios import wording

ROUNDS_MAX = 2000


class Watcher(Observer):
    """Checks the invariants, and remembers what became of the reads."""

    def __init__(self) -> None:
        super().__init__()
        self.alarms: list[str] = []
        self.reads: list[str] = []

    def read_answered(self, key: ReadKey, index: Index) -> None:
        super().read_answered(key, index)
        self.reads.append(f"{key[0]}: may serve read {key[2]} at {index}")

    def read_failed(self, key: ReadKey) -> None:
        super().read_failed(key)
        self.reads.append(f"{key[0]}: gives read {key[2]} up")


@dataclass
class Stage(Cluster):
    """A cluster that a story plays on."""

    watcher: Watcher = field(default_factory=Watcher)
    aside: list[Message] = field(default_factory=list)
    """Messages that are held back."""
    _seen: dict[NodeId, tuple[str, str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.observer = self.watcher

    def found(self, voters: Iterable[int], learners: Iterable[int]) -> None:
        """Start a cluster whose log begins with these members."""
        steps = [Change(ChangeKind.ADD_VOTER, NodeId(node)) for node in voters]
        steps += [Change(ChangeKind.ADD_LEARNER, NodeId(node)) for node in learners]
        data = encode(ConfigChange(tuple(steps)))
        chain = chain_hash(GENESIS_CHAIN, Index(1), Term(1), EntryKind.CHANGE, data)
        first = Entry(Index(1), Term(1), EntryKind.CHANGE, data, chain)
        image = Image(entries=(first,), hard_state=HardState(Term(1), NodeId(0), Index(1)))
        for step in steps:
            self.add(step.node_id, image)
        self.settle()
        self.news()

    def server(self, node_id: int) -> Server:
        """Return a node. Raises `ValueError` when there is none of that id."""
        server = self.servers.get(NodeId(node_id))
        if server is None:
            raise ValueError(f"there is no node {node_id}")
        return server

    @contextmanager
    def stopping(self, node_id: int) -> Iterator[None]:
        """Stop the node when its core or disk says that it must not go on, as its supervisor would see it."""
        try:
            yield
        except Fatal as error:
            self.watcher.alarms.append(f"{node_id}: stops: {error}")
            self.server(node_id).crash()

    def deliver(self, message: Message, *, lost: bool = False) -> None:
        known = len(self.rejected)
        with self.stopping(message.to):
            super().deliver(message, lost=lost)
        for text in self.rejected[known:]:
            reason = text.removeprefix(f"{message}: ")
            self.watcher.alarms.append(
                f"{message.to}: rejects {wording.type_of(message)} of {message.sender}: {reason}"
            )

    def settle(self, rounds: int = ROUNDS_MAX) -> None:
        self.stabilize(set(self.servers), rounds)

    def stabilize(self, nodes: set[NodeId], rounds: int = ROUNDS_MAX, *, kept: Collection[str] = ()) -> None:
        """Let `nodes` work and deliver what is sent to them, in order, until nothing moves.

        Messages of the types `kept` stay on the wire.
        """
        for _ in range(rounds):
            moved = False
            for node_id in sorted(nodes):
                if self.servers[node_id].alive:
                    with self.stopping(node_id):
                        moved |= self.servers[node_id].run_io()
            due, self.wire = parted(
                self.wire,
                lambda message: (
                    (message.to in nodes or message.to not in self.servers) and wording.type_of(message) not in kept
                ),
            )
            for message in due:
                self.deliver(message)
            if not due and not moved:
                return
        raise AssertionError("the cluster does not come to rest")

    def news(self) -> list[str]:
        """Return what changed since the last call: alarms, roles, configurations, commits, reads."""
        changes: list[dict[str, list[NodeId]]] = [{}, {}, {}]
        for node_id, server in sorted(self.servers.items()):
            if not server.alive:
                self._seen.pop(node_id, None)
                continue
            core = server.core
            now = (wording.role(core), wording.configuration(core.configuration), f"commit {core.commit_index}")
            for kind, (text, before) in enumerate(zip(now, self._seen.get(node_id, now), strict=True)):
                if text != before:
                    changes[kind].setdefault(text, []).append(node_id)
            self._seen[node_id] = now
        watcher = self.watcher
        lines = [f"{wording.nodes(who)}: {text}" for kind in changes for text, who in kind.items()]
        lines = watcher.alarms + lines + watcher.reads
        watcher.alarms, watcher.reads = [], []
        return lines


def parted(messages: Iterable[Message], chosen: Callable[[Message], bool]) -> tuple[list[Message], list[Message]]:
    """Return the messages that are chosen, and the others, both in their order."""
    yes: list[Message] = []
    no: list[Message] = []
    for message in messages:
        (yes if chosen(message) else no).append(message)
    return yes, no
