"""`Incoming`: what a client sends on a stream, from its bytes to operations, in pieces for a turn of the loop each.

Bytes become messages in the reader of frames, and messages become operations in the codec. A large message is decoded
line by line, where its form allows that, but none of its operations is taken before all of it was understood: a message
that is refused was not executed in part.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, Protocol

from aiohttp import WebSocketError, WSMsgType
from aiohttp.base_protocol import BaseProtocol

from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.budgets.uploads import TooSlow, Upload, Uploads
from collectionstore_node.api.stream import settings
from collectionstore_node.api.stream.codec import Codec, MessageRejected, Received, TooManyOperations
from collectionstore_node.api.stream.websocket import Close, Sink, reader_of, wire_bytes
from collectionstore_node.errors import Overloaded

_DATA: Final = (WSMsgType.TEXT, WSMsgType.BINARY)


class Owner(Protocol):
    """The stream, as what arrives on it needs it."""

    @property
    def operations(self) -> int:
        """Number of operations in flight."""

    @property
    def closing(self) -> bool:
        """Whether a close frame was sent, so that only the answer to it counts."""

    @property
    def draining(self) -> bool:
        """Whether the node stops, and takes no more operations."""

    def close(self, code: Close, reason: str) -> None:
        """Send a close frame."""

    def client_closed(self) -> None:
        """Answer a close frame."""

    def ping(self, payload: bytes) -> None:
        """Answer a ping."""

    def hang_up(self) -> None:
        """Close the connection behind what was written."""


class Incoming:
    """What has arrived and is not taken. Belongs to one stream."""

    def __init__(
        self,
        owner: Owner,
        protocol: BaseProtocol,
        codec: Codec,
        client: Client,
        uploads: Uploads,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._owner = owner
        self._codec = codec
        self._client = client
        self._uploads = uploads
        self._sink = Sink(protocol, loop)
        self._reader = reader_of(self._sink)
        self._inbox: deque[bytes] = deque()
        self._undecoded: deque[bytes] = deque()
        """The rest of a message that is decoded in steps, and `_decoded` what it was so far."""
        self._decoded: list[Received] = []
        self._upload: Upload | None = None
        self._partial_bytes = 0
        self.pending: deque[Received] = deque()
        """Operations that can be taken, in order."""
        self.accepted = 0
        """Operations of all messages that were understood."""

    @property
    def waits(self) -> bool:
        """Whether something that has arrived is not taken."""
        return bool(self._inbox or self.pending or self._sink.messages or self._undecoded)

    def add(self, data: bytes) -> None:
        """Take bytes of the client."""
        self._inbox.append(data)

    def work(self) -> int | None:
        """Do the next step towards an operation, and return the bytes it counts for; None when nothing is left."""
        if self._undecoded:
            return self._decode_next()
        if self._sink.messages:
            return self._receive(self._sink.messages.popleft())
        if self._inbox:
            self._feed()
            return 0
        return None

    def refuse_messages(self) -> None:
        """Take no more messages than were understood; the node stops."""
        self._sink.messages.clear()
        self._undecoded.clear()
        self._decoded.clear()

    def stop(self) -> None:
        """Take no more operations."""
        self.end_upload()
        self.pending.clear()
        self.refuse_messages()

    def end(self) -> None:
        """Note that the connection has ended."""
        self.stop()
        self._inbox.clear()

    # Frames

    def _feed(self) -> None:
        """Parse a piece of what has arrived."""
        data = self._inbox.popleft()
        if len(data) > settings.FEED_BYTES:
            self._inbox.appendleft(data[settings.FEED_BYTES :])
            data = data[: settings.FEED_BYTES]
        sink = self._sink
        self._reader.feed_data(data)
        self._measure(len(data), sink.messages)
        if self._owner.closing or self._owner.draining:
            self._only_close_frames()
        if sink.error is not None:
            self._break(sink.error)

    def _measure(self, size: int, messages: deque[Any]) -> None:
        """Count the bytes of a message that is not complete: they are an upload, as slow and as large as it may be."""
        complete = [one for one in messages if one.type in _DATA]
        if complete:
            self.end_upload()
            used = sum(wire_bytes(len(one.data)) for one in complete)
            self._partial_bytes = min(size, max(0, self._partial_bytes + size - used))
        else:
            self._partial_bytes += size
        if self._owner.closing:
            return
        if self._partial_bytes > 2 * settings.MESSAGE_BYTES_MAX:
            self._owner.close(Close.MESSAGE_TOO_BIG, "more framing than message")
        elif self._partial_bytes >= settings.PARTIAL_BYTES_MIN:
            self._grow_upload()

    def _grow_upload(self) -> None:
        try:
            if self._upload is None:
                self._upload = self._uploads.open(self._client, self._upload_ended)
            self._uploads.grow(self._upload, self._partial_bytes - self._upload.size)
        except Overloaded as error:
            self._owner.close(Close.TRY_AGAIN_LATER, str(error))

    def _upload_ended(self, reason: Exception) -> None:
        self._upload = None
        code = Close.POLICY if isinstance(reason, TooSlow) else Close.TRY_AGAIN_LATER
        self._owner.close(code, str(reason))

    def end_upload(self) -> None:
        """Give back what an incomplete message takes of the budget of uploads."""
        upload, self._upload = self._upload, None
        if upload is not None:
            self._uploads.close(upload)

    def _break(self, error: BaseException) -> None:
        """End a stream whose bytes are no WebSocket frames, or too large a message."""
        self._inbox.clear()
        if self._owner.closing:
            self._owner.hang_up()
        elif isinstance(error, WebSocketError) and error.code == Close.MESSAGE_TOO_BIG:
            self._owner.close(Close.MESSAGE_TOO_BIG, f"a message may have at most {settings.MESSAGE_BYTES_MAX} bytes")
        else:
            self._owner.close(Close.PROTOCOL_ERROR, "not a sequence of WebSocket frames")

    def _only_close_frames(self) -> None:
        messages = self._sink.messages
        closed = any(one.type is WSMsgType.CLOSE for one in messages)
        messages.clear()
        if closed:
            self._owner.client_closed()

    # Messages

    def _receive(self, message: Any) -> int:
        """Take a message from the WebSocket."""
        match message.type:
            case WSMsgType.TEXT | WSMsgType.BINARY:
                return self._decode(message)
            case WSMsgType.PING:
                self._owner.ping(bytes(message.data))
            case WSMsgType.CLOSE:
                self._owner.client_closed()
        return 0

    def _decode(self, message: Any) -> int:
        codec = self._codec
        if (message.type is WSMsgType.TEXT) is not codec.text:
            what = "text" if codec.text else "binary"
            self._owner.close(Close.UNSUPPORTED_DATA, f"{codec.name} takes {what} messages")
            return 0
        left = settings.OPERATIONS_MAX - self._owner.operations - len(self.pending)
        try:
            parts = codec.decode(message.data, left)
        except TooManyOperations:
            self._owner.close(Close.CREDITS_EXCEEDED, f"at most {settings.OPERATIONS_MAX} operations may be in flight")
            return 0
        except MessageRejected as error:
            self._owner.close(Close.INVALID_PAYLOAD, str(error))
            return 0
        for part in parts:
            if isinstance(part, bytes):
                self._undecoded.append(part)
            else:
                self._decoded.append(part)
        if len(message.data) <= settings.DECODED_AT_ONCE_BYTES:
            while self._undecoded:
                self._decode_next()
        if not self._undecoded:
            self._accept()
        return 0

    def _decode_next(self) -> int:
        """Decode the next line of a message, and return its size."""
        part = self._undecoded.popleft()
        try:
            self._decoded.append(self._codec.complete(part))
        except MessageRejected as error:
            # Nothing of this message was taken.
            self._undecoded.clear()
            self._decoded.clear()
            self._owner.close(Close.INVALID_PAYLOAD, str(error))
        else:
            if not self._undecoded:
                self._accept()
        return len(part)

    def _accept(self) -> None:
        """Have the operations of a message taken: all of it was understood."""
        self.accepted += len(self._decoded)
        self.pending.extend(self._decoded)
        self._decoded.clear()
