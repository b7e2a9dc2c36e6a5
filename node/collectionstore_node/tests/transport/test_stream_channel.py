"""A connection on a stream whose transport is the test's: pieces, damage, backpressure, and every way to close."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final, cast

import msgspec
import pytest

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.tests.transport.doubles import CLUSTER, QUICK, RecordedPeer, eventually
from collectionstore_node.tests.transport.memory_transport import RecordedTransport
from collectionstore_node.transport.connection.close_reason import CloseReason
from collectionstore_node.transport.connection.connection import Connection, ConnectionContext, Remote
from collectionstore_node.transport.connection.local_node import LocalNode
from collectionstore_node.transport.connection.stream_channel import (
    JOIN_BYTES_MAX,
    TURN_BYTES_MAX,
    StreamChannel,
)
from collectionstore_node.transport.traffic import Traffic
from collectionstore_node.transport.wire.close_codes import CloseCode, encode_close
from collectionstore_node.transport.wire.frames import HEADER_BYTES, Frame, FrameKind, encode_frame
from collectionstore_node.transport.wire.handshake import PeerName, Purpose
from collectionstore_node.transport.wire.send_queue import SendQueue

STREAM = encode_frame(FrameKind.STREAM)
PING = encode_frame(FrameKind.PING, bytes(8))
EMPTY = encode_frame(FrameKind.MESSAGES, b"\x90")


class Side:
    """One side of a stream; the test is the other."""

    def __init__(self, *, dialed: bool, close_timeout_s: float = 0.05) -> None:
        self.transport = RecordedTransport()
        self.taken: list[tuple[FrameKind, bytes]] = []
        self.queue = SendQueue(FrameKind.MESSAGES, 1000, 1 << 30)
        self.traffic = Traffic(RecordedPeer())
        local = LocalNode(PeerName(CLUSTER, "n1"), NodeId(1), "127.0.0.1:1")
        self.clock = time.monotonic
        context = ConnectionContext(local, QUICK, lambda _: self.traffic, lambda: self.clock(), {})
        channel = StreamChannel(dialed=dialed, close_timeout_s=close_timeout_s)
        channel.attach(self.transport)
        assert not self.transport.reading, "what comes before `run` must wait"
        remote = Remote(NodeId(2), "n2", "127.0.0.1:2", Purpose.MESSAGES)
        self.connection = Connection(context, channel, remote, pings=dialed)
        self.ended = asyncio.create_task(self.connection.run(self._take, (self.queue,)))

    async def begin(self) -> None:
        """Let both sides leave the WebSocket, and forget what was written for it."""
        await eventually(lambda: self.transport.reading)
        if not self.connection.dialed:
            self.transport.feed(STREAM)
        await turns()
        self.transport.written.clear()

    async def lose(self) -> CloseReason:
        """Let the other side close, and return why it ended here."""
        self.transport.lose(None)
        return await self.ended

    def _take(self, frame: Frame) -> int:
        self.taken.append((frame.kind, bytes(frame.payload)))
        return 0


encode_item: Final = msgspec.msgpack.Encoder().encode


async def turns(count: int = 4) -> None:
    """Let the loop do what is due."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("cut", range(1, len(STREAM + PING + EMPTY)))
async def test_frames_cut_at_any_byte_are_handed_on_once(cut: int) -> None:
    side, data = Side(dialed=False), STREAM + PING + EMPTY
    await eventually(lambda: side.transport.reading)
    side.transport.feed(data[:cut])
    await turns()
    side.transport.feed(data[cut:])
    await turns()
    assert side.taken == [(FrameKind.MESSAGES, b"\x90")]
    assert [frame.kind for frame in side.transport.frames()] == [FrameKind.PONG]
    await side.lose()


