"""Snapshot transfer between real nodes: resumed, verified, bounded, cleaned up, and out of the way of heartbeats."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.tests.transport.conftest import MakeNode
from collectionstore_node.tests.transport.doubles import QUICK, Authority, Node, Proxy, eventually, heartbeat
from collectionstore_node.tests.transport.visitor import Visit, visit
from collectionstore_node.transport import PeerAddress, SnapshotFailed, TlsFiles
from collectionstore_node.transport.snapshots.frame_inbox import ConnectionGone
from collectionstore_node.transport.snapshots.snapshot_frames import (
    Ack,
    Begin,
    Refusal,
    SnapshotRefusal,
    decode_answer,
    encode_begin,
    encode_chunk,
)
from collectionstore_node.transport.wire.close_codes import CloseCode
from collectionstore_node.transport.wire.frames import FrameKind, encode_frame
from collectionstore_node.transport.wire.handshake import Purpose

MakeProxy = Callable[[Node], Awaitable[tuple[Proxy, str]]]

SMALL_CHUNKS = dataclasses.replace(QUICK, snapshot_chunk_bytes=32 << 10, snapshot_window_bytes=128 << 10)
DATA = random.Random(3).randbytes(2 << 20)


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """Return a file of DATA."""
    path = tmp_path / "exported.snapshot"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def tls(authority: Authority, tmp_path: Path) -> TlsFiles:
    """Return a visitor's certificate."""
    return authority.issue(tmp_path / "visitor", "n77")


def begin(data: bytes = DATA, **changes: object) -> Begin:
    """Return the announcement of `data`."""
    fields = {
        "transfer": b"transfer",
        "envelope": b"envelope",
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).digest(),
    }
    return Begin(**(fields | changes))  # type: ignore[arg-type]


async def answer(one: Visit) -> Ack | Refusal | None:
    """Return the receiver's next answer."""
    return decode_answer(await one.receive())


def spooled(node: Node) -> list[Path]:
    """Return the files in a node's spool."""
    return list(node.spool.iterdir())


async def test_snapshot_arrives_whole_and_leaves_no_file(pair: tuple[Node, Node], snapshot: Path) -> None:
    """The replica gets the envelope and every byte; afterwards the spool is empty and the source untouched."""
    one, two = pair
    await one.transport.send_snapshot(two.id, b"envelope", snapshot)
    assert two.replica.snapshots == [(one.id, b"envelope", DATA)]
    assert (two.metrics.snapshots_received, two.metrics.snapshots_failed) == ([len(DATA)], 0)
    assert spooled(two) == []
    assert await asyncio.to_thread(snapshot.read_bytes) == DATA


async def test_snapshot_resumes_where_its_connection_was_cut(
    make_node: MakeNode, make_proxy: MakeProxy, snapshot: Path
) -> None:
    """After cuts in the middle only what is missing is sent again."""
    one, two = await make_node(1, "n1", settings=SMALL_CHUNKS), await make_node(2, "n2", settings=SMALL_CHUNKS)
    proxy, address = await make_proxy(two)
    one.transport.set_peers([dataclasses.replace(two.address, address=address)])
    await eventually(lambda: one.connected(two))
    sending = asyncio.create_task(one.transport.send_snapshot(two.id, b"e", snapshot))
    for _ in range(2):
        dials = len(one.metrics.peer("n2").handshakes)
        proxy.cut_after_bytes = 700_000
        await eventually(lambda: proxy.cut_after_bytes is None)
        await eventually(lambda: len(one.metrics.peer("n2").handshakes) > dials)  # noqa: B023 - awaited here
    await sending
    assert two.replica.snapshots == [(one.id, b"e", DATA)]
    assert two.metrics.snapshots_received == [len(DATA)], "once, over all its connections"
    assert two.metrics.snapshots_failed >= 2
    resent = one.metrics.peer("n2").counts["sent_bytes"] - len(DATA)
    assert resent < 2 * (SMALL_CHUNKS.snapshot_window_bytes + (64 << 10)), "more than a window per cut"
    assert spooled(two) == []


