"""Whose a data directory is, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from collectionstore_node.errors import DataDirectoryRefused, DataTooNew, StorageFailed
from collectionstore_node.metrics.stored import ERRORS, OF_A_FAMILY, OF_THE_WHOLE
from collectionstore_node.raft.messages import Index
from collectionstore_node.storage import Database
from collectionstore_node.storage.formats import FORMAT, NEWEST
from collectionstore_node.tests.storage import images
from collectionstore_node.tests.storage.entries import SMALL, apply, contents, extend, open_database


def test_empty_directory_becomes_a_new_incarnation(tmp_path: Path) -> None:
    """Missing or empty, with or without what a new filesystem has; the id is kept at the next start."""
    (tmp_path / "b" / "lost+found").mkdir(parents=True)
    first, second = open_database(tmp_path / "a"), open_database(tmp_path / "b")
    assert first.created
    assert (first.identity.cluster_id, first.identity.name) == ("test", "n1")
    assert 0 < first.identity.node_id < 2**63
    assert first.identity.node_id != second.identity.node_id
    first.close()
    second.close()
    again = open_database(tmp_path / "a")
    assert (again.created, again.identity) == (False, first.identity)
    again.close()


@pytest.mark.parametrize(
    ("cluster_id", "name", "says"),
    [("other", "n1", "belongs to cluster 'test', not 'other'"), ("test", "n2", "belongs to member 'n1', not 'n2'")],
)
def test_foreign_directory_is_refused(
    database: Database, directory: Path, cluster_id: str, name: str, says: str
) -> None:
    """Another cluster's, or another member's; the text says whose it is and what to do."""
    database.close()
    with pytest.raises(DataDirectoryRefused, match=says) as refused:
        Database.open(directory, cluster_id=cluster_id, name=name)
    assert "or to an empty one" in str(refused.value)
    open_database(directory).close()


def test_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    """A typing error must not fill a home directory."""
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(DataDirectoryRefused, match="not empty"):
        open_database(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"thesis.tex", "LOCK"}


def test_lost_identity_is_refused(database: Database, directory: Path) -> None:
    """Data without IDENTITY must not become a new member by accident."""
    database.close()
    (directory / "IDENTITY").unlink()
    with pytest.raises(DataDirectoryRefused, match="no IDENTITY file"):
        open_database(directory)


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"format":1}', b"\xff\xfe", b'{"format":1,"cluster_id":"test","name":"n1","node_id":"x"}']
)
def test_damaged_identity_is_refused(database: Database, directory: Path, content: bytes) -> None:
    """What cannot be read is not guessed."""
    database.close()
    (directory / "IDENTITY").write_bytes(content)
    with pytest.raises(DataDirectoryRefused, match="IDENTITY is corrupt"):
        open_database(directory)


@pytest.mark.parametrize("other", [FORMAT - 1, NEWEST + 1])
def test_other_format_is_refused(database: Database, directory: Path, other: int) -> None:
    """A version must not touch what a later one wrote; and a state of format 1 has no digest to go on from."""
    database.close()
    identity = directory / "IDENTITY"
    identity.write_text(identity.read_text().replace(f'"format": {FORMAT}', f'"format": {other}'))
    with pytest.raises(
        DataDirectoryRefused, match=f"data format {other}; this version reads formats {FORMAT} to"
    ) as no:
        open_database(directory)
    # Only the newer one is unharmed, and of use to another version.
    assert isinstance(no.value, DataTooNew) is (other > NEWEST)


def test_quarantined_directory_is_refused_at_every_start(database: Database, directory: Path) -> None:
    """A node whose state is wrong has a whole log: nothing but the mark keeps it from voting after a restart."""
    database.quarantine("Its digest is abc. Replace the member.")
    database.close()
    for _ in range(2):
        with pytest.raises(DataDirectoryRefused, match="is quarantined"):
            open_database(directory)


def test_every_changed_digit_of_the_node_id_is_noticed(database: Database, directory: Path) -> None:
    """A flipped digit would be another incarnation: the database and the tail marker know the right one."""
    database.close()
    identity = directory / "IDENTITY"
    node_id = f"{database.identity.node_id:016x}"
    changed = node_id[:-1] + ("0" if node_id[-1] != "0" else "1")
    identity.write_text(identity.read_text().replace(node_id, changed))
    with pytest.raises(DataDirectoryRefused, match="belongs to node"):
        open_database(directory)


@pytest.mark.parametrize("part", ["rocks", "WITNESS"])
def test_part_of_another_node_is_refused(database: Database, directory: Path, tmp_path: Path, part: str) -> None:
    """Two directories mixed up are neither of them."""
    database.close()
    other = tmp_path / "other"
    open_database(other).close()
    if part == "WITNESS":
        (directory / part).write_bytes((other / part).read_bytes())
    else:
        images.copy(other / part, directory / part)
    with pytest.raises(DataDirectoryRefused, match=r"belongs? to"):
        open_database(directory)


@pytest.mark.parametrize("part", ["CURRENT", "MANIFEST-*"])
def test_lost_part_of_rocksdb_is_refused(database: Database, directory: Path, part: str) -> None:
    """It never becomes an empty database."""
    extend(database, 3)
    database.close()
    for path in directory.glob(f"rocks/{part}"):
        path.unlink()
    with pytest.raises((DataDirectoryRefused, StorageFailed)):
        open_database(directory)
    assert not list(directory.glob(f"rocks/{part}"))


def test_unfinished_set_up_is_done_again(tmp_path: Path, directory: Path) -> None:
    """A crash while a directory is set up leaves nothing that counts, at any point."""
    whole = open_database(tmp_path / "whole")
    whole.close()
    marker = b"unfinished"
    for present in ([], ["rocks"], ["rocks", "WITNESS"]):
        image = images.copy(tmp_path / "whole", directory)
        for part in ("IDENTITY", "spool", "rocks", "WITNESS"):
            if part not in present:
                images.remove(image / part)
        (image / "CREATING").write_bytes(marker)
        opened = open_database(image)
        assert opened.created
        assert opened.identity.node_id != whole.identity.node_id
        opened.close()
        assert not (image / "CREATING").exists()


def test_crash_after_set_up_keeps_the_incarnation(database: Database, directory: Path) -> None:
    """Once IDENTITY is there the marker means nothing."""
    extend(database, 3)
    database.close()
    (directory / "CREATING").touch()
    again = open_database(directory)
    assert (again.created, again.identity, again.log.last_index()) == (False, database.identity, Index(3))
    again.close()


def test_directory_in_use_is_refused_with_the_holders_process_id(database: Database, directory: Path) -> None:
    """By this process or another; it is free when the holder closes it or dies."""
    with pytest.raises(DataDirectoryRefused, match=f"in use by process {os.getpid()}"):
        open_database(directory)
    database.close()
    script = (
        "import sys; from pathlib import Path; from collectionstore_node.tests.storage.entries import open_database; "
    )
    script += "database = open_database(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(DataDirectoryRefused, match=f"in use by process {holder.pid}"):
            open_database(directory)
        holder.kill()
    open_database(directory).close()


def test_directory_that_cannot_be_made_is_an_io_error(tmp_path: Path) -> None:
    """Not a refusal: nothing was found that is not ours."""
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed):
        open_database(tmp_path / "file" / "data")


def test_closed_database_refuses_everything(database: Database) -> None:
    """A late call says so instead of crashing."""
    extend(database, 3)
    database.close()
    for call in (database.log.sync, lambda: database.whole_property("num-snapshots"), lambda: database.state.get(b"a")):
        with pytest.raises(StorageFailed, match="closed"):
            call()


def test_figures_for_metrics_are_there(database: Database) -> None:
    """All of them, as numbers; the disk's use grows with what is written."""
    empty = database.disk_bytes()
    extend(database, 20, size=1000)
    apply(database, 20, {b"a": b"1"})
    assert database.disk_bytes() > empty + 20_000
    assert database.family_property("estimate-num-keys")["log"] >= 20
    assert database.family_property("estimate-num-keys")["state"] >= 1
    assert database.whole_property("background-errors") == database.whole_property("is-write-stopped") == 0
    assert database.whole_property("block-cache-capacity") > 0
    for name in (*OF_A_FAMILY, *OF_THE_WHOLE, ERRORS):
        # RocksDB knows it; an unknown one would be reported as 0 forever.
        assert database.rocks._db.property_int_value(f"rocksdb.{name}") is not None, name


def test_damaged_options_copy_of_the_binding_does_not_matter(database: Database, directory: Path) -> None:
    """rocksdict rewrites its own small file at every start, and not atomically."""
    apply_after = extend(database, 5)
    apply(database, 5, {b"a": b"1"})
    database.close()
    (directory / "rocks" / "rocksdict-config.json").write_bytes(b"{")
    again = open_database(directory, SMALL)
    assert again.log.last_index() == apply_after[-1].index
    assert contents(again) == {b"a": b"1"}
    again.close()
