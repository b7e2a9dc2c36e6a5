"""`Answer`: the response that all handlers return, and how it is written.

`aiohttp.web.Response` builds a header dictionary, fills in defaults and serializes it again, which costs more than the
rest of a small request (measured: 30 of 70 us). An `Answer` holds its header lines as bytes and is sent in one write.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, Protocol, cast

import orjson
from aiohttp import HttpVersion10, web
from aiohttp.abc import AbstractStreamWriter

JSON: Final = b"Content-Type: application/json\r\n"

PIECE_BYTES: Final = 64 << 10
"""A larger answer is written in pieces of this size, so that the transport sees when the client stops reading."""

_STATUS_LINES: Final = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\n".encode() for one in HTTPStatus} | {
    # Never sent: the client has gone. nginx's number, so that metrics tell it from faults of either side.
    499: b"HTTP/1.1 499 Client Closed Request\r\n"
}
_BODILESS: Final = frozenset((204, 304))


class Outlet(Protocol):
    """The connection as an answer needs it."""

    @property
    def ending(self) -> bool:
        """Whether the connection closes after this answer."""

    @property
    def writing_paused(self) -> bool:
        """Whether the client does not take what was written."""

    async def drain(self, rest: int) -> None:
        """Wait until it has; `rest` bytes of the answer come later. Raises `ConnectionError`."""

    def sent(self) -> None:
        """Give back the room that was taken for a large answer, which has been sent or dropped."""


class Answer(web.StreamResponse):
    """A complete response: status, header lines (each ended by CRLF) and body.

    aiohttp requires handlers to return its base class. The base's state is not initialized, because it is not used:
    all methods that aiohttp calls are overridden here.
    """

    def __init__(self, status: int, headers: bytes = b"", body: bytes = b"") -> None:
        self.code = status
        self.header_lines = headers
        self.content = body
        self._open = True

    @property
    def status(self) -> int:
        """The status code."""
        return self.code

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open for another request; final once prepared."""
        return self._open

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the whole response. Raises `ConnectionError` when the client has disconnected."""
        # A body that has not arrived will not be read, so what follows on the connection would not be a request
        # (RFC 9112 9.6): the connection must close.
        outlet = cast(Outlet, request.protocol)
        self._open = request.keep_alive and request.content.is_eof() and not outlet.ending
        if len(self.content) <= PIECE_BYTES:
            await request.writer.write(self.encode(request), drain=False)  # type: ignore[call-arg]  # left out of the abstract class
            # BEFORE the next request of the connection is served: its answer would wait behind this one.
            if outlet.writing_paused:
                await outlet.drain(0)
        else:
            try:
                await self._write_pieces(request, outlet)
            finally:
                outlet.sent()
        return None

    async def _write_pieces(self, request: web.BaseRequest, outlet: Outlet) -> None:
        writer, content = request.writer, self.content
        self.content = b""
        head = self.encode(request, len(content))
        await writer.write(head, drain=False)  # type: ignore[call-arg]  # left out of the abstract class
        if request.method == "HEAD":
            return
        view, size = memoryview(content), len(content)
        for at in range(0, size, PIECE_BYTES):
            await writer.write(view[at : at + PIECE_BYTES], drain=False)  # type: ignore[call-arg]  # left out of the abstract class
            if outlet.writing_paused:
                await outlet.drain(max(0, size - at - PIECE_BYTES))

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` wrote everything."""

    def encode(self, request: web.BaseRequest, content_bytes: int | None = None) -> bytes:
        """Return the response to `request` as bytes; `content_bytes` is the length of a body that is sent apart."""
        body = self.content
        if self._open:
            connection = b"Connection: keep-alive\r\n" if request.version == HttpVersion10 else b""
        else:
            connection = b"Connection: close\r\n"
        head = (_STATUS_LINES[self.code], _date_line(), self.header_lines, connection)
        if self.code in _BODILESS:
            return b"".join((*head, b"\r\n"))
        length = b"Content-Length: %d\r\n\r\n" % (len(body) if content_bytes is None else content_bytes)
        # The length stays that of the GET response (RFC 9110 8.6).
        if request.method == "HEAD":
            body = b""
        return b"".join((*head, length, body))


def json_answer(value: object, *, status: int = 200, headers: bytes = b"") -> Answer:
    """Return `value` as JSON."""
    return Answer(status, JSON + headers, orjson.dumps(value))


def revision_line(revision: int) -> bytes:
    """Return the header line with the store's revision."""
    return b"X-Revision: %d\r\n" % revision


class _Clock:
    """The Date header line, formatted once per second."""

    second = 0
    line = b""


def _date_line() -> bytes:
    now = int(time.time())
    if now != _Clock.second:
        _Clock.second = now
        _Clock.line = f"Date: {formatdate(now, usegmt=True)}\r\n".encode()
    return _Clock.line
