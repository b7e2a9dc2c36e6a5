"""`DocumentExport`: all documents of a collection that match, as a stream of one consistent state.

It is read in the thread of queries, in pieces: between two of them it has no place there, so that a slow client keeps
no query waiting, and what was read and not taken is one piece. What it does keep is a view of the state: while that is
open, RocksDB frees no space of what is deleted or replaced. So a member has few exports at a time, and each ends when
its client takes too little, or after an hour; another request goes on behind the last document.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any, Final, Protocol

import structlog

from collectionstore_node.errors import ManyDeleted, NotNow
from collectionstore_node.query.scanning import Record
from collectionstore_node.service.query_thread import QueryThread

log = structlog.get_logger()

EXPORTS_MAX: Final = 4
"""Exports of a member at a time."""
PIECE_BYTES: Final = 128 << 10
"""A piece ends with the document that reaches this."""
PIECE_STEPS: Final = 32
"""And after so many steps of a query, about a millisecond each: others have their turn."""
PLACE_S: Final = 30.0
"""How long a piece waits for its place in the thread of queries."""
RATE_MIN: Final = 256 << 10
"""Bytes per second that a client must take, beyond the first GRACE_S that it lets wait."""
GRACE_S: Final = 60.0
LASTS_S: Final = 3_600.0
"""The longest that an export may last."""

Reclaim = Callable[[ManyDeleted], Awaitable[None]]


class Run(Protocol):
    """One run of a query over one state; `queries` hands it in."""

    revision: int
    stale_since: float | None

    def matches(self) -> Iterator[tuple[Record, dict[str, Any]] | None]:
        """Yield the matches, and None at pauses. Raises `ReadTimedOut`, `ManyDeleted` and `InvalidRequest`."""


class Format(Protocol):
    """How documents are written."""

    def begin(self) -> bytes:
        """Return what comes before the first one."""

    def document(self, record: Record, document: dict[str, Any]) -> bytes:
        """Return a document; `document` has its ID and revision in it."""

    def took(self, data: bytes, count: int) -> None:
        """Note bytes that are sent, with so many documents."""

    def end(self, revision: int) -> bytes:
        """Return what comes behind the last one."""


class DocumentExport:
    """One export. Belongs to one event loop; `close` it."""

    def __init__(
        self,
        run: Run,
        form: Format,
        thread: QueryThread,
        *,
        reclaim: Reclaim,
        ended: Callable[[], None],
        still: Callable[[], None],
    ) -> None:
        """`reclaim` makes a range readable in which too much was deleted; `ended` is called once.

        `still` raises if the caller may not read it any more; it is asked before each piece.
        """
        self._still = still
        self.revision = run.revision
        self.stale_since = run.stale_since
        self._matches: Iterator[tuple[Record, dict[str, Any]] | None] = run.matches()
        self._form = form
        self._thread = thread
        self._reclaim = reclaim
        self._ended: Callable[[], None] | None = ended
        self._complete = False
        self._first: bytes | None = None
        self._documents = 0

    async def begin(self, *, timeout_s: float) -> None:
        """Read the first piece, so that what is wrong with the query is known. Raises as a query does."""
        self._first = self._form.begin() + await self._read(timeout_s)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the bytes, as fast as they are taken. Raises `NotNow` and `InvalidRequest`: the export is cut."""
        clock = asyncio.get_running_loop().time
        began, sent, waited_s = clock(), 0, 0.0
        piece, self._first = self._first or b"", None
        while True:
            if piece:
                handed = clock()
                sent += len(piece)
                yield piece
                waited_s += clock() - handed
                if waited_s > GRACE_S and sent < RATE_MIN * (waited_s - GRACE_S):
                    raise NotNow(f"the export was read with less than {RATE_MIN} bytes per second")
            if self._complete:
                break
            piece = await self._read(PLACE_S)
        end = self._form.end(self.revision)
        if end:
            yield end
        log.info("documents.exported", documents=self._documents, bytes=sent, seconds=round(clock() - began, 3))

    def close(self) -> None:
        """Release the view; a second time is nothing."""
        self._matches = iter(())
        self._complete = True
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()

    async def _read(self, timeout_s: float) -> bytes:
        self._still()
        try:
            piece, count = await self._thread.run(self._next, timeout_s=timeout_s)
        except ManyDeleted as gap:
            # This view meets them again: the next request, behind what was sent, does not.
            await self._reclaim(gap)
            raise
        self._documents += count
        self._form.took(piece, count)
        return piece

    def _next(self) -> Generator[None, None, tuple[bytes, int]]:
        """Return the next piece, perhaps an empty one, and how many documents are in it."""
        lines: list[bytes] = []
        size = steps = 0
        show = self._form.document
        for found in self._matches:
            if found is None:
                steps += 1
                if steps >= PIECE_STEPS:
                    break
                yield
                continue
            line = show(*found)
            lines.append(line)
            size += len(line)
            if size >= PIECE_BYTES:
                break
        else:
            self._complete = True
        return b"".join(lines), len(lines)
