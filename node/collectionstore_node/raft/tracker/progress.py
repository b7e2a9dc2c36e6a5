"""Replication progress of one follower: what it stores, what is in flight, and how fast to send more.

```
            accepted reply                       rejected reply, report_unreachable
  PROBE ─────────────────────> REPLICATE ────────────────────────────────────────────> PROBE
    │ next entry compacted                                                               ^
    └────────────────────────> SNAPSHOT ── reply that reconnects to the log, report ─────┘
```
PROBE sends one message and waits for its reply or for a heartbeat reply. REPLICATE sends optimistically, limited by the
inflight window in messages and bytes. SNAPSHOT sends nothing.

Invariants: `match_index < next_index`; `match_index` never decreases during a leadership.
Source: etcd-io/raft `tracker`; Raft 5.3; etcd-io/etcd#14633 for the full window.
"""

from __future__ import annotations

from collections import deque

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.messages import Index, NodeId
from collectionstore_node.raft.ready import ProgressState, ProgressStatus


class Inflights:
    """Messages sent and not acknowledged, oldest first, bounded by count and by bytes of entry data."""

    __slots__ = ("_bytes", "_bytes_max", "_count_max", "_window")

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._window: deque[tuple[Index, int]] = deque()
        self._bytes = 0
        self._count_max = count_max
        self._bytes_max = bytes_max

    def __len__(self) -> int:
        return len(self._window)

    def full(self) -> bool:
        """Whether the window is full. The last message may have exceeded the bytes."""
        return len(self._window) >= self._count_max or self._bytes >= self._bytes_max

    def add(self, last_index: Index, size_bytes: int) -> None:
        """Record a message whose last entry is `last_index`. Raises `InvariantViolated` when full."""
        if self.full():
            raise InvariantViolated("a message was sent into a full window")
        self._window.append((last_index, size_bytes))
        self._bytes += size_bytes

    def free_to(self, index: Index) -> None:
        """Forget the messages whose last entry is at or below `index`."""
        window = self._window
        while window and window[0][0] <= index:
            self._bytes -= window.popleft()[1]

    def clear(self) -> None:
        """Forget every message."""
        self._window.clear()
        self._bytes = 0


class Progress:
    """Replication to one follower. The leader holds one for every member but itself."""

    __slots__ = (
        "append_pending",
        "inflights",
        "last_heard_tick",
        "match_index",
        "next_index",
        "paused",
        "pending_snapshot",
        "recent_active",
        "sent_commit",
        "state",
    )

    def __init__(self, next_index: Index, inflights: Inflights, *, recent_active: bool, tick: int) -> None:
        self.state = ProgressState.PROBE
        self.match_index = Index(0)
        self.next_index = next_index
        self.inflights = inflights
        self.paused = False
        """A probe is in flight, or the window is full. Cleared by append and heartbeat replies."""
        self.append_pending = False
        """Send an AppendEntries even without entries: it carries the commit index, or detects lost messages."""
        self.pending_snapshot = Index(0)
        self.sent_commit = Index(0)
        """Commit index in the last message to it."""
        self.recent_active = recent_active
        """Active since the last check-quorum."""
        self.last_heard_tick = tick

    def heard(self, tick: int) -> None:
        """Record a message from the follower."""
        self.recent_active = True
        self.last_heard_tick = tick

    def may_send(self) -> bool:
        """Whether an AppendEntries may be sent now."""
        return not self.paused and self.state is not ProgressState.SNAPSHOT

    def has_room(self) -> bool:
        """Whether that message may carry entries. A full window still lets empty ones through, to detect losses."""
        return self.state is ProgressState.PROBE or not self.inflights.full()

    def become_probe(self) -> None:
        """Probe from the first entry that the follower may not have."""
        next_index = self.match_index + 1
        if self.state is ProgressState.SNAPSHOT:
            # Resume after the snapshot; `report_snapshot` clears `pending_snapshot` if the transfer failed.
            next_index = max(next_index, self.pending_snapshot + 1)
        self._enter(ProgressState.PROBE, Index(next_index))

    def become_replicate(self) -> None:
        """Pipeline entries from the first one that is not known to match."""
        self._enter(ProgressState.REPLICATE, Index(self.match_index + 1))

    def become_snapshot(self, index: Index) -> None:
        """Pause until the snapshot at `index` is delivered or has failed."""
        self._enter(ProgressState.SNAPSHOT, Index(index + 1))
        self.pending_snapshot = index

    def _enter(self, state: ProgressState, next_index: Index) -> None:
        self.state = state
        self.next_index = next_index
        self.paused = False
        self.pending_snapshot = Index(0)
        # The window belongs to the state that is left. Bytes that stay counted would stall replication in the end
        # (etcd-io/raft e419ba5).
        self.inflights.clear()
        self.sent_commit = Index(min(self.sent_commit, next_index - 1))

    def sent(self, entries: int, size_bytes: int, commit: Index) -> None:
        """Record an AppendEntries of `entries` entries from `next_index` on, carrying `commit`."""
        self.sent_commit = commit
        if self.state is ProgressState.PROBE:
            self.paused = True
            return
        if entries:
            self.next_index = Index(self.next_index + entries)
            self.inflights.add(Index(self.next_index - 1), size_bytes)
        self.paused = self.inflights.full()

    def can_bump_commit(self, commit: Index) -> bool:
        """Whether sending `commit` could advance the follower's commit index."""
        return self.sent_commit < commit and self.sent_commit < self.next_index - 1

    def maybe_update(self, index: Index) -> bool:
        """Advance `match_index` to an acknowledged `index`; return whether it advanced."""
        # Acknowledgements may be reordered; a lower one is stale.
        if index <= self.match_index:
            return False
        self.match_index = index
        self.next_index = max(self.next_index, Index(index + 1))
        self.paused = False
        return True

    def maybe_decrease(self, rejected: Index, hint: Index) -> bool:
        """Decrease `next_index` after the rejection of prev_log_index `rejected`; return False if it is stale.

        `hint` is the last index that can match. Replies may be delayed, duplicated or reordered: a rejection is current
        only if it answers the probe in flight, or is above the index known to match. Acting on a stale one would look
        like a follower whose log has shrunk (databendlabs/openraft#1500).
        """
        if self.state is ProgressState.REPLICATE:
            if rejected <= self.match_index:
                return False
            self.become_probe()
            return True
        if self.state is ProgressState.SNAPSHOT or rejected != self.next_index - 1:
            return False
        self.next_index = Index(max(min(rejected, hint + 1), self.match_index + 1))
        self.sent_commit = Index(min(self.sent_commit, self.next_index - 1))
        self.paused = False
        return True

    def status(self, node_id: NodeId, tick: int) -> ProgressStatus:
        """Return the progress for status and metrics."""
        return ProgressStatus(
            node_id=node_id,
            state=self.state,
            match_index=self.match_index,
            next_index=self.next_index,
            recent_active=self.recent_active,
            inflight=len(self.inflights),
            pending_snapshot=self.pending_snapshot,
            silent_ticks=tick - self.last_heard_tick,
        )
