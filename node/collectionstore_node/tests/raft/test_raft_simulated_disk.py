"""The simulated disk fails as real ones do, and what the storage adapter would find is found.

The same cases on real files: `tests/storage/test_damaged_wal.py`, `test_tail_marker.py` and `test_io_errors.py`.
"""

from __future__ import annotations

import pytest

from collectionstore_node.errors import DataDirectoryRefused, StorageFailed
from collectionstore_node.raft.messages import NO_NODE, HardState, Index, NodeId, SnapshotMetadata, Term
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.disk import Disk, Image, StoredLog
from collectionstore_node.tests.raft.memory_log import MemoryLog
from collectionstore_node.tests.raft.solo import make_entries

ENTRIES = make_entries([1, 1, 2, 2, 3])
VOTED = HardState(Term(3), NodeId(2), Index(2))


def image(count: int = 5, hard_state: HardState = VOTED) -> Image:
    return Image(entries=ENTRIES[:count], hard_state=hard_state)


def written(*images: Image) -> Disk:
    """Return a disk that synced each of the images in turn."""
    disk = Disk(Image())
    for one in images:
        disk.write(one)
        disk.sync()
    return disk


def test_crash_keeps_a_prefix_of_what_was_not_synced() -> None:
    disk = written(image(2))
    for count in (3, 4, 5):
        disk.write(image(count))
    disk.crash(kept=2)
    assert disk.open() == image(4)


def test_failed_sync_leaves_it_open_what_is_durable() -> None:
    """Nothing of it, or all: the caller knows neither (ATC'20, Rebello et al.)."""
    for kept in (0, 1):
        disk = written(image(2))
        disk.write(image(5))
        disk.sync_fails = True
        with pytest.raises(StorageFailed):
            disk.sync()
        disk.crash(kept)
        assert disk.open() == image(5 if kept else 2)


def test_full_disk_takes_nothing_until_there_is_room() -> None:
    disk = written(image(2))
    disk.full = True
    with pytest.raises(StorageFailed):
        disk.write(image(5))
    disk.crash()
    assert disk.open() == image(2)
    disk.full = False
    disk.write(image(5))
    assert disk.current == image(5)


def test_rotten_entry_is_refused_when_the_log_is_opened() -> None:
    disk = written(image())
    disk.rotten[Index(3)] = Term(2)
    with pytest.raises(DataDirectoryRefused, match="chain breaks at entry 3"):
        disk.open()


def test_rot_does_not_matter_once_the_entry_was_replaced_or_compacted() -> None:
    replaced = Image(entries=make_entries([1, 1, 4, 4, 4]), hard_state=HardState(Term(4)))
    compacted = Image(SnapshotMetadata(Index(3), Term(2)), ENTRIES[3:], VOTED, SnapshotMetadata(Index(3), Term(2)))
    for later in (replaced, compacted):
        disk = written(image())
        disk.rotten[Index(3)] = Term(2)
        disk.lower_marker(Index(2), Term(1))
        disk.write(later)
        disk.sync()
        assert disk.open() == later


def test_log_that_lost_its_marked_end_is_refused() -> None:
    """Nothing in the rest of it looks wrong: only the tail marker knows (rocksdb#6288)."""
    disk = written(image())
    disk.cut_from = Index(5)
    with pytest.raises(DataDirectoryRefused, match="the log ends at 4, but 5 was stored"):
        disk.open()


def test_tail_marker_follows_entries_one_sync_behind_and_a_vote_at_once() -> None:
    disk = written(image(2), image(3), image(4))
    assert disk.tail_marker.last_index == 3
    later = image(4, HardState(Term(4), NodeId(1), Index(2)))
    disk.write(later)
    disk.sync()
    assert disk.tail_marker == (Index(4), Term(2), Term(4), NodeId(1))


@pytest.mark.parametrize("kept", [0, 1])
def test_tail_marker_never_speaks_of_entries_that_were_taken_away(kept: int) -> None:
    """It is lowered before the write that replaces them, whether or not that write survives."""
    disk = written(image(), image())
    assert disk.tail_marker.last_index == 5
    disk.lower_marker(Index(2), Term(1))
    replaced = Image(entries=make_entries([1, 1, 4]), hard_state=HardState(Term(4)))
    disk.write(replaced)
    disk.crash(kept)
    assert disk.tail_marker.last_index == 2
    assert disk.open() == (replaced if kept else image())


@pytest.mark.parametrize(
    "old", [HardState(Term(3), NO_NODE), HardState(Term(2), NodeId(1)), HardState(Term(3), NodeId(1))]
)
def test_term_and_vote_older_than_promised_are_refused(old: HardState) -> None:
    """A node that forgot its vote could vote twice in a term."""
    disk = written(image())
    disk.forgotten = old
    with pytest.raises(DataDirectoryRefused, match="older than those that were promised"):
        disk.open()


def test_reading_fails_where_the_disk_does_and_says_so() -> None:
    log, disk = MemoryLog(ENTRIES), written(image())
    stored = StoredLog(log, disk)
    disk.rotten[Index(3)] = Term(2)
    assert stored.entries(Index(4), Index(6), 1 << 20) == ENTRIES[3:]
    assert not stored.failed
    with pytest.raises(StorageFailed, match="entry 3"):
        stored.entries(Index(1), Index(6), 1 << 20)
    assert stored.failed
    again = StoredLog(log, disk)
    disk.unreadable = True
    with pytest.raises(StorageFailed, match="EIO"):
        again.entries(Index(4), Index(6), 1 << 20)


def test_entry_is_durable_on_a_follower_before_the_sync_that_failed_and_may_be_after_it() -> None:
    """What a leader proposed into a failing disk has an unknown outcome: here the others commit it all the same."""
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    index, _ = leader.propose(b"x")
    leader.begin_io()
    leader.disk.sync_fails = True
    with pytest.raises(StorageFailed):
        leader.finish_io()
    leader.crash(kept=0)
    cluster.deliver_all()
    cluster.settle()
    cluster.elect(2)
    assert cluster[2].core.commit_index > index
    assert cluster[2].log.entries(index, Index(index + 1), 0)[0].data == b"x"
