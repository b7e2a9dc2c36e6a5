"""Spans of sampled entries in a member: append, fsync, quorum and apply.

Spans are recorded when an entry is applied and durable here, whichever is later, from the times tracked until then, so
that no span stays open for an entry that is never applied. On the leader they are children of each command's
`propose`. On every other member they are events of one span in a separate trace, `replicate`, linked to it: no client
waits for them, and they may end long after the response. Events, because a span costs the same on every member, and
most members are followers.

The tracked entries are bounded, and dropped once applied, replaced or passed over by a snapshot.
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
"""Sampled entries tracked at the same time; further ones leave no spans."""
BYTES: Final = "collectionstore.raft.entry.bytes"


class _EntryTimes:
    """Times of one entry in `perf_counter` seconds; 0.0 for what has not happened."""

    __slots__ = ("appended", "appending", "applied", "applying", "carried", "led", "synced", "syncing", "term")

    def __init__(self, term: Term, carried: list[bytes], *, led: bool) -> None:
        self.term = term
        self.carried = carried
        self.led = led
        self.appending = self.appended = self.syncing = self.synced = self.applying = self.applied = 0.0

    def stages(self) -> Iterator[tuple[str, float, float]]:
        """Yield name, start and end of each stage; only the leader knows when a majority had the entry."""
        yield "append", self.appending, self.appended
        yield "fsync", self.syncing, self.synced
        if self.led:
            yield "quorum", self.appending, self.applying
        yield "apply", self.applying, self.applied


class EntrySpans:
    """Tracks and records the entries of one member. Belongs to the event loop."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self._entries: dict[Index, _EntryTimes] = {}
        self._unsynced: dict[Index, _EntryTimes] = {}
        self._applied: dict[Index, Entry] = {}
        """Entries that were applied before their sync ended."""

    @property
    def tracked(self) -> int:
        """Number of tracked entries."""
        return len(self._entries)

    @staticmethod
    def contexts(batch: Sequence[QueuedCommand]) -> list[SpanContext]:
        """Return the span contexts of an entry made of `batch`: none unless a command of it is sampled."""
        return [(at, waiting.span.carried) for at, waiting in enumerate(batch) if waiting.span is not None]

    def proposed(self, index: Index, term: Term, batch: Sequence[QueuedCommand]) -> None:
        """`batch` was proposed as the entry at (`index`, `term`)."""
        now = perf_counter()
        spans = [waiting.span for waiting in batch if waiting.span is not None]
        for span in spans:
            span.set({"collectionstore.raft.index": index, "collectionstore.raft.term": term})
            self._tracing.record(
                "queue", span.carried, span.began, now, {"collectionstore.raft.entry.commands": len(batch)}
            )
        if spans:
            self._track(index, _EntryTimes(term, [span.carried for span in spans], led=True))

    def appended(self, entries: Sequence[Entry], began: float) -> None:
        """`entries` were written, not synced, since `began`; another leader's are tracked if they carry contexts."""
        now = perf_counter()
        for entry in entries:
            times = self._entries.get(entry.index)
            if times is None or times.term != entry.term:
                self._entries.pop(entry.index, None)
                carried = span_contexts(entry.data) if entry.kind is EntryKind.COMMANDS else ()
                if not carried:
                    continue
                times = _EntryTimes(entry.term, [context for _, context in carried], led=False)
                self._track(entry.index, times)
            times.appending, times.appended = began, now
            self._unsynced[entry.index] = times

    def synced(self, last_index: Index, began: float, ended: float) -> None:
        """The appended entries up to `last_index` are durable here, by a sync from `began` to `ended`."""
        if self._unsynced:
            for index in [index for index in self._unsynced if index <= last_index]:
                times = self._unsynced.pop(index)
                times.syncing, times.synced = began, ended
                entry = self._applied.pop(index, None)
                if entry is not None and entry.term == times.term:
                    self._record(entry, times)

    def applying(self, committed: Sequence[Entry]) -> None:
        """A majority holds `committed`, and they are applied now."""
        if self._entries:
            now = perf_counter()
            for entry in committed:
                times = self._entries.get(entry.index)
                if times is not None:
                    times.applying = now

    def applied(self, committed: Sequence[Entry]) -> None:
        """`committed` are applied: record their spans."""
        if self._entries:
            now = perf_counter()
            for entry in committed:
                times = self._entries.pop(entry.index, None)
                if times is None or times.term != entry.term or not times.appended:
                    continue
                times.applied = now
                if times.synced:
                    self._record(entry, times)
                else:
                    self._applied[entry.index] = entry

    def skipped_to(self, index: Index) -> None:
        """A snapshot replaced the log up to `index`."""
        for tracked in (self._entries, self._unsynced, self._applied):
            for at in [at for at in tracked if at <= index]:
                del tracked[at]

    def _track(self, index: Index, times: _EntryTimes) -> None:
        if len(self._entries) < ENTRIES_MAX:
            self._entries[index] = times

    def _record(self, entry: Entry, times: _EntryTimes) -> None:
        if times.led:
            for carried in times.carried:
                self._stages(carried, entry, times)
            return
        facts = {
            "collectionstore.raft.index": entry.index,
            "collectionstore.raft.term": entry.term,
            BYTES: len(entry.data),
        }
        self._tracing.record_linked(
            "replicate", times.carried, times.appending, max(times.applied, times.synced), facts, [*times.stages()]
        )

    def _stages(self, parent: bytes, entry: Entry, times: _EntryTimes) -> None:
        for name, began, ended in times.stages():
            self._tracing.record(name, parent, began, ended, {BYTES: len(entry.data)} if name == "append" else None)
