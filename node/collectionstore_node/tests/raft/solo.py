"""One core with a disk that obeys at once: the bench for tests that step single messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from collectionstore_node.raft.messages import (
    GENESIS_CHAIN,
    AppendEntries,
    AppendReply,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Heartbeat,
    Index,
    Message,
    NodeId,
    SnapshotMetadata,
    Term,
    VoteReply,
    chain_hash,
)
from collectionstore_node.raft.node import RaftNode
from collectionstore_node.raft.ready import ReadState
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.tests.raft.memory_log import MemoryLog

M = TypeVar("M")


def make_entries(
    terms: Iterable[int],
    *,
    after: SnapshotMetadata | Entry | None = None,
    kind: EntryKind = EntryKind.COMMANDS,
    data: bytes | None = None,
) -> tuple[Entry, ...]:
    """Return chained entries with the given terms, from index 1 or from the one behind `after`."""
    index, chain = (0, GENESIS_CHAIN) if after is None else (int(after.index), after.chain)
    entries = []
    for term in terms:
        index += 1
        payload = b"%d@%d" % (index, term) if data is None else data
        chain = chain_hash(chain, Index(index), Term(term), kind, payload)
        entries.append(Entry(Index(index), Term(term), kind, payload, chain))
    return tuple(entries)


def voters(*ids: int) -> Configuration:
    """Return a configuration of these voters."""
    return Configuration(voters=tuple(NodeId(node_id) for node_id in sorted(ids)))


@dataclass
class Output:
    """What came out of the core since the last look, merged over all Ready."""

    messages: list[Message] = field(default_factory=list)
    committed: list[Entry] = field(default_factory=list)
    read_states: list[ReadState] = field(default_factory=list)
    failed_reads: list[int] = field(default_factory=list)
    hard_states: list[HardState] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def of(self, kind: type[M]) -> list[M]:
        return [message for message in self.messages if isinstance(message, kind)]


class Solo:
    """A core, its stored log and its hard state. `take` runs the driver until the core is quiet."""

    def __init__(
        self,
        *,
        node_id: int = 1,
        configuration: Configuration | None = None,
        log: Sequence[Entry] = (),
        snapshot: SnapshotMetadata | None = None,
        term: int | None = None,
        vote: int = 0,
        commit: int | None = None,
        applied: int | None = None,
        settings: RaftSettings | None = None,
        random_ticks: Callable[[int, int], int] = lambda lo, hi: lo,
    ) -> None:
        self.log = MemoryLog(log, snapshot)
        last = self.log.last_index()
        floor = self.log.snapshot().index
        self.hard_state = HardState(
            term=Term(self.log.term(last) if term is None else term),
            vote=NodeId(vote),
            commit=Index(floor if commit is None else commit),
        )
        self.configuration = voters(1, 2, 3) if configuration is None else configuration
        self.settings = settings or RaftSettings()
        self.node_id = NodeId(node_id)
        self.node = RaftNode(
            self.node_id,
            self.settings,
            self.log,
            hard_state=self.hard_state,
            configuration=self.configuration,
            applied=Index(self.hard_state.commit if applied is None else applied),
            random_ticks=random_ticks,
        )

    def take(self) -> Output:
        """Do everything the core asks for, until it asks for nothing; return what it sent and handed out."""
        output = Output()
        while self.node.has_ready():
            ready = self.node.ready()
            output.messages += ready.messages
            if ready.snapshot is not None:
                self.log.install(ready.snapshot)
            if ready.entries:
                self.log.append(ready.entries)
                output.entries += ready.entries
            if ready.hard_state is not None:
                self.hard_state = ready.hard_state
                output.hard_states.append(ready.hard_state)
            for entry in ready.committed:
                if entry.kind is EntryKind.CHANGE:
                    self.configuration = self.node.apply_change(entry)
            output.committed += ready.committed
            output.read_states += ready.read_states
            output.failed_reads += ready.failed_reads
            self.node.advance(ready)
            output.messages += self.node.durable(ready.write)
        return output

    def step(self, *messages: Message) -> Output:
        for message in messages:
            self.node.step(message)
        return self.take()

    def tick(self, count: int = 1) -> Output:
        """Let `count` ticks pass, then do everything the core asks for."""
        for _ in range(count):
            self.node.tick()
        return self.take()

    def elect(self) -> Output:
        """Make this node the leader by the votes of all others; return what it sent on winning."""
        self.node.campaign()
        self.take()
        others = sorted({*self.configuration.voters, *self.configuration.outgoing} - {self.node_id})
        for pre_vote in (True, False):
            term = Term(self.node.term + 1) if pre_vote else self.node.term
            for other in others:
                if not self.node.is_leader:
                    self.node.step(VoteReply(other, self.node_id, term, granted=True, pre_vote=pre_vote))
            output = self.take()
        assert self.node.is_leader
        return output

    def acknowledge(self, *peers: int, index: int | None = None) -> Output:
        """Have `peers` acknowledge everything up to `index`, by default the whole log."""
        upto = self.node.last_index if index is None else Index(index)
        return self.step(*[AppendReply(NodeId(peer), self.node_id, self.node.term, upto) for peer in peers])

    def append(
        self,
        entries: Sequence[Entry],
        *,
        leader: int = 2,
        term: int | None = None,
        commit: int = 0,
        prev: Entry | None = None,
    ) -> AppendEntries:
        """Return an AppendEntries from `leader` with `entries` behind `prev`."""
        return AppendEntries(
            sender=NodeId(leader),
            to=self.node_id,
            term=Term(self.node.term if term is None else term),
            prev_log_index=Index(0) if prev is None else prev.index,
            prev_log_term=Term(0) if prev is None else prev.term,
            entries=tuple(entries),
            leader_commit=Index(commit),
        )

    def heartbeat(self, *, leader: int = 2, term: int | None = None, commit: int = 0, sequence: int = 0) -> Heartbeat:
        """Return a heartbeat from `leader`."""
        at = Term(self.node.term if term is None else term)
        return Heartbeat(NodeId(leader), self.node_id, at, Index(commit), sequence)
