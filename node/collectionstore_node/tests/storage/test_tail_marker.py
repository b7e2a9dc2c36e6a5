"""The tail marker file: which record counts, and what a crash or damage does to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectionstore_node.errors import DataDirectoryRefused, StorageFailed
from collectionstore_node.raft.messages import GENESIS_CHAIN, Index, NodeId, Term
from collectionstore_node.storage.failstop import FailStop
from collectionstore_node.storage.tail_marker import TailMarker, TailRecord
from collectionstore_node.tests.storage import images

NODE = NodeId(77)
SLOT_BYTES = 4096


def record(last: int, term: int = 1, vote: int = 0) -> TailRecord:
    """Return a record of a log of `last` entries."""
    return TailRecord(Index(last), Term(1), bytes([last]) * 32, Term(term), NodeId(vote))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A new tail marker file."""
    TailMarker.create(tmp_path / "WITNESS", NODE)
    return tmp_path / "WITNESS"


def reread(path: Path, node_id: NodeId = NODE) -> TailRecord:
    """Return what a starting node would read."""
    tail_marker = TailMarker(path, node_id, FailStop())
    tail_marker.close()
    return tail_marker.record


def test_new_tail_marker_speaks_of_an_empty_log(path: Path) -> None:
    """And has its full size, so that later writes change no metadata."""
    assert reread(path) == TailRecord(Index(0), Term(0), GENESIS_CHAIN, Term(0), NodeId(0))
    assert path.stat().st_size == 2 * SLOT_BYTES


def test_last_record_counts(path: Path) -> None:
    """However many were written."""
    tail_marker = TailMarker(path, NODE, FailStop())
    for last in range(1, 8):
        assert tail_marker.advance_to(record(last), tail_marker.epoch)
        assert reread(path) == tail_marker.record == record(last)
    tail_marker.close()


@pytest.mark.parametrize("kept", [0, 8, 60, 119])
def test_torn_write_leaves_the_record_before(path: Path, kept: int) -> None:
    """A slot written in part does not match its digest; the other one is whole."""
    tail_marker = TailMarker(path, NODE, FailStop())
    tail_marker.advance_to(record(1), 0)
    before = path.read_bytes()
    tail_marker.advance_to(record(2), 0)
    after = path.read_bytes()
    tail_marker.close()
    changed = next(index for index in range(len(before)) if before[index] != after[index])
    slot = changed // SLOT_BYTES * SLOT_BYTES
    path.write_bytes(after[: slot + kept] + before[slot + kept :])
    assert reread(path) == record(1)


def test_write_after_a_torn_one_leaves_the_good_slot_alone(path: Path) -> None:
    """A second crash in a row must not tear the only whole slot."""
    tail_marker = TailMarker(path, NODE, FailStop())
    tail_marker.advance_to(record(1), 0)
    tail_marker.advance_to(record(2), 0)
    tail_marker.close()
    torn_slot = 0 if reread_slots(path)[0] == 2 else SLOT_BYTES
    images.flip(path, torn_slot + 30)
    again = TailMarker(path, NODE, FailStop())
    assert again.record == record(1)
    good = path.read_bytes()[SLOT_BYTES - torn_slot :][:SLOT_BYTES]
    again.advance_to(record(3), 0)
    again.close()
    assert path.read_bytes()[SLOT_BYTES - torn_slot :][:SLOT_BYTES] == good
    assert reread(path) == record(3)


def reread_slots(path: Path) -> list[int]:
    """Return the last index in each slot."""
    data = path.read_bytes()
    return [int.from_bytes(data[slot + 24 : slot + 32], "big") for slot in (0, SLOT_BYTES)]


def test_tail_marker_without_a_whole_slot_is_refused(path: Path) -> None:
    """A crash tears one slot at most, so this is damage."""
    tail_marker = TailMarker(path, NODE, FailStop())
    tail_marker.advance_to(record(1), 0)
    tail_marker.close()
    images.flip(path, 30)
    images.flip(path, SLOT_BYTES + 30)
    with pytest.raises(DataDirectoryRefused, match="neither of its slots"):
        reread(path)


def test_missing_empty_or_foreign_tail_marker_is_refused(path: Path) -> None:
    """It must be there, whole, and this very incarnation's."""
    with pytest.raises(DataDirectoryRefused, match="belongs to node"):
        reread(path, NodeId(78))
    path.write_bytes(b"")
    with pytest.raises(DataDirectoryRefused, match="neither of its slots"):
        reread(path)
    path.unlink()
    with pytest.raises(DataDirectoryRefused, match="missing"):
        reread(path)


def test_raise_after_a_lowering_is_refused(path: Path) -> None:
    """A sync that began before a truncation must not claim what the truncation took away. Term and vote stay."""
    tail_marker = TailMarker(path, NODE, FailStop())
    epoch = tail_marker.epoch
    tail_marker.advance_to(record(9, term=3, vote=2), epoch)
    tail_marker.lower(*record(4)[:3])
    assert reread(path) == record(4, term=3, vote=2)
    assert not tail_marker.advance_to(record(9, term=3, vote=2), epoch)
    assert reread(path) == record(4, term=3, vote=2)
    assert tail_marker.advance_to(record(5), tail_marker.epoch)
    tail_marker.close()


@pytest.mark.parametrize(
    "late", [record(9), record(9, term=3), record(8, term=3, vote=2)], ids=["term", "vote", "entries"]
)
def test_late_record_takes_nothing_back(path: Path, late: TailRecord) -> None:
    """Two threads may raise the tail marker: the one that looked first may write last."""
    tail_marker = TailMarker(path, NODE, FailStop())
    promised = record(9, term=3, vote=2)
    assert tail_marker.advance_to(promised, 0)
    assert tail_marker.advance_to(late, 0)
    assert reread(path) == promised
    assert tail_marker.advance_to(record(10, term=4), 0)
    assert reread(path) == record(10, term=4)
    tail_marker.close()


def test_lowering_what_lies_below_already_writes_nothing(path: Path) -> None:
    """A truncation of entries that were never synced costs no sync."""
    tail_marker = TailMarker(path, NODE, FailStop())
    tail_marker.advance_to(record(4), 0)
    before = path.read_bytes()
    tail_marker.lower(*record(8)[:3])
    assert path.read_bytes() == before
    assert not tail_marker.advance_to(record(9), 0)
    tail_marker.close()


def test_failed_write_stops_everything(path: Path) -> None:
    """The first error is latched and nothing is claimed."""
    failstop = FailStop()
    tail_marker = TailMarker(path, NODE, failstop)
    tail_marker.close()
    with pytest.raises(StorageFailed, match="tail marker"):
        tail_marker.advance_to(record(1), 0)
    with pytest.raises(StorageFailed, match="tail marker"):
        failstop.check()
    assert reread(path).last_index == 0
