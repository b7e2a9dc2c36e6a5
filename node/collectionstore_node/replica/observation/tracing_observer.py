"""Spans of sampled commands, entries and reads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from collectionstore_node.errors import NotNow
from collectionstore_node.raft.messages import Entry, Index, Term
from collectionstore_node.replica.observation.command import QueuedCommand
from collectionstore_node.replica.observation.command_spans import begin_forward, begin_propose, end_with
from collectionstore_node.replica.observation.entry_spans import EntrySpans
from collectionstore_node.replica.observation.observer import DriverObserver
from collectionstore_node.statemachine.commands import Command, Outcome, SpanContext

if TYPE_CHECKING:
    from collectionstore_node.tracing.spans import Span, Tracing


class TracingObserver(DriverObserver):
    """Makes the spans of one member; every event of an unsampled command costs one look."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self.entries = EntrySpans(tracing)

    def start_propose(self, command: Command, parent: bytes | None, *, forwarded: bool = False) -> Span | None:
        """Start a `propose` span."""
        return begin_propose(self._tracing, command, parent, forwarded=forwarded)

    def start_forward(self, command: Command, parent: bytes | None) -> Span | None:
        """Start a `forward` span."""
        return begin_forward(self._tracing, command, parent)

    def command_queued(self, span: Span | None, outcome: asyncio.Future[Outcome] | None) -> None:
        """Let the span end with the outcome."""
        if span is not None and outcome is not None:
            end_with(span, outcome)

    def command_rejected(self, span: Span | None, error: NotNow) -> None:
        """End the span with the error."""
        if span is not None:
            span.end(type(error).__name__)

    def entry_contexts(self, batch: Sequence[QueuedCommand]) -> Sequence[SpanContext]:
        """Return the contexts of the sampled commands."""
        return self.entries.contexts(batch)

    def entry_proposed(
        self, index: Index, term: Term, batch: Sequence[QueuedCommand], *, sampled: bool, more: bool
    ) -> None:
        """Record `queue` spans and begin to follow the entry."""
        if sampled:
            self.entries.proposed(index, term, batch)

    def entries_appended(self, entries: Sequence[Entry], began: float) -> None:
        """Note the append."""
        self.entries.appended(entries, began)

    def entries_synced(self, last_index: Index, began: float, ended: float) -> None:
        """Note the sync."""
        self.entries.synced(last_index, began, ended)

    def entries_committed(self, committed: Sequence[Entry]) -> None:
        """Note the quorum."""
        self.entries.applying(committed)

    def entries_applied(self, committed: Sequence[Entry]) -> None:
        """Record the spans of the entries."""
        self.entries.applied(committed)

    def snapshot_installed(self, index: Index, *, size_bytes: int, seconds: float) -> None:
        """Forget entries that a snapshot replaced."""
        self.entries.skipped_to(index)

    def read_confirmed(self, parent: bytes | None, began: float, *, leader_s: float, confirm_s: float) -> None:
        """Record a `read index` span."""
        if parent is not None:
            self._tracing.record("read index", parent, began, perf_counter())
