"""The wire format between nodes: frames, one after the other on a stream, or one in a binary WebSocket message. Pure.

    magic "CS" | format u8 | kind u8 | flags u16 | length u32 | crc32 u32 | payload

Numbers are big-endian. The checksum covers everything but itself, so that a flipped byte anywhere is noticed, also
one that happened before TLS on the sender or after TLS here. Lists (messages, requests, replies) are msgpack arrays
put together from items encoded earlier: an item is encoded once, its size is known when it is queued, and all that
waits for one peer leaves in one frame.

Invariants:
- one WebSocket message is exactly one frame; anything before or after it is an error;
- a length is checked against PAYLOAD_BYTES_MAX BEFORE the payload is waited for, and nothing is allocated by it alone:
  `stream_parser` gathers what has arrived, a WebSocket message is there as a whole;
- no flag is defined yet; an unknown flag is an error, so that one can be given a meaning later.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

import msgspec

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a payload that is not what it should be: of another type, no UTF-8, nested without end."""
MAGIC: Final = b"CS"
FORMAT: Final = 1
HEADER_BYTES: Final = 14
PAYLOAD_BYTES_MAX: Final = 32 << 20
"""Longest payload sent or accepted: an AppendEntries with one very large command batch fits."""

MESSAGES_MAX: Final = 4_096
"""Raft messages in one frame: as many as a sender's queue holds (`TransportSettings.queue_messages_max`)."""
REQUESTS_MAX: Final = 4_096
REPLIES_MAX: Final = 8_192
"""Requests and replies in one frame: as many as may be outstanding (`TransportSettings.requests_max`), and twice."""

_HEAD = struct.Struct(">2sBBHI")
_CRC = struct.Struct(">I")
_HEADER = struct.Struct(">2sBBHII")


class FrameKind(enum.IntEnum):
    """What the payload is. Numbers are never given a new meaning."""

    HELLO = 1
    """First frame of the dialer: `handshake.Hello`."""
    WELCOME = 2
    """First frame of the other side: `handshake.Welcome`."""
    PING = 3
    """Eight opaque bytes; answered immediately."""
    PONG = 4
    """The bytes of the ping."""
    MESSAGES = 5
    """A list of Raft messages."""
    REQUESTS = 6
    """A list of `calls.Request`."""
    REPLIES = 7
    """A list of `calls.Reply`, on the connection the requests came by."""
    SNAPSHOT_BEGIN = 8
    SNAPSHOT_ACK = 9
    SNAPSHOT_CHUNK = 10
    SNAPSHOT_DONE = 11
    SNAPSHOT_REFUSED = 12
    RENEW = 13
    """The receiver asks the dialer to open a new connection in place of this one: its certificates have changed."""
    STREAM = 14
    """First frame of the dialer on a stream, without a payload: both sides have left the WebSocket."""
    CLOSE = 15
    """Last frame on a stream, as WebSocket's close frame: the code in two bytes, and a text in UTF-8 for people."""


class Rejection(enum.Enum):
    """Why bytes are not a frame."""

    TRUNCATED = "truncated"
    BAD_MAGIC = "bad_magic"
    UNKNOWN_FORMAT = "unknown_format"
    UNKNOWN_KIND = "unknown_kind"
    UNKNOWN_FLAGS = "unknown_flags"
    OVERSIZED = "oversized"
    WRONG_LENGTH = "wrong_length"
    CHECKSUM = "checksum"
    TOO_MANY = "too_many"


