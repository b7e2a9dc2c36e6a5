"""The WebSocket of a stream: the handshake, frames to the client, close codes, and the sink of aiohttp's reader.

aiohttp's reader (in C) parses, unmasks and joins what the client sends. Its response object is not used: it hands each
message to a task, and costs a frame several calls; a stream reads and writes between two callbacks of the loop.
Compression is not negotiated, so a compressed frame is an error of the protocol and cannot be a bomb.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import enum
import hashlib
import struct
from collections import deque
from typing import Any, Final

from aiohttp import WSMsgType, hdrs, web
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import WS_KEY, WebSocketReader

from collectionstore_node.api.http.names import quoted
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.api.stream.codec import CODECS, Codec
from collectionstore_node.api.stream.settings import MESSAGE_BYTES_MAX

_VERSION: Final = "13"
_REASON_BYTES_MAX: Final = 123
"""RFC 6455 5.5: a control frame has at most 125 bytes, two of which are the code."""
_UPGRADE: Final = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
_SHORT: Final = 126
_MEDIUM: Final = 1 << 16
_FIN: Final = 0x80
_HEADER16: Final = struct.Struct(">BBH")
_HEADER64: Final = struct.Struct(">BBQ")
_CODE: Final = struct.Struct(">H")


class Close(enum.IntEnum):
    """Why a stream is closed: RFC 6455 7.4.1, and codes of this protocol from 4000 on. The name counts it."""

    NORMAL = 1000
    GOING_AWAY = 1001
    """The node stops; after `draining`."""
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    """A text message in msgpack, or a binary one in JSON."""
    INVALID_PAYLOAD = 1007
    """A message that is no list of operations with tags."""
    POLICY = 1008
    """The client sends or reads too slowly."""
    MESSAGE_TOO_BIG = 1009
    TRY_AGAIN_LATER = 1013
    """No room for the message that is arriving."""
    CREDITS_EXCEEDED = 4000
    DUPLICATE_TAG = 4001
    """The tag of an operation that is not answered yet."""
    UNAUTHORIZED = 4002
    """The credential of the stream has ended."""


class Sink(WebSocketDataQueue):
    """Takes what the reader has parsed. It does not pause the connection: the stream does."""

    def __init__(self, protocol: BaseProtocol, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(protocol, MESSAGE_BYTES_MAX, loop=loop)
        self.messages: deque[Any] = deque()
        self.error: BaseException | None = None

    def feed_data(self, data: Any, size: int) -> None:
        """Take a message. It must not raise: the reader would not notice."""
        self.messages.append(data)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Take the error after which the reader reads no more."""
        self.error = exc

    def feed_eof(self) -> None:
        """Do nothing: the stream is told by its connection."""


def reader_of(sink: Sink) -> WebSocketReader:
    """Return a reader that fills `sink`, with the bounds of a stream."""
    return WebSocketReader(sink, MESSAGE_BYTES_MAX, compress=False, decode_text=False)


def negotiate(request: web.BaseRequest) -> tuple[Codec, bytes]:
    """Return the form of messages that the client asks for, and the response that opens the WebSocket.

    Raises `Problem`: the request is no handshake of RFC 6455, comes from a page of another site, or names no
    subprotocol that is known.
    """
    headers = request.headers
    if headers.get(hdrs.UPGRADE, "").strip().lower() != "websocket" or not _names_upgrade(request):
        raise Problem("upgrade_required", "this path is a WebSocket (RFC 6455)", headers=_UPGRADE)
    _check_origin(request)
    if headers.get(hdrs.SEC_WEBSOCKET_VERSION, "").strip() != _VERSION:
        raise Problem("upgrade_required", f"Sec-WebSocket-Version must be {_VERSION}", headers=_UPGRADE)
    key = headers.get(hdrs.SEC_WEBSOCKET_KEY, "").strip()
    try:
        valid = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        valid = False
    if not valid:
        raise Problem("invalid_header", "Sec-WebSocket-Key must be 16 bytes in base64")
    codec = _codec(", ".join(headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ())))
    accept = base64.b64encode(hashlib.sha1(key.encode() + WS_KEY, usedforsecurity=False).digest())
    return codec, (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n" % (accept, codec.name.encode())
    )


def frame(kind: WSMsgType, payload: bytes) -> bytes:
    """Return an unmasked frame: RFC 6455 5.2."""
    size, first = len(payload), _FIN | kind.value
    if size < _SHORT:
        return bytes((first, size)) + payload
    if size < _MEDIUM:
        return _HEADER16.pack(first, 126, size) + payload
    return _HEADER64.pack(first, 127, size) + payload


def close_frame(code: int, reason: str) -> bytes:
    """Return a close frame; a long reason is cut."""
    text = reason.encode("ascii", "replace")[:_REASON_BYTES_MAX]
    return frame(WSMsgType.CLOSE, _CODE.pack(code) + text)


def wire_bytes(size: int) -> int:
    """Return how many bytes the client needed for a message of `size` bytes in one frame: header, mask, payload."""
    return size + 4 + (2 if size < _SHORT else 4 if size < _MEDIUM else 10)


def _names_upgrade(request: web.BaseRequest) -> bool:
    tokens = ",".join(request.headers.getall(hdrs.CONNECTION, ())).lower()
    return any(one.strip() == "upgrade" for one in tokens.split(","))


def _check_origin(request: web.BaseRequest) -> None:
    """Refuse a page of another site: a browser lets any page open a WebSocket anywhere, with the user's credentials."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return  # no browser
    _, separator, authority = origin.partition("://")
    if not separator or authority.lower() != request.headers.get(hdrs.HOST, "").lower():
        raise Problem("forbidden", "the Origin is another site; a page may open a stream to its own server only")


def _codec(offered: str) -> Codec:
    for one in offered.split(","):
        codec = CODECS.get(one.strip())
        if codec is not None:
            return codec
    given = quoted(offered) if offered else "none"
    raise Problem("invalid_header", f"Sec-WebSocket-Protocol must name one of {', '.join(CODECS)}; given: {given}")
