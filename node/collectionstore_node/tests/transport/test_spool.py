"""The files of snapshots being received."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.transport import TransportSettings
from collectionstore_node.transport.snapshots.snapshot_frames import (
    Begin,
    Chunk,
    SnapshotRefusal,
    decode_chunk,
    encode_chunk,
)
from collectionstore_node.transport.snapshots.spool import Part, PartRefused, Spool
from collectionstore_node.transport.wire.frames import decode_frame

SENDER, OTHER, THIRD = NodeId(1), NodeId(2), NodeId(3)
DATA = bytes(range(256)) * 8
SETTINGS = TransportSettings(snapshots_max=2, snapshot_bytes_max=5000, snapshot_resume_s=60.0)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """Return an empty spool."""
    return Spool(tmp_path, SETTINGS)


def announce(data: bytes = DATA) -> Begin:
    """Return the announcement of `data`."""
    return Begin(b"t", b"envelope", len(data), hashlib.sha256(data).digest())


def chunk(offset: int, data: bytes) -> Chunk:
    """Return a chunk as it comes from the wire."""
    return decode_chunk(decode_frame(encode_chunk(offset, data)))


def refusal(spool: Spool, sender: NodeId, begin: Begin) -> SnapshotRefusal:
    """Return why a part is refused."""
    with pytest.raises(PartRefused) as caught:
        spool.claim(sender, begin)
    return caught.value.refusal.code


def files(directory: Path) -> list[str]:
    """Return what lies in the spool."""
    return sorted(path.name for path in directory.iterdir())


def test_chunks_make_the_file(spool: Spool, tmp_path: Path) -> None:
    """Stored chunks verify as the whole that was announced."""
    part = spool.claim(SENDER, announce())
    assert part.accept(part.store(chunk(0, DATA[:1000]))) == 1000
    assert part.accept(part.store(chunk(1000, DATA[1000:]))) == len(DATA)
    part.verify()
    assert part.path.read_bytes() == DATA
    spool.discard(part)
    assert files(tmp_path) == []


def test_chunk_with_another_hash_is_refused_and_not_written(spool: Spool) -> None:
    """A corrupt chunk never reaches the file."""
    part = spool.claim(SENDER, announce())
    good = chunk(0, DATA[:100])
    with pytest.raises(PartRefused) as caught:
        part.store(good._replace(data=memoryview(DATA[1:101])))
    assert caught.value.refusal.code is SnapshotRefusal.CHUNK_CORRUPT
    assert part.path.read_bytes() == b""


def test_whole_with_another_hash_is_refused(spool: Spool) -> None:
    """Chunks that are each right can still make the wrong file."""
    part = spool.claim(SENDER, announce())
    part.accept(part.store(chunk(0, DATA[::-1])))
    with pytest.raises(PartRefused) as caught:
        part.verify()
    assert caught.value.refusal.code is SnapshotRefusal.HASH_MISMATCH


def test_unwritable_spool_is_refused_as_storage(spool: Spool) -> None:
    """A disk error here is not the sender's fault, and says so."""
    part = spool.claim(SENDER, announce())
    part.path.unlink()
    with pytest.raises(PartRefused) as caught:
        part.store(chunk(0, DATA))
    assert caught.value.refusal.code is SnapshotRefusal.STORAGE
    with pytest.raises(PartRefused):
        part.verify()


def test_a_write_that_outlives_its_connection_counts_for_nothing(spool: Spool) -> None:
    """Init: a chunk is written, and the connection lost before it is accepted. Step: resume, with the same chunk.

    Check: it is in the file, and in the hash, once.
    """
    part = spool.claim(SENDER, announce())
    part.accept(part.store(chunk(0, DATA[:100])))
    part.store(chunk(100, DATA[100:200]))
    spool.release(part, 0.0)
    again = spool.claim(SENDER, announce())
    assert again.stored == 100
    again.accept(again.store(chunk(100, DATA[100:])))
    again.verify()
    assert again.path.read_bytes() == DATA


def test_released_part_is_resumed_by_the_same_announcement_only(spool: Spool) -> None:
    """A kept part goes on where it stopped; a newer snapshot of the same sender replaces it."""
    part = spool.claim(SENDER, announce())
    part.accept(part.store(chunk(0, DATA[:100])))
    spool.release(part, 0.0)
    again = spool.claim(SENDER, announce())
    assert again is part
    assert again.stored == 100
    spool.release(part, 0.0)
    newer = spool.claim(SENDER, announce(b"newer"))
    assert newer is not part
    assert not part.path.exists()


def test_part_of_another_sender_is_not_resumed(spool: Spool) -> None:
    """Two senders never share a file, even for equal bytes."""
    part = spool.claim(SENDER, announce())
    spool.release(part, 0.0)
    assert spool.claim(OTHER, announce()) is not part


def test_number_of_snapshots_is_bounded(spool: Spool) -> None:
    """More senders than allowed at once are told to come later; a finished one makes room."""
    first = spool.claim(SENDER, announce(b"a"))
    spool.claim(OTHER, announce(b"b"))
    assert refusal(spool, THIRD, announce(b"c")) is SnapshotRefusal.BUSY
    spool.discard(first)
    spool.claim(THIRD, announce(b"c"))


def test_bytes_are_bounded_over_all_parts(spool: Spool) -> None:
    """What is kept to be resumed counts as well."""
    part = spool.claim(SENDER, announce(bytes(4000)))
    spool.release(part, 0.0)
    assert refusal(spool, OTHER, announce(bytes(1001))) is SnapshotRefusal.TOO_LARGE
    spool.claim(OTHER, announce(bytes(1000)))


def test_abandoned_part_is_swept_after_a_while(spool: Spool, tmp_path: Path) -> None:
    """Files to which nobody comes back are deleted; those in use are not."""
    abandoned, used = spool.claim(SENDER, announce()), spool.claim(OTHER, announce())
    spool.release(abandoned, 100.0)
    spool.sweep(160.0)
    assert len(files(tmp_path)) == 2
    spool.sweep(160.1)
    assert files(tmp_path) == [used.path.name]


def test_clear_deletes_what_an_earlier_process_left_and_nothing_else(tmp_path: Path) -> None:
    """Only received parts are deleted: the directory may hold snapshots that are being sent."""
    spool = Spool(tmp_path / "spool", dataclasses.replace(SETTINGS))
    spool.clear()
    part: Part = spool.claim(SENDER, announce())
    (tmp_path / "spool" / "exported.snapshot").write_bytes(b"x")
    assert part.path.exists()
    Spool(tmp_path / "spool", SETTINGS).clear()
    assert files(tmp_path / "spool") == ["exported.snapshot"]


def test_snapshot_that_would_not_fit_is_refused_before_its_first_byte(tmp_path: Path) -> None:
    """It is asked with everything that is reserved already, or two that fit alone would not fit together."""
    asked: list[int] = []

    def missing(size: int) -> int:
        asked.append(size)
        return size - 2 * len(DATA) + 1

    spool = Spool(tmp_path, SETTINGS, missing)
    spool.claim(SENDER, announce())
    assert refusal(spool, OTHER, announce()) is SnapshotRefusal.STORAGE
    assert asked == [len(DATA), 2 * len(DATA)]
    assert len(files(tmp_path)) == 1
