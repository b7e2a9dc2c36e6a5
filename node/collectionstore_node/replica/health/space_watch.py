"""Measures the disk of this member, keeps its reserve, and gets space back while it is short.

The measurement runs on the event loop: it asks the kernel for a few numbers. What writes or compacts runs in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, Protocol

import structlog

from collectionstore_node.metrics import SpaceSeries
from collectionstore_node.replica.health.space import SpaceJudge, SpaceReport
from collectionstore_node.space import Room, SpaceLimits

log = structlog.get_logger()

MEASURE_S: Final = 0.1
"""Pause between two measurements."""
RECLAIM_S: Final = 2.0
"""Least pause between two attempts to get space back; each flushes, and compacts what was deleted."""


class Disk(Protocol):
    """The disk of a member."""

    def room(self) -> Room:
        """Return what is free, reserved and used. Raises `StorageFailed`."""

    def restore_reserve(self) -> bool:
        """Reserve space again and return whether it is held. Blocks. Raises `StorageFailed`."""

    def reclaim_space(self) -> None:
        """Free the space of what was deleted, as far as there is space to do so. Blocks. Raises `StorageFailed`."""


class SpaceWatch:
    """Watches the disk of one member. Belongs to the event loop; `failed` gets the error that must end the process."""

    def __init__(
        self,
        disk: Disk,
        limits: SpaceLimits,
        series: SpaceSeries,
        executor: Executor,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._disk = disk
        self._judge = SpaceJudge(limits)
        self._series = series
        self._executor = executor
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._measured_at = float("-inf")
        self._reclaimed_at = float("-inf")
        self._work: asyncio.Future[object] | None = None
        self.report = SpaceReport()
        """As measured last."""

    def tick(self, now: float) -> None:
        """Measure if it is due; `now` is loop time. Raises `StorageFailed`."""
        if now - self._measured_at < MEASURE_S or not any(self._judge.limits):
            return
        self._measured_at = now
        before = self.report.shortage
        self.report = report = self._judge.judge(self._disk.room())
        self._series.measured(report.shortage, free=report.free_bytes, reserved=report.reserve_bytes)
        if report.shortage != before:
            self._tell(report)
        if self._work is not None:
            return
        if report.shortage:
            if now - self._reclaimed_at >= RECLAIM_S:
                self._reclaimed_at = now
                self._start(self._disk.reclaim_space)
        elif report.reserve_bytes < self._judge.limits.reserve_bytes:
            self._start(self._disk.restore_reserve)

    def _start(self, work: Callable[[], object]) -> None:
        self._work = self._loop.run_in_executor(self._executor, work)
        self._work.add_done_callback(self._ended)

    def _ended(self, done: asyncio.Future[object]) -> None:
        self._work = None
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self._failed(error)

    def _tell(self, report: SpaceReport) -> None:
        if report.shortage:
            log.warning(
                "space.short",
                cause=report.shortage,
                free_bytes=report.free_bytes,
                used_bytes=report.used_bytes,
                resume_bytes=report.resume_bytes,
            )
        else:
            log.info("space.enough", free_bytes=report.free_bytes, used_bytes=report.used_bytes)
