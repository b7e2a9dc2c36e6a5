"""What a leader stamps into an entry, so that replicas need no clock: its feature level and its time.

The time is no time of day. A leader begins with the replicated time that it has applied, and adds what its monotonic
clock says has passed since it leads. So no wrong clock of the past or the present can age anything: time advances by
what leaders have measured, one after the other, and stands still while there is none. It may be behind, never ahead.

An entry advances the replicated time by TIME_STEP_MAX_MS at most, so a leader that proposed nothing for longer begins
anew from there: what it would stamp beyond that would be made up by the next entries, within milliseconds, and what
expires would do so early.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from collectionstore_node.raft.messages import Term
from collectionstore_node.statemachine.header import TIME_STEP_MAX_MS
from collectionstore_node.statemachine.levels import BOUNDED


class AppliedState(Protocol):
    """What is applied here."""

    level: int
    """Feature level."""
    time_ms: int
    """Replicated time."""


class Stamps:
    """The stamps of one member. `clock` is monotonic, in seconds; `wall_ms` is for level 1."""

    def __init__(self, applied: AppliedState, *, wall_ms: Callable[[], int], clock: Callable[[], float]) -> None:
        self._applied = applied
        self._wall_ms = wall_ms
        self._clock = clock
        self._term: Term | None = None
        self._began = (0, 0.0)

    @property
    def level(self) -> int:
        """Feature level of the next entry: the applied one."""
        return self._applied.level

    @property
    def applied_ms(self) -> int:
        """The replicated time that is applied."""
        return self._applied.time_ms

    def time_ms(self, term: Term, level: int) -> int:
        """Return the time of an entry that this member proposes in `term`, which it leads."""
        if level < BOUNDED:
            return self._wall_ms()
        now = self._clock()
        if term != self._term:
            # What is committed and not applied yet may be later: then time stands still for that long.
            self._term, self._began = term, (self._applied.time_ms, now)
        began_ms, began = self._began
        time_ms, most_ms = began_ms + max(0, int((now - began) * 1000)), self._applied.time_ms + TIME_STEP_MAX_MS
        if time_ms > most_ms:
            self._began = most_ms, now
            return most_ms
        return time_ms
