"""Writes go on while the disk syncs: what a sync covers, what is written in which order, and when the driver waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec
import pytest

from collectionstore_node.errors import StorageFailed
from collectionstore_node.metrics import ReplicaMetrics, member_metrics
from collectionstore_node.raft.messages import Entry, HardState, NodeId, SnapshotMetadata, Term
from collectionstore_node.replica.observation.observer import NULL_OBSERVER
from collectionstore_node.replica.persistence.log_writer import BYTES_MAX, LogWriter
from collectionstore_node.replica.storage_port import Log
from collectionstore_node.statemachine.view import Writes
from collectionstore_node.storage.rocksdb.rocks import UNSYNCED_BATCHES_MAX
from collectionstore_node.tests.raft.solo import make_entries
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, group

ENTRIES = make_entries([1] * 8)


class GatedLog:
    """A log whose syncs wait for a permit each."""

    def __init__(self) -> None:
        self.permits = threading.Semaphore(0)
        self.marked: list[bool] = []
        """Of each sync, whether the tail marker was synced with it."""
        self.broken = False

    def append(self, entries: Sequence[Entry], hard_state: HardState | None) -> None:
        """Take everything."""

    def sync(self) -> None:
        self._sync(marked=True)

    def sync_entries(self) -> None:
        self._sync(marked=False)

    def sync_marker(self) -> bool:
        return True

    def _sync(self, *, marked: bool) -> None:
        assert self.permits.acquire(timeout=PATIENCE_S)
        if self.broken:
            raise StorageFailed("sync the WAL: Input/output error")
        self.marked.append(marked)


class Bench:
    """A writer on such a log."""

    def __init__(self) -> None:
        self.log = GatedLog()
        self.errors: list[BaseException] = []
        self._ended = asyncio.Semaphore(0)
        self.writer = LogWriter(
            cast(Log, self.log),
            ReplicaMetrics(member_metrics()).disk,
            NULL_OBSERVER,
            synced=self._ended.release,
            failed=self._failed,
        )

    def _failed(self, error: BaseException) -> None:
        self.errors.append(error)
        self._ended.release()

    async def end_sync(self) -> None:
        """Let the running sync end."""
        self.log.permits.release()
        await asyncio.wait_for(self._ended.acquire(), PATIENCE_S)

    async def durable(self) -> tuple[int, int] | None:
        """Let the running sync end, and return the write and the index that it covers."""
        await self.end_sync()
        durable = self.writer.take_durable()
        return None if durable is None else (durable.write, durable.last_index)


async def test_sync_covers_only_what_was_written_before_it() -> None:
    bench = Bench()
    bench.writer.append(ENTRIES[:1], None, 1)
    bench.writer.append(ENTRIES[1:2], None, 2)
    bench.writer.append(ENTRIES[2:3], None, 3)
    assert await bench.durable() == (1, 1)
    assert await bench.durable() == (3, 3), "two writes share the second sync"
    assert not bench.writer.syncing
    assert bench.writer.take_durable() is None
    bench.writer.close()


async def test_vote_that_is_written_during_a_sync_is_marked_by_the_next() -> None:
    """The tail marker holds a vote BEFORE it is sent; entries need none of that."""
    bench = Bench()
    bench.writer.append(ENTRIES[:1], HardState(Term(1), NodeId(0), ENTRIES[0].index), 1)
    bench.writer.append((), HardState(Term(2), NodeId(7), ENTRIES[0].index), 2)
    bench.writer.append(ENTRIES[1:2], None, 3)
    await bench.end_sync()
    await bench.end_sync()
    bench.writer.append(ENTRIES[2:3], HardState(Term(2), NodeId(7), ENTRIES[1].index), 4)
    await bench.end_sync()
    assert bench.log.marked == [True, True, False]
    bench.writer.close()


async def test_few_large_entries_are_as_far_behind_as_many_small_ones() -> None:
    """RocksDB's writer would wait for the disk with a few full memtables, on the event loop."""
    bench = Bench()
    large = [msgspec.structs.replace(entry, data=bytes(1 << 20)) for entry in make_entries([1] * 20)]
    bench.writer.append(large[:1], None, 1)
    for number, entry in enumerate(large[1:], 2):
        if bench.writer.behind:
            break
        bench.writer.append((entry,), None, number)
    assert number == 1 + BYTES_MAX // (1 << 20)
    await bench.end_sync()
    assert not bench.writer.behind, "the next sync covers them"
    await bench.end_sync()
    bench.writer.close()


async def test_writer_has_caught_up_when_nothing_is_left_to_sync() -> None:
    bench = Bench()
    bench.writer.append(ENTRIES[:1], None, 1)
    bench.writer.append(ENTRIES[1:2], None, 2)
    caught_up = asyncio.create_task(bench.writer.caught_up())
    await bench.end_sync()
    assert not caught_up.done()
    await bench.end_sync()
    await asyncio.wait_for(caught_up, PATIENCE_S)
    bench.writer.close()


async def test_failed_sync_ends_who_waits_for_it_and_covers_nothing() -> None:
    """No further sync is tried: pages of a failed one may be marked clean (ATC'20, Rebello et al.)."""
    bench = Bench()
    bench.writer.append(ENTRIES[:1], None, 1)
    bench.writer.append(ENTRIES[1:2], None, 2)
    caught_up = asyncio.create_task(bench.writer.caught_up())
    await asyncio.sleep(0)
    bench.log.broken = True
    await bench.end_sync()
    with pytest.raises(StorageFailed):
        await caught_up
    assert [type(error) for error in bench.errors] == [StorageFailed]
    assert bench.writer.take_durable() is None
    assert not bench.writer.syncing
    bench.writer.close()


def watched(member: Member) -> list[str]:
    """Have every write of the state compared with the log; return what is found, as it comes."""
    found: list[str] = []
    database = member.database
    commit = database.state.commit

    def checked(writes: Writes, applied: SnapshotMetadata) -> None:
        last = database.log.last_index()
        if applied.index > last:
            found.append(f"the state is at {applied.index}, the log ends at {last}")
        commit(writes, applied)

    database.state.commit = checked  # type: ignore[method-assign]
    return found


async def test_state_is_never_written_before_its_log(tmp_path: Path) -> None:
    """Both are in one journal: a crash leaves a beginning of it, in which the log explains the state."""
    async with group(tmp_path, 3) as (wires, (first, _, third)):
        found = watched(third)
        wires.isolate(third)
        for number in range(5):
            await first.put(f"key-{number}", b"value")
        wires.held.clear()
        last = first.consensus.raft.last_index
        # It learns of entries and of their commit with one message.
        await third.until(lambda: third.consensus.raft.applied >= last)
        assert found == []


async def test_driver_waits_for_a_disk_that_is_far_behind(tmp_path: Path) -> None:
    """Before RocksDB's writer would, on the event loop. Others lead meanwhile, and no write is lost."""
    async with group(tmp_path, 3) as (_, (first, second, _)):
        rocks = first.database.rocks

        async def write_all() -> None:
            for number in range(2 * UNSYNCED_BATCHES_MAX):
                await second.put(f"key-{number}", b"value")

        first.log.open.clear()
        writing = asyncio.create_task(write_all())
        await first.until(lambda: first.local.log_writer.behind or not first.replica.is_leader)
        await second.until(lambda: second.consensus.raft.leader not in (first.id, 0) or writing.done())
        assert rocks._number - rocks._synced_number < UNSYNCED_BATCHES_MAX
        first.log.open.set()
        await writing
        assert await first.get(f"key-{2 * UNSYNCED_BATCHES_MAX - 1}") == b"value"
