"""Data of a raised feature level is marked, so that a program that does not support the level refuses it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from collectionstore_node.errors import DataDirectoryRefused, InvariantViolated
from collectionstore_node.metrics import DiskSeries, member_metrics
from collectionstore_node.raft.messages import (
    GENESIS_CHAIN,
    Configuration,
    Entry,
    EntryKind,
    Index,
    Term,
    chain_hash,
)
from collectionstore_node.replica.persistence.applier import Applier
from collectionstore_node.statemachine.commands import Command, KeyRef, Put, encode_batch
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.levels import BOUNDED, FIRST
from collectionstore_node.storage import Database, identity, snapshot_file
from collectionstore_node.storage.formats import FORMAT, format_of
from collectionstore_node.storage.snapshot_file import verify_snapshot
from collectionstore_node.tests.storage.entries import open_database


def only_first(number: object) -> int | None:
    """Stands for `formats.level_of` of a version that supports level 1 only."""
    return FIRST if number == FORMAT else None


def no_change(_entry: Entry) -> Configuration:
    raise AssertionError("there is no membership change")


def fill(database: Database, level: int) -> None:
    """Apply an entry of a level."""
    data = encode_batch(0, [Command(Put(KeyRef("b", "k"), b"v"))], level)
    index, term = Index(1), Term(1)
    chain = chain_hash(GENESIS_CHAIN, index, term, EntryKind.COMMANDS, data)
    applier = Applier(database.state, DiskSeries(member_metrics()), database.raise_level)
    applier.apply((Entry(index, term, EntryKind.COMMANDS, data, chain),), no_change)


def format_in(directory: Path) -> int:
    found: int = msgspec.json.decode((directory / "IDENTITY").read_bytes())["format"]
    return found


def test_new_directory_can_be_opened_by_older_versions(tmp_path: Path) -> None:
    """Until the level is raised: a cluster that is upgraded can go back."""
    database = open_database(tmp_path / "n1")
    fill(database, FIRST)
    database.close()
    assert format_in(tmp_path / "n1") == FORMAT == 2


def test_raised_level_is_marked_before_it_is_stored_and_refused_by_older_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(tmp_path / "n1")
    marked_at: list[int] = []
    real = database.raise_level

    def mark(level: int) -> None:
        real(level)
        marked_at.append(read_header(database.state).level)

    monkeypatch.setattr(database, "raise_level", mark)
    fill(database, BOUNDED)
    # The state that was there when the mark was durable: still the one of level 1.
    assert marked_at == [FIRST]
    assert read_header(database.state).level == BOUNDED
    database.close()
    assert format_in(tmp_path / "n1") == format_of(BOUNDED) == 3
    assert identity.read_identity(tmp_path / "n1") == database.identity
    monkeypatch.setattr(identity, "level_of", only_first)
    with pytest.raises(DataDirectoryRefused, match=r"has data format 3.*never lowered"):
        identity.read_identity(tmp_path / "n1")


def test_snapshot_carries_the_level_and_marks_the_receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member of an older version refuses the file, and one of this version its own downgrade afterwards."""
    database = open_database(tmp_path / "n1")
    fill(database, BOUNDED)
    snapshot = database.export_snapshot(database.spool)
    assert verify_snapshot(snapshot.path).level == BOUNDED
    receiver = open_database(tmp_path / "n2")
    receiver.install_snapshot(snapshot.path)
    assert read_header(receiver.state).level == BOUNDED
    assert format_in(tmp_path / "n2") == format_of(BOUNDED)
    monkeypatch.setattr(snapshot_file, "level_of", only_first)
    with pytest.raises(InvariantViolated, match="its format is 3"):
        verify_snapshot(snapshot.path)
    database.close()
    receiver.close()


def test_snapshot_of_level_1_is_one_that_older_versions_read(tmp_path: Path) -> None:
    database = open_database(tmp_path / "n1")
    fill(database, FIRST)
    snapshot = database.export_snapshot(database.spool)
    assert verify_snapshot(snapshot.path).level == FIRST
    # After magic and length: the header, an array whose first element is the format.
    head = snapshot.path.read_bytes()[12:]
    assert head[:2] == b"\x92\x02"
    database.close()
