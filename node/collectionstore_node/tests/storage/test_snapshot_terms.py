"""Term and vote of a node that installs a snapshot of a later term, at every point where it may crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.messages import Index
from collectionstore_node.raft.node import RaftNode
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.storage import Database, SnapshotFile
from collectionstore_node.storage.snapshots import install_steps
from collectionstore_node.tests.storage import images
from collectionstore_node.tests.storage.entries import apply, entries, extend, hard_state, open_database


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> SnapshotFile:
    """A snapshot at index 50, term 2."""
    root = tmp_path_factory.mktemp("exported")
    database = open_database(root / "source")
    extend(database, 50, term=2)
    apply(database, 50, {b"key": b"value"})
    snapshot = database.export_snapshot(root)
    database.close()
    return snapshot


def test_install_crash_points_start_with_a_term_that_fits_the_log(
    exported: SnapshotFile, database: Database, directory: Path, tmp_path: Path
) -> None:
    """N6: the snapshot is of a later term than this node has stored. Term and vote come with it, in the same write."""
    extend(database, 10)
    database.log.append((), hard_state(1, vote=5, commit=4))
    apply(database, 4, {b"old": b"1"})
    database.log.sync()
    pictures = {"before": images.copy(directory, tmp_path / "before")}
    for step in install_steps(database, exported.path, hard_state(3, vote=9, commit=60)):
        pictures[step.name] = images.copy(directory, tmp_path / step.name)
    found = {}
    for point, picture in pictures.items():
        opened = open_database(picture)
        found[point] = (opened.log.hard_state(), _core(opened).last_index)
        opened.close()
    old, new = (hard_state(1, vote=5, commit=4), 10), (hard_state(3, vote=9, commit=50), 50)
    assert found == {"before": old, "CREATED": old, "LOADED": old, "SWITCHED": new, "FINISHED": new}


def test_directory_whose_term_was_lost_between_snapshot_and_hard_state_opens(
    exported: SnapshotFile, database: Database, directory: Path
) -> None:
    """N6: earlier versions stored the term after the snapshot; what such a crash left refused every start."""
    extend(database, 10)
    database.log.append((), hard_state(1, vote=5, commit=4))
    database.log.sync()
    database.install_snapshot(exported.path)
    assert database.log.hard_state() == hard_state(1, vote=5, commit=50)
    database.close()
    for _ in range(2):
        opened = open_database(directory)
        assert opened.log.hard_state() == hard_state(2, commit=50)
        assert _core(opened).term == 2
        opened.close()


def test_term_below_that_of_an_entry_is_not_raised(database: Database, directory: Path) -> None:
    """No crash leaves that: entries and their term are in one write. Whoever starts on it stops."""
    extend(database, 10)
    database.log.append((), hard_state(4, commit=4))
    apply(database, 4, {})
    database.log.append(entries(11, 12, database.log.chain(Index(10)), term=9), None)
    database.log.sync()
    database.close()
    opened = open_database(directory)
    assert opened.log.hard_state().term == 4
    with pytest.raises(InvariantViolated, match="ends in term 9"):
        _core(opened)
    opened.close()


def _core(database: Database) -> RaftNode:
    """Return the core that a member starts on its data."""
    applied = database.state.applied
    return RaftNode(
        database.identity.node_id,
        RaftSettings(),
        database.log,
        hard_state=database.log.hard_state(),
        configuration=applied.configuration,
        applied=applied.index,
        random_ticks=lambda lo, hi: lo,
    )
