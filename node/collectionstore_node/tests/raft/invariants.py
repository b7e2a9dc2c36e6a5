"""The invariants of Raft, checked on every effect of every core (Raft Figure 3; thesis 3.6, 6.4).

Election safety, log matching, leader completeness, state machine safety; commit only what a quorum holds durably;
nothing leaves that rests on unsynced state; indexes never fall; reads miss nothing that was committed before them.
A violation is an AssertionError whose text names the invariant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from collectionstore_node.raft.memory_log import MemoryLog
from collectionstore_node.raft.messages import (
    AppendEntries,
    AppendReply,
    Configuration,
    Entry,
    Heartbeat,
    Index,
    Message,
    NodeId,
    RequestVote,
    SnapshotMetadata,
    Term,
    VoteReply,
)
from collectionstore_node.raft.ready import Ready

if TYPE_CHECKING:
    from collectionstore_node.raft.node import RaftNode
    from collectionstore_node.tests.raft.cluster import Image

ReadKey = tuple[NodeId, int, int]


class Observer:
    """Sees everything, remembers what must stay true."""

    def __init__(self) -> None:
        self.leaders: dict[Term, NodeId] = {}
        self.committed: dict[Index, tuple[Term, bytes]] = {}
        """What some node has applied at each index: (term, chain)."""
        self.commit = Index(0)
        """The highest index that any node called committed."""
        self.answered_reads = 0
        self._written: dict[tuple[Index, Term], bytes] = {}
        self._configurations: dict[Index, Configuration] = {}
        self._seen: dict[NodeId, tuple[Term, Index, Index]] = {}
        self._reads: dict[ReadKey, Index] = {}

    # What the servers report

    def started(self, node: RaftNode) -> None:
        """A process began: commit and applied may be older than in its last life, never the term it voted in."""
        self._seen[node.node_id] = (node.term, node.commit_index, node.applied)

    def ready(self, node: RaftNode, ready: Ready, durable: Image) -> None:
        """Check what the core wants to have done, before it is done."""
        if ready.committed:
            assert ready.committed[-1].index <= _last_index(durable), f"{node.node_id} applies what is not durable"
        for entry in ready.entries:
            chain = self._written.setdefault((entry.index, entry.term), entry.chain)
            assert chain == entry.chain, f"log matching: {node.node_id} writes another entry {entry.index}@{entry.term}"
        term_or_vote = ready.hard_state is not None and ready.must_sync
        assert not ready.entries or ready.must_sync, "entries without a sync"
        assert ready.must_sync == bool(ready.entries or term_or_vote)

    def applied(self, node: RaftNode, entry: Entry) -> None:
        known = self.committed.setdefault(entry.index, (entry.term, entry.chain))
        assert known == (entry.term, entry.chain), f"state machine safety: {node.node_id} applies another {entry.index}"

    def configured(self, index: Index, configuration: Configuration) -> None:
        known = self._configurations.setdefault(index, configuration)
        assert known == configuration, f"state machine safety: two configurations at {index}"

    def configuration_at(self, index: Index) -> Configuration:
        """Return the configuration in force once `index` is applied."""
        return self._configurations[max(at for at in self._configurations if at <= index)]

    def members_until(self, index: Index) -> set[NodeId]:
        """Return every node that was a member in some configuration up to `index`."""
        return {node for at, known in self._configurations.items() if at <= index for node in known.members()}

    def installed(self, node: RaftNode, metadata: SnapshotMetadata) -> None:
        known = self.committed.get(metadata.index)
        assert known == (metadata.term, metadata.chain), f"{node.node_id} installs a snapshot of another history"

    def changed(self, node: RaftNode, disks: Mapping[NodeId, Image]) -> None:
        """Check a core after every event."""
        term, commit, applied = self._seen[node.node_id]
        assert node.term >= term, "the term fell"
        assert node.commit_index >= commit, "the commit index fell"
        assert node.applied >= applied, "applied fell"
        assert node.applied <= node.commit_index <= node.last_index, "applied <= commit <= last"
        self._seen[node.node_id] = (node.term, node.commit_index, node.applied)
        if node.is_leader:
            self._check_leader(node, disks)
        self.commit = max(self.commit, node.commit_index)

    def _check_leader(self, node: RaftNode, disks: Mapping[NodeId, Image]) -> None:
        known = self.leaders.setdefault(node.term, node.node_id)
        assert known == node.node_id, f"election safety: {known} and {node.node_id} lead term {node.term}"
        if node.commit_index > self.commit:
            configuration = node.configuration
            held = {node_id: _durable_to(image, node.term) for node_id, image in disks.items()}
            for voters in (configuration.voters, configuration.outgoing):
                # Counted here anew: the core's own arithmetic is under test.
                holders = [voter for voter in voters if held.get(voter, 0) >= node.commit_index]
                assert 2 * len(holders) > len(voters) or not voters, (
                    f"{node.node_id} commits {node.commit_index}, only {holders} of {voters} hold it durably"
                )

    def leading(self, node: RaftNode, log: MemoryLog) -> None:
        """Check that the log of the newest leader, as it is written now, holds everything that is committed."""
        if node.term != max(self.leaders, default=node.term) or not self.committed:
            return
        last = max(self.committed)
        assert log.last_index() >= self.commit, f"leader completeness: {node.node_id} lacks committed entries"
        if last >= log.snapshot().index:
            # Equal chains mean equal logs up to there.
            assert log.chain(last) == self.committed[last][1], f"leader completeness: {node.node_id} differs at {last}"

    def sent(self, node: RaftNode, durable: Image, message: Message) -> None:
        """Check that a message rests only on what would survive a crash now."""
        hard_state = durable.hard_state
        if isinstance(message, VoteReply) and message.granted and not message.pre_vote:
            voted = (hard_state.term, hard_state.vote) == (message.term, message.to)
            assert voted or hard_state.term > message.term, "a vote leaves before it is durable"
        elif isinstance(message, RequestVote) and not message.pre_vote:
            assert hard_state.term >= message.term, "a candidate asks before its term is durable"
        elif isinstance(message, AppendEntries | Heartbeat):
            assert (hard_state.term, hard_state.vote) == (message.term, message.sender), "a leader without its own vote"
        elif isinstance(message, AppendReply) and not message.rejected and message.index:
            assert hard_state.term >= message.term, "an acknowledgement leaves before its term is durable"
            last = _last_index(durable)
            assert last >= message.index, f"{node.node_id} acknowledges {message.index}, its disk ends at {last}"

    def read_asked(self, key: ReadKey) -> None:
        self._reads[key] = self.commit

    def read_answered(self, key: ReadKey, index: Index) -> None:
        floor = self._reads.pop(key)
        assert index >= floor, f"stale read: index {index}, but {floor} was committed when it was asked"
        self.answered_reads += 1

    def read_failed(self, key: ReadKey) -> None:
        del self._reads[key]

    def waiting_reads(self) -> list[ReadKey]:
        """Return the reads that were neither answered nor given up."""
        return list(self._reads)


def _last_index(image: Image) -> Index:
    return image.entries[-1].index if image.entries else image.snapshot.index


def _durable_to(image: Image, term: Term) -> Index:
    """Return the last index on a disk that the leader of `term` may count: what it wrote itself, or a snapshot."""
    if image.entries:
        # Entries of other terms at the end of the log were not written by this leader.
        own = [entry.index for entry in image.entries if entry.term == term]
        if own:
            return own[-1]
    return image.snapshot.index if image.snapshot.term == term else Index(0)