class FrameRejected(Exception):
    """Bytes that are not a frame, or a frame whose payload is not what its kind says; close the connection."""

    def __init__(self, reason: Rejection, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason


class Frame(NamedTuple):
    """A decoded frame; `payload` is a view of the bytes received."""

    kind: FrameKind
    payload: memoryview


class FrameHead(NamedTuple):
    """A header that is in order; `seed` is the checksum of its own bytes, which the payload's goes on from."""

    kind: FrameKind
    length: int
    checksum: int
    seed: int


Parts: TypeAlias = tuple[bytes | memoryview, ...]
"""A frame in pieces, to be joined or written one after the other."""

_KINDS: Final = {int(kind): kind for kind in FrameKind}
_PREFIXES: Final = {kind: MAGIC + bytes((FORMAT, kind, 0, 0)) for kind in FrameKind}
"""The first six bytes of a frame: an enumeration is slow to pack, and there is one for every frame."""


def encode_frame(kind: FrameKind, *parts: bytes | memoryview) -> bytes:
    """Return the frame whose payload is `parts` joined. Raises `ValueError` when that passes PAYLOAD_BYTES_MAX."""
    return b"".join(encode_parts(kind, *parts))


def encode_parts(kind: FrameKind, *parts: bytes | memoryview) -> Parts:
    """Return what `encode_frame` returns, not joined: the header, then `parts` as they are."""
    length = sum(map(len, parts))
    if length > PAYLOAD_BYTES_MAX:
        raise ValueError(f"payload of {length} bytes; at most {PAYLOAD_BYTES_MAX} fit a frame")
    head = _PREFIXES[kind] + length.to_bytes(4, "big")
    checksum = crc32(head)
    for part in parts:
        checksum = crc32(part, checksum)
    return (head + checksum.to_bytes(4, "big"), *parts)


def encode_list(kind: FrameKind, items: Sequence[bytes]) -> Parts:
    """Return a frame whose payload is the msgpack array of `items`, each the msgpack form of one value."""
    return encode_parts(kind, _array_head(len(items)), *items)


def decode_head(data: bytes | bytearray, offset: int) -> FrameHead:
    """Decode the HEADER_BYTES at `offset`. Raises `FrameRejected` for what can be no frame, whatever follows.

    A flipped bit in the header may be taken for an unknown kind here; the connection ends either way.
    """
    magic, frame_format, number, flags, length, checksum = _HEADER.unpack_from(data, offset)
    _check_head(magic, frame_format, length)
    kind = _check_kind(number, flags)
    return FrameHead(kind, length, checksum, crc32(data[offset : offset + _HEAD.size]))


def check_payload(head: FrameHead, checksum: int) -> None:
    """Compare the checksum of header and payload with the one that was sent. Raises `FrameRejected`."""
    if checksum != head.checksum:
        raise FrameRejected(Rejection.CHECKSUM, f"{head.kind.name.lower()}, {head.length} bytes")


def decode_frame(data: bytes) -> Frame:
    """Decode one whole frame. Raises `FrameRejected` with the reason."""
    if len(data) < HEADER_BYTES:
        raise FrameRejected(Rejection.TRUNCATED, f"{len(data)} bytes are less than a header")
    magic, frame_format, number, flags, length = _HEAD.unpack_from(data)
    _check_head(magic, frame_format, length)
    if length != len(data) - HEADER_BYTES:
        raise FrameRejected(Rejection.WRONG_LENGTH, f"{length} said, {len(data) - HEADER_BYTES} there")
    view = memoryview(data)
    if crc32(view[HEADER_BYTES:], crc32(view[: _HEAD.size])) != _CRC.unpack_from(data, _HEAD.size)[0]:
        raise FrameRejected(Rejection.CHECKSUM, f"kind {number}, {length} bytes")
    return Frame(_check_kind(number, flags), view[HEADER_BYTES:])


def _check_head(magic: bytes, frame_format: int, length: int) -> None:
    if magic != MAGIC:
        raise FrameRejected(Rejection.BAD_MAGIC, magic.hex())
    if frame_format != FORMAT:
        raise FrameRejected(Rejection.UNKNOWN_FORMAT, f"{frame_format}, known: {FORMAT}")
    if length > PAYLOAD_BYTES_MAX:
        raise FrameRejected(Rejection.OVERSIZED, f"{length} bytes, at most {PAYLOAD_BYTES_MAX}")


def _check_kind(number: int, flags: int) -> FrameKind:
    kind = _KINDS.get(number)
    if kind is None:
        raise FrameRejected(Rejection.UNKNOWN_KIND, str(number))
    if flags:
        raise FrameRejected(Rejection.UNKNOWN_FLAGS, f"{flags:#06x}")
    return kind


def check_count(payload: bytes | memoryview, count_max: int) -> None:
    """Refuse a list with too many items BEFORE any of them is decoded. Raises `FrameRejected`.

    32 MiB hold millions of small items, and decoding those takes seconds. What is no list is for the decoder to refuse.
    """
    count = _array_count(payload)
    if count > count_max:
        raise FrameRejected(Rejection.TOO_MANY, f"{count} items, at most {count_max}")


def _array_count(payload: bytes | memoryview) -> int:
    """Return the length of the msgpack array that `payload` begins with; 0 for anything else."""
    first = payload[0] if len(payload) else 0
    if first & 0xF0 == 0x90:
        return first & 0x0F
    size = {0xDC: 2, 0xDD: 4}.get(first, 0)
    return int.from_bytes(payload[1 : 1 + size], "big")


def _array_head(count: int) -> bytes:
    if count < 16:
        return bytes((0x90 | count,))
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")
