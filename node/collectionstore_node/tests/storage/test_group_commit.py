"""The order of writing, syncing and marking the tail, with an append in the middle of a sync."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collectionstore_node.raft.messages import Entry, Index
from collectionstore_node.statemachine.view import Writes
from collectionstore_node.storage.failstop import FailStop
from collectionstore_node.storage.log_store import LogStore
from collectionstore_node.storage.rocksdb.rocks import FIRST_STATE, UNSYNCED_BATCHES_MAX, OpenMode, Rocks
from collectionstore_node.storage.rocksdb.tuning import Tuning
from collectionstore_node.storage.state_store import Applied, StateStore
from collectionstore_node.storage.tail_marker import TailMarker, TailRecord
from collectionstore_node.tests.storage.entries import SMALL, entries, extend, hard_state, open_database


class Interrupted(Rocks):
    """Calls `before` and `after` around the next sync of the WAL, as another thread might come between."""

    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None
    syncs = 0

    def sync_wal(self) -> None:
        """Sync, interrupted."""
        self.syncs += 1
        before, self.before, after, self.after = self.before, None, self.after, None
        if before is not None:
            before()
        super().sync_wal()
        if after is not None:
            after()


class Parts:
    """A log on an interruptible RocksDB, and what its tail marker file says."""

    def __init__(self, directory: Path, tuning: Tuning = SMALL) -> None:
        made = open_database(directory)
        made.close()
        failstop = FailStop()
        self.node_id = made.identity.node_id
        self.path = directory / "WITNESS"
        self.rocks = Interrupted(directory / "rocks", tuning, failstop, OpenMode.READ_WRITE)
        self.tail_marker = TailMarker(self.path, self.node_id, failstop)
        self.state = StateStore(self.rocks, self.rocks.family(FIRST_STATE))
        self.log = LogStore(self.rocks, self.tail_marker, self.state, failstop, tuning.log_cache_bytes)

    def marked(self) -> TailRecord:
        """Return what a starting node would read."""
        tail_marker = TailMarker(self.path, self.node_id, FailStop())
        tail_marker.close()
        return tail_marker.record

    def append(self, first: int, last: int, previous: bytes | None = None, *, term: int = 1) -> list[Entry]:
        """Append entries `[first, last]`."""
        made = entries(first, last, previous or self.log.chain(Index(first - 1)), term=term)
        self.log.append(made, hard_state(term))
        return made


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    """A new log."""
    made = Parts(tmp_path)
    yield made
    made.tail_marker.close()
    made.rocks.close()


def test_tail_marker_is_raised_after_the_sync_of_the_wal(parts: Parts) -> None:
    """Before it, a crash could leave the tail marker ahead of the log, and a healthy node would refuse to start."""
    parts.append(1, 5)
    seen: list[TailRecord] = []
    parts.rocks.before = lambda: seen.append(parts.marked())
    parts.rocks.after = lambda: seen.append(parts.marked())
    parts.log.sync()
    assert [record.last_index for record in seen] == [0, 0]
    assert parts.marked().last_index == 5


def test_entry_appended_during_a_sync_is_not_marked_by_it(parts: Parts) -> None:
    """The WAL may have been synced without it."""
    parts.append(1, 5)
    parts.rocks.after = lambda: parts.append(6, 6)
    parts.log.sync()
    assert parts.marked().last_index == 5
    parts.log.sync()
    assert parts.marked().last_index == 6


@pytest.mark.parametrize("when", ["before", "after"])
def test_truncation_during_a_sync_is_never_contradicted(parts: Parts, when: str) -> None:
    """The sync had looked at entries that are gone now; it looks again before it says anything."""
    made = parts.append(1, 10)
    parts.log.sync()
    parts.append(11, 12)
    setattr(parts.rocks, when, lambda: parts.append(4, 5, made[2].chain, term=2))
    syncs = parts.rocks.syncs
    parts.log.sync()
    assert parts.rocks.syncs == syncs + 2
    marked = parts.marked()
    assert (marked.last_index, marked.last_term, marked.term) == (5, 2, 2)
    assert marked.chain == parts.log.chain(Index(5))


def test_truncation_lowers_the_tail_marker_before_it_writes(parts: Parts) -> None:
    """And only if the tail marker had spoken of what goes."""
    made = parts.append(1, 10)
    parts.log.sync()
    parts.append(8, 8, made[6].chain, term=2)
    assert (parts.marked().last_index, parts.marked().chain) == (7, made[6].chain)
    parts.append(9, 20, term=2)
    before = parts.path.read_bytes()
    parts.append(15, 15, term=3)
    assert parts.path.read_bytes() == before


def test_sync_without_anything_new_does_not_write_the_tail_marker(parts: Parts) -> None:
    """A changed commit index alone needs no second sync."""
    parts.append(1, 5)
    parts.log.sync()
    before = parts.path.read_bytes()
    parts.log.append((), hard_state(1, commit=4))
    parts.log.sync()
    assert parts.path.read_bytes() == before


def test_compaction_waits_for_the_state_to_be_durable(parts: Parts) -> None:
    """What it drops must never be needed again. After any sync that costs nothing."""
    parts.append(1, 10)
    parts.log.sync()
    for index, syncs in ((4, 1), (8, 0)):
        made = parts.log.entries(Index(index), Index(index + 1), 0)[0]
        applied = Applied(made.index, made.term, made.chain)
        parts.state.commit(Writes(), applied)
        if syncs == 0:
            parts.log.sync()
        before = parts.rocks.syncs
        parts.log.compact(applied)
        assert parts.rocks.syncs == before + syncs


def test_writes_without_a_sync_are_bounded(parts: Parts) -> None:
    """So that the numbers of all that may be missing after a crash are kept."""
    for index in range(1, 2 * UNSYNCED_BATCHES_MAX + 2):
        parts.append(index, index)
    assert parts.rocks.syncs == 2


def test_appends_and_syncs_in_two_threads_end_in_agreement(tmp_path: Path) -> None:
    """Truncations among them; in the end the tail marker says what the log says, and the directory opens."""
    database = open_database(tmp_path / "data")
    done = threading.Event()
    errors: list[BaseException] = []

    def sync() -> None:
        try:
            while not done.is_set():
                database.log.sync()
        except BaseException as error:
            errors.append(error)

    syncer = threading.Thread(target=sync)
    syncer.start()
    for term in range(1, 150):
        back = max(0, database.log.last_index() - term % 4)
        made = entries(back + 1, back + 5, database.log.chain(Index(back)), term=term, size=100 * (term % 3))
        database.log.append(made, hard_state(term))
        extend(database, back + 7, term=term)
    done.set()
    syncer.join()
    assert errors == []
    database.log.sync()
    last = database.log.last_index()
    database.close()
    again = open_database(tmp_path / "data")
    assert again.log.last_index() == last
    again.close()