async def test_snapshot_is_installed_once_though_its_connection_is_cut_meanwhile(
    make_node: MakeNode, make_proxy: MakeProxy, snapshot: Path
) -> None:
    """Installing is not interrupted by a cut; the sender comes back, waits for it, and learns the outcome."""
    one, two = await make_node(1, "n1"), await make_node(2, "n2")
    proxy, address = await make_proxy(two)
    one.transport.set_peers([dataclasses.replace(two.address, address=address)])
    await eventually(lambda: one.connected(two))
    installing, release = asyncio.Event(), asyncio.Event()

    async def install() -> None:
        installing.set()
        await release.wait()

    two.replica.install = install
    sending = asyncio.create_task(one.transport.send_snapshot(two.id, b"e", snapshot))
    await asyncio.wait_for(installing.wait(), 10)
    before = proxy.connections
    sent = one.metrics.peer("n2").counts["sent_bytes"]
    proxy.cut()
    await eventually(lambda: proxy.connections >= before + 2)
    assert not sending.done()
    release.set()
    await sending
    assert two.replica.snapshots == [(one.id, b"e", DATA)]
    assert one.metrics.peer("n2").counts["sent_bytes"] - sent < len(DATA) // 2


async def test_slow_installation_does_not_delay_heartbeats(pair: tuple[Node, Node], snapshot: Path) -> None:
    """While the receiver is busy with a snapshot, messages both ways and pings go on."""
    one, two = pair
    release = asyncio.Event()
    installing = asyncio.Event()

    async def install() -> None:
        installing.set()
        await release.wait()

    two.replica.install = install
    sending = asyncio.create_task(one.transport.send_snapshot(two.id, b"e", snapshot))
    await asyncio.wait_for(installing.wait(), 10)
    trips = len(one.metrics.peer("n2").round_trips)
    one.transport.send([heartbeat(one.id, two.id, 1)])
    two.transport.send([heartbeat(two.id, one.id, 2)])
    await eventually(lambda: two.replica.sequences() == [1] and one.replica.sequences() == [2])
    await eventually(lambda: len(one.metrics.peer("n2").round_trips) > trips + 2)
    release.set()
    await sending


async def test_stuck_snapshot_connection_does_not_delay_heartbeats(
    make_node: MakeNode, tls: TlsFiles, pair: tuple[Node, Node]
) -> None:
    """A transfer that stops in the middle holds its spool file and nothing else."""
    one, two = pair
    async with visit(two, tls, purpose=Purpose.SNAPSHOT) as stuck:
        await stuck.send(encode_begin(begin()))
        assert await answer(stuck) == Ack(0, QUICK.snapshot_window_bytes)
        one.transport.send([heartbeat(one.id, two.id, 1)])
        await eventually(lambda: two.replica.sequences() == [1])


async def test_corrupt_chunk_is_refused_and_the_transfer_goes_on_before_it(make_node: MakeNode, tls: TlsFiles) -> None:
    """A chunk whose bytes do not have its hash is not stored; the next attempt starts at that chunk."""
    node = await make_node(2, "n2")
    good = encode_chunk(0, DATA[:1000])
    # Right as a frame, wrong as a chunk: the frame's checksum is made after the damage.
    payload = bytearray(encode_chunk(1000, DATA[1000:2000])[14:])
    payload[-1] ^= 1
    async with visit(node, tls, purpose=Purpose.SNAPSHOT) as sender:
        await sender.send(encode_begin(begin()))
        await answer(sender)
        await sender.send(good)
        assert await answer(sender) == Ack(1000, QUICK.snapshot_window_bytes)
        await sender.send(encode_frame(FrameKind.SNAPSHOT_CHUNK, bytes(payload)))
        refused = await answer(sender)
        assert isinstance(refused, Refusal)
        assert refused.code is SnapshotRefusal.CHUNK_CORRUPT
    async with visit(node, tls, purpose=Purpose.SNAPSHOT) as sender:
        await sender.send(encode_begin(begin(transfer=b"the next")))
        assert await answer(sender) == Ack(1000, QUICK.snapshot_window_bytes)
    assert node.replica.snapshots == []


