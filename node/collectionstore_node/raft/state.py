"""Everything one node knows, in two values: `RaftState`, and `Leadership` while it leads.

Figure 2 of the Raft paper calls this the server's state. Only the modules of this package change it. What belongs to
one leadership lives in one object that is dropped as a whole when it ends, so that no transfer, counter or queued
read can outlive it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from collectionstore_node.raft.log import RaftLog
from collectionstore_node.raft.messages import NO_NODE, Configuration, HardState, Index, Message, NodeId, Term
from collectionstore_node.raft.ready import ReadState, Role
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.raft.tracker.progress import Inflights, Progress
from collectionstore_node.raft.tracker.read_index import ForwardedReads, ReadQueue


class UncommittedBytes:
    """Bytes of this leader's own proposals that are not committed yet.

    Sizes are kept per entry and leave together with it, so the sum cannot drift (etcd-io/raft a370b6f).
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
    """What a leader knows beyond its log. Made when an election is won, dropped when the node steps down."""

    term_start: Index
    """The no-op that opened the term. What is committed from here on is of this term (Raft 5.4.2)."""
    pending_change: Index
    """No membership change is proposed before this index is applied. Starts at `term_start`: the log may contain a
    change of an earlier leader, and scanning for it would be dear."""
    progress: dict[NodeId, Progress]
    """Every member of the configuration but this node."""
    replication_pending: bool = True
    """Something changed that may let a follower be sent more; looked at once per Ready, not once per cause."""
    uncommitted: UncommittedBytes = field(default_factory=UncommittedBytes)
    reads: ReadQueue = field(default_factory=ReadQueue)
    transferee: NodeId = NO_NODE
    transfer_ticks: int = 0
    heartbeat_ticks: int = 0
    quorum_ticks: int = 0
    step_down_index: Index | None = None
    """Set when this node led itself out of the voters: the entry whose commit ends the leadership."""


@dataclass(slots=True, eq=False)
class RaftState:
    """What a node knows in any role, and what it wants to tell its driver."""

    node_id: NodeId
    settings: RaftSettings
    log: RaftLog
    configuration: Configuration
    """The applied one: a configuration is active when its entry is applied, not before."""
    random_ticks: Callable[[int, int], int]
    forwarded: ForwardedReads
    term: Term
    vote: NodeId
    durable: HardState
    """The hard state last confirmed by `advance`; a candidate counts itself only once its own vote is in it."""
    emitted: HardState
    """The hard state last given to the driver."""

    role: Role = Role.FOLLOWER
    leader: NodeId = NO_NODE
    leader_of_term: NodeId = NO_NODE
    """Who was seen to lead the current term, even if it is not followed any more. A second one is an alarm."""
    tick: int = 0
    election_ticks: int = 0
    """Ticks since a leader was heard, a vote was given or a campaign begun."""
    election_timeout: int = 0
    votes: dict[NodeId, bool] = field(default_factory=dict)
    elected_by: frozenset[NodeId] = frozenset()
    """Whose votes won the last election of this node. Who stands behind two leaders of one term has voted twice."""
    leadership: Leadership | None = None

    messages: list[Message] = field(default_factory=list)
    messages_after_append: list[Message] = field(default_factory=list)
    read_states: list[ReadState] = field(default_factory=list)
    failed_reads: list[int] = field(default_factory=list)

    def send(self, message: Message) -> None:
        """Queue a message that rests on nothing unsaved."""
        self.messages.append(message)

    def send_after_append(self, message: Message) -> None:
        """Queue a message that may leave only AFTER the present term, vote and log are durable (thesis 3.8)."""
        self.messages_after_append.append(message)

    def follow(self, leader: NodeId) -> None:
        """Take `leader` for the leader of this term; NO_NODE forgets the present one and the reads it was asked."""
        if leader == self.leader:
            return
        self.leader = leader
        if leader:
            self.leader_of_term = leader
        if self.forwarded:
            self.failed_reads.extend(self.forwarded.abandon())

    def is_voter(self) -> bool:
        """Whether this node may campaign: in either half of a joint configuration."""
        return self.node_id in self.configuration.voters or self.node_id in self.configuration.outgoing

    def in_lease(self) -> bool:
        """Whether vote requests are to be ignored, as a leader was heard within the least election timeout."""
        return (
            self.settings.check_quorum and self.leader != NO_NODE and self.election_ticks < self.settings.election_ticks
        )

    def reset_election_timeout(self) -> None:
        """Restart the election timer with a new random timeout (Raft 5.2)."""
        self.election_ticks = 0
        lo = self.settings.election_ticks
        self.election_timeout = self.random_ticks(lo, self.settings.election_ticks_max or 2 * lo)

    def new_progress(self, *, recent_active: bool) -> Progress:
        """Return the progress of a follower of which nothing is known: probe at the end of the log."""
        window = Inflights(self.settings.inflight_messages_max, self.settings.inflight_bytes_max)
        return Progress(Index(self.log.last_index + 1), window, recent_active=recent_active, tick=self.tick)

    def reported_role(self) -> Role:
        """Return the role as the outside sees it: a follower that has no vote is a learner."""
        if self.role is Role.FOLLOWER and self.node_id in self.configuration.learners:
            return Role.LEARNER
        return self.role
