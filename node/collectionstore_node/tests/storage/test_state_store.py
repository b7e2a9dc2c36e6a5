"""The state machine's data: reads, batches, and where they stand."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collectionstore_node.errors import (
    DataDirectoryRefused,
    InvariantViolated,
    ManyDeleted,
    ReadTimedOut,
    StorageFailed,
)
from collectionstore_node.raft.messages import Configuration, Index, NodeId
from collectionstore_node.statemachine.view import Writes
from collectionstore_node.storage import Applied, Database, StateStore
from collectionstore_node.storage.rocksdb.family import Family
from collectionstore_node.tests.storage import images
from collectionstore_node.tests.storage.entries import apply, contents, extend, metadata, open_database


def test_values_are_read_back_in_key_order(database: Database) -> None:
    """By key and by range, absent ones as None; a deleted one is absent."""
    extend(database, 2)
    apply(database, 1, {b"b": b"2", b"a": b"1", b"c": b"", b"d": b"\x00" * 3})
    apply(database, 2, {b"b": None, b"gone": None})
    state = database.state
    assert (state.get(b"a"), state.get(b"b"), state.get(b"c"), state.get(b"d")) == (b"1", None, b"", b"\x00" * 3)
    assert list(state.scan(b"a", b"d")) == [(b"a", b"1"), (b"c", b"")]
    assert list(state.scan(b"aa", b"zz")) == [(b"c", b""), (b"d", b"\x00" * 3)]
    assert list(state.scan(b"d", b"d")) == []


def test_values_are_read_together(database: Database) -> None:
    """In the order of the keys, one twice, absent and deleted ones as None; from memtables and from a table file."""
    extend(database, 2)
    apply(database, 1, {b"a": b"1", b"b": b"2", b"c": b""})
    apply(database, 2, {b"b": None})
    for _ in range(2):
        assert database.state.get_many([b"c", b"z", b"a", b"b", b"a"]) == [b"", None, b"1", None, b"1"]
        database.state.family.flush()
    assert database.state.get_many([]) == []


def test_read_of_values_together_fails_as_one_read_does(database: Database) -> None:
    """A closed storage is an error, not absent values."""
    database.close()
    with pytest.raises(StorageFailed):
        database.state.get_many([b"a", b"b"])


def test_blocks_of_replaced_tables_leave_the_cache(database: Database) -> None:
    """Each round reads a table into the cache and replaces it: the cache holds one of them, not all."""
    keys, chance, rounds = [b"%04d" % number for number in range(400)], random.Random(1), 8
    family = database.state.family
    extend(database, rounds)
    used = []
    for number in range(1, rounds + 1):
        apply(database, number, {key: chance.randbytes(1_000) for key in keys})
        family.reclaim(b"", b"9")
        database.state.get_many(keys)
        used.append(family.int_property("rocksdb.block-cache-usage"))
    assert used[0] > 300_000
    assert used[-1] < 2 * used[0]


KEYS = 2_000


@pytest.fixture
def sparse(database: Database, monkeypatch: pytest.MonkeyPatch) -> StateStore:
    """Live keys a, c and e; what was between them was deleted: more keys than a reader may skip."""
    monkeypatch.setattr("collectionstore_node.storage.state_store.SKIPPED_MAX", KEYS // 2)
    deleted = [b"%s%04d" % (space, number) for space in (b"b", b"d") for number in range(KEYS)]
    extend(database, 2)
    apply(database, 1, dict.fromkeys(deleted, b"x") | {b"a": b"1", b"c": b"2", b"e": b"3"})
    apply(database, 2, dict.fromkeys(deleted, None))
    return database.state


def test_a_client_does_not_wade_through_deleted_keys(sparse: StateStore) -> None:
    """It is told where they are; when they are reclaimed, it reads on. The state machine's own scans always end."""
    assert len(list(sparse.scan(b"a", b"f"))) == 3
    for lo, hi in ((b"a", b"f"), (b"a", b"c0"), (b"b", b"c"), (b"b0500", b"c")):
        with pytest.raises(ManyDeleted) as caught:
            list(sparse.reader.scan(lo, hi))
        assert (caught.value.lo, caught.value.hi) == (max(lo, b"a"), hi)

    sparse.reclaim(b"a", b"c")

    assert list(sparse.reader.scan(b"a", b"c0")) == [(b"a", b"1"), (b"c", b"2")]