async def test_whole_file_of_another_hash_is_refused_and_deleted(make_node: MakeNode, tls: TlsFiles) -> None:
    """All chunks right and the whole wrong: nothing is installed and nothing is kept."""
    node = await make_node(2, "n2")
    async with visit(node, tls, purpose=Purpose.SNAPSHOT) as sender:
        await sender.send(encode_begin(begin(b"abc", sha256=bytes(32))))
        await answer(sender)
        await sender.send(encode_chunk(0, b"abc"))
        await answer(sender)
        refused = await answer(sender)
        assert isinstance(refused, Refusal)
        assert refused.code is SnapshotRefusal.HASH_MISMATCH
    assert node.replica.snapshots == []
    assert spooled(node) == []


@pytest.mark.parametrize(
    "frames",
    [
        [encode_chunk(0, b"x")],
        [encode_begin(begin()), encode_begin(begin())],
        [encode_begin(begin()), encode_chunk(5, b"x")],
        [encode_begin(begin(b"abc")), encode_chunk(0, b"abcd")],
        [encode_begin(begin()), encode_chunk(0, bytes((1 << 20) + 1))],
        [encode_begin(begin(size_bytes=-1))],
        [encode_begin(begin(sha256=b"short"))],
        [encode_frame(FrameKind.SNAPSHOT_BEGIN, b"\xc1")],
        [encode_frame(FrameKind.MESSAGES, b"\x90")],
        [encode_begin(begin(size_bytes=8 << 20))] + [encode_chunk(0, bytes(1 << 20))] * 4,
    ],
    ids=[
        "chunk_first",
        "begin_twice",
        "gap",
        "past_the_end",
        "chunk_too_large",
        "negative_size",
        "short_hash",
        "undecodable",
        "messages",
        "window_ignored",
    ],
)
async def test_sender_that_breaks_the_protocol_loses_its_connection(
    make_node: MakeNode, tls: TlsFiles, frames: list[bytes]
) -> None:
    """Whatever is out of order ends the connection with a reason and installs nothing."""
    node = await make_node(2, "n2")
    async with visit(node, tls, purpose=Purpose.SNAPSHOT) as sender:
        # The connection may have ended, and the writer learn of it, before the last frame.
        with suppress(ConnectionResetError):
            for frame in frames:
                await sender.send(frame)
        ending = await sender.ended
    assert (ending.code, ending.by_peer) == (CloseCode.PROTOCOL, True)
    assert node.replica.snapshots == []


async def test_receiver_bounds_are_told_to_the_sender(make_node: MakeNode, tls: TlsFiles, snapshot: Path) -> None:
    """Too many snapshots at once and too large ones are refused with the reason, at once."""
    small = dataclasses.replace(QUICK, snapshots_max=1, snapshot_bytes_max=3 << 20)
    one, two = await make_node(1, "n1"), await make_node(2, "n2", settings=small)
    one.transport.set_peers([two.address])
    async with visit(two, tls, purpose=Purpose.SNAPSHOT) as sender:
        await sender.send(encode_begin(begin()))
        await answer(sender)
        with pytest.raises(SnapshotFailed, match="busy"):
            await one.transport.send_snapshot(two.id, b"e", snapshot)
    await asyncio.to_thread(snapshot.write_bytes, DATA * 2)
    with pytest.raises(SnapshotFailed, match="too_large"):
        await one.transport.send_snapshot(two.id, b"e", snapshot)


async def test_newer_connection_takes_over_an_interrupted_transfer(make_node: MakeNode, tls: TlsFiles) -> None:
    """A half-open connection does not block the sender that has already given it up."""
    node = await make_node(2, "n2")
    async with visit(node, tls, purpose=Purpose.SNAPSHOT) as older:
        await older.send(encode_begin(begin()))
        await answer(older)
        await older.send(encode_chunk(0, DATA[:1000]))
        await answer(older)
        async with visit(node, tls, purpose=Purpose.SNAPSHOT) as newer:
            await newer.send(encode_begin(begin()))
            assert await answer(newer) == Ack(1000, QUICK.snapshot_window_bytes)
            assert (await older.ended).code == CloseCode.SUPERSEDED


