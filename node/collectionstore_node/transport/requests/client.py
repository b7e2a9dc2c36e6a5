"""Requests over one connection, client side.

The caller must know whether "not applied" is certain. So a request is in one of two states: still queued, then the peer
cannot have handled it (`PeerUnavailable`); or passed to the socket, then its outcome is unknown until the reply arrives
(`RequestLost`). The state changes BEFORE the frame is written, so that a failing write counts as unknown.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Callable

import msgspec

from collectionstore_node.transport.failures import PeerUnavailable, RequestLost
from collectionstore_node.transport.settings import TransportSettings
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.frames import (
    REPLIES_MAX,
    UNREADABLE,
    FrameKind,
    check_count,
    encode_list,
)
from collectionstore_node.transport.wire.send_queue import ITEM_BYTES_MAX, Batch


class ReplyStatus(enum.IntEnum):
    """Result of a request."""

    OK = 0
    """The payload is the handler's reply."""
    NOT_HANDLED = 1
    """Nothing was applied; the payload says why, as text."""
    FAILED = 2
    """The handler failed and may have applied something. The payload is text."""


class Request(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A request; `timeout_ms` is the time to its deadline when it was queued."""

    id: int
    timeout_ms: int
    payload: bytes


class Reply(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The reply to the request `id` of the same connection."""

    id: int
    status: ReplyStatus
    payload: bytes


_encoder = msgspec.msgpack.Encoder()
_replies_decoder = msgspec.msgpack.Decoder(tuple[Reply, ...])


class _Call:
    __slots__ = ("answer", "item", "sent")

    def __init__(self, answer: asyncio.Future[bytes], item: bytes) -> None:
        self.answer = answer
        self.item = item
        self.sent = False


class RequestClient:
    """The outstanding requests of one connection; a source of REQUESTS frames."""

    def __init__(self, wake: Callable[[], None], settings: TransportSettings) -> None:
        """`wake` makes the connection's writer call `take`."""
        self._wake = wake
        self._settings = settings
        self._outstanding: dict[int, _Call] = {}
        self._queue: deque[int] = deque()
        self._queued_bytes = 0
        self._last_id = 0
        self._open = True
        self._empty: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """Return the number of requests queued or outstanding."""
        return len(self._outstanding)

    @property
    def waiting(self) -> bool:
        """Whether requests are queued; those that have expired in the queue count until `take`."""
        return bool(self._queue)

    async def call(self, payload: bytes, timeout_s: float) -> bytes:
        """Send a request and return the reply. Raises `PeerUnavailable` or `RequestLost`."""
        self._last_id += 1
        request_id = self._last_id
        item = _encoder.encode(Request(request_id, max(1, int(timeout_s * 1000)), payload))
        self._admit(len(item))
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()
        self._outstanding[request_id] = _Call(answer, item)
        self._queue.append(request_id)
        self._queued_bytes += len(item)
        self._wake()
        timer = loop.call_later(timeout_s, self._expire, request_id, timeout_s)
        try:
            return await answer
        finally:
            timer.cancel()
            call = self._outstanding.pop(request_id, None)
            if call is not None and not call.sent:
                self._queued_bytes -= len(item)
            if self._empty is not None and not self._outstanding and not self._empty.done():
                self._empty.set_result(None)

    def take(self, bytes_target: int) -> Batch | None:
        """Return the next frame of requests, see `FrameSource`; from here on their outcome is unknown."""
        items: list[bytes] = []
        size_bytes = 0
        while self._queue:
            call = self._outstanding.get(self._queue[0])
            # Expired in the queue: it is never sent.
            if call is not None:
                if items and size_bytes + len(call.item) > bytes_target:
                    break
                # BEFORE the frame is written: a write that fails halfway may have reached the peer.
                call.sent = True
                items.append(call.item)
                size_bytes += len(call.item)
            self._queue.popleft()
        self._queued_bytes -= size_bytes
        return Batch(encode_list(FrameKind.REQUESTS, items), 0) if items else None

    async def drained(self) -> None:
        """Return when nothing is outstanding; the caller no longer calls `call` and bounds the wait."""
        if self._outstanding:
            self._empty = asyncio.get_running_loop().create_future()
            await self._empty

    def on_replies(self, payload: memoryview) -> None:
        """Resolve requests with their replies; the reply to an expired request is dropped. Raises `Refused`."""
        check_count(payload, REPLIES_MAX)
        try:
            replies = _replies_decoder.decode(payload)
        except UNREADABLE as error:
            raise Refused(CloseCode.PROTOCOL, f"replies: {error}") from error
        for reply in replies:
            call = self._outstanding.get(reply.id)
            if call is None or call.answer.done():
                continue
            if not call.sent:
                raise Refused(CloseCode.PROTOCOL, f"reply to request {reply.id}, which was not sent")
            _settle(call.answer, reply)

    def lost(self) -> None:
        """Fail every request: the connection is closed."""
        self._open = False
        for call in self._outstanding.values():
            self._fail(call, "the connection was lost")

    def _admit(self, size_bytes: int) -> None:
        if not self._open:
            raise PeerUnavailable("not connected")
        if size_bytes > ITEM_BYTES_MAX:
            raise PeerUnavailable(f"a request of {size_bytes} bytes is too large, at most {ITEM_BYTES_MAX} fit")
        if len(self._outstanding) >= self._settings.requests_max:
            raise PeerUnavailable(f"{len(self._outstanding)} requests are outstanding already")
        if self._queued_bytes + size_bytes > self._settings.requests_bytes_max:
            raise PeerUnavailable(f"{self._queued_bytes} bytes of requests are queued already")

    def _expire(self, request_id: int, timeout_s: float) -> None:
        call = self._outstanding.get(request_id)
        if call is not None:
            self._fail(call, f"no answer within {timeout_s:g} s")

    def _fail(self, call: _Call, reason: str) -> None:
        if not call.answer.done():
            call.answer.set_exception(RequestLost(reason) if call.sent else PeerUnavailable(reason))


def _settle(answer: asyncio.Future[bytes], reply: Reply) -> None:
    if reply.status is ReplyStatus.OK:
        answer.set_result(reply.payload)
    elif reply.status is ReplyStatus.NOT_HANDLED:
        answer.set_exception(PeerUnavailable(reply.payload.decode(errors="replace")))
    else:
        answer.set_exception(RequestLost(reply.payload.decode(errors="replace")))
