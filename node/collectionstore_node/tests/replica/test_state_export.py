"""The state as a stream: one state of the history, while writes go on; one stream at a time; always released."""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path

import pytest

from collectionstore_node.errors import InsufficientStorage, InvalidRequest, NotNow, Overloaded
from collectionstore_node.raft.messages import GENESIS_CHAIN, Index, chain_hash
from collectionstore_node.replica import replica as replica_module
from collectionstore_node.replica.snapshots.state_export import BUSY_RATE, RATE_MIN, REST, StateExport, rest_s
from collectionstore_node.space import SpaceLimits
from collectionstore_node.statemachine.header import header_in, read_header
from collectionstore_node.statemachine.keys import HEADER_KEY
from collectionstore_node.statemachine.levels import HIGHEST
from collectionstore_node.statemachine.reads import get_key
from collectionstore_node.storage.snapshot_file import SnapshotStream
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, group
from collectionstore_node.tests.statemachine.memory_view import MemoryView


async def read(export: StateExport) -> dict[bytes, bytes]:
    """Read a stream to its end, and verify it."""
    data = b"".join([piece async for piece in export.pieces()])
    export.close()
    stream = SnapshotStream("stream", io.BytesIO(data))
    records = {key: value for chunk in stream.chunks() for key, value in zip(chunk[::2], chunk[1::2], strict=True)}
    assert stream.contents.metadata == export.metadata
    assert header_in((HEADER_KEY, records[HEADER_KEY])) == export.header
    return records


def values(records: dict[bytes, bytes], keys: int) -> list[bytes | None]:
    """Return the raw values in a state, by key."""
    view = MemoryView()
    for key, value in sorted(records.items()):
        view._set(key, value)
    return [None if found is None else found.value for found in (get_key(view, "test", f"{n:04}") for n in range(keys))]


async def test_a_stream_during_writes_is_one_state_of_the_history(tmp_path: Path) -> None:
    """Init: 200 keys. Step: overwrite all of them, in order, while the state is streamed in small pieces.

    Check: what was streamed is the state at its revision exactly: a prefix of the keys has the new value, the rest the
    old one, and the border is where the revision says.
    """
    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        for number in range(200):
            await member.put(f"{number:04}", b"old" * 100)
        before = member.replica.revision
        # A stream rests between its pieces: writes that are as fast as they can be would be over within the second one.
        ahead = asyncio.Semaphore(60)

        async def overwrite() -> None:
            for number in range(200):
                await ahead.acquire()
                await member.put(f"{number:04}", b"new" * 100)

        writing = asyncio.create_task(overwrite())
        found = []
        while not writing.done():
            export = await member.replica.open_state()
            found.append((export.header.revision, await read(export)))
            for _ in range(60):
                ahead.release()
        await writing

    assert len(found) > 2
    for revision, records in found:
        overwritten = revision - before
        assert values(records, 200) == [b"new" * 100] * overwritten + [b"old" * 100] * (200 - overwritten)
    assert len({revision for revision, _ in found}) > 2


async def test_one_stream_at_a_time_and_a_cut_one_makes_room(tmp_path: Path) -> None:
    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        await member.put("a", b"1")
        export = await member.replica.open_state()
        with pytest.raises(Overloaded, match="another client"):
            await member.replica.open_state()

        export.close()
        export.close()
        await closed(member)
        await read(await member.replica.open_state())


async def test_a_client_that_goes_while_the_stream_opens_leaves_nothing_open(tmp_path: Path) -> None:
    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        await member.put("a", b"1")
        opening = asyncio.create_task(member.replica.open_state())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

        await closed(member)
        await read(await member.replica.open_state())


def test_a_stream_rests_by_how_long_it_read_and_longer_while_the_loop_is_late() -> None:
    piece = 256 << 10
    assert rest_s(0.002, 0.0, piece) == REST * 0.002
    assert rest_s(0.002, 0.001, piece) == pytest.approx(0.010)
    rests = [rest_s(0.002, late / 1000, piece) for late in range(100)]
    assert rests == sorted(rests)
    # A member that is always busy is read all the same, faster than what a client may be cut for.
    assert piece / max(rests) == BUSY_RATE > RATE_MIN
    # One whose disk is slow rests by how long it reads.
    assert rest_s(1.0, 1.0, piece) == REST


async def test_a_member_that_becomes_short_of_space_ends_the_stream(tmp_path: Path) -> None:
    """Init: a stream of which a piece is read. Step: the disk becomes full, then has room again.

    Check: the stream ends with the reason and releases its view; no other begins until there is room; writes go on.
    """
    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        for number in range(200):
            await member.put(f"{number:04}", b"value" * 100)
        reserve = member.database.reserve
        limits = reserve.limits
        export = await member.replica.open_state()
        pieces = aiter(export.pieces())
        assert await anext(pieces)

        reserve.limits = SpaceLimits(low_bytes=1 << 62)
        with pytest.raises(InsufficientStorage, match="short of disk space"):
            [_ async for _ in pieces]
        export.close()
        await closed(member)
        with pytest.raises(InsufficientStorage):
            await member.replica.open_state()

        reserve.limits = limits
        await member.put("later", b"1")
        await read(await member.replica.open_state())