async def test_dialer_speaks_first_and_the_other_side_waits_for_it() -> None:
    """A receiver that sent at once might be read by the dialer's parser of WebSocket messages."""
    dialer, accepted = Side(dialed=True), Side(dialed=False)
    accepted.queue.put(b"\xc0")
    accepted.connection.ask_to_renew()
    await turns()
    assert dialer.transport.frames()[0].kind is FrameKind.STREAM
    assert accepted.transport.written == []
    accepted.transport.feed(STREAM)
    await turns()
    assert [frame.kind for frame in accepted.transport.frames()] == [FrameKind.RENEW, FrameKind.MESSAGES]
    await dialer.lose()
    await accepted.lose()


@pytest.mark.parametrize("first", [EMPTY, PING, encode_frame(FrameKind.STREAM, b"x"), encode_close(1000, "")])
async def test_anything_but_stream_as_the_first_frame_is_refused(first: bytes) -> None:
    side = Side(dialed=False)
    await eventually(lambda: side.transport.reading)
    side.transport.feed(first)
    assert [frame.kind for frame in side.transport.frames()] == [FrameKind.CLOSE]
    assert (await side.lose()).code == CloseCode.PROTOCOL


async def test_what_is_queued_in_a_turn_leaves_in_one_write() -> None:
    """Ping, renewal and messages share a write; messages share a frame."""
    side = Side(dialed=True)
    await side.begin()
    for _ in range(50):
        side.queue.put(b"\xc0")
        side.connection.wake()
    side.connection.beat(time.monotonic(), late=False)
    await turns()
    assert len(side.transport.written) == 1
    assert [frame.kind for frame in side.transport.frames()] == [FrameKind.PING, FrameKind.MESSAGES]
    await side.lose()


async def test_long_frame_is_encrypted_piece_by_piece() -> None:
    """Others have their turn between two pieces; the frame is whole at the other side, and the next one follows it."""
    side = Side(dialed=True)
    await side.begin()
    item = random.Random(1).randbytes(3 << 20)
    side.queue.put(encode_item(item))
    side.queue.put(b"\xc0")
    side.connection.wake()
    written, in_turns = 0, []
    while written < len(item):
        await asyncio.sleep(0)
        in_turns.append(sum(map(len, side.transport.written)) - written)
        written += in_turns[-1]
    assert max(in_turns) <= TURN_BYTES_MAX + JOIN_BYTES_MAX
    assert min(in_turns) > 0
    await turns()
    first, second = side.transport.frames()
    assert msgspec.msgpack.decode(first.payload) == [item]
    assert bytes(second.payload) == b"\x91\xc0"
    await side.lose()


async def test_rest_of_a_long_frame_waits_until_the_other_side_takes_more() -> None:
    """And a side that goes on taking is not silent, although it says nothing."""
    side = Side(dialed=False)
    await side.begin()
    channel = cast(StreamChannel, side.connection.channel)
    side.queue.put(encode_item(bytes(3 << 20)))
    side.connection.wake()
    await asyncio.sleep(0)
    channel.pause_writing()
    await turns()
    before = sum(map(len, side.transport.written))
    assert before <= 2 * (TURN_BYTES_MAX + JOIN_BYTES_MAX)
    now = time.monotonic()
    side.clock = lambda: now + 10 * QUICK.silence_max_s
    channel.resume_writing()
    side.connection.beat(now + 10 * QUICK.silence_max_s, late=False)
    await turns(20)
    assert [frame.kind for frame in side.transport.frames()] == [FrameKind.MESSAGES], "whole, and no close frame"
    side.connection.beat(now + 20 * QUICK.silence_max_s, late=False)
    assert (await side.ended).code == CloseCode.SILENT, "it takes nothing any more, and says nothing"


async def test_close_frame_follows_the_rest_of_a_long_frame() -> None:
    """In the middle of it, it would be taken for a part."""
    side = Side(dialed=True)
    await side.begin()
    side.queue.put(encode_item(bytes(1 << 20)))
    side.connection.wake()
    await asyncio.sleep(0)
    side.connection.end(CloseCode.ROTATED, "another route")
    await turns(20)
    assert [frame.kind for frame in side.transport.frames()] == [FrameKind.MESSAGES, FrameKind.CLOSE]
    await side.lose()


