"""The frames of a snapshot transfer, on a connection of their own. Pure.

    sender    BEGIN             CHUNK CHUNK ...               (until DONE or REFUSED)
    receiver        ACK(offset)        ACK(offset) ...  DONE

The first ACK says where to start: at 0, or where an earlier, interrupted transfer of the same bytes ended. The sender
keeps at most `window_bytes` unacknowledged. DONE comes when the receiver has verified the whole and its replica has
installed it.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from typing import Final, NamedTuple, TypeVar

import msgspec

from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.frames import UNREADABLE, Frame, FrameKind, encode_frame

T = TypeVar("T")

CHUNK_BYTES_MAX: Final = 1 << 20
_CHUNK_HEAD = struct.Struct(">Q32s")


class SnapshotRefusal(enum.IntEnum):
    """Why a receiver does not take a snapshot, or not this chunk."""

    BUSY = 0
    """As many snapshots as allowed are being received; try later."""
    TOO_LARGE = 1
    CHUNK_CORRUPT = 2
    """A chunk's bytes do not have its hash; the sender continues from the last acknowledged offset."""
    HASH_MISMATCH = 3
    """All bytes are here, and they are not those announced; what was received is gone."""
    STORAGE = 4
    """The receiver could not write its spool file."""
    NOT_INSTALLED = 5
    """The replica refused it or failed."""


class Begin(msgspec.Struct, frozen=True, array_like=True):
    """What is coming. `transfer` is one call of `send_snapshot`, also over several connections."""

    transfer: bytes
    envelope: bytes
    size_bytes: int
    sha256: bytes


class Ack(msgspec.Struct, frozen=True, array_like=True):
    """Everything before `offset` is stored; `window_bytes` may be on the way."""

    offset: int
    window_bytes: int


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """The transfer, or this attempt at it, is over."""

    code: SnapshotRefusal
    detail: str


class Chunk(NamedTuple):
    """Bytes `[offset, offset + len(data))`, not yet compared with `sha256`."""

    offset: int
    sha256: bytes
    data: memoryview


_encoder = msgspec.msgpack.Encoder()
_begin_decoder = msgspec.msgpack.Decoder(Begin)
_ack_decoder = msgspec.msgpack.Decoder(Ack)
_refusal_decoder = msgspec.msgpack.Decoder(Refusal)


def encode_begin(begin: Begin) -> bytes:
    """Return the frame that starts a transfer."""
    return encode_frame(FrameKind.SNAPSHOT_BEGIN, _encoder.encode(begin))


def encode_ack(ack: Ack) -> bytes:
    """Return the frame that acknowledges."""
    return encode_frame(FrameKind.SNAPSHOT_ACK, _encoder.encode(ack))


def encode_refusal(refusal: Refusal) -> bytes:
    """Return the frame that ends a transfer without success."""
    return encode_frame(FrameKind.SNAPSHOT_REFUSED, _encoder.encode(refusal))


def encode_done() -> bytes:
    """Return the frame that ends a transfer with success."""
    return encode_frame(FrameKind.SNAPSHOT_DONE)


def encode_chunk(offset: int, data: bytes) -> bytes:
    """Return the frame of a chunk with its hash."""
    return encode_frame(FrameKind.SNAPSHOT_CHUNK, _CHUNK_HEAD.pack(offset, hashlib.sha256(data).digest()), data)


def decode_begin(frame: Frame) -> Begin:
    """Decode a BEGIN frame. Raises `Refused` on anything else."""
    begin = _decode(frame, FrameKind.SNAPSHOT_BEGIN, _begin_decoder)
    if begin.size_bytes < 0 or len(begin.sha256) != hashlib.sha256().digest_size:
        raise Refused(CloseCode.PROTOCOL, "a snapshot of impossible size or hash")
    return begin


def decode_chunk(frame: Frame) -> Chunk:
    """Decode a CHUNK frame. Raises `Refused` on anything else."""
    _expect(frame, FrameKind.SNAPSHOT_CHUNK)
    size_bytes = len(frame.payload) - _CHUNK_HEAD.size
    if not 0 < size_bytes <= CHUNK_BYTES_MAX:
        raise Refused(CloseCode.PROTOCOL, f"a chunk of {size_bytes} bytes, allowed: 1 to {CHUNK_BYTES_MAX}")
    offset, sha256 = _CHUNK_HEAD.unpack_from(frame.payload)
    return Chunk(offset, sha256, frame.payload[_CHUNK_HEAD.size :])


def decode_answer(frame: Frame) -> Ack | Refusal | None:
    """Decode what the receiver sends; None is DONE. Raises `Refused` on anything else."""
    if frame.kind is FrameKind.SNAPSHOT_DONE:
        return None
    if frame.kind is FrameKind.SNAPSHOT_REFUSED:
        return _decode(frame, FrameKind.SNAPSHOT_REFUSED, _refusal_decoder)
    return _decode(frame, FrameKind.SNAPSHOT_ACK, _ack_decoder)


def _decode(frame: Frame, kind: FrameKind, decoder: msgspec.msgpack.Decoder[T]) -> T:
    _expect(frame, kind)
    try:
        return decoder.decode(frame.payload)
    except UNREADABLE as error:
        raise Refused(CloseCode.PROTOCOL, f"{kind.name.lower()}: {error}") from error


def _expect(frame: Frame, kind: FrameKind) -> None:
    if frame.kind is not kind:
        raise Refused(CloseCode.PROTOCOL, f"{frame.kind.name.lower()} where {kind.name.lower()} is due")
