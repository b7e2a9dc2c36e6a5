"""Compacts the log where the policy says, and reclaims the space of dropped entries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

import structlog

from collectionstore_node.raft.messages import SnapshotMetadata
from collectionstore_node.replica.persistence.compaction_policy import CompactionPolicy
from collectionstore_node.replica.storage_port import Log
from collectionstore_telemetry.metrics import Counter

log = structlog.get_logger()

RECLAIM_BYTES: Final = 16 << 20
"""Dropped entries that may occupy the disk before reclaiming their space is worth its I/O."""


class LogCompactor:
    """Keeps the log of one member short. `failed` is called with the first error of reclaiming space."""

    def __init__(
        self,
        raft_log: Log,
        policy: CompactionPolicy,
        executor: Executor,
        compactions: Counter,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._log = raft_log
        self._policy = policy
        self._executor = executor
        self._compactions = compactions
        self._failed = failed
        self.applied = policy.applied
        self.reset = policy.reset

    def compact(self, applied: SnapshotMetadata) -> None:
        """Compact the log if it is due, now that `applied` is stored."""
        if not self._policy.due:
            return
        cut = self._policy.advance(applied)
        if cut is None or cut.index < self._log.first_index():
            return
        # One generation behind `applied`: a follower that was away briefly still finds its entries in the log.
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
