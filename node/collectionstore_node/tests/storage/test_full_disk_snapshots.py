"""A disk that becomes full while a member receives and installs a snapshot: it keeps what it had, and tries again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from collectionstore_node.errors import InsufficientStorage, StorageFailed
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.space import SpaceLimits
from collectionstore_node.storage import Database
from collectionstore_node.storage.snapshots import InstallStep, install_steps
from collectionstore_node.tests.backup.small_disk import SmallDisk, mounted
from collectionstore_node.tests.storage.entries import apply, contents, extend, open_database
from collectionstore_node.transport import TransportSettings
from collectionstore_node.transport.snapshots.snapshot_frames import Begin, SnapshotRefusal, decode_chunk, encode_chunk
from collectionstore_node.transport.snapshots.spool import PartRefused, Spool
from collectionstore_node.transport.wire.frames import decode_frame

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mounted(tmp_path / "disk") as found:
        yield found


def filled(path: Path, count: int, size: int) -> Database:
    """Return the database of a member with a state of `count` records."""
    database = open_database(path)
    for index in range(1, count + 1):
        extend(database, index, size=100)
        apply(database, index, {b"%06d" % index: Random(index).randbytes(size)})
    return database


def test_a_received_chunk_that_does_not_fit_is_refused_and_resumed(disk: SmallDisk) -> None:
    """The sender is told that the disk is why, and what was stored before counts when it comes again."""
    data = bytes(range(256)) * (16 << 10)
    spool = Spool(disk.path / "spool", TransportSettings())
    (disk.path / "spool").mkdir()
    begin = Begin(b"t", b"envelope", len(data), hashlib.sha256(data).digest())
    part = spool.claim(NodeId(1), begin)

    def chunk(start: int) -> object:
        return decode_chunk(decode_frame(encode_chunk(start, data[start : start + MIB])))

    part.accept(part.store(chunk(0)))  # type: ignore[arg-type]
    disk.fill()
    with pytest.raises(PartRefused) as refused:
        part.store(chunk(MIB))  # type: ignore[arg-type]
    assert refused.value.refusal.code is SnapshotRefusal.STORAGE
    assert "No space left" in refused.value.refusal.detail
    assert part.stored == MIB

    disk.empty()
    for start in range(MIB, len(data), MIB):
        part.accept(part.store(chunk(start)))  # type: ignore[arg-type]
    part.verify()
    assert part.path.read_bytes() == data


def test_a_disk_that_is_full_during_an_install_leaves_the_old_state(disk: SmallDisk, tmp_path: Path) -> None:
    """Init: a member with a state, and a snapshot of a later one. Step: the disk is full once the install has begun.

    Check: the member stops, as for any failed write, and says why; its next start has all that it had, and nothing of
    the snapshot; with room the install is done anew.
    """
    ahead = filled(tmp_path / "ahead", 200, 64 << 10)
    snapshot = ahead.export_snapshot(tmp_path)
    newer = contents(ahead)
    ahead.close()
    database = filled(disk.path / "data", 20, 100)
    older = contents(database)

    steps = install_steps(database, snapshot.path)
    assert next(steps) is InstallStep.CREATED
    disk.fill(MIB)
    with pytest.raises(StorageFailed, match="No space left"):
        list(steps)
    database.close()

    disk.empty()
    database = open_database(disk.path / "data")
    assert contents(database) == older
    database.install_snapshot(snapshot.path)
    assert contents(database) == newer
    database.close()


def test_an_export_for_a_follower_leaves_the_member_its_room(disk: SmallDisk) -> None:
    """The file is a copy: it is deleted before it takes what the log needs, and the member goes on."""
    limits = SpaceLimits(reserve_bytes=8 * MIB, low_bytes=16 * MIB, high_bytes=24 * MIB)
    database = filled(disk.path / "data", 200, 64 << 10)
    database.reserve.limits = limits
    disk.fill(12 * MIB)
    with pytest.raises(InsufficientStorage, match="no room for a snapshot file"):
        database.export_snapshot(disk.path)
    assert list(disk.path.glob("state-*")) == []
    extend(database, 201, size=100)
    apply(database, 201, {b"later": b"1"})
    database.log.sync()
    database.close()
