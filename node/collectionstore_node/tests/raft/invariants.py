"""The invariants of Raft, checked on every effect of every core (Raft Figure 3; thesis 3.6, 6.4).

Election safety, log matching, leader completeness, state machine safety; commit only what a quorum holds durably, and
count only what a follower stores; no node campaigns with a committed, unapplied membership change; nothing leaves
that rests on unsynced state; terms, votes and indexes never go back; reads miss nothing that was committed before them.
A violation is an AssertionError whose text names the invariant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from collectionstore_node.raft.messages import (
    NO_NODE,
    AppendEntries,
    AppendReply,
    Configuration,
    Entry,
    EntryKind,
    Heartbeat,
    Index,
    Message,
    NodeId,
    RequestVote,
    SnapshotMetadata,
    Term,
    VoteReply,
)
from collectionstore_node.raft.ready import Ready, Role
from collectionstore_node.tests.raft.disk import Image
from collectionstore_node.tests.raft.memory_log import MemoryLog
from collectionstore_node.tests.raft.promises import Promises, ReadKey

if TYPE_CHECKING:
    from collectionstore_node.raft.node import RaftNode
    from collectionstore_node.tests.raft.cluster import Cluster

Vitals = tuple[Term, NodeId, Index, Index, Index, Role]
"""Term, vote, commit, applied, last index and role of a core."""

CAMPAIGNING: Final = (Role.PRE_CANDIDATE, Role.CANDIDATE)


class Observer:
    """Sees everything, remembers what must stay true."""

    def __init__(self) -> None:
        self.leaders: dict[Term, NodeId] = {}
        self.committed: dict[Index, tuple[Term, bytes]] = {}
        """What some node has applied at each index: (term, chain)."""
        self.commit = Index(0)
        """The highest index that any node called committed."""
        self.promises = Promises()
        self.noted: Callable[[NodeId, Vitals], None] = _forget
        """Called with the vitals of a core after every change."""
        self._written: dict[tuple[Index, Term], bytes] = {}
        self._configurations: dict[Index, Configuration] = {}
        self._seen: dict[NodeId, Vitals] = {}
        self._voted: dict[NodeId, tuple[Term, NodeId]] = {}
        self._promised: dict[NodeId, tuple[Term, NodeId]] = {}
        """Term and vote that each core has given to its driver."""

    @property
    def answered_reads(self) -> int:
        return self.promises.answered_reads

    # What the servers report

    def started(self, node: RaftNode) -> None:
        """A process began: commit and applied may be older than before the restart, never a vote that it has sent."""
        term, vote = self._voted.get(node.node_id, (Term(0), NO_NODE))
        assert node.term >= term, f"{node.node_id} forgot term {term}"
        assert node.term > term or node.vote == vote, f"{node.node_id} forgot its vote in term {term}"
        self._seen[node.node_id] = _vitals(node)
        self._promised[node.node_id] = (node.term, node.vote)

    def stopped(self, node_id: NodeId) -> None:
        self.promises.stopped(node_id)

    def excuse(self, node_id: NodeId) -> None:
        """Let a server forget its votes: a test brings it back without its disk, which no correct one does."""
        self._voted.pop(node_id, None)

    def ready(self, node: RaftNode, ready: Ready) -> None:
        """Check what the core wants to have done, before it is done."""
        for entry in ready.entries:
            chain = self._written.setdefault((entry.index, entry.term), entry.chain)
            assert chain == entry.chain, f"log matching: {node.node_id} writes another entry {entry.index}@{entry.term}"
        term_or_vote = ready.hard_state is not None and (ready.hard_state.term, ready.hard_state.vote) != (
            self._promised.get(node.node_id)
        )
        assert ready.write or not (ready.entries or term_or_vote), "entries, a term or a vote without a sync"
        if ready.hard_state is not None:
            self._promised[node.node_id] = (ready.hard_state.term, ready.hard_state.vote)

    def applied(self, node_id: NodeId, entry: Entry) -> None:
        known = self.committed.setdefault(entry.index, (entry.term, entry.chain))
        assert known == (entry.term, entry.chain), f"state machine safety: {node_id} applies another {entry.index}"
        self.promises.applied(node_id, entry)

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
        self.promises.skipped_to(node.node_id, metadata.index)

    def changed(self, node: RaftNode, disks: Callable[[], Mapping[NodeId, Image]]) -> None:
        """Check a core after every event."""
        now = _vitals(node)
        before = self._seen[node.node_id]
        if now == before:
            return
        term, vote, commit, applied, last, role = now
        assert term >= before[0], "the term fell"
        assert term > before[0] or before[1] in (NO_NODE, vote), f"{node.node_id} votes twice in term {term}"
        assert commit >= before[2], "the commit index fell"
        assert applied >= before[3], "applied fell"
        assert applied <= commit <= last, "applied <= commit <= last"
        self._seen[node.node_id] = now
        self.noted(node.node_id, now)
        if role is Role.LEADER:
            self._check_leader(node, disks)
        elif role in CAMPAIGNING and applied < commit:
            self._check_campaign(node)
        self.commit = max(self.commit, commit)

    def durable(self, node: RaftNode, image: Image) -> None:
        """Check, after every event, that a core takes for durable only what its disk holds."""
        log = node._state.log
        assert log.stable <= log.written <= log.last_index, f"{node.node_id} takes for durable what is not written"
        if log.pending_snapshot is not None or log.stable <= image.snapshot.index:
            return
        assert log.stable <= image.last_index, (
            f"{node.node_id} takes {log.stable} for durable, its disk ends at {image.last_index}"
        )
        if log.first_index() <= log.stable:
            assert log.term(log.stable) == image.term_at(log.stable), (
                f"{node.node_id} takes entry {log.stable} for durable, its disk holds another one"
            )

    def _check_leader(self, node: RaftNode, disks: Callable[[], Mapping[NodeId, Image]]) -> None:
        known = self.leaders.setdefault(node.term, node.node_id)
        assert known == node.node_id, f"election safety: {known} and {node.node_id} lead term {node.term}"
        if node.commit_index > self.commit:
            configuration = node.configuration
            held = {node_id: _durable_to(image, node.term) for node_id, image in disks().items()}
            for voters in (configuration.voters, configuration.outgoing):
                # Counted here anew: the core's own arithmetic is under test.
                holders = [voter for voter in voters if held.get(voter, 0) >= node.commit_index]
                assert 2 * len(holders) > len(voters) or not voters, (
                    f"{node.node_id} commits {node.commit_index}, only {holders} of {voters} hold it durably"
                )

    def _check_campaign(self, node: RaftNode) -> None:
        log = node._state.log
        for index in range(log.applied + 1, log.commit + 1):
            entry = log.entries(Index(index), Index(index + 1), 0)[0]
            assert entry.kind is not EntryKind.CHANGE, (
                f"{node.node_id} campaigns, but has not applied the change of members at {index}"
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

    def counted(self, node: RaftNode, sender: NodeId, cluster: Cluster) -> None:
        """Check, after an acknowledgement, that the leader counts no more than the follower's disk holds."""
        leadership = node._state.leadership
        if leadership is None or sender not in leadership.progress:
            return
        follower = cluster.servers.get(sender)
        if follower is None or follower.disk.durable.hard_state.term > node.term:
            return  # A newer leader may have replaced what the follower had acknowledged.
        match_index = leadership.progress[sender].match_index
        image, log = follower.disk.durable, node._state.log
        assert match_index <= image.last_index, (
            f"{node.node_id} counts {match_index} for {sender}, whose disk ends at {image.last_index}"
        )
        if log.first_index() <= match_index and image.snapshot.index < match_index:
            assert log.term(match_index) == image.term_at(match_index), (
                f"{node.node_id} counts another entry {match_index} for {sender} than it holds"
            )

    def sent(self, node: RaftNode, durable: Image, message: Message) -> None:
        """Check that a message rests only on what would survive a crash now."""
        hard_state = durable.hard_state
        if isinstance(message, VoteReply) and message.granted and not message.pre_vote:
            voted = (hard_state.term, hard_state.vote) == (message.term, message.to)
            assert voted or hard_state.term > message.term, "a vote leaves before it is durable"
            self._check_vote(node.node_id, message.term, message.to)
        elif isinstance(message, RequestVote) and not message.pre_vote:
            assert hard_state.term >= message.term, "a candidate asks before its term is durable"
            self._check_vote(node.node_id, message.term, message.sender)
        elif isinstance(message, AppendEntries | Heartbeat):
            assert (hard_state.term, hard_state.vote) == (message.term, message.sender), "a leader without its own vote"
        elif isinstance(message, AppendReply) and not message.rejected and message.index:
            assert hard_state.term >= message.term, "an acknowledgement leaves before its term is durable"
            last = durable.last_index
            assert last >= message.index, f"{node.node_id} acknowledges {message.index}, its disk ends at {last}"

    def _check_vote(self, node_id: NodeId, term: Term, vote: NodeId) -> None:
        sent = self._voted.get(node_id, (Term(0), NO_NODE))
        assert term != sent[0] or vote == sent[1], f"{node_id} sends a second vote in term {term}"
        if term > sent[0]:
            self._voted[node_id] = (term, vote)

    # What clients ask

    def proposed(self, node_id: NodeId, index: Index, term: Term) -> None:
        self.promises.proposed(node_id, index, term)

    def read_asked(self, key: ReadKey) -> None:
        self.promises.read_asked(key, self.commit)

    def read_answered(self, key: ReadKey, index: Index) -> None:
        self.promises.read_answered(key, index)

    def read_failed(self, key: ReadKey) -> None:
        self.promises.read_failed(key)

    def waiting_reads(self) -> list[ReadKey]:
        """Return the reads that neither completed nor failed."""
        return self.promises.waiting_reads()


def _vitals(node: RaftNode) -> Vitals:
    # Looked at after every event, so not through the core's properties.
    state = node._state
    log = state.log
    return state.term, state.vote, log.commit, log.applied, log.last_index, state.role


def _forget(_node_id: NodeId, _vitals: Vitals) -> None:
    """Ignores everything."""


def _durable_to(image: Image, term: Term) -> Index:
    """Return the last index on a disk that the leader of `term` may count: what it wrote itself, or a snapshot."""
    for entry in reversed(image.entries):
        # Entries of other terms at the end of the log were not written by this leader.
        if entry.term == term:
            return entry.index
    return image.snapshot.index if image.snapshot.term == term else Index(0)
