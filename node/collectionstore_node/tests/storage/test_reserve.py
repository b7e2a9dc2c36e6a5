"""The reserve file: real blocks, given back in steps right before they are needed, and made again with room."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from collectionstore_node.errors import InsufficientStorage, StorageFailed
from collectionstore_node.space import SpaceLimits, space_limits
from collectionstore_node.storage import Database
from collectionstore_node.storage.reserve import PLENTY_S, RESERVE_FILE, STEPS, Reserve
from collectionstore_node.tests.storage.entries import SMALL, apply, contents, extend

MIB = 1 << 20
LIMITS = SpaceLimits(reserve_bytes=4 * MIB, low_bytes=8 * MIB, high_bytes=10 * MIB)


class Disk:
    """A file system of a given size; what the reserve file holds counts, other files do not."""

    def __init__(self, directory: Path, size: int) -> None:
        self.directory = directory
        self.size = size

    def __call__(self, path: Path) -> int:
        assert path == self.directory
        file = path / RESERVE_FILE
        return self.size - (file.stat().st_size if file.exists() else 0)


def test_reserve_is_made_of_blocks_only_when_enough_remains(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 14 * MIB - 1)
    reserve = Reserve(tmp_path, LIMITS, disk)
    assert not reserve.restore(), "one byte is missing to the end of a shortage"
    assert not (tmp_path / RESERVE_FILE).exists()
    disk.size += 1
    assert reserve.restore()
    assert reserve.held_bytes == LIMITS.reserve_bytes
    assert (tmp_path / RESERVE_FILE).stat().st_blocks * 512 >= LIMITS.reserve_bytes, "not sparse"
    assert Reserve(tmp_path, LIMITS, disk).held_bytes == LIMITS.reserve_bytes, "the next process finds it"


def test_reserve_is_given_back_before_a_write_and_only_as_much_as_it_needs(tmp_path: Path) -> None:
    disk, now = Disk(tmp_path, 14 * MIB), [0.0]
    reserve = Reserve(tmp_path, LIMITS, disk, lambda: now[0])
    reserve.restore()
    reserve.before_write()
    assert reserve.held_bytes == LIMITS.reserve_bytes, "there is plenty"
    disk.size = LIMITS.reserve_bytes  # somebody took everything else
    assert reserve.available_bytes() == 0
    now[0] = PLENTY_S
    reserve.before_write()
    assert MIB <= reserve.available_bytes() < MIB + 2 * LIMITS.reserve_bytes // STEPS
    assert reserve.held_bytes == disk.size - reserve.available_bytes()


def test_reserve_reaches_no_further_than_its_size(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 14 * MIB)
    reserve = Reserve(tmp_path, LIMITS, disk)
    reserve.restore()
    disk.size = LIMITS.reserve_bytes
    assert not reserve.give_back(LIMITS.reserve_bytes + 1)
    assert reserve.held_bytes == 0
    assert not (tmp_path / RESERVE_FILE).exists()


def test_limits_scale_with_the_file_system() -> None:
    small, large = space_limits(300 * MIB), space_limits(1 << 40)
    assert small.reserve_bytes == 300 * MIB // 8
    assert small.low_bytes == 300 * MIB // 16
    assert large.reserve_bytes == 128 * MIB
    assert large.low_bytes == 512 * MIB
    for limits in (small, large, space_limits(10 << 30)):
        assert limits.high_bytes > limits.low_bytes
        # The WAL is written to tables at a start, with the reserve alone.
        assert limits.wal_bytes_max + limits.wal_bytes_max // 4 + 4 * MIB <= limits.reserve_bytes
        assert 4 * limits.in_flight_bytes_max <= limits.reserve_bytes + limits.low_bytes


def test_every_write_of_the_database_asks_the_reserve_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write on a disk that is full but for the reserve succeeds."""
    database = Database.open(tmp_path, cluster_id="test", name="n1", tuning=SMALL, limits=LIMITS)
    assert database.restore_reserve()
    full = Disk(tmp_path, LIMITS.reserve_bytes)
    monkeypatch.setattr(database.reserve, "_available", full)
    assert database.room().available_bytes == 0
    extend(database, 1)
    assert database.room().available_bytes >= LIMITS.reserve_bytes // 4
    database.log.sync()
    database.close()


def test_statvfs_that_fails_is_a_failure_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database.open(tmp_path, cluster_id="test", name="n1", tuning=SMALL, limits=LIMITS)
    assert database.restore_reserve()

    def fails(path: Path) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(database.reserve, "_available", fails)
    with pytest.raises(StorageFailed, match="Input/output"):
        extend(database, 1)
    database.close()


def test_export_without_room_is_given_up_and_harms_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database.open(tmp_path, cluster_id="test", name="n1", tuning=SMALL, limits=LIMITS)
    extend(database, 3)
    apply(database, 3, {b"%d" % number: os.urandom(MIB) for number in range(3)})
    monkeypatch.setattr(database.reserve, "_available", lambda _: LIMITS.low_bytes // 2 - 1)
    with pytest.raises(InsufficientStorage):
        database.export_snapshot(database.spool)
    assert list(database.spool.iterdir()) == []
    assert not database.failstop.failed
    assert len(contents(database)) == 3
    assert database.missing_bytes(MIB) > 0
    database.close()


def test_space_of_what_was_deleted_comes_back(tmp_path: Path) -> None:
    database = Database.open(tmp_path, cluster_id="test", name="n1", tuning=SMALL, limits=LIMITS)
    extend(database, 2)
    apply(database, 1, {b"%03d" % number: os.urandom(64 << 10) for number in range(64)})
    database.state.family.flush()
    before = database.disk_bytes()
    assert before > 4 * MIB
    apply(database, 2, {b"%03d" % number: None for number in range(64)})
    database.reclaim_space()
    assert database.disk_bytes() < before - 4 * MIB
    assert not database.state.has_deleted
    database.close()


def test_start_on_a_full_disk_gives_back_what_opening_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The WAL that a killed process left is written to tables before it is deleted."""
    limits = LIMITS._replace(reserve_bytes=16 * MIB)
    database = Database.open(tmp_path, cluster_id="test", name="n1", tuning=SMALL, limits=limits)
    assert database.restore_reserve()
    extend(database, 20, size=16 << 10)
    apply(database, 20, {b"a": b"1"})
    database.close()
    full = Disk(tmp_path, limits.reserve_bytes)

    def statvfs(path: Path) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=full(path), f_frsize=1)

    monkeypatch.setattr("collectionstore_node.storage.reserve.os.statvfs", statvfs)
    database = Database.open(tmp_path, cluster_id="test", name="n1", tuning=SMALL, limits=limits)
    assert 0 < database.reserve.held_bytes < limits.reserve_bytes, "a part of it"
    assert contents(database) == {b"a": b"1"}
    before = database.reserve.held_bytes
    assert not database.restore_reserve(), "not while the disk is full"
    assert database.reserve.held_bytes == before
    database.close()
