"""The stored log: what it gives back, what it refuses, and what a reopened one knows."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from collectionstore_node.errors import InvariantViolated, StorageFailed
from collectionstore_node.raft.log_reader import Compacted, Unavailable
from collectionstore_node.raft.messages import GENESIS_CHAIN, Entry, HardState, Index, NodeId, SnapshotMetadata, encode
from collectionstore_node.storage import Database
from collectionstore_node.storage.failstop import FailStop
from collectionstore_node.storage.rocksdb.rocks import LOG_FAMILY
from collectionstore_node.storage.tail_marker import TailMarker
from collectionstore_node.tests.storage import images
from collectionstore_node.tests.storage.entries import (
    apply,
    contents,
    entries,
    entry,
    extend,
    hard_state,
    metadata,
    open_database,
)

ALL = 1 << 30


def stored(database: Database, bytes_max: int = ALL) -> list[Entry]:
    """Return every entry kept."""
    log = database.log
    return list(log.entries(log.first_index(), Index(log.last_index() + 1), bytes_max))


def test_new_log_is_empty(database: Database) -> None:
    """An empty log starts behind index 0, with term 0 and the genesis chain."""
    log = database.log
    assert (log.first_index(), log.last_index(), log.hard_state()) == (1, 0, hard_state(0))
    assert log.snapshot() == SnapshotMetadata()
    assert (log.term(Index(0)), log.chain(Index(0))) == (0, GENESIS_CHAIN)
    assert log.entries(Index(1), Index(1), ALL) == ()
    with pytest.raises(Unavailable):
        log.entries(Index(1), Index(2), ALL)


def test_reopened_log_is_the_one_that_was_synced(database: Database, directory: Path) -> None:
    """Entries, hard state and chains survive."""
    made = extend(database, 30, term=2)
    database.log.append((), hard_state(3, vote=9, commit=12))
    database.log.sync()
    database.close()

    reopened = open_database(directory)
    assert stored(reopened) == made
    assert reopened.log.hard_state() == hard_state(3, vote=9, commit=12)
    assert reopened.log.chain(Index(17)) == made[16].chain
    assert reopened.log.size_bytes == sum(len(entry.data) + 64 for entry in made)
    reopened.close()


def test_entries_are_cut_at_a_number_of_bytes_but_never_empty(database: Database) -> None:
    """The first entry always comes; each further one only if it fits. The same from memory and from disk."""
    made = extend(database, 100, size=100)
    for lo in (1, 99):
        assert database.log.entries(Index(lo), Index(101), 0) == tuple(made[lo - 1 : lo])
        assert database.log.entries(Index(lo), Index(101), 199) == tuple(made[lo - 1 : lo])
        assert database.log.entries(Index(lo), Index(101), 200) == tuple(made[lo - 1 : lo + 1])
    # Wholly on disk, up to the cache, and from the disk into it.
    assert database.log.entries(Index(2), Index(5), ALL) == tuple(made[1:4])
    for hi in range(50, 102):
        assert database.log.entries(Index(40), Index(hi), ALL) == tuple(made[39 : hi - 1])
    assert database.log.entries(Index(40), Index(101), ALL) == tuple(made[39:])
    assert database.log.entries(Index(40), Index(101), 5000) == tuple(made[39:89])


def test_append_replaces_a_conflicting_suffix(database: Database, directory: Path) -> None:
    """The new entries take the place of the old ones, and longer leftovers go (Raft 5.3)."""
    old = extend(database, 20)
    database.log.sync()
    new = entries(8, 10, old[6].chain, term=2)
    database.log.append(new, hard_state(2))
    assert stored(database) == old[:7] + new
    assert database.log.term(Index(8)) == 2

    database.close()
    reopened = open_database(directory)
    assert stored(reopened) == old[:7] + new
    reopened.close()


def test_append_refuses_what_raft_excludes(database: Database) -> None:
    """A hole, a falling term, indexes out of order, and a change of what is committed or applied."""
    old = extend(database, 10, term=2)
    database.log.append((), hard_state(2, commit=6))
    apply(database, 5)
    with pytest.raises(InvariantViolated, match="leaves a gap"):
        database.log.append(entries(12, 12, old[9].chain, term=2), None)
    with pytest.raises(InvariantViolated, match="term 1"):
        database.log.append(entries(11, 11, old[9].chain, term=1), None)
    with pytest.raises(InvariantViolated, match="follows 11 of term"):
        database.log.append([*entries(11, 11, old[9].chain, term=2), old[9]], None)
    with pytest.raises(InvariantViolated, match="committed"):
        database.log.append(entries(6, 6, old[4].chain, term=3), None)
    assert stored(database) == old


@pytest.mark.parametrize(
    "state",
    [hard_state(1, vote=4), hard_state(2, vote=5), hard_state(2, vote=0), hard_state(2, vote=4, commit=2)],
    ids=["lower term", "second vote in the term", "vote forgotten in the term", "lower commit"],
)
def test_hard_state_never_goes_back(database: Database, state: HardState) -> None:
    """Term and commit never fall, and a term has one vote (Raft 5.2, 5.4)."""
    extend(database, 5)
    database.log.append((), hard_state(2, vote=4, commit=3))
    with pytest.raises(InvariantViolated):
        database.log.append((), state)
    database.log.append((), hard_state(3, vote=0, commit=3))
    assert database.log.hard_state() == hard_state(3, commit=3)


def test_compaction_drops_the_prefix(database: Database, directory: Path) -> None:
    """What lies behind is kept and still verifiable; what lies before is Compacted."""
    made = extend(database, 40)
    database.log.append((), hard_state(1, commit=40))
    database.log.sync()
    apply(database, 40)
    database.log.compact(metadata(database, 25))
    database.log.compact(metadata(database, 25))

    for restarted in (False, True):
        if restarted:
            database.close()
            database = open_database(directory)
        log = database.log
        assert (log.first_index(), log.last_index()) == (26, 40)
        assert stored(database) == made[25:]
        assert (log.term(Index(25)), log.chain(Index(25))) == (1, made[24].chain)
        assert log.size_bytes == sum(len(entry.data) + 64 for entry in made[25:])
        with pytest.raises(Compacted):
            log.term(Index(24))
        with pytest.raises(Compacted):
            log.entries(Index(25), Index(30), ALL)
    database.close()


def test_compacted_entries_are_gone_from_the_disk(database: Database) -> None:
    """Not only out of sight: the space comes back."""
    extend(database, 40)
    apply(database, 30)
    database.log.compact(metadata(database, 25))
    indexes = [int.from_bytes(key, "big") for key, _ in database.rocks.family(LOG_FAMILY).scan(b"")]
    assert indexes == list(range(26, 41))


def test_reclaiming_gives_the_space_of_a_compacted_log_back(database: Database) -> None:
    """Over nine tenths of the disk, tables and WAL, while what is kept stays what it was."""
    noise = Random(1)
    made: list[Entry] = []
    for index in range(1, 401):
        made.append(entry(index, made[-1].chain if made else GENESIS_CHAIN, data=noise.randbytes(16 << 10)))
        database.log.append(made[-1:], hard_state(1, commit=index))
    database.log.sync()
    apply(database, 400, {b"a": b"1"})
    before = database.disk_bytes()
    database.log.compact(metadata(database, 390))
    assert database.log.reclaimable_bytes == 390 * ((16 << 10) + 64)
    database.log.reclaim()
    assert database.log.reclaimable_bytes == 0
    assert before > 400 * (16 << 10)
    assert database.disk_bytes() < before / 10
    assert stored(database) == made[390:]
    assert contents(database) == {b"a": b"1"}


def test_reclaiming_loses_nothing_in_a_crash(database: Database, directory: Path, tmp_path: Path) -> None:
    """What was flushed to tables is durable, so that the WAL may go."""
    made = extend(database, 100, size=1 << 10)
    database.log.append((), hard_state(1, commit=100))
    apply(database, 100, {b"a": b"1"})
    database.log.compact(metadata(database, 90))
    database.log.reclaim()
    crashed = open_database(images.copy(directory, tmp_path / "image"))
    assert stored(crashed) == made[90:]
    assert contents(crashed) == {b"a": b"1"}
    crashed.close()


def test_compaction_refuses_what_is_not_applied_or_not_the_logs(database: Database) -> None:
    """Only applied entries may go, and only under their own term and chain."""
    made = extend(database, 20)
    apply(database, 10)
    with pytest.raises(InvariantViolated, match="applied"):
        database.log.compact(metadata(database, 11))
    with pytest.raises(InvariantViolated, match="chain"):
        database.log.compact(SnapshotMetadata(Index(9), made[8].term, GENESIS_CHAIN))


def test_compaction_to_the_end_leaves_an_empty_log(database: Database, directory: Path) -> None:
    """The next entry goes on behind it."""
    extend(database, 10)
    apply(database, 10)
    database.log.compact(metadata(database, 10))
    assert (database.log.first_index(), database.log.last_index(), database.log.size_bytes) == (11, 10, 0)
    made = extend(database, 12)
    database.close()
    reopened = open_database(directory)
    assert stored(reopened) == made
    reopened.close()


def test_commit_of_a_reopened_log_covers_what_was_applied(database: Database, directory: Path) -> None:
    """A hint that was lost is made up from the state machine, so that applied never passes commit (etcd#10217)."""
    extend(database, 10)
    database.log.append((), hard_state(1, commit=3))
    apply(database, 8)
    database.close()
    reopened = open_database(directory)
    assert reopened.log.hard_state() == hard_state(1, commit=8)
    reopened.close()


def test_entry_changed_on_disk_is_noticed_when_it_is_read(database: Database) -> None:
    """A chain value that does not continue its predecessor's is an I/O error, and then nothing goes on."""
    made = extend(database, 200, size=100)
    log = database.rocks.family(LOG_FAMILY)
    forged = entries(50, 50, b"x" * 32)[0]
    batch = database.rocks.batch(log)
    batch[(50).to_bytes(8, "big")] = encode(forged)
    database.rocks.write(batch)

    assert database.log.entries(Index(40), Index(50), ALL) == tuple(made[39:49])
    with pytest.raises(StorageFailed, match=r"(?i)entry 50"):
        database.log.entries(Index(50), Index(51), ALL)
    with pytest.raises(StorageFailed, match=r"(?i)entry 50"):
        database.log.append(entries(201, 201, made[-1].chain), None)


def test_entry_missing_on_disk_is_noticed_when_it_is_read(database: Database) -> None:
    """A hole is an I/O error, never "no entries" (openraft#1795)."""
    extend(database, 200, size=100)
    batch = database.rocks.batch(database.rocks.family(LOG_FAMILY))
    del batch[(50).to_bytes(8, "big")]
    database.rocks.write(batch)
    with pytest.raises(StorageFailed, match=r"(?i)entry 50"):
        database.log.entries(Index(45), Index(60), ALL)


def test_truncation_crash_images_all_open(database: Database, directory: Path, tmp_path: Path) -> None:
    """Whatever part of a truncation reached the disk, the node starts with the old log or the new one."""
    old = extend(database, 20)
    database.log.sync()
    before = images.copy(directory, tmp_path / "before")
    new = entries(8, 10, old[6].chain, term=2)
    database.log.append(new, hard_state(2, vote=3))
    written = images.copy(directory, tmp_path / "written")
    database.log.sync()
    synced = images.copy(directory, tmp_path / "synced")

    lowered = images.copy(before, tmp_path / "lowered")
    (lowered / "WITNESS").write_bytes((written / "WITNESS").read_bytes())
    unmarked = images.copy(synced, tmp_path / "unmarked")
    (unmarked / "WITNESS").write_bytes((written / "WITNESS").read_bytes())
    expected = {before: old, lowered: old, written: old[:7] + new, unmarked: old[:7] + new, synced: old[:7] + new}
    for image, kept in expected.items():
        opened = open_database(image)
        assert stored(opened) == kept, image.name
        opened.close()


def test_hard_state_alone_is_synced_and_marked(database: Database, directory: Path) -> None:
    """A vote without entries is as durable as an entry."""
    database.log.append((), hard_state(4, vote=2))
    database.log.sync()
    database.close()
    tail_marker = TailMarker(directory / "WITNESS", database.identity.node_id, FailStop())
    assert (tail_marker.record.term, tail_marker.record.vote) == (4, NodeId(2))
    tail_marker.close()
    reopened = open_database(directory)
    assert reopened.log.hard_state() == hard_state(4, vote=2)
    reopened.close()
