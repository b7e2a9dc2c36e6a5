"""The wire format: what is decoded, and what is refused with which reason."""

from __future__ import annotations

from zlib import crc32

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.transport.wire.frames import (
    FORMAT,
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    FrameKind,
    FrameRejected,
    Rejection,
    decode_frame,
    encode_frame,
    encode_list,
)

kinds = st.sampled_from(FrameKind)


def rejection(data: bytes) -> Rejection:
    """Return why `data` is refused."""
    with pytest.raises(FrameRejected) as caught:
        decode_frame(data)
    return caught.value.reason


def resealed(frame: bytes) -> bytes:
    """Return the frame with a checksum that is right for its present bytes."""
    return frame[:10] + crc32(frame[14:], crc32(frame[:10])).to_bytes(4, "big") + frame[14:]


@given(kinds, st.lists(st.binary(max_size=200), max_size=5))
@settings(max_examples=100)
def test_frame_round_trips(kind: FrameKind, parts: list[bytes]) -> None:
    """What is encoded from parts is decoded as one payload of the same kind."""
    frame = decode_frame(encode_frame(kind, *parts))
    assert frame.kind is kind
    assert bytes(frame.payload) == b"".join(parts)


@given(kinds, st.binary(max_size=60), st.data())
@settings(max_examples=200)
def test_any_flipped_byte_is_refused(kind: FrameKind, payload: bytes, data: st.DataObject) -> None:
    """No single changed byte goes unnoticed, in the header or in the payload."""
    frame = bytearray(encode_frame(kind, payload))
    position = data.draw(st.integers(0, len(frame) - 1))
    frame[position] ^= data.draw(st.integers(1, 255))
    rejection(bytes(frame))


@given(kinds, st.binary(max_size=60), st.data())
@settings(max_examples=100)
def test_truncated_or_prolonged_frame_is_refused(kind: FrameKind, payload: bytes, data: st.DataObject) -> None:
    """A frame is one whole message: a missing end and a trailing byte are errors."""
    frame = encode_frame(kind, payload)
    cut = frame[: data.draw(st.integers(0, len(frame) - 1))]
    expected = Rejection.TRUNCATED if len(cut) < HEADER_BYTES else Rejection.WRONG_LENGTH
    assert rejection(cut) is expected
    assert rejection(frame + b"\0") is Rejection.WRONG_LENGTH


@given(st.binary(max_size=100))
@settings(max_examples=100)
def test_garbage_is_refused(data: bytes) -> None:
    """Bytes that are not ours raise `FrameRejected`, never anything else."""
    rejection(data)


@pytest.mark.parametrize(
    ("position", "value", "reason"),
    [
        (0, 0x58, Rejection.BAD_MAGIC),
        (2, FORMAT + 1, Rejection.UNKNOWN_FORMAT),
        (3, 200, Rejection.UNKNOWN_KIND),
        (5, 1, Rejection.UNKNOWN_FLAGS),
    ],
)
def test_unknown_header_is_refused_even_with_a_right_checksum(position: int, value: int, reason: Rejection) -> None:
    """Formats, kinds and flags of the future are named in the refusal, not taken for damage."""
    frame = bytearray(encode_frame(FrameKind.PING, bytes(8)))
    frame[position] = value
    assert rejection(resealed(bytes(frame))) is reason


def test_oversized_length_is_refused_before_anything_is_read() -> None:
    """A length beyond the limit is refused by the header alone."""
    frame = bytearray(encode_frame(FrameKind.MESSAGES, b"x"))
    frame[6:10] = (PAYLOAD_BYTES_MAX + 1).to_bytes(4, "big")
    assert rejection(bytes(frame)) is Rejection.OVERSIZED


def test_oversized_payload_is_not_encoded() -> None:
    """The sender finds out before the receiver does."""
    with pytest.raises(ValueError, match="at most"):
        encode_frame(FrameKind.MESSAGES, bytes(PAYLOAD_BYTES_MAX), b"x")


@pytest.mark.parametrize("count", [0, 1, 15, 16, 1000, 65_535, 65_536])
def test_list_of_encoded_items_is_a_msgpack_array(count: int) -> None:
    """Items encoded one by one decode as one array, for every form of the array's head."""
    items = [msgspec.msgpack.encode(number) for number in range(count)]
    frame = decode_frame(b"".join(encode_list(FrameKind.MESSAGES, items)))
    assert msgspec.msgpack.decode(frame.payload) == list(range(count))
