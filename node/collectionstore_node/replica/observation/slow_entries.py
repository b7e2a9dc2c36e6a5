"""Times the phases of a leader's entries for the slow log: queue, own sync, quorum, apply.

Reads the clock once per entry and sync, not per command.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from collectionstore_node.logs import SlowLog
from collectionstore_node.raft.messages import Index


@dataclass(slots=True)
class _Timed:
    arrived: float
    proposed: float
    commands: int
    synced: float | None = None


class SlowEntries:
    """The entries that this node has proposed and not applied. Belongs to the event loop."""

    def __init__(self, slow: SlowLog, clock: Callable[[], float]) -> None:
        self._slow = slow
        self._clock = clock
        self._first: float | None = None
        self._entries: dict[Index, _Timed] = {}
        self._unsynced: dict[Index, _Timed] = {}

    def arrived(self) -> None:
        """A command was queued; an entry is timed from its first command."""
        if self._first is None:
            self._first = self._clock()

    def refused(self) -> None:
        """The queued commands were rejected."""
        self._first = None

    def proposed(self, index: Index, commands: int, *, more: bool) -> None:
        """Queued commands were proposed as one entry; `more` of them stay in the queue."""
        now = self._clock()
        entry = _Timed(now if self._first is None else self._first, now, commands)
        self._entries[index] = entry
        self._unsynced[index] = entry
        self._first = now if more else None

    def synced(self, last_index: Index) -> None:
        """The proposed entries up to `last_index` are durable on this node."""
        if self._unsynced:
            now = self._clock()
            for index in [index for index in self._unsynced if index <= last_index]:
                self._unsynced.pop(index).synced = now

    def applied(self, index: Index, began: float) -> None:
        """The entry at `index` was applied in a batch that began at `began`."""
        entry = self._entries.pop(index, None)
        if entry is None:
            return
        now = self._clock()
        if now - entry.arrived < self._slow.thresholds.write_s:
            return
        synced = min(began if entry.synced is None else entry.synced, began)
        phases = {
            "queue": entry.proposed - entry.arrived,
            "sync": synced - entry.proposed,
            "quorum": began - synced,
            "apply": now - began,
        }
        self._slow.write(now - entry.arrived, phases, index=index, commands=entry.commands)

    def forget(self) -> None:
        """Leadership is lost: the next leader decides the outcome of the entries."""
        self._entries.clear()
        self._unsynced.clear()
        self._first = None
