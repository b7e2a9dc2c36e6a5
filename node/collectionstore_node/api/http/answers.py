"""`Answer`: the response that all handlers return, and how it is written.

`aiohttp.web.Response` builds a header dictionary, fills in defaults and serializes it again, which costs more than the
rest of a small request (measured: 30 of 70 us). An `Answer` holds its header lines as bytes and is sent in one write.
"""

from __future__ import annotations

import math
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
OVERLOADED_LINE: Final = _STATUS_LINES[503]
_LENGTH_LINES: Final = [b"Content-Length: %d\r\n\r\n" % size for size in range(1_024)]
"""The end of a head, by the size of the body."""
_BODILESS: Final = frozenset((204, 304))


class Outlet(Protocol):
    """The connection as an answer needs it."""

    @property
    def ending(self) -> bool:
        """Whether the connection closes after this answer."""

    @property
    def half_closed(self) -> bool:
        """Whether the client sends nothing more, and so the connection ends although it takes its answer."""

    @property
    def writing_paused(self) -> bool:
        """Whether the client does not take what was written."""

    def write(self, data: bytes | memoryview) -> None:
        """Hand bytes to the transport. Raises `ConnectionError` when it is closed."""

    async def drain(self, rest: int) -> None:
        """Wait until it has; `rest` bytes of the answer come later. Raises `ConnectionError`."""

    def sent(self) -> None:
        """Give back the room that was taken for a large answer, which has been sent or dropped."""

    def begin_lasting(self, lasting: Lasting) -> None:
        """Have an answer ended with the credential of its request."""

    def end_lasting(self) -> None:
        """Note that it has ended."""

    def expel(self) -> None:
        """Close the connection at once."""


class Lasting(Protocol):
    """What is answered for as long as its client stays."""

    def expel(self) -> None:
        """Tell the client that its credential has ended, and end."""


class Answer(web.StreamResponse):
    """A complete response: status, header lines (each ended by CRLF) and body.

    aiohttp requires handlers to return its base class. The base's state is not initialized, because it is not used:
    all methods that aiohttp calls are overridden here.
    """

    stale_since: float | None = None
    """`perf_counter()` of the moment whose state it shows, for what takes long to read; None: that of the answer."""

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
        old = request.version == HttpVersion10
        if len(self.content) > PIECE_BYTES:
            await self.send(request.method, outlet, keep_open=self._open, old=old)
            return None
        await request.writer.write(self.encode(request.method, keep_open=self._open, old=old), drain=False)  # type: ignore[call-arg]  # left out of the abstract class
        # BEFORE the next request of the connection is served: its answer would wait behind this one.
        if outlet.writing_paused:
            await outlet.drain(0)
        return None

    async def send(self, method: str, outlet: Outlet, *, keep_open: bool, old: bool = False) -> None:
        """Write a large response in pieces, no faster than the client takes them. Raises `ConnectionError`."""
        try:
            content, self.content = self.content, b""
            size = len(content)
            outlet.write(self.encode(method, keep_open=keep_open, old=old, content_bytes=size))
            if method == "HEAD":
                return
            view = memoryview(content)
            for at in range(0, size, PIECE_BYTES):
                outlet.write(view[at : at + PIECE_BYTES])
                if outlet.writing_paused:
                    await outlet.drain(max(0, size - at - PIECE_BYTES))
        finally:
            outlet.sent()

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` wrote everything."""

    def encode(self, method: str, *, keep_open: bool, old: bool = False, content_bytes: int | None = None) -> bytes:
        """Return the response to a request by `method` as bytes.

        `old` is a client that speaks HTTP/1.0; `content_bytes` is the length of a body that is sent apart.
        """
        code, body = self.code, self.content
        if keep_open and body and method != "HEAD" and not old:  # nearly all
            size = len(body)
            length = _LENGTH_LINES[size] if size < len(_LENGTH_LINES) else b"Content-Length: %d\r\n\r\n" % size
            # Joined: a third of what formatting costs.
            return b"".join((_STATUS_LINES[code], date_line(), self.header_lines, length, body))
        if keep_open:
            connection = b"Connection: keep-alive\r\n" if old else b""
        else:
            connection = b"Connection: close\r\n"
        head = _STATUS_LINES[code] + date_line() + self.header_lines + connection
        if code in _BODILESS:
            return head + b"\r\n"
        size = len(body) if content_bytes is None else content_bytes
        # The length stays that of the GET response (RFC 9110 8.6).
        return b"%sContent-Length: %d\r\n\r\n%s" % (head, size, b"" if method == "HEAD" else body)

    def head(self, more: bytes, *, keep_open: bool) -> bytes:
        """Return the status line and all header lines, with `more`, of a body whose length is not announced."""
        connection = b"" if keep_open else b"Connection: close\r\n"
        return _STATUS_LINES[self.code] + date_line() + self.header_lines + more + connection + b"\r\n"


def json_answer(value: object, *, status: int = 200, headers: bytes = b"") -> Answer:
    """Return `value` as JSON."""
    return Answer(status, JSON + headers, orjson.dumps(value))


def revision_line(revision: int) -> bytes:
    """Return the header line with the store's revision."""
    return b"X-Revision: %d\r\n" % revision


def staleness_lines(name: str, staleness_s: float | None) -> bytes:
    """Return the header lines of a stale read: the member that served it, and how stale it is at most, if known."""
    milliseconds = staleness_ms(staleness_s)
    served = b"X-Served-By: %s\r\n" % name.encode()
    return served if milliseconds is None else b"%sX-Staleness-Ms: %d\r\n" % (served, milliseconds)


def staleness_ms(staleness_s: float | None) -> int | None:
    """Return whole milliseconds, rounded up: it is a bound."""
    return None if staleness_s is None else math.ceil(staleness_s * 1000)


class _Clock:
    """The Date header line, formatted once per second."""

    second = 0
    line = b""


def date_line() -> bytes:
    now = int(time.time())
    if now != _Clock.second:
        _Clock.second = now
        _Clock.line = f"Date: {formatdate(now, usegmt=True)}\r\n".encode()
    return _Clock.line