async def test_flush_writes_at_once_and_the_turn_after_it_nothing() -> None:
    side = Side(dialed=True)
    await side.begin()
    side.queue.put(b"\xc0")
    side.connection.wake()
    side.connection.flush()
    assert [frame.kind for frame in side.transport.frames()] == [FrameKind.MESSAGES]
    await turns()
    assert side.transport.written == []
    await side.lose()


async def test_peer_that_takes_nothing_leaves_the_queue_as_it_is() -> None:
    """While writing is paused nothing is taken from the queue, and one pong is owed however many pings come."""
    side = Side(dialed=False)
    await side.begin()
    side.connection.channel.pause_writing()  # type: ignore[attr-defined]
    assert not side.transport.reading, "a peer that only sends is held back"
    side.queue.put(b"\xc0")
    side.connection.wake()
    side.transport.feed(PING * 1000)
    await turns()
    assert (side.transport.written, len(side.queue)) == ([], 1)
    side.connection.channel.resume_writing()  # type: ignore[attr-defined]
    assert side.transport.reading
    await turns()
    assert [frame.kind for frame in side.transport.frames()] == [FrameKind.PONG, FrameKind.MESSAGES]
    await side.lose()


async def test_dialer_reads_on_while_it_cannot_write() -> None:
    """If both sides waited for the other to read, neither would."""
    side = Side(dialed=True)
    await side.begin()
    side.connection.channel.pause_writing()  # type: ignore[attr-defined]
    assert side.transport.reading
    await side.lose()


@pytest.mark.parametrize("dialed", [True, False])
async def test_close_reaches_the_other_side_with_code_and_text(*, dialed: bool) -> None:
    one, other = Side(dialed=dialed), Side(dialed=not dialed)
    await one.begin()
    await other.begin()
    one.connection.end(CloseCode.ROTATED, "text " * 100)
    other.transport.feed(b"".join(one.transport.written))
    assert other.transport.closed, "a close frame is answered by closing"
    ended = await other.lose()
    assert (ended.code, ended.by_peer, ended.graceful) == (CloseCode.ROTATED, True, True)
    assert ended.detail.startswith("text text")
    assert len(ended.detail.encode()) <= 120
    assert str(await one.lose()).startswith("rotated: text")


async def test_both_sides_that_close_at_once_do_not_wait_for_each_other() -> None:
    one, other = Side(dialed=True, close_timeout_s=60.0), Side(dialed=False, close_timeout_s=60.0)
    await one.begin()
    await other.begin()
    one.connection.end(CloseCode.DONE, "")
    other.connection.end(CloseCode.SHUTTING_DOWN, "")
    from_one, from_other = b"".join(one.transport.written), b"".join(other.transport.written)
    one.transport.feed(from_other)
    other.transport.feed(from_one)
    assert one.transport.closed
    assert other.transport.closed
    assert (await one.lose()).code == CloseCode.DONE
    assert (await other.lose()).code == CloseCode.SHUTTING_DOWN


async def test_close_before_the_dialer_spoke_is_sent_when_it_does() -> None:
    side = Side(dialed=False, close_timeout_s=60.0)
    await turns()
    side.connection.end(CloseCode.SHUTTING_DOWN, "")
    assert side.transport.written == []
    side.transport.feed(STREAM)
    assert [frame.kind for frame in side.transport.frames()] == [FrameKind.CLOSE]
    await side.lose()


async def test_peer_that_does_not_answer_a_close_is_cut_off() -> None:
    side = Side(dialed=True)
    await side.begin()
    side.connection.end(CloseCode.SILENT, "nothing heard")
    assert (await side.ended).code == CloseCode.SILENT
    assert side.transport.aborted


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_peer_that_closes_and_stays_is_cut_off(times: int) -> None:
    """TLS may wait for the other side's end of stream: not for longer than a close may take, however often it says."""
    side = Side(dialed=True)
    await side.begin()
    side.transport.feed(encode_close(CloseCode.DONE, "") * times)
    await eventually(lambda: side.transport.aborted)
    assert (await side.ended).code == CloseCode.DONE
    assert side.transport.aborted


