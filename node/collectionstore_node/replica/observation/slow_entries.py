"""Where the time of a leader's entries goes: waiting in the queue, its own sync, the others, applying.

Costs a look at the clock per entry and per sync, not per command.
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
        self._unsynced: list[_Timed] = []

    def arrived(self) -> None:
        """A command waits to be proposed; the first of an entry counts."""
        if self._first is None:
            self._first = self._clock()

    def refused(self) -> None:
        """What waited was not proposed."""
        self._first = None

    def proposed(self, index: Index, commands: int, *, more: bool) -> None:
        """An entry was made of what waited; `more` says that some of it waits on."""
        now = self._clock()
        entry = _Timed(now if self._first is None else self._first, now, commands)
        self._entries[index] = entry
        self._unsynced.append(entry)
        self._first = now if more else None

    def synced(self) -> None:
        """All that was proposed is on this node's disk."""
        if self._unsynced:
            now = self._clock()
            for entry in self._unsynced:
                entry.synced = now
            self._unsynced.clear()

    def applied(self, index: Index, began: float) -> None:
        """The entry at `index` was applied in one go with others, which began at `began`."""
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
        """Leadership is lost: what becomes of the entries is the next leader's to tell."""
        self._entries.clear()
        self._unsynced.clear()
        self._first = None