def test_a_key_that_is_written_often_is_not_many_keys(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectionstore_node.storage.state_store.SKIPPED_MAX", 100)
    extend(database, 500)
    for index in range(1, 501):
        apply(database, index, {b"b": b"%d" % index})
    assert list(database.state.reader.scan(b"a", b"c")) == [(b"b", b"500")]


def test_deleted_keys_behind_a_range_do_not_concern_it(sparse: StateStore) -> None:
    assert list(sparse.reader.scan(b"a", b"b")) == [(b"a", b"1")]
    assert list(sparse.reader.scan(b"c", b"d")) == [(b"c", b"2")]
    assert list(sparse.reader.scan(b"0", b"a")) == []
    assert list(sparse.reader.scan(b"0", b"b")) == [(b"a", b"1")]
    assert list(sparse.reader.scan(b"e", b"f")) == [(b"e", b"3")]
    assert sparse.reader.get(b"b0001") is None


def test_where_it_stands_is_not_part_of_the_state(database: Database) -> None:
    """Nor can the state machine write there."""
    extend(database, 2)
    apply(database, 1, {b"\x00": b"first"})
    assert list(database.state.scan(b"", b"\xff")) == [(b"\x00", b"first")]
    assert database.state.get(b"") is None
    with pytest.raises(InvariantViolated, match="empty key"):
        apply(database, 2, {b"": b"forged"})


def test_ranges_are_dropped_before_values_are_written(database: Database) -> None:
    """A collection dropped and made again in one batch holds what was put into it afterwards."""
    extend(database, 3)
    apply(database, 1, {b"c/%d" % number: b"old" for number in range(10)} | {b"d": b"kept", b"b": b"kept"})
    writes = Writes()
    writes.dropped = [(b"c/", b"c0")]
    writes.values[b"c/5"] = b"new"
    database.state.commit(writes, metadata(database, 2))
    assert contents(database) == {b"b": b"kept", b"c/5": b"new", b"d": b"kept"}

    everything = Writes()
    everything.dropped = [(b"", b"\xff")]
    database.state.commit(everything, metadata(database, 3))
    assert contents(database) == {}
    assert database.state.applied.index == 3


def test_scan_shows_the_state_as_of_the_call(database: Database) -> None:
    """Whatever is written while it is being read, or before its first item is taken."""
    extend(database, 3)
    before = {b"key %03d" % number: b"1" for number in range(100)}
    apply(database, 1, dict(before))
    started, waiting = database.state.scan(b"key", b"kez"), database.state.scan(b"key", b"kez")
    first = next(started)
    apply(database, 2, {key: b"2" for key in before} | {b"key 000a": b"2"})
    assert dict([first, *started]) == before
    assert dict(waiting) == before
    assert database.state.get(b"key 050") == b"2"


def test_applied_is_stored_with_the_writes(database: Database, directory: Path, tmp_path: Path) -> None:
    """In every crash image the two agree, configuration included."""
    assert database.state.applied == Applied()
    extend(database, 30)
    database.log.sync()
    for index in range(1, 31):
        applied = apply(database, index, {b"index": b"%d" % index})
        if index % 10 == 0:
            image = images.copy(directory, tmp_path / "image")
            for size in (None, images.record_ends(images.wals(image)[-1])[-2]):
                if size is not None:
                    images.cut(images.wals(image)[-1], size)
                opened = open_database(image)
                assert contents(opened) == {b"index": b"%d" % opened.state.applied.index}
                assert opened.state.applied.index in (index, index - 1)
                opened.close()
                images.copy(directory, tmp_path / "image")
    assert applied.configuration == Configuration(voters=(NodeId(7),))
    database.close()
    again = open_database(directory)
    assert again.state.applied == applied
    again.close()


def test_entry_is_applied_once(database: Database) -> None:
    """Standing still or going back is a bug of the driver, found before anything is written."""
    extend(database, 5)
    apply(database, 3, {b"a": b"3"})
    for index in (2, 3):
        with pytest.raises(InvariantViolated, match="after entry 3"):
            apply(database, index, {b"a": b"again"})
    assert contents(database) == {b"a": b"3"}


@pytest.mark.parametrize(
    "read",
    [lambda state: list(state.scan(b"key", b"kez")), lambda state: [state.get(b"key %03d" % n) for n in range(200)]],
    ids=["scan", "get"],
)
def test_damage_to_stored_values_is_an_io_error(
    database: Database, directory: Path, read: Callable[[StateStore], object]
) -> None:
    """A read that meets a damaged block raises; a scan does not just end there. Then nothing goes on."""
    values = {b"key %03d" % number: random.Random(number).randbytes(1000) for number in range(200)}
    extend(database, 2)
    apply(database, 1, values)
    database.close()
    table = max(directory.glob("rocks/*.sst"), key=lambda path: path.stat().st_size)
    images.flip(table, table.stat().st_size // 2)
    again = open_database(directory)
    with pytest.raises(StorageFailed, match="Corruption"):
        read(again.state)
    with pytest.raises(StorageFailed, match="Corruption"):
        again.log.sync()
    again.close()


def test_state_without_its_log_is_refused(database: Database, directory: Path) -> None:
    """The applied entry's chain must be the log's."""
    made = extend(database, 5)
    forged = Applied(Index(4), made[3].term, made[2].chain)
    database.state.commit(Writes(), forged)
    database.close()
    with pytest.raises(DataDirectoryRefused, match="do not belong together"):
        open_database(directory)


def test_picked_keys_are_of_one_state(database: Database) -> None:
    extend(database, 2)
    apply(database, 1, {b"a": b"1", b"c": b"2", b"d": b"3"})
    found = database.state.reader.pick([b"a", b"b", b"c", b"d", b"e"])
    first = next(found)
    apply(database, 2, {b"b": b"9", b"c": b"9", b"d": None})

    assert [first, *found] == [(b"a", b"1"), (b"c", b"2"), (b"d", b"3")]
    assert list(database.state.reader.pick([b"a", b"b", b"d"])) == [(b"a", b"1"), (b"b", b"9")]
    assert list(database.state.reader.pick([])) == []


def test_keys_to_pick_may_be_named_one_by_one(database: Database) -> None:
    """And are of the state at the call all the same."""
    extend(database, 2)
    apply(database, 1, {b"a": b"1", b"c": b"2"})
    wanted: list[bytes] = []
    found = database.state.reader.pick(iter(lambda: wanted.pop() if wanted else b"none", b"none"))
    apply(database, 2, {b"a": b"9", b"b": b"9"})
    wanted.append(b"c")
    assert next(found) == (b"c", b"2")
    wanted.append(b"a")
    assert next(found) == (b"a", b"1")
    wanted.append(b"b")
    assert list(found) == []


def test_scanned_ranges_are_of_one_state(database: Database) -> None:
    extend(database, 2)
    apply(database, 1, {key: b"1" for key in (b"a", b"b", b"c", b"d", b"e")})
    found = database.state.reader.scan_ranges([(b"a", b"b"), (b"bb", b"c"), (b"c", b"e"), (b"x", b"z")])
    first = next(found)
    apply(database, 2, {b"c": None, b"d": b"9", b"bbb": b"9"})
    assert [first, *found] == [(b"a", b"1"), (b"c", b"1"), (b"d", b"1")]
    assert list(database.state.reader.scan_ranges([])) == []


def test_a_range_with_many_deleted_keys_is_not_scanned(sparse: StateStore) -> None:
    with pytest.raises(ManyDeleted):
        list(sparse.reader.scan_ranges([(b"a", b"b"), (b"b", b"f")]))


def test_a_picked_key_among_deleted_ones_is_found(sparse: StateStore) -> None:
    """Nothing is compacted for the sake of a key that is gone."""
    assert list(sparse.reader.pick([b"a", b"c", b"e"])) == [(b"a", b"1"), (b"c", b"2"), (b"e", b"3")]
    assert list(sparse.reader.pick([b"a", b"b0000", b"b1999", b"c"])) == [(b"a", b"1"), (b"c", b"2")]


def test_a_fixed_state_does_not_change(database: Database) -> None:
    """It is read again and again, by key and by range, while others are written."""
    extend(database, 2)
    apply(database, 1, {b"a": b"1", b"b": b"2", b"d": b"4"})
    fixed = database.state.reader.fixed()
    apply(database, 2, {b"a": b"9", b"b": None, b"c": b"3"})
    for _ in range(2):
        assert list(fixed.scan(b"a", b"z")) == [(b"a", b"1"), (b"b", b"2"), (b"d", b"4")]
        assert list(fixed.pick([b"b", b"c", b"d"])) == [(b"b", b"2"), (b"d", b"4")]
        assert (fixed.get(b"a"), fixed.get(b"c"), fixed.get(b"d")) == (b"1", None, b"4")
    assert list(database.state.reader.scan(b"a", b"z")) == [(b"a", b"9"), (b"c", b"3"), (b"d", b"4")]


def test_a_fixed_state_skips_a_bounded_number_of_deleted_keys(sparse: StateStore) -> None:
    fixed = sparse.reader.fixed()

    with pytest.raises(ManyDeleted):
        list(fixed.scan(b"a", b"f"))
    assert list(fixed.pick([b"a", b"e"])) == [(b"a", b"1"), (b"e", b"3")]


def test_a_read_of_what_a_snapshot_has_replaced_does_not_stop_the_member(database: Database) -> None:
    """A query, or a scrape, in a thread goes on when the state is replaced; only what it has opened can be read."""
    rocks, state = database.rocks, database.state
    before = rocks.create_state()
    state.switch(before)
    opened = state.reader.fixed()
    state.switch(rocks.create_state())
    rocks.drop(before.name)
    assert list(opened.scan(b"a", b"b")) == []
    for read in (
        lambda: before.get(b"a"),
        lambda: before.get_many([b"a"]),
        lambda: before.scan(b"a"),
        lambda: before.fixed(1),
    ):
        with pytest.raises(ReadTimedOut, match="replaced"):
            read()
    assert not database.failstop.failed


def test_entries_are_counted_while_the_state_is_replaced(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    rocks, state = database.rocks, database.state
    before = state.family
    fresh = rocks.create_state()
    scan = Family.scan

    def replaced(family: Family, lo: bytes) -> Iterator[tuple[bytes, bytes]]:
        if family is before:
            state.switch(fresh)
            rocks.drop(before.name)
        return scan(family, lo)

    monkeypatch.setattr(Family, "scan", replaced)
    assert database.index_entries() == 0
    assert not database.failstop.failed
