"""Damage to the write-ahead log, row by row: what a crash may leave is a normal start, everything else a refusal.

The image is taken while the database is open, so all of its data is in the WAL: ENTRIES entries, each synced and
in the tail marker. RocksDB's default would open most of these without an error and with entries missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from rocksdict import ColumnFamily, Options, Rdict, WriteBatch
from structlog.testing import capture_logs

from collectionstore_node.errors import DataDirectoryRefused
from collectionstore_node.raft.messages import Entry, encode
from collectionstore_node.storage import Database
from collectionstore_node.tests.storage import images
from collectionstore_node.tests.storage.entries import (
    apply,
    contents,
    entry,
    extend,
    hard_state,
    open_database,
)

pytestmark = pytest.mark.xdist_group("damaged_wal")

ENTRIES = 120
UNSYNCED = 40


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of ENTRIES entries, all synced."""
    root = tmp_path_factory.mktemp("synced")
    database = open_database(root / "data")
    for last in range(1, ENTRIES + 1):
        extend(database, last, size=500)
        database.log.sync()
    image = images.copy(root / "data", root / "image")
    database.close()
    return image


@pytest.fixture(scope="module")
def unsynced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """An image of ENTRIES synced entries, with UNSYNCED more behind them, and the size of its WAL at the sync."""
    root = tmp_path_factory.mktemp("unsynced")
    database = open_database(root / "data")
    extend(database, ENTRIES, size=500)
    database.log.append((), hard_state(1, commit=ENTRIES))
    apply(database, ENTRIES, {b"a": b"synced"})
    database.log.sync()
    size = images.wals(root / "data")[-1].stat().st_size
    for last in range(ENTRIES + 1, ENTRIES + UNSYNCED + 1):
        extend(database, last, size=500)
    image = images.copy(root / "data", root / "image")
    database.close()
    return image, size


