"""Feeds the watchdog, reports the stalls it finds, and ends the leadership of a stalled leader.

A leader that was stalled for an election timeout steps down BEFORE it acts on anything that arrived meanwhile, and
pending requests fail over to the next leader. Safety does not rest on that: every read is confirmed by a quorum that
was asked after it (thesis 6.4), so there is no lease that a pause could outlive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from collectionstore_node.metrics import WatchdogSeries
from collectionstore_node.replica.health.run_queue import Holds, RunQueue
from collectionstore_node.replica.health.watchdog import Finding, Watchdog
from collectionstore_node.replica.persistence.log_writer import LogWriter

log = structlog.get_logger()


class SelfCheck:
    """The watchdog of one member. Belongs to its event loop; `step_down` returns whether this node led.

    `clock` is monotonic, in seconds, and preferably advances while the machine is suspended.
    """

    def __init__(
        self,
        log_writer: LogWriter,
        series: WatchdogSeries,
        *,
        limit_s: float,
        tick_s: float,
        clock: Callable[[], float],
        step_down: Callable[[], bool],
        waited_s: Callable[[], float] | None = None,
    ) -> None:
        """`waited_s` returns how long the loop's thread has waited for a processor so far; None to ask the kernel."""
        self._log_writer = log_writer
        self._series = series
        self._clock = clock
        self._step_down = step_down
        self._loop = asyncio.get_running_loop()
        self._watchdog = Watchdog(limit_s=limit_s, tick_s=tick_s)
        self._waited_s = RunQueue().waited_s if waited_s is None else waited_s
        self._holds = Holds(tick_s)
        series.show_sync_age(lambda: self._sync_age_s() or 0.0)

    @property
    def disk_hangs(self) -> bool:
        """Whether a sync has been running for longer than the limit: this member should not campaign."""
        return self._watchdog.disk_hangs

    def check_pause(self) -> None:
        """Step down when the process was paused for too long; call it BEFORE acting on anything that arrived."""
        now = self._clock()
        if self._holds.due(now):
            self._holds.sample(now, self._waited_s())
        paused = self._watchdog.pause(now)
        if paused is not None:
            self._report(paused)

    def tick(self, *, committed: int, applied: int) -> None:
        """Check pause, sync and apply, once a tick."""
        self.check_pause()
        now = self._clock()
        lag = self._watchdog.tick(now)
        self._series.lag(lag, held=self._holds.tick(now, lag, self._waited_s()))
        verdict = self._watchdog.judge(now, sync_age_s=self._sync_age_s(), committed=committed, applied=applied)
        for finding in verdict.began:
            self._report(finding)
        for finding in verdict.ended:
            log.info("stall.ended", kind=finding.stall.value, seconds=round(finding.seconds, 3))

    def applied_in(self, seconds: float) -> None:
        """Check how long applying some entries took."""
        slow = self._watchdog.applied_in(self._clock(), seconds)
        if slow is not None:
            self._report(slow)

    def _sync_age_s(self) -> float | None:
        since = self._log_writer.syncing_since
        return None if since is None else self._loop.time() - since

    def _report(self, finding: Finding) -> None:
        kind = finding.stall.value
        stepped_down = self._step_down()
        self._series.stalled(kind, stepped_down=stepped_down)
        log.warning(
            "stall.found",
            kind=kind,
            seconds=round(finding.seconds, 3),
            limit_s=self._watchdog.limit_s,
            stepped_down=stepped_down,
        )
