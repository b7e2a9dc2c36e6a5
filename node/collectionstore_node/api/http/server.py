"""The HTTP server of a port, and its connections: errors of the protocol are problem details like all others.

Built on `aiohttp.web.Server`, the layer below `web.Application`: measured on one core, a small PUT through an
application with aiohttp's router and `Response` costs 121 us, the same through this server 41 us plus the handler.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from collectionstore_node.api.http.dispatcher import Dispatcher, target_too_long
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.problems import Problem

FIELD_BYTES_MAX: Final = 8190
"""Name and value of one header."""
KEEPALIVE_S: Final = 75.0


class ApiServer(web.Server):
    """What `aiohttp.web.ServerRunner` runs; make it inside the event loop."""

    def __init__(self, dispatcher: Dispatcher, limits: HttpLimits) -> None:
        super().__init__(dispatcher.handle)
        self._dispatcher = dispatcher
        self._limits = limits
        self._event_loop = asyncio.get_running_loop()

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return _Connection(self, self._dispatcher, self._limits, self._event_loop)


class _Connection(web.RequestHandler):
    """A client's connection."""

    __slots__ = ("_dispatcher", "_limits")

    def __init__(
        self, server: ApiServer, dispatcher: Dispatcher, limits: HttpLimits, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # None turns it off, which the annotation leaves out
            keepalive_timeout=KEEPALIVE_S,
            # A connection closed with unread bytes is reset, and the reset may overtake the refusal (RFC 9112 9.6).
            lingering_time=limits.lingering_s,
            # A compressed body would be inflated before any of our limits sees it; `bodies` refuses it instead.
            auto_decompress=False,
            # Twice: a target over our limit should reach the dispatcher and get its own problem, 414.
            max_line_size=2 * limits.target_bytes_max,
            max_field_size=FIELD_BYTES_MAX,
        )
        self._dispatcher = dispatcher
        self._limits = limits

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
        return self._dispatcher.refuse(request, _protocol_problem(self._limits, exc))


def _protocol_problem(limits: HttpLimits, error: BaseException | None) -> Exception:
    match error:
        # aiohttp raises the same class for both; only the exceeded limit distinguishes a header from the target.
        case LineTooLong(args=(_, limit, _)) if str(limit) == str(FIELD_BYTES_MAX):
            return Problem("header_too_large", f"a header may have at most {FIELD_BYTES_MAX} bytes")
        case LineTooLong():
            return target_too_long(limits)
        case HttpProcessingError():
            return Problem("malformed_request", "the request line or a header is not valid HTTP/1.1")
        case Exception():
            return error
        case _:
            return Problem("internal_error", "see the node's log")
