"""The disk as the driver uses it: appends on the event loop, syncs and the witness in a thread each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from collectionstore_node.logs import SlowLog
from collectionstore_node.metrics import DiskSeries
from collectionstore_node.raft.messages import Entry, HardState, NodeId, Term
from collectionstore_node.replica.storage_port import Log

WITNESS_LAG_S = 0.02
"""How far the witness may be behind the acknowledgement of entries; see `storage.tail_marker`."""


class Disk:
    """Writes one log. Belongs to the event loop. `failed` is called with the first error of the tail_marker."""

    def __init__(self, log: Log, series: DiskSeries, failed: Callable[[BaseException], None], slow: SlowLog) -> None:
        self._log = log
        self._series = series
        self._slow = slow
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._attester = ThreadPoolExecutor(1, thread_name_prefix="witness")
        self._attesting = False
        self._promised: tuple[Term, NodeId] | None = None
        self._closed = False
        self.syncing_since: float | None = None
        """Loop time at which the sync began that is running now."""
        self.last_sync = (0.0, 0.0)
        """When the last sync began and ended, by `time.perf_counter`."""

    def append(self, entries: Sequence[Entry], hard_state: HardState | None) -> None:
        """Write without waiting for the disk."""
        started = time.perf_counter()
        self._log.append(entries, hard_state)
        self._series.log_seconds.observe(time.perf_counter() - started)
        self._series.log_bytes.observe(sum(len(entry.data) for entry in entries))

    def sync(self, hard_state: HardState | None) -> asyncio.Future[None]:
        """Begin to make everything appended so far durable, a new term or vote also in the tail_marker."""
        self.syncing_since = self._loop.time()
        done = self._loop.run_in_executor(self._syncer, self._timed_sync, self._promises(hard_state))
        done.add_done_callback(self._synced)
        return done

    def close(self) -> None:
        """Let the threads end."""
        self._closed = True
        self._syncer.shutdown()
        self._attester.shutdown()

    def _promises(self, hard_state: HardState | None) -> bool:
        """Whether a new term or vote is about to be told, which must be in the witness first."""
        if hard_state is None or (hard_state.term, hard_state.vote) == self._promised:
            return False
        self._promised = (hard_state.term, hard_state.vote)
        return True

    def _timed_sync(self, promises: bool) -> None:  # noqa: FBT001 - called by position through an executor
        started = time.perf_counter()
        if promises:
            self._log.sync()
        else:
            self._log.sync_entries()
        ended = time.perf_counter()
        self.last_sync = (started, ended)
        self._series.fsync_seconds.observe(ended - started)

    def _synced(self, done: asyncio.Future[None]) -> None:
        if self.syncing_since is not None:
            self._slow.fsync(self._loop.time() - self.syncing_since)
        self.syncing_since = None
        if not done.cancelled() and done.exception() is None:
            self._attest_soon()

    def _attest_soon(self) -> None:
        """Let the witness follow the log, in a thread of its own, at most every `WITNESS_LAG_S`."""
        if not self._attesting:
            self._attesting = True
            self._loop.call_later(WITNESS_LAG_S, self._attest)

    def _attest(self) -> None:
        self._attesting = False
        if not self._closed:
            done = self._loop.run_in_executor(self._attester, self._timed_attest)
            done.add_done_callback(self._attested)

    def _timed_attest(self) -> None:
        started = time.perf_counter()
        self._log.sync_marker()
        self._series.witness_seconds.observe(time.perf_counter() - started)

    def _attested(self, done: asyncio.Future[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self._failed(error)
