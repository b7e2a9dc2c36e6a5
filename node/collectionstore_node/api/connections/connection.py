"""A client's connection: aiohttp's, with bounds on what a client may send and on how slowly.

aiohttp parses (llhttp, in C) and calls `Dispatcher.handle`; errors of the protocol are problem details like all others.
What is added here sees bytes and parsed messages on their way in, and answers on their way out; nothing is parsed
again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog
from aiohttp import HttpVersion11, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import _ErrInfo

from collectionstore_node.api.budgets.budgets import Budgets
from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.connections.checks import (
    HEAD_BYTES_MAX,
    IsOurs,
    check_head_size,
    check_message,
    too_large_head,
)
from collectionstore_node.api.connections.intake import Intake
from collectionstore_node.api.http.dispatcher import target_too_long
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.errors import NodeError, Overloaded
from collectionstore_node.ports import PortProtocol, network_of

log = structlog.get_logger()

FIELD_BYTES_MAX: Final = 8190
"""Name and value of one header."""
HEADERS_MAX: Final = 128
KEEPALIVE_S: Final = 75.0
HEAD_S: Final = 10.0
"""From the first byte of a request to the end of its headers."""
READ_BYTES: Final = 64 << 10
"""A body of which twice this waits to be read pauses the connection."""
WRITE_BUFFER_BYTES: Final = 16 << 10
"""Of an answer that the kernel does not take, this much is handed to the transport."""
PIPELINE_BYTES_MAX: Final = 64 << 10
"""Requests that arrive at once, ahead of their answers."""
CHUNK_OVERHEAD_MIN: Final = 16 << 10
CHUNK_OVERHEAD_FACTOR: Final = 8
"""Framing of a chunked body: at most CHUNK_OVERHEAD_MIN, and this many bytes for each byte of the body."""


class Exchange(Protocol):
    """What answers the requests of a server."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; raises nothing but cancellation."""

    def refuse(self, request: web.BaseRequest, error: Exception) -> web.StreamResponse:
        """Return the problem details of `error`."""

    def cut(self, reason: str) -> None:
        """Count a connection that was closed because its client is too slow."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all connections of one server share."""

    server: web.Server
    exchange: Exchange
    limits: HttpLimits
    budgets: Budgets
    heads: dict[Connection, float]
    """Connections on which a request has begun whose headers are not complete, and since when."""
    is_ours: IsOurs | None
    loop: asyncio.AbstractEventLoop
    intake: Intake


class Connection(PortProtocol):
    """One connection."""

    __slots__ = ("_around", "_half_closed", "_head_bytes", "_last", "_rest", "_wire_bytes", "client")

    def __init__(self, around: Surroundings) -> None:
        limits = around.limits
        super().__init__(
            around.server,
            loop=around.loop,
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
        self._around = around
        self.client: Client | None = None
        self._head_bytes = 0
        self._last: StreamReader = EMPTY_PAYLOAD
        """The body of the newest request."""
        self._wire_bytes = 0
        self._half_closed = False
        self._rest = 0
        """What is left of an answer that waits, beyond the transport's buffer."""

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
        idle = self._waiter is not None and not self._messages
        if idle or not self._last.is_eof():
            return None  # nothing more can be answered: this side closes, too
        self._half_closed = True
        # Not with requests waiting, which aiohttp would drop. Set here, as the answer may have been made already.
        self._close = not self._messages
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is None

    @property
    def ending(self) -> bool:
        """Whether the connection closes after the answer that is being made."""
        return self._close or (self._half_closed and not self._messages)

    # Requests

    def data_received(self, data: bytes) -> None:
        """Take in bytes, in this turn of the loop or in one of the next."""
        # Nothing comes from aiohttp itself, which parses on after a pause.
        if not data or (data := self._around.intake.offer(self, data)):
            self.take_in(data)

    def take_in(self, data: bytes) -> None:
        """Hand bytes to the parser, then check what came of them."""
        before, idle = self._request_count, self._last.is_eof()
        try:
            super().data_received(data)
        except Exception as error:  # the parser hands on what its callbacks raise, for example for a target
            log.debug("connection.unparsable", reason=type(error).__name__)
            self._refuse(Problem("malformed_request", "the request line or a header is not valid HTTP/1.1"))
            return
        arrived = self._request_count - before
        if arrived:
            self._check(arrived, len(data))
        # What a pause holds back has not been parsed, so it cannot be judged yet.
        elif data and not (
            self._close or self._force_close or self._upgraded or self._buffer_paused or self._reading_paused
        ):
            self._incomplete(len(data), idle=idle)
        elif not idle:
            self._wire_bytes += len(data)

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
                and around.is_ours is None
                and message.path[0] == "/"
            ):
                continue
            if isinstance(message, RawRequestMessage):
                problem = check_message(message, around.is_ours)
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

    # Answers

    def unsent(self) -> int:
        """Return how many bytes of the answer wait in this process."""
        transport = self.transport
        return self._rest + (transport.get_write_buffer_size() if transport is not None else 0)

    def cut(self, reason: str) -> None:
        """Close the connection at once, because its client is too slow."""
        self._around.exchange.cut(reason)
        if self.transport is not None:
            self.transport.abort()

    async def drain(self, rest: int) -> None:
        """Wait until the client has taken what was written; `rest` bytes of the answer come later.

        Raises `ConnectionError` when it has gone or was cut.
        """
        sending = self._around.budgets.sending
        self._rest = rest
        charged = self in sending
        if not charged:
            try:
                sending.take(self, self.unsent())
            except Overloaded:
                self.cut("evicted_read")
                raise ConnectionResetError("no room for an answer that is not read") from None
        try:
            await self._drain_helper()
        finally:
            self._rest = 0
            if not charged:
                sending.release(self)

    def sent(self) -> None:
        """Give back the room that was taken for a large answer, which has been sent or dropped."""
        self._around.budgets.sending.release(self)

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
        if isinstance(error, (Problem, NodeError, HttpProcessingError, web.RequestPayloadError, OSError)):
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