async def test_cancelled_connection_says_goodbye() -> None:
    side = Side(dialed=True)
    await side.begin()
    side.ended.cancel()
    await turns()
    assert [frame.kind for frame in side.transport.frames()] == [FrameKind.CLOSE]
    await asyncio.gather(side.ended, return_exceptions=True)
    assert side.transport.aborted


@pytest.mark.parametrize(
    "bad",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x88\x02\x03\xe8",
        bytes(200_000),
        PING[:-1] + b"x",
        encode_frame(FrameKind.CLOSE),
        encode_frame(FrameKind.CLOSE, b"\x03\xe7"),
        encode_frame(FrameKind.CLOSE, b"\x03\xe8" + bytes(121)),
        encode_frame(FrameKind.PING, bytes(9)),
        STREAM,
    ],
)
async def test_bytes_that_are_no_frame_end_the_connection(bad: bytes) -> None:
    """Nothing behind them is looked at, however much it is; the other side is told."""
    side = Side(dialed=False)
    await side.begin()
    side.transport.feed(bad)
    for _ in range(20):
        side.transport.feed(EMPTY * 1000)
    frames = side.transport.frames()
    assert [frame.kind for frame in frames] == [FrameKind.CLOSE]
    assert int.from_bytes(frames[0].payload[:2], "big") == CloseCode.PROTOCOL
    assert side.taken == []
    assert (await side.lose()).code == CloseCode.PROTOCOL


async def test_connection_that_breaks_says_how() -> None:
    side = Side(dialed=True)
    await side.begin()
    side.transport.lose(OSError("no route to host"))
    ended = await side.ended
    assert (ended.code, ended.detail) == (None, "connection lost (no route to host)")
    with pytest.raises(OSError, match="connection lost"):
        await side.connection.write(EMPTY)


async def test_writer_waits_for_room_and_learns_of_the_end() -> None:
    """A snapshot's chunk is written when the one before was taken."""
    side = Side(dialed=True)
    await side.begin()
    side.connection.channel.pause_writing()  # type: ignore[attr-defined]
    writing = asyncio.create_task(side.connection.write(EMPTY))
    await turns()
    assert not writing.done()
    side.connection.channel.resume_writing()  # type: ignore[attr-defined]
    await writing
    assert side.transport.frames()[-1].kind is FrameKind.MESSAGES
    side.connection.channel.pause_writing()  # type: ignore[attr-defined]
    writing = asyncio.create_task(side.connection.write(EMPTY))
    await turns()
    await side.lose()
    with pytest.raises(OSError, match="connection lost"):
        await writing


async def test_half_a_frame_and_then_silence_ends_and_holds_little() -> None:
    side = Side(dialed=False)
    await side.begin()
    side.transport.feed(encode_frame(FrameKind.MESSAGES, bytes(32 << 20))[: HEADER_BYTES + 10])
    side.connection.beat(time.monotonic() + QUICK.silence_max_s + 1, late=False)
    assert (await side.ended).code == CloseCode.SILENT


async def test_what_a_flush_left_behind_is_waited_for() -> None:
    """Or a leader that stops would close with its last messages in the queue."""
    side = Side(dialed=True)
    await side.begin()
    side.connection.channel.pause_writing()  # type: ignore[attr-defined]
    side.queue.put(b"\x90")
    side.connection.flush()
    flushed = asyncio.create_task(side.connection.flushed())
    await turns()
    assert not flushed.done()

    side.connection.channel.resume_writing()  # type: ignore[attr-defined]

    await asyncio.wait_for(flushed, 10)
    assert not len(side.queue)
    await side.lose()
