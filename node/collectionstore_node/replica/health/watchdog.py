"""Detects stalls of a member. Pure: takes times and indexes, returns findings.

Three things can stall while the process is running and its sockets stay open: the event loop (a long computation,
SIGSTOP, a frozen machine), the sync of the log, and the state machine. A stalled leader sends no heartbeats, or
should not (etcd-io/etcd#15247). One limit for all three: the longest election timeout. After it every follower has
campaigned, so stepping down ends no leadership that would have lasted; before it, a new leader may be no better.

Invariant: a pause of the process is found BEFORE anything else that happened meanwhile is judged, and only once: a sync
that seems to have taken ten seconds because the process was stopped for ten seconds did not hang.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Stall(enum.Enum):
    """What is stalled; the values are label values of metrics and fields of log lines."""

    EVENT_LOOP = "event_loop"
    """Nothing ran: a tick came later than the limit."""
    FSYNC = "fsync"
    """A sync of the log has been running for longer than the limit."""
    APPLY = "apply"
    """Committed entries were not applied for longer than the limit, or applying some took longer."""


class Finding(NamedTuple):
    """A stall, and its duration in seconds, until now or in total."""

    stall: Stall
    seconds: float


class Verdict(NamedTuple):
    """What changed since the last check. A stall that is over when it is found is only in `began`."""

    began: tuple[Finding, ...] = ()
    ended: tuple[Finding, ...] = ()


class Watchdog:
    """Tracks the stalls of one member. All times are in seconds; `now` comes from one monotonic clock."""

    def __init__(self, *, limit_s: float, tick_s: float) -> None:
        """Allow `limit_s` of delay; from the first tick on, one is due every `tick_s`."""
        self.limit_s = limit_s
        self._tick_s = tick_s
        self._ticked: float | None = None
        self._awake = float("inf")
        """When the process was last known to run; a tick or a reported stall proves it."""
        self._awake_since = float("-inf")
        """When the last reported pause ended."""
        self._applied = 0
        self._unapplied_since: float | None = None
        self._stuck: dict[Stall, float] = {}

    @property
    def disk_hangs(self) -> bool:
        """Whether a sync was running for longer than the limit at the last tick."""
        return Stall.FSYNC in self._stuck

    def pause(self, now: float) -> Finding | None:
        """Return how late the tick is that should have come, when that is beyond the limit; each pause once.

        Call it BEFORE acting on anything that arrived meanwhile: the loop may run that ahead of the tick.
        """
        late = now - self._awake - self._tick_s
        if late <= self.limit_s:
            return None
        self._awake = self._awake_since = now
        if self._unapplied_since is not None:
            self._unapplied_since = now
        return Finding(Stall.EVENT_LOOP, late)

    def tick(self, now: float) -> float:
        """Note that a tick runs, after `pause` was asked; return how late it is, at least 0."""
        lag = 0.0 if self._ticked is None else max(0.0, now - self._ticked - self._tick_s)
        self._ticked = self._awake = now
        return lag

    def judge(self, now: float, *, sync_age_s: float | None, committed: int, applied: int) -> Verdict:
        """Check sync and apply, once a tick. `sync_age_s` is None when no sync runs."""
        sync_s = 0.0 if sync_age_s is None else min(sync_age_s, now - self._awake_since)
        if committed <= applied or sync_s > self.limit_s:
            # Nothing is applied while a sync hangs: that is one stall, not two.
            self._unapplied_since = None
        elif self._unapplied_since is None or applied != self._applied:
            self._unapplied_since = now
        self._applied = applied
        apply_s = 0.0 if self._unapplied_since is None else now - self._unapplied_since
        began, ended = [], []
        for finding in (Finding(Stall.FSYNC, sync_s), Finding(Stall.APPLY, apply_s)):
            stall, seconds = finding
            if seconds > self.limit_s and stall not in self._stuck:
                self._stuck[stall] = now - seconds
                began.append(finding)
            elif seconds <= self.limit_s and stall in self._stuck:
                ended.append(Finding(stall, now - self._stuck.pop(stall)))
        return Verdict(tuple(began), tuple(ended))

    def applied_in(self, now: float, seconds: float) -> Finding | None:
        """Return a finding when applying some entries took longer than the limit; it is over when it is noticed."""
        if seconds <= self.limit_s:
            return None
        # It ran on the event loop: without this the next tick would report the same delay as a pause.
        self._awake = self._awake_since = now
        return Finding(Stall.APPLY, seconds)