async def test_failing_installation_is_told_to_the_sender(pair: tuple[Node, Node], snapshot: Path) -> None:
    """What the replica refuses does not count as sent; the file is gone."""
    one, two = pair

    async def install() -> None:
        raise RuntimeError("a bug")

    two.replica.install = install
    with pytest.raises(SnapshotFailed, match="not_installed: RuntimeError: a bug"):
        await one.transport.send_snapshot(two.id, b"e", snapshot)
    assert spooled(two) == []


async def test_unreachable_receiver_fails_after_a_bounded_number_of_attempts(
    make_node: MakeNode, snapshot: Path
) -> None:
    """Without progress the sender gives up, and says what was wrong last."""
    one = await make_node(1, "n1", settings=dataclasses.replace(QUICK, snapshot_attempts=3))
    with pytest.raises(SnapshotFailed, match="no address"):
        await one.transport.send_snapshot(NodeId(9), b"e", snapshot)
    one.transport.set_peers([PeerAddress(NodeId(9), "n9", "127.0.0.1:1")])
    with pytest.raises(SnapshotFailed, match="3 attempts without progress"):
        await one.transport.send_snapshot(NodeId(9), b"e", snapshot)


async def test_stalled_receiver_counts_as_interrupted(
    make_node: MakeNode, make_proxy: MakeProxy, snapshot: Path
) -> None:
    """Acknowledgements that stay away end the attempt; when they come again, so does the transfer."""
    settings = dataclasses.replace(
        QUICK, snapshot_stall_s=0.2, silence_max_s=30.0, dial_timeout_s=0.3, snapshot_attempts=3
    )
    one, two = await make_node(1, "n1", settings=settings), await make_node(2, "n2")
    proxy, address = await make_proxy(two)
    one.transport.set_peers([dataclasses.replace(two.address, address=address)])
    await eventually(lambda: one.connected(two))
    proxy.freeze()
    with pytest.raises(SnapshotFailed, match="attempts without progress"):
        await one.transport.send_snapshot(two.id, b"e", snapshot)
    proxy.thaw()
    await one.transport.send_snapshot(two.id, b"e", snapshot)
    assert two.replica.snapshots == [(one.id, b"e", DATA)]


async def test_one_snapshot_at_a_time_goes_to_a_node(pair: tuple[Node, Node], snapshot: Path) -> None:
    """A second one is refused here; the first goes on."""
    one, two = pair
    first = asyncio.create_task(one.transport.send_snapshot(two.id, b"e", snapshot))
    await asyncio.sleep(0)
    with pytest.raises(SnapshotFailed, match="already being sent"):
        await one.transport.send_snapshot(two.id, b"e", snapshot)
    await first


async def test_missing_source_fails(pair: tuple[Node, Node], tmp_path: Path) -> None:
    """A source that is not there is said to be so."""
    one, two = pair
    with pytest.raises(SnapshotFailed, match="No such file"):
        await one.transport.send_snapshot(two.id, b"e", tmp_path / "absent")


async def test_part_of_a_lost_sender_is_swept(make_node: MakeNode, tls: TlsFiles) -> None:
    """Nobody came back: the file goes."""
    node = await make_node(2, "n2", settings=dataclasses.replace(QUICK, snapshot_resume_s=0.0))
    async with visit(node, tls, purpose=Purpose.SNAPSHOT) as sender:
        await sender.send(encode_begin(begin()))
        await answer(sender)
        assert len(spooled(node)) == 1
    await eventually(lambda: spooled(node) == [])


async def test_sender_stops_when_its_receiver_is_closed(make_node: MakeNode, tls: TlsFiles) -> None:
    """A receiver that shuts down says so and keeps no file."""
    node = await make_node(2, "n2")
    async with visit(node, tls, purpose=Purpose.SNAPSHOT) as sender:
        await sender.send(encode_begin(begin()))
        await answer(sender)
        await node.transport.close()
        with pytest.raises(ConnectionGone, match="shutting_down"):
            await sender.receive()
    assert spooled(node) == []
