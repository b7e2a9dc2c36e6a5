"""An answer whose body is made while it is sent, no faster than its client takes it."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Callable
from typing import Protocol, cast

import structlog
from aiohttp import HttpVersion10, web
from aiohttp.abc import AbstractStreamWriter

from collectionstore_node.api.http.answers import Answer, Outlet
from collectionstore_node.errors import InvalidRequest, NotNow

log = structlog.get_logger()


class Body(Protocol):
    """Where the bytes of an answer come from."""

    def pieces(self) -> AsyncIterator[bytes]:
        """Yield them; none is empty."""

    def close(self) -> None:
        """Release what the body holds open; a second time is nothing."""


class StreamedAnswer(Answer):
    """A response in chunks (RFC 9112 7.1). One that cannot be completed ends without the last chunk: a cut connection.

    The request has left its place among those in flight by then: how many streams there are is bounded by what makes
    their bodies, and how long one lasts by the budget for slow readers.
    """

    def __init__(
        self, headers: bytes, body: Body, *, status: int = 200, trailers: Callable[[], bytes] | None = None
    ) -> None:
        """`trailers` returns header lines that are sent behind the body (RFC 9110 6.5)."""
        super().__init__(status, headers)
        self._source = body
        self._trailers = trailers
        # An answer that is never sent, as its client went first, must not hold a view of the state open.
        weakref.finalize(self, body.close)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the whole response. Raises `ConnectionError` if the client has gone or is slow, or the node stops."""
        outlet = cast(Outlet, request.protocol)
        self._open = request.keep_alive and request.content.is_eof() and not outlet.ending
        old = request.version == HttpVersion10
        # A body that is cut has no other end: its client must see that it is not complete.
        outlet.begin_lasting(outlet)
        try:
            outlet.write(self._head(old=old))
            if request.method != "HEAD":
                await self._send(outlet, chunked=not old)
        finally:
            outlet.end_lasting()
            self._source.close()
        return None

    async def _send(self, outlet: Outlet, *, chunked: bool) -> None:
        ended_before = outlet.ending
        try:
            async for piece in self._source.pieces():
                if outlet.ending and not (ended_before or outlet.half_closed):
                    raise ConnectionResetError("the node stops")
                outlet.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                if outlet.writing_paused:
                    await outlet.drain(0)
        except (NotNow, InvalidRequest) as error:
            log.info("export.ended", reason=str(error))
            raise ConnectionResetError(str(error)) from None
        except ConnectionError:
            raise
        except Exception as error:
            # No status line can say it any more. The driver ends the node for what is wrong with its storage.
            log.error("export.failed", exc_info=error)
            raise ConnectionResetError("the body cannot be completed") from error
        if chunked:
            outlet.write(b"0\r\n%b\r\n" % (b"" if self._trailers is None else self._trailers()))

    def _head(self, *, old: bool) -> bytes:
        # HTTP/1.0 knows no chunks: there the body ends with the connection.
        if old:
            self._open = False
        framing = b"" if old else b"Transfer-Encoding: chunked\r\n"
        return self.head(framing, keep_open=self._open)
