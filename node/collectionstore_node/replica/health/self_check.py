"""Asks the watchdog whether this member still does its work in time, tells what it finds, and ends the leadership.

A leader that was stuck for an election timeout steps down BEFORE it does anything with what arrived meanwhile, and
whoever waits here is sent elsewhere. Safety does not rest on that: every read is confirmed by a quorum that was asked
after it (thesis 6.4), so there is no lease that a pause could outlive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from collectionstore_node.metrics import WatchdogSeries
from collectionstore_node.replica.health.watchdog import Finding, Watchdog
from collectionstore_node.replica.persistence.log_writer import LogWriter

log = structlog.get_logger()


class SelfCheck:
    """The watchdog of one driver. Belongs to its event loop; `step_down` returns whether this node led.

    `clock` is monotonic, in seconds, and best counts the time for which the machine slept as well.
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
    ) -> None:
        self._log_writer = log_writer
        self._series = series
        self._clock = clock
        self._step_down = step_down
        self._loop = asyncio.get_running_loop()
        self._watchdog = Watchdog(limit_s=limit_s, tick_s=tick_s)
        series.show_sync_age(lambda: self._sync_age_s() or 0.0)

    @property
    def disk_hangs(self) -> bool:
        """Whether a sync takes longer than the limit: no time to campaign."""
        return self._watchdog.disk_hangs

    def look(self) -> None:
        """Step down when nothing ran for too long; to be called BEFORE anything that arrived is acted upon."""
        paused = self._watchdog.pause(self._clock())
        if paused is not None:
            self._tell(paused)

    def tick(self, *, committed: int, applied: int) -> None:
        """Look at everything, once a tick."""
        self.look()
        now = self._clock()
        self._series.lag(self._watchdog.tick(now))
        verdict = self._watchdog.judge(now, sync_age_s=self._sync_age_s(), committed=committed, applied=applied)
        for finding in verdict.began:
            self._tell(finding)
        for finding in verdict.ended:
            log.info("stall.ended", kind=finding.stall.value, seconds=round(finding.seconds, 3))

    def applied_in(self, seconds: float) -> None:
        """Take note of how long applying some entries took."""
        slow = self._watchdog.applied_in(self._clock(), seconds)
        if slow is not None:
            self._tell(slow)

    def _sync_age_s(self) -> float | None:
        since = self._log_writer.syncing_since
        return None if since is None else self._loop.time() - since

    def _tell(self, finding: Finding) -> None:
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
