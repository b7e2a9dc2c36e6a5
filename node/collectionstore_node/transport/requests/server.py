"""Requests of a peer over one connection, server side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from collectionstore_node.errors import NotNow
from collectionstore_node.lifecycle import end_without_memory
from collectionstore_node.transport.connection.connection import Remote
from collectionstore_node.transport.handler import TransportHandler
from collectionstore_node.transport.requests.client import Reply, ReplyStatus, Request
from collectionstore_node.transport.settings import TransportSettings
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.frames import REQUESTS_MAX, UNREADABLE, FrameKind, check_count
from collectionstore_node.transport.wire.send_queue import SendQueue

log = structlog.get_logger()

TIMEOUT_MAX_MS: Final = 120_000
"""Longest time that a request is worked on; the longest of a client is a minute."""

_encoder = msgspec.msgpack.Encoder()
_requests_decoder = msgspec.msgpack.Decoder(tuple[Request, ...])


class RequestServer:
    """Runs the handler once per request, a bounded number concurrently, and queues the replies in `replies`."""

    def __init__(
        self, remote: Remote, handler: TransportHandler, settings: TransportSettings, wake: Callable[[], None]
    ) -> None:
        """`wake` makes the connection's writer empty `replies`."""
        self.replies = SendQueue(FrameKind.REPLIES, 2 * settings.requests_max, settings.requests_bytes_max)
        self._remote = remote
        self._handler = handler
        self._running_max = settings.requests_max
        self._wake = wake
        self._running: dict[asyncio.Task[None], None] = {}
        self._open = True

    def on_requests(self, payload: memoryview) -> None:
        """Start the handler for each request. Raises `Refused` unless the payload is a list of requests."""
        check_count(payload, REQUESTS_MAX)
        try:
            requests = _requests_decoder.decode(payload)
        except UNREADABLE as error:
            raise Refused(CloseCode.PROTOCOL, f"requests: {error}") from error
        for request in requests:
            if len(self._running) >= self._running_max:
                self._reply(request, ReplyStatus.NOT_HANDLED, b"too many concurrent requests")
                continue
            task = asyncio.create_task(self._serve(request))
            self._running[task] = None
            task.add_done_callback(self._running.pop)

    async def cancel(self) -> None:
        """Cancel running handlers: their replies cannot be delivered any more."""
        self._open = False
        running = tuple(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _serve(self, request: Request) -> None:
        try:
            async with asyncio.timeout(min(max(request.timeout_ms, 0), TIMEOUT_MAX_MS) / 1000):
                answer = await self._handler.on_request(self._remote.node_id, request.payload)
        except NotNow as error:
            self._reply(request, ReplyStatus.NOT_HANDLED, str(error).encode())
        except TimeoutError:
            self._reply(request, ReplyStatus.FAILED, b"timed out")
        except MemoryError as error:
            end_without_memory("peer request", error)
        except Exception:
            # Expected failures are part of the reply's payload; this is a bug, and the client must not wait for it.
            log.exception("request.failed", peer=self._remote.name, node_id=f"{self._remote.node_id:016x}")
            self._reply(request, ReplyStatus.FAILED, b"internal error")
        else:
            self._reply(request, ReplyStatus.OK, answer)

    def _reply(self, request: Request, status: ReplyStatus, payload: bytes) -> None:
        if not self._open:
            return
        if not self.replies.put(_encoder.encode(Reply(request.id, status, payload))) and not self.replies.put(
            _encoder.encode(Reply(request.id, ReplyStatus.FAILED, b"no room for the answer"))
        ):
            # The client reads nothing at all; its requests expire at their own deadlines.
            log.warning("reply.dropped", peer=self._remote.name, node_id=f"{self._remote.node_id:016x}")
        self._wake()
