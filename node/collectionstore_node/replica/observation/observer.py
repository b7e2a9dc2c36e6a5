"""The one interface through which consensus and driver report to traces, slow log and metrics.

Everything is called on the event loop, in the order of a write: queued, proposed, appended, committed, applied; and
synced, after appended, and after applied when a majority of others was faster than the own disk. An observer never
awaits, decides nothing and must not raise: an error in an event of the driver ends the driver, as any bug there does,
and pending requests fail. What is cheap to note is noted, the rest is computed when it is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from collectionstore_node.errors import NotNow
from collectionstore_node.raft.messages import Entry, Index, Term
from collectionstore_node.raft.ready import SoftState
from collectionstore_node.replica.observation.command import QueuedCommand
from collectionstore_node.statemachine.commands import Command, Outcome, SpanContext

if TYPE_CHECKING:
    from collectionstore_node.tracing.spans import Span


class DriverObserver:
    """Events of commands, entries and reads; in this base class every method does nothing.

    Observers override the events they need. `began` and `ended` are `perf_counter` seconds unless noted.
    """

    def start_propose(self, command: Command, parent: bytes | None, *, forwarded: bool = False) -> Span | None:
        """Start the span of a command that is proposed here; None unless `parent` is sampled."""
        return None

    def start_forward(self, command: Command, parent: bytes | None) -> Span | None:
        """Start the span of a command that is sent to the leader; None unless `parent` is sampled."""
        return None

    def command_queued(self, span: Span | None, outcome: asyncio.Future[Outcome] | None) -> None:
        """A command waits to be proposed; its span ends with `outcome`, which is None only without one."""

    def command_rejected(self, span: Span | None, error: NotNow) -> None:
        """A command did not fit the queue, or the node is stopping."""

    def queue_rejected(self) -> None:
        """All waiting commands were rejected: this node does not lead."""

    def entry_contexts(self, batch: Sequence[QueuedCommand]) -> Sequence[SpanContext]:
        """Return the span contexts to store in the entry made of `batch`; empty unless a command of it is sampled."""
        return ()

    def entry_proposed(
        self, index: Index, term: Term, batch: Sequence[QueuedCommand], *, sampled: bool, more: bool
    ) -> None:
        """`batch` is the entry at (`index`, `term`); `more` commands wait for the next one."""

    def entries_appended(self, entries: Sequence[Entry], began: float) -> None:
        """`entries` were written to the log, not synced; the `Ready` was taken at `began`."""

    def sync_ended(self, seconds: float) -> None:
        """A sync of the log ended, with or without an error; `seconds` includes the wait for its thread."""

    def entries_synced(self, last_index: Index, began: float, ended: float) -> None:
        """Everything appended up to `last_index` is durable on this node, by a sync from `began` to `ended`."""

    def entries_committed(self, committed: Sequence[Entry]) -> None:
        """A majority stores `committed`; they are applied next."""

    def state_stored(
        self, committed: Sequence[Entry], outcomes: Sequence[Sequence[Outcome]], *, loop_s: float, seconds: float
    ) -> None:
        """The effects of `committed` are stored. Took `loop_s` by the event loop's clock, `seconds` by perf_counter."""

    def entry_applied(self, index: Index, began: float) -> None:
        """The commands of an entry are answered; `began`, in loop time, is when applying its batch began."""

    def entries_applied(self, committed: Sequence[Entry]) -> None:
        """All of `committed` are answered."""

    def snapshot_installed(self, index: Index, *, size_bytes: int, seconds: float) -> None:
        """A snapshot replaced log and state up to `index`."""

    def leadership_changed(self, state: SoftState) -> None:
        """The role or the leader changed."""

    def read_confirmed(self, parent: bytes | None, began: float, *, leader_s: float, confirm_s: float) -> None:
        """A linearizable read was confirmed: `leader_s` to find the leader, `confirm_s` for the ReadIndex round."""


NULL_OBSERVER: Final = DriverObserver()
"""Observes nothing."""
