"""The state of a node: `RaftState`, and `Leadership` while it is the leader (Raft Figure 2, "State").

Only modules of this package modify it. All leader state is one object that is dropped as a whole at the end of the
leadership, so that no transfer, counter or queued read outlives it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from collectionstore_node.raft.log import RaftLog
from collectionstore_node.raft.messages import NO_NODE, Configuration, HardState, Index, Message, NodeId, Term
from collectionstore_node.raft.ready import ReadState, Role
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.raft.tracker.progress import Inflights, Progress
from collectionstore_node.raft.tracker.read_index import ForwardedReads, ReadQueue

NO_INDEX: Final = Index(0)


class UncommittedBytes:
    """Bytes of this leader's own proposals that are not committed yet.

    The size of each entry is kept and subtracted when it commits, so the sum cannot drift: a leak would refuse all
    proposals in the end (etcd-io/raft a370b6f).
    """

    __slots__ = ("_sizes", "total")

    def __init__(self) -> None:
        self._sizes: deque[tuple[Index, int]] = deque()
        self.total = 0

    def add(self, index: Index, size_bytes: int) -> None:
        if size_bytes:
            self._sizes.append((index, size_bytes))
            self.total += size_bytes

    def committed(self, index: Index) -> None:
        sizes = self._sizes
        while sizes and sizes[0][0] <= index:
            self.total -= sizes.popleft()[1]


@dataclass(slots=True, eq=False)
class Leadership:
    """Leader state. Created when an election is won, dropped when the node steps down."""

    term_start: Index
    """Index of the no-op that opened the term. An entry committed at or after it is of this term (Raft 5.4.2)."""
    pending_change: Index
    """No membership change may be proposed until this index is applied. Starts at `term_start`: the log may contain a
    change of an earlier leader, and scanning for it would be expensive (etcd `pendingConfIndex`). One above the last
    index while the barrier after a change waits for the end of a transfer."""
    progress: dict[NodeId, Progress]
    """Progress of every member of the configuration except this node."""
    replication_pending: bool = True
    """Some follower may be sent more entries; evaluated when a Ready is asked for, not once per cause."""
    untold_commit: Index = NO_INDEX
    """The commit index, if it is kept for `RaftNode.tell_commit`; 0 if it is told, or on its way with entries."""
    commit_due: bool = False
    """A kept commit index is to be told with the next Ready."""
    uncommitted: UncommittedBytes = field(default_factory=UncommittedBytes)
    reads: ReadQueue = field(default_factory=ReadQueue)
    transferee: NodeId = NO_NODE
    transfer_ticks: int = 0
    timeout_now_sent: bool = False
    """The transferee was told to campaign. From here on nothing may be appended until the transfer has ended: voters
    that stored it would refuse the transferee, whose campaign deposes this leader all the same."""
    heartbeat_ticks: int = 0
    quorum_ticks: int = 0
    step_down_index: Index | None = None
    """Set when this leader was removed from the voters: it steps down when the entry at this index, which may still
    have to be appended, commits."""

    def end_transfer(self) -> None:
        """Accept proposals again; also the end of a transfer that was never begun."""
        self.transferee = NO_NODE
        self.transfer_ticks = 0
        self.timeout_now_sent = False


@dataclass(frozen=True, slots=True)
class CampaignOrder:
    """A TimeoutNow that could not be obeyed when it came."""

    term: Term
    leader: NodeId
    last_index: Index
    """A log that has grown since shows that the leader accepts proposals again: it has given up the transfer."""
    tick: int


@dataclass(slots=True, eq=False)
class RaftState:
    """The state of a node in any role, and its pending output to the driver."""

    node_id: NodeId
    settings: RaftSettings
    log: RaftLog
    configuration: Configuration
    """The active configuration: it changes when its entry is applied, not when it is appended."""
    random_ticks: Callable[[int, int], int]
    forwarded: ForwardedReads
    term: Term
    vote: NodeId
    durable: HardState
    """Term and vote that are durable; a candidate's own vote counts once it is in here."""
    emitted: HardState
    """The hard state last handed to the driver."""

    role: Role = Role.FOLLOWER
    leader: NodeId = NO_NODE
    leader_of_term: NodeId = NO_NODE
    """The node seen as leader of the current term, even if it is no longer followed. A second one violates Election
    Safety; its messages are rejected."""
    tick: int = 0
    election_ticks: int = 0
    """Ticks since the last message of the leader, the last vote granted or the start of the campaign."""
    election_timeout: int = 0
    votes: dict[NodeId, bool] = field(default_factory=dict)
    elected_by: frozenset[NodeId] = frozenset()
    """The voters that elected this node. A voter in the sets of two leaders of one term has voted twice."""
    leadership: Leadership | None = None
    learnt_commit: Index = NO_INDEX
    """Commit index learnt from votes during a campaign; known when it is over, see `election.learn_commit`."""
    unapplied_change: Index = NO_INDEX
    """A committed membership change that was found unapplied: spares a search at every tick while it is."""
    order: CampaignOrder | None = None

    messages: list[Message] = field(default_factory=list)
    messages_after_append: list[Message] = field(default_factory=list)
    read_states: list[ReadState] = field(default_factory=list)
    failed_reads: list[int] = field(default_factory=list)

    def send(self, message: Message) -> None:
        """Queue a message that depends on no unsynced state."""
        self.messages.append(message)

    def send_after_append(self, message: Message) -> None:
        """Queue a message to send AFTER the current term, vote and log are durable (thesis 3.8).

        The next Ready finds the write that it waits for, see `writes`.
        """
        self.messages_after_append.append(message)

    def follow(self, leader: NodeId) -> None:
        """Set the known leader of this term; NO_NODE if unknown. Fails the reads forwarded to the previous one."""
        if leader == self.leader:
            return
        self.leader = leader
        if leader:
            self.leader_of_term = leader
        if self.forwarded:
            self.failed_reads.extend(self.forwarded.abandon())

    def is_voter(self) -> bool:
        """Whether this node is a voter, in either half of a joint configuration."""
        return self.node_id in self.configuration.voters or self.node_id in self.configuration.outgoing

    def in_lease(self) -> bool:
        """Whether vote requests are ignored, as a leader was heard within the minimum election timeout."""
        # Only with check-quorum. Without it a leader never steps down on its own, and followers that ignore candidates
        # because of a leader that can no longer commit would wait forever.
        return (
            self.settings.check_quorum and self.leader != NO_NODE and self.election_ticks < self.settings.election_ticks
        )

    def reset_election_timeout(self) -> None:
        """Reset the election timer with a new random timeout (Raft 5.2)."""
        self.election_ticks = 0
        lo = self.settings.election_ticks
        self.election_timeout = self.random_ticks(lo, self.settings.election_ticks_max or 2 * lo)

    def new_progress(self, *, recent_active: bool) -> Progress:
        """Return the initial progress of a follower: PROBE from the end of the log."""
        window = Inflights(self.settings.inflight_messages_max, self.settings.inflight_bytes_max)
        return Progress(Index(self.log.last_index + 1), window, recent_active=recent_active, tick=self.tick)

    def reported_role(self) -> Role:
        """Return the role to report: a follower without a vote is a learner."""
        if self.role is Role.FOLLOWER and self.node_id in self.configuration.learners:
            return Role.LEARNER
        return self.role
