"""A stream cut into frames: at every byte, damaged at every byte, too long, and never complete."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.transport.wire.frames import (
    HEADER_BYTES,
    PAYLOAD_BYTES_MAX,
    FrameKind,
    FrameRejected,
    Rejection,
    encode_frame,
)
from collectionstore_node.transport.wire.stream_parser import WINDOW_BYTES, StreamParser

FRAMES = [
    (FrameKind.STREAM, b""),
    (FrameKind.PING, bytes(8)),
    (FrameKind.MESSAGES, b"\x90"),
    (FrameKind.REQUESTS, bytes(range(40))),
    (FrameKind.CLOSE, b"\x03\xe8done"),
]
STREAM = b"".join(encode_frame(kind, payload) for kind, payload in FRAMES)


def fed(parser: StreamParser, data: bytes) -> list[tuple[FrameKind, bytes]]:
    """Receive `data` as a transport does, in pieces of what the parser has room for, and return the frames."""
    frames = []
    while data:
        buffer = parser.buffer()
        assert len(buffer) > 0
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        parser.received(size)
        data = data[size:]
        while (frame := parser.next()) is not None:
            frames.append((frame.kind, bytes(frame.payload)))
    return frames


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_stream_cut_at_any_byte_gives_the_same_frames(cut: int) -> None:
    parser = StreamParser()
    assert fed(parser, STREAM[:cut]) + fed(parser, STREAM[cut:]) == FRAMES


def test_stream_of_single_bytes_gives_the_same_frames() -> None:
    parser = StreamParser()
    assert [frame for at in range(len(STREAM)) for frame in fed(parser, STREAM[at : at + 1])] == FRAMES


@given(
    st.lists(st.tuples(st.sampled_from(FrameKind), st.integers(0, 200_000)), max_size=6),
    st.lists(st.integers(1, 150_000), min_size=1, max_size=10),
)
@settings(max_examples=60, deadline=None)
def test_frames_of_any_size_survive_any_pieces(sizes: list[tuple[FrameKind, int]], pieces: list[int]) -> None:
    """Also those longer than the window, between shorter ones."""
    frames = [(kind, bytes([at % 251]) * size) for at, (kind, size) in enumerate(sizes)]
    data = b"".join(encode_frame(kind, payload) for kind, payload in frames)
    parser, received, at = StreamParser(), [], 0
    while data:
        piece = pieces[at % len(pieces)]
        received += fed(parser, data[:piece])
        data, at = data[piece:], at + 1
    assert received == frames
    assert parser.held_bytes == WINDOW_BYTES


@pytest.mark.parametrize("at", range(HEADER_BYTES + 8))
def test_any_flipped_byte_is_refused_or_waits_for_what_never_comes(at: int) -> None:
    """No damaged frame is returned; a shorter or longer length is found out by the checksum at the latest."""
    data = bytearray(encode_frame(FrameKind.PING, bytes(8)) * 3)
    data[at] ^= 0x10
    parser = StreamParser()
    try:
        assert fed(parser, bytes(data)) == []
    except FrameRejected:
        return
    # The length became longer than all there is: nothing was returned, and silence ends such a connection.
    assert 6 <= at < 10


def test_oversized_length_is_refused_before_the_payload_is_received() -> None:
    frame = bytearray(encode_frame(FrameKind.MESSAGES, b"x"))
    frame[6:10] = (PAYLOAD_BYTES_MAX + 1).to_bytes(4, "big")
    parser = StreamParser()
    with pytest.raises(FrameRejected) as caught:
        fed(parser, bytes(frame[:HEADER_BYTES]))
    assert caught.value.reason is Rejection.OVERSIZED
    assert parser.held_bytes == WINDOW_BYTES


def test_memory_follows_what_has_arrived_and_not_what_was_announced() -> None:
    """The header of a frame of 32 MiB costs nothing, and the memory of the frame goes with it."""
    frame = encode_frame(FrameKind.MESSAGES, bytes(PAYLOAD_BYTES_MAX))
    parser = StreamParser()
    fed(parser, frame[:HEADER_BYTES])
    assert parser.held_bytes == WINDOW_BYTES
    received = HEADER_BYTES
    for size in (100_000, 1_000_000, 9_000_000):
        fed(parser, frame[received : received + size])
        received += size
        assert parser.held_bytes <= WINDOW_BYTES + received
    assert fed(parser, frame[received:]) == [(FrameKind.MESSAGES, bytes(PAYLOAD_BYTES_MAX))]
    assert parser.held_bytes == WINDOW_BYTES


def test_payload_is_where_it_was_received() -> None:
    """No copy: the view of a frame is of the parser's own memory."""
    parser = StreamParser()
    data = encode_frame(FrameKind.PING, b"12345678")
    buffer = parser.buffer()
    buffer[: len(data)] = data
    parser.received(len(data))
    frame = parser.next()
    assert frame is not None
    buffer[HEADER_BYTES] = ord("x")
    assert bytes(frame.payload) == b"x2345678"
