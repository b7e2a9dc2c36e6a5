"""Writes the Raft log: appends on the event loop, syncs of the WAL and of the tail marker in a thread each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from collectionstore_node.metrics import DiskSeries
from collectionstore_node.raft.messages import Entry, HardState, NodeId, Term
from collectionstore_node.replica.observation.observer import DriverObserver
from collectionstore_node.replica.storage_port import Log

MARKER_LAG_S = 0.02
"""How far the tail marker may be behind the acknowledgement of entries; see `storage.tail_marker`."""


class LogWriter:
    """Writes one log. Belongs to the event loop. `failed` is called with the first error of the tail marker."""

    def __init__(
        self, log: Log, series: DiskSeries, failed: Callable[[BaseException], None], observer: DriverObserver
    ) -> None:
        self._log = log
        self._series = series
        self._observer = observer
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._syncer = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._marker_syncer = ThreadPoolExecutor(1, thread_name_prefix="tail-marker")
        self._marker_sync_due = False
        self._synced_vote: tuple[Term, NodeId] | None = None
        self._closed = False
        self.syncing_since: float | None = None
        """Loop time at which the running sync began; None when none runs."""
        self.last_sync = (0.0, 0.0)
        """When the last sync began and ended, by `time.perf_counter`."""

    def append(self, entries: Sequence[Entry], hard_state: HardState | None) -> None:
        """Write without waiting for the disk; `sync` makes it durable."""
        started = time.perf_counter()
        self._log.append(entries, hard_state)
        self._series.log_seconds.observe(time.perf_counter() - started)
        self._series.log_bytes.observe(sum(len(entry.data) for entry in entries))

    def sync(self, hard_state: HardState | None) -> asyncio.Future[None]:
        """Begin to sync everything appended so far; a new term or vote is synced to the tail marker as well."""
        # In a thread: while fsync runs, the loop keeps receiving the commands that the next entry will batch.
        self.syncing_since = self._loop.time()
        done = self._loop.run_in_executor(self._syncer, self._timed_sync, self._has_new_vote(hard_state))
        done.add_done_callback(self._synced)
        return done

    def close(self) -> None:
        """Shut down the executors; a sync that runs is finished first."""
        self._closed = True
        self._syncer.shutdown()
        self._marker_syncer.shutdown()

    def _has_new_vote(self, hard_state: HardState | None) -> bool:
        """Whether a new term or vote is about to be sent: the tail marker must hold it BEFORE (thesis 3.8)."""
        if hard_state is None or (hard_state.term, hard_state.vote) == self._synced_vote:
            return False
        self._synced_vote = (hard_state.term, hard_state.vote)
        return True

    def _timed_sync(self, new_vote: bool) -> None:  # noqa: FBT001 - called by position through an executor
        started = time.perf_counter()
        if new_vote:
            self._log.sync()
        else:
            self._log.sync_entries()
        ended = time.perf_counter()
        self.last_sync = (started, ended)
        self._series.fsync_seconds.observe(ended - started)

    def _synced(self, done: asyncio.Future[None]) -> None:
        since, self.syncing_since = self.syncing_since, None
        if not done.cancelled() and done.exception() is None:
            self._sync_marker_soon()
        # Last: an error in here must not leave a sync that seems to hang, or a tail marker that is not synced.
        if since is not None:
            self._observer.sync_ended(self._loop.time() - since)

    def _sync_marker_soon(self) -> None:
        """Sync the tail marker in its own thread, at most every `MARKER_LAG_S`."""
        if not self._marker_sync_due:
            self._marker_sync_due = True
            self._loop.call_later(MARKER_LAG_S, self._sync_marker)

    def _sync_marker(self) -> None:
        self._marker_sync_due = False
        if not self._closed:
            done = self._loop.run_in_executor(self._marker_syncer, self._timed_marker_sync)
            done.add_done_callback(self._marker_synced)

    def _timed_marker_sync(self) -> None:
        started = time.perf_counter()
        self._log.sync_marker()
        self._series.witness_seconds.observe(time.perf_counter() - started)

    def _marker_synced(self, done: asyncio.Future[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self._failed(error)
