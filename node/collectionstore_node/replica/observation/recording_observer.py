"""The observer of a running node: each event goes to those of metrics, slow log and traces that need it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from collectionstore_node.errors import NotNow
from collectionstore_node.logs import SlowLog
from collectionstore_node.metrics import ReplicaMetrics
from collectionstore_node.raft.messages import Entry, Index, Term
from collectionstore_node.raft.ready import Role, SoftState
from collectionstore_node.replica.observation.command import QueuedCommand
from collectionstore_node.replica.observation.observer import NULL_OBSERVER, DriverObserver
from collectionstore_node.replica.observation.slow_entries import SlowEntries
from collectionstore_node.statemachine.commands import Command, Outcome, SpanContext

if TYPE_CHECKING:
    from collectionstore_node.tracing.spans import Span


class RecordingObserver(DriverObserver):
    """Distributes events. Written out event by event: a loop over observers would cost every event three calls."""

    def __init__(
        self,
        metrics: ReplicaMetrics,
        slow: SlowLog,
        clock: Callable[[], float],
        traces: DriverObserver = NULL_OBSERVER,
    ) -> None:
        """`clock` is the event loop's; without `traces` no entry carries a span context."""
        self._metrics = metrics
        self._slow = slow
        self._slow_entries = SlowEntries(slow, clock)
        self._traces = traces

    def start_propose(self, command: Command, parent: bytes | None, *, forwarded: bool = False) -> Span | None:
        """Start a span."""
        return self._traces.start_propose(command, parent, forwarded=forwarded)

    def start_forward(self, command: Command, parent: bytes | None) -> Span | None:
        """Start a span."""
        return self._traces.start_forward(command, parent)

    def command_queued(self, span: Span | None, outcome: asyncio.Future[Outcome] | None) -> None:
        """Trace, and time the entry from the first command that waits for it."""
        if span is not None:
            self._traces.command_queued(span, outcome)
        self._slow_entries.arrived()

    def command_rejected(self, span: Span | None, error: NotNow) -> None:
        """Trace."""
        self._traces.command_rejected(span, error)

    def queue_rejected(self) -> None:
        """Stop timing."""
        self._slow_entries.refused()

    def entry_contexts(self, batch: Sequence[QueuedCommand]) -> Sequence[SpanContext]:
        """Return the contexts of the sampled commands."""
        return self._traces.entry_contexts(batch)

    def entry_proposed(
        self, index: Index, term: Term, batch: Sequence[QueuedCommand], *, sampled: bool, more: bool
    ) -> None:
        """Time and trace."""
        self._slow_entries.proposed(index, len(batch), more=more)
        if sampled:
            self._traces.entry_proposed(index, term, batch, sampled=sampled, more=more)

    def entries_appended(self, entries: Sequence[Entry], began: float) -> None:
        """Trace."""
        self._traces.entries_appended(entries, began)

    def sync_ended(self, seconds: float) -> None:
        """Log a slow sync."""
        self._slow.fsync(seconds)

    def entries_synced(self, last_index: Index, began: float, ended: float) -> None:
        """Time and trace."""
        self._slow_entries.synced(last_index)
        self._traces.entries_synced(last_index, began, ended)

    def entries_committed(self, committed: Sequence[Entry]) -> None:
        """Trace."""
        self._traces.entries_committed(committed)

    def state_stored(
        self, committed: Sequence[Entry], outcomes: Sequence[Sequence[Outcome]], *, loop_s: float, seconds: float
    ) -> None:
        """Log a slow apply, and count outcomes."""
        self._slow.apply(loop_s, entries=len(committed), index=committed[-1].index)
        self._metrics.applied(outcomes, seconds)

    def entry_applied(self, index: Index, began: float) -> None:
        """Log a slow write."""
        self._slow_entries.applied(index, began)

    def entries_applied(self, committed: Sequence[Entry]) -> None:
        """Trace."""
        self._traces.entries_applied(committed)

    def snapshot_installed(self, index: Index, *, size_bytes: int, seconds: float) -> None:
        """Count and trace."""
        self._metrics.snapshots.done("install", size_bytes=size_bytes, seconds=seconds)
        self._traces.snapshot_installed(index, size_bytes=size_bytes, seconds=seconds)

    def leadership_changed(self, state: SoftState) -> None:
        """Count; a new leader times the entries that this one did not commit."""
        self._metrics.role_changed(state.role, leader=state.leader)
        if state.role is not Role.LEADER:
            self._slow_entries.forget()

    def read_confirmed(self, parent: bytes | None, began: float, *, leader_s: float, confirm_s: float) -> None:
        """Log a slow read, and trace."""
        if leader_s + confirm_s >= self._slow.thresholds.read_s:
            self._slow.read(leader_s + confirm_s, {"leader": leader_s, "confirm": confirm_s})
        if parent is not None:
            self._traces.read_confirmed(parent, began, leader_s=leader_s, confirm_s=confirm_s)