async def test_an_empty_member_and_one_that_installs_have_no_state(tmp_path: Path) -> None:
    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        await member.put("a", b"1")
        member.local.applier.suspend()
        with pytest.raises(NotNow, match="snapshot"):
            await member.replica.open_state()
        member.local.applier.reload()
        export = await member.replica.open_state()
        export.close()


async def test_a_view_is_not_opened_beside_an_install(tmp_path: Path) -> None:
    """Init: the thread of installs is busy. Check: no view opens until it is done."""
    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        await member.put("a", b"1")
        installed = threading.Event()
        member.local.file_executor.submit(installed.wait)
        try:
            opening = asyncio.create_task(member.replica.open_state())
            await asyncio.sleep(0)
            # Whatever was submitted to the thread of streams before this has ended.
            await asyncio.get_running_loop().run_in_executor(member.local.export_executor, int)
            await asyncio.sleep(0)
            assert not opening.done()
        finally:
            installed.set()
        assert values(await read(await opening), 0) == []


async def test_an_install_in_the_middle_of_a_stream_does_not_change_it(tmp_path: Path) -> None:
    """Init: a stream of which the first piece is read. Step: another state replaces the one it reads, which is dropped.

    Check: the stream still is the old state, whole.
    """
    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        for number in range(200):
            await member.put(f"{number:04}", b"old" * 100)
        database = member.database
        exported = await asyncio.to_thread(database.export_snapshot, tmp_path)
        export = await member.replica.open_state()
        pieces = aiter(export.pieces())
        data = [await anext(pieces), await anext(pieces)]

        member.local.applier.suspend()
        await asyncio.to_thread(database.install_snapshot, exported.path)
        member.local.applier.reload()
        data += [piece async for piece in pieces]
        export.close()

        stream = SnapshotStream("stream", io.BytesIO(b"".join(data)))
        assert sum(len(chunk) // 2 for chunk in stream.chunks()) == stream.contents.records > 200


async def test_the_log_continues_the_chain_and_waits_for_more(tmp_path: Path) -> None:
    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        await member.put("a", b"1")
        await member.put("b", b"2")
        entries = await member.replica.committed_log(Index(0), bytes_max=1 << 20, timeout_s=1)
        chain = GENESIS_CHAIN
        for entry in entries:
            chain = chain_hash(chain, entry.index, entry.term, entry.kind, entry.data)
            assert entry.chain == chain
        assert [entry.index for entry in entries] == list(range(1, member.replica.applied_index + 1))

        last = entries[-1].index
        waiting = asyncio.create_task(member.replica.committed_log(last, bytes_max=1 << 20, timeout_s=30))
        await asyncio.sleep(0)
        assert not waiting.done()
        await member.put("c", b"3")
        assert [entry.index for entry in await waiting] == [last + 1]
        assert await member.replica.committed_log(Index(last + 1), bytes_max=1, timeout_s=0.01) == ()


async def test_the_log_says_where_it_begins_and_ends(tmp_path: Path) -> None:
    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        for number in range(10):
            await member.put(f"{number}", b"1")
        with pytest.raises(NotNow, match="not applied on this member"):
            await member.replica.committed_log(Index(1000), bytes_max=1, timeout_s=1)

        applied = member.database.state.applied
        member.database.log.compact(applied)
        with pytest.raises(InvalidRequest, match=f"begins at index {applied.index + 1}"):
            await member.replica.committed_log(Index(1), bytes_max=1, timeout_s=1)


async def test_a_member_that_is_cut_off_never_says_that_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Init: three members; a follower that has everything. Step: isolate it; write on.

    Check: it gives no page, neither an empty one nor its own end as that of the cluster; also if it is cut off while it
    waits. When it is back, it gives what was written.
    """
    monkeypatch.setattr(replica_module, "LOG_CONFIRM_S", 0.2)
    async with group(tmp_path, 3, raised=True) as (wires, (leader, follower, _)):
        # Nothing else is appended behind what raises the level.
        await leader.until(lambda: read_header(leader.database.state).level == HIGHEST)
        await leader.put("a", b"1")
        await follower.get("a")
        last = follower.replica.applied_index
        confirmed, barrier = asyncio.Event(), follower.replica.read_barrier

        async def noted(*, timeout_s: float) -> None:
            await barrier(timeout_s=timeout_s)
            confirmed.set()

        follower.replica.read_barrier = noted  # type: ignore[method-assign]
        waiting = asyncio.create_task(follower.replica.committed_log(last, bytes_max=1 << 20, timeout_s=0.5))
        await confirmed.wait()
        wires.isolate(follower)
        await leader.put("b", b"2")
        with pytest.raises(NotNow):
            await waiting
        with pytest.raises(NotNow):
            await follower.replica.committed_log(last, bytes_max=1 << 20, timeout_s=0.001)

        wires.held.clear()
        assert await follower.get("b") == b"2"
        entries = await follower.replica.committed_log(last, bytes_max=1 << 20, timeout_s=PATIENCE_S)
        assert entries[0].index == last + 1
        assert follower.replica.applied_index >= leader.replica.applied_index


async def closed(member: Member) -> None:
    """Return when the threads that open and read streams have done what they were told before."""
    await asyncio.get_running_loop().run_in_executor(member.local.file_executor, int)
    await asyncio.sleep(0)
    await asyncio.get_running_loop().run_in_executor(member.local.export_executor, int)
    await asyncio.sleep(0)
