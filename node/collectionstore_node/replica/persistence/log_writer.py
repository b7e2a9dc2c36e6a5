"""Writes the Raft log: appends on the event loop, syncs of the WAL and of the tail marker in a thread each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from collectionstore_node.metrics import DiskSeries
from collectionstore_node.raft.messages import Entry, HardState, Index, NodeId, Term
from collectionstore_node.replica.observation.observer import DriverObserver
from collectionstore_node.replica.persistence.disk_thread import DiskThread, WorkerFactory
from collectionstore_node.replica.storage_port import Log

MARKER_LAG_S: Final = 0.02
"""How far the tail marker may be behind the acknowledgement of entries; see `storage.tail_marker`."""
BATCHES_UNSYNCED_MAX: Final = 64
"""A sync begins when so many batches were written since the last one began, although nothing asks for one."""
BATCHES_MAX: Final = 96
"""With more the driver waits for the disk. Twice as many, of two syncs, are below `storage.rocks.UNSYNCED_BATCHES_MAX`,
where a write on the event loop would wait for the disk."""
BYTES_MAX: Final = 16 << 20
"""The same for the bytes of entries: twice as many fit the memtables that RocksDB fills before it delays a write, on
the event loop, because the disk does not take them. Others commit entries meanwhile: nothing else bounds them."""


class Durable(NamedTuple):
    """What a sync made durable, and when."""

    write: int
    """The core's writes up to this number."""
    last_index: Index
    """The log up to here."""
    began: float
    """By `time.perf_counter`."""
    ended: float


class LogWriter:
    """Writes one log. Belongs to the event loop.

    One sync runs at a time, in a thread. What is written meanwhile shares the next one, which begins as the first ends.
    `synced` is called at the end of each, and `failed` with the first error of the log or of the tail marker.
    """

    def __init__(
        self,
        log: Log,
        series: DiskSeries,
        observer: DriverObserver,
        *,
        synced: Callable[[], None],
        failed: Callable[[BaseException], None],
        worker: WorkerFactory = DiskThread,
    ) -> None:
        self._log = log
        self._series = series
        self._observer = observer
        self._announce = synced
        self._failed = failed
        self._error: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._syncer = worker("sync")
        self._marker_syncer = worker("tail-marker")
        self._marker_sync_due = False
        self._synced_vote: tuple[Term, NodeId] | None = None
        self._closed = False
        self._write = 0
        self._last_index = Index(0)
        self._new_vote = False
        """Whether a term or vote was written that no sync has covered."""
        self._batches = self._bytes = 0
        self._sync_due = False
        self._durable: Durable | None = None
        self._times = (0.0, 0.0)
        self._idle: asyncio.Future[None] | None = None
        self.syncing_since: float | None = None
        """Loop time at which the running sync began; None when none runs."""

    @property
    def syncing(self) -> bool:
        """Whether a sync runs."""
        return self.syncing_since is not None

    @property
    def behind(self) -> bool:
        """Whether so much was written since the running sync began that the disk must catch up first."""
        return self._batches >= BATCHES_MAX or self._bytes >= BYTES_MAX

    def append(self, entries: Sequence[Entry], hard_state: HardState | None, write: int) -> None:
        """Write without waiting for the disk, and see to the sync; `write` is the core's number of this write."""
        started = time.perf_counter()
        self._log.append(entries, hard_state)
        self._series.log_seconds.observe(time.perf_counter() - started)
        self._series.log_bytes.observe(size_bytes := sum(len(entry.data) for entry in entries))
        if entries:
            self._last_index = entries[-1].index
        self._new_vote = self._has_new_vote(hard_state) or self._new_vote
        self._write = write
        self.sync()
        self._bytes += size_bytes
        self.wrote()

    def wrote(self) -> None:
        """Count a batch: one of the log, or one of the state, which shares its journal."""
        self._batches += 1
        # Nothing asks for a sync of the state. But RocksDB's writer would sync here, on the event loop, before the
        # number of unsynced batches passes its own bound.
        if self._batches >= BATCHES_UNSYNCED_MAX:
            self.sync()

    def sync(self) -> None:
        """Sync everything written so far: now, or as soon as the running sync has ended."""
        if self.syncing:
            self._sync_due = True
        elif not self._closed:
            self._begin_sync()

    def take_durable(self) -> Durable | None:
        """Return what has become durable since the last call."""
        durable, self._durable = self._durable, None
        return durable

    async def caught_up(self) -> None:
        """Return when no sync runs, or is due. Raises the first error of the disk."""
        while self.syncing:
            if self._idle is None:
                self._idle = self._loop.create_future()
            await self._idle
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the threads; a sync that runs is finished first."""
        self._closed = True
        self._syncer.close()
        self._marker_syncer.close()

    def _has_new_vote(self, hard_state: HardState | None) -> bool:
        """Whether a new term or vote is about to be sent: the tail marker must hold it BEFORE (thesis 3.8)."""
        if hard_state is None or (hard_state.term, hard_state.vote) == self._synced_vote:
            return False
        self._synced_vote = (hard_state.term, hard_state.vote)
        return True

    def _begin_sync(self) -> None:
        # In a thread: while fsync runs, the loop goes on with everything else.
        self.syncing_since = self._loop.time()
        new_vote, self._new_vote = self._new_vote, False
        self._sync_due, self._batches, self._bytes = False, 0, 0
        call = self._timed_sync_with_marker if new_vote else self._timed_sync
        self._syncer.run(call, partial(self._synced, self._write, self._last_index))

    def _timed_sync(self) -> None:
        started = time.perf_counter()
        self._log.sync_entries()
        self._times = (started, time.perf_counter())

    def _timed_sync_with_marker(self) -> None:
        started = time.perf_counter()
        self._log.sync()
        self._times = (started, time.perf_counter())

    def _synced(self, write: int, last_index: Index, error: BaseException | None) -> None:
        since, self.syncing_since = self.syncing_since, None
        if error is not None:
            self._error = error
            self._failed(error)
        else:
            started, ended = self._times
            self._series.fsync_seconds.observe(ended - started)
            self._durable = Durable(write, last_index, *self._times)
            self._sync_marker_soon()
            self._announce()
            if self._sync_due and not self._closed:
                self._begin_sync()
        if not self.syncing and self._idle is not None:
            idle, self._idle = self._idle, None
            if not idle.done():
                idle.set_result(None)
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
            self._marker_syncer.run(self._timed_marker_sync, self._marker_synced)

    def _timed_marker_sync(self) -> None:
        started = time.perf_counter()
        self._log.sync_marker()
        self._series.witness_seconds.observe(time.perf_counter() - started)

    def _marker_synced(self, error: BaseException | None) -> None:
        if error is not None:
            self._failed(error)
