"""A client's connection: aiohttp's, with bounds on what a client may send and on how slowly.

aiohttp parses (llhttp, in C) and calls `Dispatcher.handle`; errors of the protocol are problem details like all others.
What is added here sees bytes and parsed messages on their way in, and answers on their way out. Between two requests,
bytes are offered to the hot path first (`api.hot`): what it does not take goes to the parser as it came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

import structlog
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import MAX_MSG_QUEUE_SIZE as MESSAGES_MAX
from aiohttp.web_protocol import _ErrInfo

from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.budgets.uploads import TooSlow
from collectionstore_node.api.connections.checks import (
    HEAD_BYTES_MAX,
    check_head_size,
    check_message,
    too_large_head,
)
from collectionstore_node.api.connections.intake import PIPELINE_BYTES_MAX
from collectionstore_node.api.connections.outgoing import KEEPALIVE_S, Outgoing
from collectionstore_node.api.connections.surroundings import Surroundings, Upgraded
from collectionstore_node.api.hot.pipeline import Pipeline
from collectionstore_node.api.hot.surroundings import HotSurroundings
from collectionstore_node.api.http.dispatcher import target_too_long
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.errors import NodeError
from collectionstore_node.lifecycle import NO_MEMORY, end_without_memory
from collectionstore_node.ports import network_of

log = structlog.get_logger()

FIELD_BYTES_MAX: Final = 8190
"""Name and value of one header."""
HEADERS_MAX: Final = 128
HEAD_S: Final = 10.0
"""From the first byte of a request to the end of its headers."""
READ_BYTES: Final = 64 << 10
"""A body of which twice this waits to be read pauses the connection."""
WRITE_BUFFER_BYTES: Final = 16 << 10
"""Of an answer that the kernel does not take, this much is handed to the transport."""
EMPTY_LINE: Final = b"\r\n\r\n"
CHUNK_OVERHEAD_MIN: Final = 16 << 10
CHUNK_OVERHEAD_FACTOR: Final = 8
"""Framing of a chunked body: at most CHUNK_OVERHEAD_MIN, and this many bytes for each byte of the body."""


class Connection(Outgoing):
    """One connection."""

    __slots__ = (
        "_between",
        "_head_bytes",
        "_host",
        "_left",
        "_pipeline",
        "_wire_bytes",
        "client",
    )

    def __init__(self, around: Surroundings) -> None:
        limits = around.limits
        super().__init__(
            around,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            # A connection closed with unread bytes is reset, and the reset may overtake the refusal (RFC 9112 9.6).
            lingering_time=limits.lingering_s,
            # A compressed body would be inflated before any of our limits sees it; `bodies` refuses it instead.
            auto_decompress=False,
            # Twice: a target over our limit should reach the dispatcher and get its own problem, 414.
            max_line_size=2 * limits.target_bytes_max,
            max_field_size=FIELD_BYTES_MAX,
            max_headers=HEADERS_MAX,
            read_bufsize=READ_BYTES,
        )
        self.client: Client | None = None
        self._head_bytes = 0
        self._wire_bytes = 0
        self._pipeline = None if around.hot is None else Pipeline(self, around.hot)
        self._between = True
        """Whether the parser is known to be between two requests: only then may others be served without it."""
        self._left = 0
        """Bytes of a body that the parser still gets; 0 also when that is not known."""
        self._host: str | None = None
        """The last value of a Host header that was found to be ours."""

    # Its life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection for its address."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        network = network_of(str(peer[0])) if isinstance(peer, tuple) else ""
        self.client = self._around.budgets.clients.connected(network)
        if isinstance(transport, asyncio.WriteTransport):
            transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give back what the connection holds."""
        self._around.intake.take_back(self)
        self._around.heads.pop(self, None)
        self._around.budgets.sending.release(self)
        if self._pipeline is not None:
            self._pipeline.lost()
        # It stays set: requests that have arrived are still served, and counted for their address.
        if self.client is not None:
            self._around.budgets.clients.disconnected(self.client)
        super().connection_lost(exc)

    async def start(self) -> None:
        """Serve requests until the connection ends."""
        try:
            await super().start()
        except Exception as error:  # the boundary: a connection without its task would stay open for ever
            log.error("connection.failed", exc_info=error)
            if self.transport is not None:
                self.transport.abort()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client has closed its side: what it sent completely is still answered, then this side closes too.

        TLS has no half-closed connections: asyncio closes them.
        """
        if held := self._around.intake.take_back(self):
            self.take_in(held)
        if self._payload_parser is not None:
            return None  # a WebSocket ends with close frames on both sides, or with its connection
        hot = self._pipeline is not None and self._pipeline.busy
        messages = self._messages
        # With none of them the general path serves the newest request, unless it waits for one.
        idle = self._waiter is not None and not messages
        cut = not self._last.is_eof()
        if cut and len(messages) > (self._waiter is not None):
            # It waits behind others, and will never be complete: they are answered, and nothing is behind them.
            messages.pop()
            cut = False
        if not hot and (idle or cut):
            return None  # nothing more can be answered: this side closes, too
        self._half_closed = True
        if not hot:
            # Not with requests waiting, which aiohttp would drop. Set here, as the answer may have been made already.
            self._close = not self._messages
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is None

    def close(self) -> None:
        """Close when nothing is being served any more; an upgraded connection is told, and closes itself."""
        if held := self._around.intake.take_back(self):
            self.take_in(held)  # a request that has arrived is served
        upgraded = self._payload_parser
        if isinstance(upgraded, Upgraded):
            upgraded.drain()
        elif self._pipeline is not None and self._pipeline.busy:
            self._close = True  # `at_rest` does the rest
        else:
            super().close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Let requests finish, for as long as `timeout`, and close."""
        if self._pipeline is not None and not isinstance(self._payload_parser, Upgraded):
            self._close = True
            await self._pipeline.drain(timeout)
        await super().shutdown(timeout)

    def idle_since(self) -> float | None:
        """Return since when the connection waits for a request, in loop time; None while it is busy."""
        return None if self._pending() else super().idle_since()

    def _pending(self) -> bool:
        """Return whether something has arrived of which aiohttp does not know, or not yet."""
        return (self._pipeline is not None and self._pipeline.busy) or self._around.intake.holds(self)

    def _process_keepalive(self) -> None:
        if self._pending():
            self._next_keepalive_close_time = self._loop.time() + KEEPALIVE_S
        super()._process_keepalive()

    # Requests

    @property
    def refusable(self) -> bool:
        """Whether what arrives are requests, and not the bytes of what has taken over the connection."""
        return self._payload_parser is None

    def data_received(self, data: bytes) -> None:
        """Take in bytes, in this turn of the loop or in one of the next."""
        # Nothing comes from aiohttp itself, which parses on after a pause.
        if not data or (data := self._around.intake.offer(self, data)):
            self.take_in(data)

    def take_in(self, data: bytes) -> None:
        """Offer bytes to the hot path; the general path gets what is left, and all while it serves a request."""
        pipeline = self._pipeline
        if pipeline is not None and data and (self._is_between(len(data)) or pipeline.busy):
            if self._close or self._force_close:
                return
            hot = self._around.hot
            if hot is not None and hot.exchange.pressed(self) and self._refused_at_once(hot, data):
                return
            try:
                data = pipeline.take(data)
            except NO_MEMORY as error:
                end_without_memory("connection", error)
            except Exception as error:  # the boundary: what is wrong with one connection must not reach the transport
                log.error("connection.failed", exc_info=error)
                self.abort()
                return
            if not data:
                return
        self.receive(data)

    def _refused_at_once(self, hot: HotSurroundings, data: bytes) -> bool:
        """Answer a request that is refused for overload, if `data` is one of those that most are, and no more."""
        pipeline = self._pipeline
        if pipeline is None or pipeline.busy or not self.staying or self.writing_paused:
            return False
        head = hot.heads.read_direct(data, 0)
        if head is None:
            return False
        place, _, headers, _, begin = head
        if begin + headers.body_bytes != len(data):
            return False
        answer = hot.exchange.refused_at_once(self, place)
        if answer is None:
            return False
        self.reply(answer)
        return True

    def _is_between(self, size: int) -> bool:
        """Return whether the general path waits for the beginning of a request."""
        waiter = self._waiter
        return (
            self._between
            and waiter is not None
            and not waiter.done()
            and not self._head_bytes
            and not self._messages
            # More at once is left to `_check`.
            and size <= PIPELINE_BYTES_MAX
        )

    def receive(self, data: bytes) -> None:
        """Hand bytes to the parser, then check what came of them."""
        before, idle = self._request_count, self._last.is_eof()
        if self._force_close and data and isinstance(upgraded := self._payload_parser, Upgraded):
            # The server stops. aiohttp drops what comes now, the answer to a close frame too.
            upgraded.feed_data(data)
            return
        try:
            super().data_received(data)
        except Exception as error:  # the parser hands on what its callbacks raise, for example for a target
            log.debug("connection.unparsable", reason=type(error).__name__)
            self._between = False
            self._refuse(Problem("malformed_request", "the request line or a header is not valid HTTP/1.1"))
            return
        arrived = self._request_count - before
        if arrived:
            if self._pipeline is not None:
                self._place(data, arrived)
            self._check(arrived, len(data))
            return
        # What a pause holds back has not been parsed, so it cannot be judged yet.
        if data and not (
            self._close or self._force_close or self._upgraded or self._buffer_paused or self._reading_paused
        ):
            self._incomplete(len(data), idle=idle)
        elif not idle:
            self._wire_bytes += len(data)
        if data and self._pipeline is not None:
            self._place(data, arrived)

    def _place(self, data: bytes, arrived: int) -> None:
        """Find out whether the parser is between two requests, of which the newest of `arrived` are in `data`.

        It cannot be asked. It is between two exactly if it has got all of the bytes of the newest one and no more:
        - no incomplete request ends with an empty line, so behind one without a body, or with one in chunks, `data`
          ends with an empty line only if nothing of another one has begun;
        - where a body has a length, its bytes are counted from its head on.
        """
        between, self._between = self._between, False
        left, self._left = self._left, 0
        if self._upgraded or self._buffer_paused or self._reading_paused or len(self._messages) >= MESSAGES_MAX:
            return  # the parser may hold bytes back
        message, body = self._messages[-1] if arrived else (None, self._last)
        if isinstance(message, _ErrInfo):
            return
        complete = body.is_eof()
        if complete and data.endswith(EMPTY_LINE):
            self._between = True
            return
        if message is not None:
            if arrived > 1 or not between or message.chunked or not data[:1].isalpha():
                return
            end = data.find(EMPTY_LINE)
            left = end + len(EMPTY_LINE) + int(message.headers.get(hdrs.CONTENT_LENGTH, "0")) if end >= 0 else 0
        left -= len(data)
        if left > 0:
            self._left = left
        else:
            self._between = left == 0 and complete

    def check_head(self, age_s: float) -> None:
        """Refuse a request whose headers do not arrive; `age_s` is since its first byte."""
        if age_s > HEAD_S:
            self._refuse(Problem("request_timeout", f"the headers did not arrive within {HEAD_S:g} s"))
            self._around.exchange.cut("slow_head")

    def _check(self, arrived: int, size: int) -> None:
        around, messages = self._around, self._messages
        large = size + self._head_bytes > HEAD_BYTES_MAX
        if self._head_bytes:
            self._head_bytes = 0
            around.heads.pop(self, None)
        for at in range(len(messages) - arrived, len(messages)):
            message, payload = messages[at]
            # Most requests: nothing of what is checked can be wrong with them, and a call would cost more than this.
            if (
                type(message) is RawRequestMessage
                and message.version is HttpVersion11
                and not message.chunked
                and not large
                and message.path[0] == "/"
                and (around.is_ours is None or message.headers.get(hdrs.HOST, "") == self._host)
            ):
                continue
            if isinstance(message, RawRequestMessage):
                problem = check_message(message, around.is_ours)
                if problem is None and message.path[0] == "/":
                    self._host = message.headers.get(hdrs.HOST)
                if problem is None and large:
                    problem = check_head_size(message)
                if problem is not None:
                    messages[at] = (_ErrInfo(400, problem, ""), payload)
        self._last = payload = messages[-1][1]
        # An estimate: how much of these bytes was the head is not known, only that it is within its bound.
        self._wire_bytes = max(0, size - HEAD_BYTES_MAX)
        if arrived > 1 and size > PIPELINE_BYTES_MAX:
            # Nobody needs that, and each of them holds memory until its turn. The first is answered, then it ends.
            while len(messages) > 1:
                messages.pop()
            self._close = True

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send a response; aiohttp parses what came behind a handshake that is declined here, and not in `receive`."""
        finishing = super().finish_response(request, resp, start_time)
        return self._finish_declined(finishing) if self._message_tail else finishing

    async def _finish_declined(
        self, finishing: Coroutine[Any, Any, tuple[web.StreamResponse, bool]]
    ) -> tuple[web.StreamResponse, bool]:
        before, size = self._request_count, len(self._message_tail)
        finished = await finishing
        # BEFORE any of them is served: they are checked as all others.
        if arrived := self._request_count - before:
            self._check(arrived, size)
        return finished

    def _incomplete(self, size: int, *, idle: bool) -> None:
        """Judge bytes that ended no head; `idle` says that no body was arriving before them."""
        payload = self._last
        if not idle:
            self._wire_bytes += size
            if payload.is_eof():
                return  # they ended a body; what a next head has of them is counted with the rest of it
            body = payload.total_bytes
            if self._wire_bytes - body > CHUNK_OVERHEAD_MIN + CHUNK_OVERHEAD_FACTOR * body:
                payload.set_exception(web.RequestPayloadError("more framing than body"))
                payload.feed_eof()
                self._close = True
            return
        if not self._head_bytes:
            self._around.heads[self] = self._loop.time()
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(too_large_head())

    def _refuse(self, problem: Problem) -> None:
        """Answer what cannot become a request, after the requests before it, and close."""
        self._around.heads.pop(self, None)
        self._messages.append((_ErrInfo(400, problem, ""), EMPTY_PAYLOAD))
        # No more is read: aiohttp drops what arrives on a connection that closes.
        self._close = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Errors

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that could not be parsed, or whose answer could not be made."""
        # A second status line in the middle of a response would be read as its body.
        if request.writer.output_size > 0:
            raise ConnectionError("the response has already started")
        return self._around.exchange.refuse(request, _protocol_problem(self._around.limits, exc))

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what aiohttp did not expect, unless it is the client's doing: that has been answered and counted."""
        error = kw.get("exc_info")
        if isinstance(error, (Problem, NodeError, TooSlow, HttpProcessingError, web.RequestPayloadError, OSError)):
            return
        log.error("connection.failed", exc_info=error)


def _protocol_problem(limits: HttpLimits, error: BaseException | None) -> Exception:
    match error:
        # aiohttp raises the same class for both; only the exceeded limit distinguishes a header from the target.
        case LineTooLong(args=(_, limit, _)) if str(limit) == str(FIELD_BYTES_MAX):
            return Problem("header_too_large", f"a header may have at most {FIELD_BYTES_MAX} bytes")
        case LineTooLong():
            return target_too_long(limits)
        case HttpProcessingError(message="Too many headers received"):
            return Problem("header_too_large", f"a request may have at most {HEADERS_MAX} headers")
        case HttpProcessingError():
            return Problem("malformed_request", "the request line or a header is not valid HTTP/1.1")
        case Exception():
            return error
        case _:
            return Problem("internal_error", "see the node's log")
