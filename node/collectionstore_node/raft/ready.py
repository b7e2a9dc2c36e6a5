"""The effects that the driver must perform, and their order: the durability contract, written on the data.

The driver takes one `Ready`, performs it in the order of the fields, calls `RaftNode.advance`, and only then takes the
next one. It may step, tick and propose meanwhile. The sync of what was written is apart from that: it may end many
Ready later, and cover several; `RaftNode.durable` tells the core (etcd-io/raft "asynchronous storage writes").
Source: etcd-io/raft `Ready`; Raft 5.3; thesis 3.8 and 10.2.1.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import msgspec

from collectionstore_node.raft.messages import (
    Configuration,
    Entry,
    HardState,
    Index,
    Message,
    NodeId,
    SnapshotMetadata,
    Term,
)


class Role(enum.Enum):
    """Role of a node; `LEARNER` is a follower without a vote."""

    FOLLOWER = "Follower"
    PRE_CANDIDATE = "PreCandidate"
    CANDIDATE = "Candidate"
    LEADER = "Leader"
    LEARNER = "Learner"


class ProgressState(enum.Enum):
    """State of the replication to a follower; see `tracker.progress`."""

    PROBE = "Probe"
    REPLICATE = "Replicate"
    SNAPSHOT = "Snapshot"


class SoftState(msgspec.Struct, frozen=True):
    """Volatile state, for logging and routing; never persisted."""

    leader: NodeId
    role: Role


class ReadState(msgspec.Struct, frozen=True, gc=False):
    """The read `request_id` may be served once `index` is applied (thesis 6.4)."""

    request_id: int
    index: Index


class Ready(msgspec.Struct, frozen=True):
    """Everything the driver must do before the next `Ready`, but for the sync of `write`."""

    soft_state: SoftState | None
    """Set when the leader or the role changed since the last `Ready`."""

    messages: tuple[Message, ...]
    """Send immediately; a leader's AppendEntries may be sent BEFORE its own sync (thesis 10.2.1). While the rest takes
    long, `RaftNode.take_messages` has more."""

    snapshot: SnapshotMetadata | None
    """Install the received state, durably, BEFORE storing `entries`; replaces the whole log and state machine.

    In ONE batch with term and vote of `hard_state`: a log that ends in a later term than the stored one is refused at
    every start."""

    entries: tuple[Entry, ...]
    """Append to the log. If the first index is not past the stored last index, the stored suffix from there on
    conflicts and is replaced."""

    hard_state: HardState | None
    """Store in the same batch as `entries`: a membership change and the commit index that permits it must not part. A
    commit index alone is not stored: the applied index tells as much, and a restart may know less than before."""

    write: int
    """Number of the write that the fields above make; 0 if they make none.

    The write need not be durable when this Ready is done. Once it is, and all writes before it, `RaftNode.durable` says
    what may be sent then: votes, acknowledgements and rejections (thesis 3.8)."""

    committed: tuple[Entry, ...]
    """Apply in order, AFTER the append. A quorum holds all of them durably; this node perhaps not yet, so the state
    must not survive a crash that takes its entries: write both to one journal, in this order.

    For every CHANGE entry the driver calls `RaftNode.apply_change`, in its position in the order."""

    read_states: tuple[ReadState, ...]
    """Reads confirmed since the last `Ready`; serve each AFTER its index is applied."""

    failed_reads: tuple[int, ...] = ()
    """Request IDs of reads that failed because leadership, or the leader, was lost; nothing was read."""


@dataclass(frozen=True, slots=True)
class ProgressStatus:
    """Progress of a follower on the leader, for status and metrics."""

    node_id: NodeId
    state: ProgressState
    match_index: Index
    next_index: Index
    recent_active: bool
    inflight: int
    pending_snapshot: Index
    silent_ticks: int
    """Ticks since its last message to the leader."""


@dataclass(frozen=True, slots=True)
class RaftStatus:
    """A view of the core for status pages, metrics and tests."""

    node_id: NodeId
    role: Role
    term: Term
    vote: NodeId
    leader: NodeId
    commit_index: Index
    applied_index: Index
    first_index: Index
    last_index: Index
    last_log_term: Term
    """Of the entry at `last_index`."""
    configuration: Configuration
    pending_change_index: Index
    transferring_to: NodeId
    progress: tuple[ProgressStatus, ...]
    """Empty unless this node is the leader."""
    elected_by: frozenset[NodeId] = frozenset()
    """The voters that elected this leader; empty unless this node is the leader."""