def middle(wal: Path) -> int:
    """Return the end of the record in the middle of a WAL."""
    ends = images.record_ends(wal)
    return ends[len(ends) // 2]


DAMAGE: dict[str, Callable[[Path], None]] = {
    "one byte flipped in the middle": lambda wal: images.flip(wal, middle(wal) + 100),
    "one byte flipped in the last record": lambda wal: images.flip(wal, wal.stat().st_size - 100),
    "last record torn": lambda wal: images.cut(wal, wal.stat().st_size - 100),
    "last record missing": lambda wal: images.cut(wal, images.record_ends(wal)[-2]),
    "cut at half, inside a record": lambda wal: images.cut(wal, middle(wal) + 100),
    "cut at half, on a boundary": lambda wal: images.cut(wal, middle(wal)),
    "empty": lambda wal: images.cut(wal, 0),
    "missing": lambda wal: wal.unlink(),
}


def test_whole_wal_is_a_normal_start(synced: Path, tmp_path: Path) -> None:
    """A crash right after the sync loses nothing."""
    opened = open_database(images.copy(synced, tmp_path / "image"))
    assert opened.log.last_index() == ENTRIES
    opened.close()


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_to_acknowledged_entries_is_refused(
    synced: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """At this start and at every later one; the text says what to do."""
    image = images.copy(synced, tmp_path / "image")
    damage(images.wals(image)[-1])
    for _ in range(2):
        with pytest.raises(DataDirectoryRefused, match="start it again on an empty directory"):
            open_database(image)


def test_refused_wal_is_left_as_it_was(synced: Path, tmp_path: Path) -> None:
    """What a person may still want to read is not thrown away by looking at it."""
    image = images.copy(synced, tmp_path / "image")
    wal = images.wals(image)[-1]
    images.flip(wal, middle(wal) + 100)
    before = hashlib.sha256(wal.read_bytes()).digest()
    with pytest.raises(DataDirectoryRefused):
        open_database(image)
    assert hashlib.sha256(wal.read_bytes()).digest() == before


TAILS: dict[str, Callable[[Path, int], None]] = {
    "nothing of it written": images.cut,
    "last record torn": lambda wal, synced: images.cut(wal, wal.stat().st_size - 100),
    "torn at the first byte": lambda wal, synced: images.cut(wal, synced + 1),
    "torn in a header": lambda wal, synced: images.cut(wal, synced + 5),
    "zeros from inside a record on": lambda wal, synced: images.overwrite(wal, synced + 300, bytes(4000)),
    "zeros in the middle, whole records behind": lambda wal, synced: images.overwrite(wal, synced + 1300, bytes(700)),
    "zeros to the end": lambda wal, synced: images.overwrite(wal, synced, bytes(wal.stat().st_size - synced)),
    "one byte flipped": lambda wal, synced: images.flip(wal, synced + 2000),
    "old blocks of the disk": lambda wal, synced: images.overwrite(wal, synced + 4000, b"\xa5\x03" * 3000),
}


@pytest.mark.parametrize("damage", TAILS.values(), ids=TAILS.keys())
def test_any_damage_behind_the_last_sync_is_a_normal_start(
    unsynced: tuple[Path, int], tmp_path: Path, damage: Callable[[Path, int], None]
) -> None:
    """A power loss may do anything to what was never synced, and that was never acknowledged.

    What was synced is there, what comes behind it is a prefix of what was written, and the node goes on.
    """
    source, synced_size = unsynced
    image = images.copy(source, tmp_path / "image")
    damage(images.wals(image)[-1], synced_size)
    opened = open_database(image)
    last = opened.log.last_index()
    assert ENTRIES <= last < ENTRIES + UNSYNCED
    assert contents(opened) == {b"a": b"synced"}
    extend(opened, last + 5, term=2)
    opened.log.sync()
    opened.close()
    again = open_database(image)
    assert again.log.last_index() == last + 5
    again.close()


def test_power_loss_leaves_no_state_ahead_of_its_log(tmp_path: Path) -> None:
    """Entries may be applied before they are synced (ADR 10): one journal holds both, entries first."""
    database = open_database(tmp_path / "data")
    extend(database, 20, size=100)
    database.log.sync()
    size = images.wals(tmp_path / "data")[-1].stat().st_size
    for last in range(21, 41):
        extend(database, last, size=100)
        apply(database, last, {b"at": b"%d" % last})
        if last == 30:
            # A table of the state alone: RocksDB must not let it outlive the entries that are only in the WAL.
            database.state.family.flush()
    image = images.copy(tmp_path / "data", tmp_path / "image")
    database.close()
    ends = []
    for step in range(12):
        cut = images.copy(image, tmp_path / f"cut-{step}")
        wal = images.wals(cut)[-1]
        images.cut(wal, (size if len(images.wals(cut)) == 1 else 0) + step * wal.stat().st_size // 12)
        opened = open_database(cut)
        applied, last = opened.state.applied.index, opened.log.last_index()
        assert applied <= last
        assert contents(opened) == {b"at": b"%d" % applied}
        ends.append(last)
        opened.close()
    assert len(set(ends)) > 3, "the cuts differ in what they leave"


@pytest.mark.parametrize(("damage", "cut"), [("last record torn", False), ("zeros from inside a record on", True)])
def test_only_damage_that_looks_like_loss_is_told(
    unsynced: tuple[Path, int], tmp_path: Path, damage: str, *, cut: bool
) -> None:
    """A torn last record is what every crash may leave; cutting the WAL at damage is for the node's log."""
    image = images.copy(unsynced[0], tmp_path / "image")
    TAILS[damage](images.wals(image)[-1], unsynced[1])
    with capture_logs() as events:
        open_database(image).close()
    assert [event["event"] for event in events] == ["storage.tail_cut"] * cut


def test_replayed_entries_are_in_tables_after_the_start(unsynced: tuple[Path, int], tmp_path: Path) -> None:
    """What a start finds in the WAL is durable before it counts: the node may say so to others at once."""
    image = images.copy(unsynced[0], tmp_path / "image")
    opened = open_database(image)
    after = images.copy(image, tmp_path / "after")
    opened.close()
    assert [wal.stat().st_size for wal in images.wals(after)] == [0]
    again = open_database(after)
    assert again.log.last_index() == ENTRIES + UNSYNCED
    again.close()


@pytest.mark.parametrize("where", ["on a boundary", "inside a record"])
def test_older_wal_that_was_cut_is_refused(database: Database, directory: Path, tmp_path: Path, where: str) -> None:
    """RocksDB would leave the middle out and replay what came after it, so that the state would silently differ."""
    index = 0
    while len(images.wals(directory)) < 3:
        index += 1
        extend(database, index, size=2000)
        database.log.sync()
        apply(database, index, {b"key %d" % index: b"value"})
    database.log.sync()
    image = images.copy(directory, tmp_path / "image")
    oldest = images.wals(image)[0]
    images.cut(oldest, middle(oldest) if where == "on a boundary" else middle(oldest) + 50)
    with pytest.raises(DataDirectoryRefused, match="Size mismatch"):
        open_database(image)


def test_hole_among_the_newest_writes_is_refused(database: Database, directory: Path) -> None:
    """The same for what was not synced yet: every write has a number, and one of them is missing."""
    for index in range(1, 10):
        extend(database, index)
        apply(database, index, {b"key": b"%d" % index})
    database.close()
    edit(directory, "node", lambda batch, family: batch.delete(b"batch/007", family))
    with pytest.raises(DataDirectoryRefused, match="Writes 7 to 7 of 19 are missing"):
        open_database(directory)


def test_damaged_table_file_is_refused(database: Database, directory: Path) -> None:
    """The log is read whole at the start, so damage in its tables shows there and not in the middle of a night."""
    extend(database, 50, size=2000)
    database.close()
    tables = sorted(directory.glob("rocks/*.sst"), key=lambda path: path.stat().st_size)
    images.flip(tables[-1], tables[-1].stat().st_size // 3)
    with pytest.raises(DataDirectoryRefused, match="damaged"):
        open_database(directory)


@pytest.mark.parametrize("changed", ["term", "vote"])
def test_hard_state_behind_the_tail_marker_is_refused(
    database: Database, directory: Path, tmp_path: Path, changed: str
) -> None:
    """A node that forgot its vote could vote twice in a term."""
    extend(database, 5, term=3)
    database.log.append((), hard_state(3))
    database.log.sync()
    before = images.copy(directory, tmp_path / "before")
    database.log.append((), hard_state(4) if changed == "term" else hard_state(3, vote=2))
    database.log.sync()
    (before / "WITNESS").write_bytes((directory / "WITNESS").read_bytes())
    with pytest.raises(DataDirectoryRefused, match="had synced"):
        open_database(before)


def test_log_of_another_history_is_refused(tmp_path: Path) -> None:
    """As long as the tail marker says, but with another entry at its end: not the log that was acknowledged."""
    database = open_database(tmp_path / "data")
    extend(database, 5)
    database.log.sync()
    before = images.copy(tmp_path / "data", tmp_path / "before")
    extend(database, 8, term=2)
    database.log.sync()
    tail_marker = (tmp_path / "data" / "WITNESS").read_bytes()
    database.close()
    other = open_database(before)
    extend(other, 9, term=3)
    other.log.sync()
    other.close()
    (before / "WITNESS").write_bytes(tail_marker)
    with pytest.raises(DataDirectoryRefused):
        open_database(before)


def test_chain_broken_in_the_middle_is_refused(database: Database, directory: Path) -> None:
    """Every entry kept is checked against its predecessor at the start."""
    made = extend(database, 60)
    database.log.sync()
    database.close()
    forged = entry(20, made[18].chain, data=b"forged")
    value = encode(Entry(forged.index, forged.term, forged.kind, forged.data, made[19].chain))
    edit(directory, "log", lambda batch, family: batch.put((20).to_bytes(8, "big"), value, family))
    with pytest.raises(DataDirectoryRefused, match="chain of the log is broken at entry 20"):
        open_database(directory)


def edit(directory: Path, family: str, change: Callable[[WriteBatch, ColumnFamily], None]) -> None:
    """Change a closed database behind our own code's back."""
    path = str(directory / "rocks")
    rocks = Rdict(path, Options(raw_mode=True), {name: Options(raw_mode=True) for name in Rdict.list_cf(path)})
    batch = WriteBatch(raw_mode=True)
    change(batch, rocks.get_column_family_handle(family))
    rocks.write(batch)
    del batch
    rocks.close()
