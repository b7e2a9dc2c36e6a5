"""Snapshots: exported while writes go on, installed whole or not at all."""

from __future__ import annotations

import hashlib
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from collectionstore_node.errors import DataDirectoryRefused, InvariantViolated
from collectionstore_node.raft.messages import Configuration, HardState, Index, NodeId, Term
from collectionstore_node.storage import (
    Database,
    SnapshotFile,
    read_metadata,
    snapshots,
    verify_snapshot,
)
from collectionstore_node.storage.rocksdb.family import Family
from collectionstore_node.storage.snapshots import InstallStep, install_steps
from collectionstore_node.tests.storage import images
from collectionstore_node.tests.storage.entries import (
    apply,
    contents,
    entries,
    extend,
    hard_state,
    open_database,
)

pytestmark = pytest.mark.xdist_group("snapshots")

RECORDS = {b"key %04d" % number: b"value %d" % number * (number % 7) for number in range(300)}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> SnapshotFile:
    """A snapshot of RECORDS at index 50, term 2."""
    root = tmp_path_factory.mktemp("exported")
    database = open_database(root / "source")
    extend(database, 50, term=2)
    apply(database, 50, dict(RECORDS))
    snapshot = database.export_snapshot(root)
    database.close()
    return snapshot


@pytest.fixture
def flushed_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every chunk that an install loads is on the disk before the next one."""
    monkeypatch.setattr(snapshots, "_FLUSH_BYTES", 1)


def test_exported_file_says_what_it_holds(exported: SnapshotFile) -> None:
    """Position, configuration, size and hash; the records are all there."""
    assert (exported.metadata.index, exported.metadata.term) == (50, 2)
    assert exported.metadata.configuration == Configuration(voters=(NodeId(7),))
    assert exported.size_bytes == exported.path.stat().st_size
    assert exported.sha256 == hashlib.sha256(exported.path.read_bytes()).hexdigest()
    assert read_metadata(exported.path) == exported.metadata
    assert verify_snapshot(exported.path)[:2] == (exported.metadata, len(RECORDS))
    assert [path.suffix for path in exported.path.parent.glob("*.part")] == []


def test_export_of_an_empty_state_is_refused(database: Database) -> None:
    """There is no position to give it."""
    with pytest.raises(InvariantViolated, match="nothing"):
        database.export_snapshot(database.spool)


def test_export_leaves_the_block_cache_to_clients(database: Database, tmp_path: Path) -> None:
    """Records that are read once, by the export, do not take the place of those that clients read."""
    extend(database, 1)
    apply(database, 1, {b"key %05d" % number: random.Random(number).randbytes(200) for number in range(20_000)})
    database.state.family.flush()
    before = database.state.family.int_property("rocksdb.block-cache-usage")

    written = database.export_snapshot(tmp_path)

    after = database.state.family.int_property("rocksdb.block-cache-usage")
    assert after - before < written.size_bytes // 20  # the index and the filter of the table
    assert len(list(database.state.scan(b"", b"\xff"))) == 20_000
    assert database.state.family.int_property("rocksdb.block-cache-usage") - after > written.size_bytes // 2


def test_export_is_consistent_while_writes_go_on(database: Database, tmp_path: Path) -> None:
    """Every record is of the one applied index that the file names, though another thread is committing."""
    extend(database, 400)
    apply(database, 1, {key: b"1" for key in RECORDS})
    stop = threading.Event()
    files: list[SnapshotFile] = []

    def export() -> None:
        while not stop.is_set():
            files.append(database.export_snapshot(tmp_path))

    exporter = threading.Thread(target=export)
    exporter.start()
    for index in range(2, 401):
        apply(database, index, {key: b"%d" % index for key in RECORDS})
    stop.set()
    exporter.join()

    assert len({file.metadata.index for file in files}) > 1
    for number, file in enumerate({file.metadata.index: file for file in files}.values()):
        target = open_database(tmp_path / f"target {number}")
        target.install_snapshot(file.path)
        assert set(contents(target).values()) == {b"%d" % file.metadata.index}
        target.close()
        if number == 2:
            break


def test_install_replaces_state_and_log_and_keeps_the_vote(
    exported: SnapshotFile, database: Database, directory: Path
) -> None:
    """The log is empty behind the snapshot and goes on from there; so does a restarted node."""
    extend(database, 20)
    database.log.append((), hard_state(4, vote=3, commit=10))
    apply(database, 10, {b"key 0001": b"old", b"old": b"old"})
    database.log.sync()
    database.install_snapshot(exported.path)

    for restarted in (False, True):
        log = database.log
        assert contents(database) == RECORDS
        assert database.state.applied == log.snapshot() == exported.metadata
        assert (log.first_index(), log.last_index(), log.size_bytes) == (51, 50, 0)
        assert log.hard_state() == HardState(Term(4), NodeId(3), Index(50))
        assert (log.term(Index(50)), log.chain(Index(50))) == (2, exported.metadata.chain)
        if not restarted:
            database.close()
            database = open_database(directory)
    made = entries(51, 60, exported.metadata.chain, term=4)
    database.log.append(made, None)
    database.log.sync()
    apply(database, 60, {b"new": b"1"})
    database.close()
    again = open_database(directory)
    assert again.log.entries(Index(51), Index(61), 1 << 20) == tuple(made)
    assert contents(again) == RECORDS | {b"new": b"1"}
    again.close()


def test_snapshot_of_an_installed_snapshot_is_the_same_file(
    exported: SnapshotFile, database: Database, tmp_path: Path
) -> None:
    """Byte for byte, so that hashes can be compared between nodes."""
    database.install_snapshot(exported.path)
    assert database.export_snapshot(tmp_path).sha256 == exported.sha256


def test_snapshots_can_be_installed_one_after_another(
    exported: SnapshotFile, database: Database, tmp_path: Path
) -> None:
    """Each replaces the one before; a scan begun earlier still shows what it began with."""
    database.install_snapshot(exported.path)
    old = database.state.scan(b"key", b"kez")
    first = next(old)
    extend(database, 70, term=3)
    apply(database, 70, {key: None for key in RECORDS} | {b"last": b"1"})
    later = database.export_snapshot(tmp_path)
    database.install_snapshot(later.path)
    assert contents(database) == {b"last": b"1"}
    assert dict([first, *old]) == RECORDS
    assert len(database.rocks.state_names()) == 1
    with pytest.raises(InvariantViolated, match="older"):
        database.install_snapshot(exported.path)
    assert contents(database) == {b"last": b"1"}


def test_install_crash_points_leave_the_old_or_the_new(
    exported: SnapshotFile, database: Database, directory: Path, tmp_path: Path
) -> None:
    """An image of the disk after every step starts with one of the two, log and state together, never a mix."""
    old_log = extend(database, 80)
    database.log.append((), hard_state(3, vote=5, commit=40))
    apply(database, 40, {b"old": b"1"})
    database.log.sync()
    before = images.copy(directory, tmp_path / "before")
    pictures: dict[InstallStep | str, Path] = {"before": before}
    for step in install_steps(database, exported.path):
        pictures[step] = images.copy(directory, tmp_path / step.name)
    # The lowered tail marker reached the disk, the switch did not.
    lowered = pictures["lowered"] = images.copy(pictures[InstallStep.LOADED], tmp_path / "lowered")
    (lowered / "WITNESS").write_bytes(_tail_marker_before_last(pictures[InstallStep.SWITCHED]))
    # The switch reached the disk, the raised tail marker did not.
    unraised = pictures["unraised"] = images.copy(pictures[InstallStep.SWITCHED], tmp_path / "unraised")
    (unraised / "WITNESS").write_bytes((lowered / "WITNESS").read_bytes())
    # The switch was torn.
    torn = pictures["torn"] = images.copy(pictures[InstallStep.SWITCHED], tmp_path / "torn")
    (torn / "WITNESS").write_bytes((lowered / "WITNESS").read_bytes())
    images.cut(images.wals(torn)[-1], images.wals(torn)[-1].stat().st_size - 10)

    new = {InstallStep.SWITCHED, InstallStep.FINISHED, "unraised"}
    for point, picture in pictures.items():
        opened = open_database(picture)
        assert (opened.log.hard_state().term, opened.log.hard_state().vote) == (3, 5)
        assert len(opened.rocks.state_names()) == 1
        if point in new:
            assert contents(opened) == RECORDS, point
            assert (opened.log.first_index(), opened.log.last_index()) == (51, 50)
        else:
            assert contents(opened) == {b"old": b"1"}, point
            assert opened.log.entries(Index(1), Index(81), 1 << 20) == tuple(old_log)
        opened.install_snapshot(exported.path)
        assert contents(opened) == RECORDS
        opened.close()


def _tail_marker_before_last(directory: Path) -> bytes:
    """Return the tail marker file as it was before its last write: without the newer of its two slots."""
    data = (directory / "WITNESS").read_bytes()
    slots = [data[:4096], data[4096:]]
    newer = max((0, 1), key=lambda slot: int.from_bytes(slots[slot][8:16], "big"))
    slots[newer] = bytes(4096)
    return b"".join(slots)


def test_every_damaged_part_of_a_file_is_noticed(exported: SnapshotFile, tmp_path: Path) -> None:
    """Flips all over the file, cuts all over it, bytes behind it."""
    whole = exported.path.read_bytes()
    damaged = tmp_path / "damaged"
    places = [*range(60), *range(60, len(whole), 97), *range(len(whole) - 80, len(whole))]
    for place in places:
        for data in (whole[:place], whole[:place] + bytes((whole[place] ^ 1,)) + whole[place + 1 :]):
            damaged.write_bytes(data)
            with pytest.raises(InvariantViolated, match="corrupt"):
                verify_snapshot(damaged)
    damaged.write_bytes(whole + b"\0")
    with pytest.raises(InvariantViolated, match="corrupt"):
        verify_snapshot(damaged)


@pytest.mark.usefixtures("flushed_often")
def test_damaged_file_is_not_installed_wherever_the_damage_is(
    exported: SnapshotFile, database: Database, directory: Path, tmp_path: Path
) -> None:
    """What was loaded before it is dropped; state, log and vote are the old ones, also after a start."""
    old_log = extend(database, 5)
    apply(database, 5, {b"old": b"1"})
    database.log.sync()
    whole = exported.path.read_bytes()
    damaged = tmp_path / "damaged"
    flips = [*range(0, len(whole), len(whole) // 20), *range(len(whole) - 70, len(whole), 15), len(whole) - 1]
    files = [whole[:place] + bytes((whole[place] ^ 1,)) + whole[place + 1 :] for place in flips]
    for data in [*files, whole + b"\0", whole[:-1], whole[: len(whole) // 2]]:
        damaged.write_bytes(data)
        with pytest.raises(InvariantViolated, match="corrupt"):
            database.install_snapshot(damaged, hard_state(9, vote=9))
        assert contents(database) == {b"old": b"1"}
        assert len(database.rocks.state_names()) == 1

    database.close()
    again = open_database(directory)
    assert contents(again) == {b"old": b"1"}
    assert again.log.entries(Index(1), Index(6), 1 << 20) == tuple(old_log)
    assert again.log.hard_state().term == 1
    # The directory is as good as before: the undamaged file can be installed.
    again.install_snapshot(exported.path)
    assert contents(again) == RECORDS
    again.close()


@pytest.mark.parametrize("cut", [0, 1])
def test_crash_while_a_snapshot_is_loaded_leaves_the_old(
    exported: SnapshotFile,
    database: Database,
    directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cut: int,
) -> None:
    """After any part of it is on the disk, of a whole file and of one that is damaged at its very end."""
    extend(database, 80)
    apply(database, 40, {b"old": b"1"})
    database.log.sync()
    pictures: list[Path] = []
    flush = Family.flush

    def pictured(family: Family) -> None:
        flush(family)
        pictures.append(images.copy(directory, tmp_path / f"picture {len(pictures)}"))

    file = tmp_path / "file"
    file.write_bytes(exported.path.read_bytes()[: exported.size_bytes - cut])
    # Two parts and the rest: from four tables on, a compaction would delete some while they are copied.
    monkeypatch.setattr(snapshots, "_FLUSH_BYTES", exported.size_bytes * 2 // 5)
    monkeypatch.setattr(Family, "flush", pictured)
    steps = install_steps(database, file)
    assert next(steps) is InstallStep.CREATED
    if cut:
        with pytest.raises(InvariantViolated, match="ends early"):
            next(steps)
    else:
        assert next(steps) is InstallStep.LOADED
    monkeypatch.undo()

    assert len(pictures) >= 2
    for picture in pictures:
        opened = open_database(picture)
        assert contents(opened) == {b"old": b"1"}
        assert opened.log.last_index() == 80
        assert len(opened.rocks.state_names()) == 1
        opened.close()


def test_older_snapshot_is_refused_before_anything_is_loaded(exported: SnapshotFile, database: Database) -> None:
    """By its header: no state is made for it."""
    extend(database, 51, term=2)
    apply(database, 51, {b"old": b"1"})
    with pytest.raises(InvariantViolated, match="older than the applied index 51"):
        next(install_steps(database, exported.path))
    assert len(database.rocks.state_names()) == 1


def test_install_reads_the_file_once(
    exported: SnapshotFile, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It verifies what it loads, and not another reading of the file."""
    opened: list[str] = []
    path_open = Path.open

    def counted(path: Path, *arguments: Any, **named: Any) -> Any:
        opened.append(path.name)
        return path_open(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", counted)
    database.install_snapshot(exported.path)
    assert opened.count(exported.path.name) == 1
    assert contents(database) == RECORDS


@pytest.mark.parametrize("content", [b"", b"CSSNAP\r\n", b"GIF89a" + bytes(100), b"CSSNAP\r\n" + b"\xff" * 50])
def test_foreign_file_is_no_snapshot(tmp_path: Path, content: bytes) -> None:
    """Nothing in it is believed, lengths least of all."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InvariantViolated, match="corrupt"):
        read_metadata(tmp_path / "file")


def test_spool_is_emptied_at_the_start(database: Database, directory: Path) -> None:
    """What a crash left there is of no use to anybody."""
    (database.spool / "received.part").write_bytes(b"x")
    database.close()
    again = open_database(directory)
    assert list(again.spool.iterdir()) == []
    again.close()


def test_lost_state_family_is_refused(exported: SnapshotFile, database: Database, directory: Path) -> None:
    """The log must not go on without the state it was compacted into."""
    database.install_snapshot(exported.path)
    batch = database.rocks.batch(database.rocks.family("node"))
    batch[b"state_family"] = b"state-9"
    database.rocks.write(batch)
    database.close()
    with pytest.raises(DataDirectoryRefused, match="'state-9' is missing"):
        open_database(directory)
