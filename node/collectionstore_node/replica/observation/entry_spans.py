"""The way of sampled entries through a member: append, fsync, quorum and apply, noted as they happen.

Spans are recorded when an entry is applied, from the times noted until then, so that none is open while nobody knows
whether it will be. On the leader they are children of each command's `propose`. On every other member they are events
of one span in a trace of its own, `replicate`, linked to it: nobody waits for them, and they may come long after the
answer. A span costs the same wherever it is made, and followers are more than leaders.

What is noted is bounded, and gone once the entry is applied, replaced or passed over by a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Final

from collectionstore_node.raft.messages import Entry, EntryKind, Index, Term
from collectionstore_node.replica.observation.command import QueuedCommand
from collectionstore_node.statemachine.commands import SpanContext, span_contexts

if TYPE_CHECKING:
    from collectionstore_node.tracing.spans import Tracing

ENTRIES_MAX: Final = 4_096
"""Sampled entries that are noted at the same time; further ones leave no spans."""
BYTES: Final = "collectionstore.raft.entry.bytes"


class _Way:
    """One entry's; times are `perf_counter` seconds, 0.0 for what has not happened."""

    __slots__ = ("appended", "appending", "applying", "carried", "led", "synced", "syncing", "term")

    def __init__(self, term: Term, carried: list[bytes], *, led: bool) -> None:
        self.term = term
        self.carried = carried
        self.led = led
        self.appending = self.appended = self.syncing = self.synced = self.applying = 0.0

    def stages(self, applied: float) -> Iterator[tuple[str, float, float]]:
        """Yield name, beginning and end of each; only the leader knows when a majority had it."""
        yield "append", self.appending, self.appended
        if self.synced:
            yield "fsync", self.syncing, self.synced
        if self.led:
            yield "quorum", self.appending, self.applying
        yield "apply", self.applying, applied


class EntrySpans:
    """Notes and records for one member. Belongs to the event loop."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self._ways: dict[Index, _Way] = {}
        self._unsynced: list[_Way] = []

    @property
    def noted(self) -> int:
        """Number of entries that are on their way."""
        return len(self._ways)

    @staticmethod
    def contexts(batch: Sequence[QueuedCommand]) -> list[SpanContext]:
        """Return what an entry made of `batch` must carry: nothing unless a command of it is sampled."""
        return [(at, waiting.span.carried) for at, waiting in enumerate(batch) if waiting.span is not None]

    def proposed(self, index: Index, term: Term, batch: Sequence[QueuedCommand]) -> None:
        """Commands left the queue and are the entry at (`index`, `term`)."""
        now = perf_counter()
        spans = [waiting.span for waiting in batch if waiting.span is not None]
        for span in spans:
            span.set({"collectionstore.raft.index": index, "collectionstore.raft.term": term})
            self._tracing.record(
                "queue", span.carried, span.began, now, {"collectionstore.raft.entry.commands": len(batch)}
            )
        if spans:
            self._note(index, _Way(term, [span.carried for span in spans], led=True))

    def appended(self, entries: Sequence[Entry], began: float) -> None:
        """`entries` were written, not synced, since `began`; what others lead is noted from what it carries."""
        now = perf_counter()
        for entry in entries:
            way = self._ways.get(entry.index)
            if way is None or way.term != entry.term:
                self._ways.pop(entry.index, None)
                carried = span_contexts(entry.data) if entry.kind is EntryKind.COMMANDS else ()
                if not carried:
                    continue
                way = _Way(entry.term, [context for _, context in carried], led=False)
                self._note(entry.index, way)
            way.appending, way.appended = began, now
            self._unsynced.append(way)

    def synced(self, began: float, ended: float) -> None:
        """All that was appended is durable here, by a sync that took this long."""
        for way in self._unsynced:
            way.syncing, way.synced = began, ended
        self._unsynced.clear()

    def applying(self, committed: Sequence[Entry]) -> None:
        """A majority holds `committed`, and they are applied now."""
        if self._ways:
            now = perf_counter()
            for entry in committed:
                way = self._ways.get(entry.index)
                if way is not None:
                    way.applying = now

    def applied(self, committed: Sequence[Entry]) -> None:
        """`committed` are applied: record their ways."""
        if self._ways:
            now = perf_counter()
            for entry in committed:
                way = self._ways.pop(entry.index, None)
                if way is not None and way.term == entry.term and way.appended:
                    self._record(entry, way, now)

    def skipped_to(self, index: Index) -> None:
        """A snapshot replaced the log up to `index`."""
        for at in [at for at in self._ways if at <= index]:
            del self._ways[at]

    def _note(self, index: Index, way: _Way) -> None:
        if len(self._ways) < ENTRIES_MAX:
            self._ways[index] = way

    def _record(self, entry: Entry, way: _Way, applied: float) -> None:
        if way.led:
            for carried in way.carried:
                self._stages(carried, entry, way, applied)
            return
        facts = {
            "collectionstore.raft.index": entry.index,
            "collectionstore.raft.term": entry.term,
            BYTES: len(entry.data),
        }
        self._tracing.record_linked("replicate", way.carried, way.appending, applied, facts, [*way.stages(applied)])

    def _stages(self, parent: bytes, entry: Entry, way: _Way, applied: float) -> None:
        for name, began, ended in way.stages(applied):
            self._tracing.record(name, parent, began, ended, {BYTES: len(entry.data)} if name == "append" else None)
