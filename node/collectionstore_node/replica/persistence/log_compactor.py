"""Cutting the log where `Compaction` says, and making the disk give up what was cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

import structlog

from collectionstore_node.raft.messages import SnapshotMetadata
from collectionstore_node.replica.persistence.compaction_policy import Compaction
from collectionstore_node.replica.storage_port import Log
from collectionstore_telemetry.metrics import Counter

log = structlog.get_logger()

RECLAIM_BYTES: Final = 16 << 20
"""Dropped entries that may lie on the disk before it is worth to make it give up their space."""


class Trimming:
    """Keeps the log of one member short. `failed` is told when the disk does not give up space for an error."""

    def __init__(
        self,
        raft_log: Log,
        compaction: Compaction,
        executor: Executor,
        compactions: Counter,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._log = raft_log
        self._compaction = compaction
        self._executor = executor
        self._compactions = compactions
        self._failed = failed
        self.applied = compaction.applied
        self.reset = compaction.reset

    def trim(self, applied: SnapshotMetadata) -> None:
        """Cut the log if it is due, now that `applied` is."""
        if not self._compaction.due:
            return
        cut = self._compaction.advance(applied)
        if cut is None or cut.index < self._log.first_index():
            return
        self._log.compact(cut)
        self._compactions.inc()
        log.info("log.compacted", index=cut.index, bytes=self._log.size_bytes)
        if self._log.reclaimable_bytes >= RECLAIM_BYTES:
            reclaiming = asyncio.get_running_loop().run_in_executor(self._executor, self._log.reclaim)
            reclaiming.add_done_callback(self._reclaimed)

    def _reclaimed(self, done: asyncio.Future[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self._failed(error)
