"""Streams the state of this member to a client, at one applied index, while writes go on.

One at a time: it keeps a view of RocksDB open, and with it the space of everything that is deleted or replaced
meanwhile. A thread of its own reads it, a bounded piece each time, so that it delays neither a sync nor a snapshot for
a follower. Between two pieces it rests for three times as long as the last one took: it takes at most a quarter of a
processor, and the interpreter is free for the event loop. When the event loop was late for a piece, clients wait as
well, and it rests for longer: see `rest_s`.

A member that becomes short of disk space ends the stream: what clients delete gives no space back while a view is open.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from typing import Final, NamedTuple

import structlog

from collectionstore_node.errors import NotNow, Overloaded
from collectionstore_node.raft.messages import SnapshotMetadata
from collectionstore_node.replica.persistence.applier import Applier
from collectionstore_node.replica.storage_port import Storage, StreamedState
from collectionstore_node.statemachine.header import Header

log = structlog.get_logger()

RATE_MIN: Final = 1 << 20
"""Bytes per second that a client must take on average, beyond the first `GRACE_S`: this bounds how long a view stays
open by the size of the state."""
GRACE_S: Final = 60.0

REST: Final = 3
"""So many times as long as a piece took it rests behind it: it takes a quarter of a processor at most."""
LATE: Final = 8
"""So many times as long as the event loop was late for a piece it rests behind it, beside the time of the piece."""
BUSY_RATE: Final = 8 << 20
"""Bytes per second that are read however late the event loop is: a backup must end on a member that is always busy."""


def rest_s(took_s: float, late_s: float, size: int) -> float:
    """Return how long to rest behind a piece of `size` bytes that took `took_s`, for which the loop was `late_s` late.

    Lateness is what a request waits for on this member, of the export or of anything else that needs the processor or
    the interpreter: there is no rate that is right for an idle member and for a busy one.
    """
    return max(REST * took_s, min(took_s + LATE * late_s, size / BUSY_RATE))


class _Piece(NamedTuple):
    data: bytes
    took_s: float
    ended: float
    """When the thread had it, by `time.perf_counter`: a loop's clock is too coarse for that."""


class TooSlow(NotNow):
    """The client took less than `RATE_MIN`; the stream ends."""


class StateExports:
    """Opens streams of the state, one at a time. Belongs to the event loop."""

    def __init__(self, storage: Storage, applier: Applier, executor: Executor, *, files: Executor) -> None:
        """`executor` reads the streams; `files` is the one that installs snapshots, and opens them."""
        self._storage = storage
        self._applier = applier
        self._executor = executor
        self._files = files
        self._open = False
        self._loop = asyncio.get_running_loop()

    async def open(self) -> StateExport:
        """Return the state as of now; `close` it. Raises `Overloaded`, and `NotNow` if there is no state to read."""
        if self._open:
            raise Overloaded("another client is reading the state of this member already", retry_after_s=10.0)
        if self._applier.suspended:
            raise NotNow("a snapshot is replacing the state of this member")
        if not self._storage.state.applied.index:
            raise NotNow("nothing is applied on this member yet")
        self._open = True
        # On the thread of installs: one would drop and close the records under a view that is just being opened. A view
        # that is open keeps what it reads.
        opening = self._loop.run_in_executor(self._files, self._storage.stream_snapshot)
        try:
            # Shielded: a view that opens after its client has gone must be closed, too.
            streamed = await asyncio.shield(opening)
        except BaseException:
            opening.add_done_callback(self._abandoned)
            raise
        return StateExport(streamed, self, self._loop)

    def _abandoned(self, opening: asyncio.Future[StreamedState]) -> None:
        if opening.cancelled() or opening.exception() is not None:
            self._open = False
        else:
            self.release(opening.result())

    def read(self, streamed: StreamedState) -> asyncio.Future[_Piece]:
        """Read the next piece, empty at the end."""
        return self._loop.run_in_executor(self._executor, _read, streamed.pieces)

    def release(self, streamed: StreamedState) -> None:
        """Close a view, behind a read that may be running."""
        closing = self._loop.run_in_executor(self._executor, streamed.pieces.close)
        closing.add_done_callback(self._released)

    def ended(self) -> None:
        """Make room for the next stream."""
        self._open = False

    def _released(self, closing: asyncio.Future[None]) -> None:
        self._open = False
        if not closing.cancelled() and (error := closing.exception()) is not None:
            log.error("export.failed", exc_info=error)


class StateExport:
    """The state at one applied index, as the bytes of a snapshot file."""

    def __init__(self, streamed: StreamedState, exports: StateExports, loop: asyncio.AbstractEventLoop) -> None:
        self._streamed = streamed
        self._exports = exports
        self._loop = loop
        self._closed = False

    @property
    def metadata(self) -> SnapshotMetadata:
        """The last entry in it, and the configuration there."""
        return self._streamed.metadata

    @property
    def header(self) -> Header:
        """Revision, time, digest and feature level of the state."""
        return self._streamed.header

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the bytes, as fast as they are taken. Raises `TooSlow`, `InsufficientStorage`, `StorageFailed`."""
        clock = self._loop.time
        began, size = clock(), 0
        while True:
            piece, took_s, ended = await asyncio.shield(self._exports.read(self._streamed))
            late_s = time.perf_counter() - ended
            if not piece:
                # Exhausted: nothing is open any more, and the next client need not wait for the thread.
                self._closed = True
                self._exports.ended()
                break
            size += len(piece)
            yield piece
            lasted = clock() - began - GRACE_S
            if lasted > 0 and size < RATE_MIN * lasted:
                raise TooSlow(f"the state was read with less than {RATE_MIN} bytes per second")
            await asyncio.sleep(rest_s(took_s, late_s, len(piece)))
        log.info("state.exported", index=self.metadata.index, bytes=size, seconds=round(clock() - began, 3))

    def close(self) -> None:
        """Release the view; a second time is nothing."""
        if not self._closed:
            self._closed = True
            self._exports.release(self._streamed)


def _read(pieces: Iterator[bytes]) -> _Piece:
    began = time.perf_counter()
    data = next(pieces, b"")
    ended = time.perf_counter()
    return _Piece(data, ended - began, ended)
