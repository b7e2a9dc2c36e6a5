"""The history as watches read it: from one fixed state of RocksDB, which has one cursor."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectionstore_node.statemachine import images
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Action,
    Command,
    CreateCollection,
    Delete,
    DocumentRef,
    Put,
    encode_batch,
)
from collectionstore_node.statemachine.history import INLINE_BYTES
from collectionstore_node.statemachine.images import whole_changes
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.reads import read_revision
from collectionstore_node.statemachine.stored import decode_stored
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.storage import Database
from collectionstore_node.tests.storage.entries import apply, extend, open_database

LARGE = b'{"n":%d,"t":"' + b"x" * INLINE_BYTES + b'"}'


def write(database: Database, index: int, *actions: Action) -> None:
    overlay = Overlay(database.state)
    apply_batch(overlay, encode_batch(0, [Command(one) for one in actions], CHANGES), b"")
    assert not overlay.writes.dropped
    apply(database, index, overlay.writes.values)


@pytest.mark.parametrize("some_bytes", [1, images.SOME_BYTES])
def test_large_records_are_found_while_the_history_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, some_bytes: int
) -> None:
    """Those of now, and those that were written again, in one entry and in several: none is left out for them."""
    monkeypatch.setattr(images, "SOME_BYTES", some_bytes)
    refs = [DocumentRef("c", f"{number}") for number in range(5)]
    database = open_database(tmp_path / "data")
    extend(database, 5)
    write(database, 1, CreateCollection("c"))
    for index in (2, 3):
        write(database, index, *(Put(one, LARGE % index) for one in refs))
    write(database, 4, Delete(refs[0]), Put(refs[1], b'{"n":4}'))
    write(database, 5, Put(refs[2], LARGE % 5))
    view = database.state.reader.fixed()
    found = [
        None if one.after is None else decode_stored(one.after).value
        for one in whole_changes(view, 1, read_revision(database.state))
    ]
    assert found == [LARGE % 2] * 5 + [LARGE % 3] * 5 + [None, b'{"n":4}', LARGE % 5]
    database.close()
