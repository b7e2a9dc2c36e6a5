"""A disk that becomes full, with the kernel's own ENOSPC: of the repository, of a restore, of a member that is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collectionstore_node.backup.errors import Refused, StoreFull
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.restore import MARK, NewMember, restore_directory
from collectionstore_node.backup.stored import list_backups, open_backup
from collectionstore_node.backup.verify import verify_backup
from collectionstore_node.errors import DataDirectoryRefused, InsufficientStorage
from collectionstore_node.space import SpaceLimits
from collectionstore_node.storage import Database
from collectionstore_node.tests.backup.sample import SampleState
from collectionstore_node.tests.backup.small_disk import SmallDisk, mounted
from collectionstore_node.tests.storage.entries import apply, contents, extend

Make = Callable[..., Manifest]
NEW = NewMember("new", "new-0", "127.0.0.1:7411", "http://127.0.0.1:7410")
MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk") as found:
        yield found


@pytest.mark.parametrize("leave", [0, 8 << 10, 16 << 10])
def test_a_repository_that_is_full_says_so_and_holds_nothing_half_made(disk: SmallDisk, make: Make, leave: int) -> None:
    """Also: the same command succeeds as soon as there is room."""
    repository = Repository(str(disk.path / "repository"))
    disk.fill(leave)
    with pytest.raises(StoreFull, match="the repository is full"):
        make(repository)
    assert list_backups(repository) == []
    assert not any(path.is_file() for path in (disk.path / "repository").rglob("*"))

    disk.empty()
    made = make(repository)
    assert verify_backup(repository, made.id, None, lambda _: None) == made


def test_a_restore_without_room_is_refused_before_it_writes(disk: SmallDisk, directory: Repository, make: Make) -> None:
    manifest, sealer = open_backup(directory, make(directory).id, None)
    disk.fill(10 * MIB)
    with pytest.raises(Refused, match=r"has \d+ MiB free; the restore needs about \d+ MiB"):
        restore_directory(directory, manifest, sealer, disk.path / "data", NEW)
    assert list((disk.path / "data").iterdir()) == []


@pytest.mark.parametrize("part", [0, 1])
def test_a_disk_that_becomes_full_during_a_restore_leaves_nothing_that_starts(
    disk: SmallDisk, directory: Repository, make: Make, state: SampleState, part: int
) -> None:
    """Init: another program fills the disk while part number `part` is read. Check: the message says what is wrong, a
    node refuses the directory, and the same command completes it when there is room."""
    manifest, sealer = open_backup(directory, make(directory).id, None)
    target, read = disk.path / "data", 0

    def fill(_size: int) -> None:
        nonlocal read
        if read == part:
            disk.fill()
        read += 1

    with pytest.raises(Refused, match="disk is full"):
        restore_directory(directory, manifest, sealer, target, NEW, advance=fill)
    with pytest.raises(DataDirectoryRefused):
        Database.open(target, cluster_id="new", name="new-0")
    assert (target / MARK).exists()

    disk.empty()
    restored = restore_directory(directory, manifest, sealer, target, NEW)
    assert restored.state_digest == manifest.state_digest == state.header.digest.hex()
    Database.open(target, cluster_id="new", name="new-0").close()


def test_a_member_that_is_short_of_space_ends_a_backup_and_lives_on(disk: SmallDisk) -> None:
    """Init: a member with 4 MiB, which is read. Step: its disk fills up to what it needs itself, then frees.

    Check: the stream ends with the reason, no other begins, writes go on; and with room it is read to its end.
    """
    limits = SpaceLimits(reserve_bytes=8 * MIB, low_bytes=16 * MIB, high_bytes=24 * MIB)
    database = Database.open(disk.path / "data", cluster_id="demo", name="demo-0", limits=limits)
    try:
        for index in range(1, 65):
            extend(database, index, size=100)
            apply(database, index, {b"%06d" % index: bytes([index]) * (64 << 10)})
        stream = database.stream_snapshot()
        assert next(stream.pieces)

        disk.fill(12 * MIB)
        with pytest.raises(InsufficientStorage, match="short of disk space"):
            list(stream.pieces)
        with pytest.raises(InsufficientStorage):
            database.stream_snapshot()
        extend(database, 65, size=100)
        apply(database, 65, {b"later": b"1"})
        database.log.sync()

        disk.empty()
        assert sum(map(len, database.stream_snapshot().pieces)) > 4 * MIB
        assert contents(database)[b"later"] == b"1"
    finally:
        database.close()
