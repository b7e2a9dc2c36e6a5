"""What the query experiment stores and asks, and what it compares."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from collectionstore_bench.queries.corpus import (
    BATCH,
    INDEXES,
    SCANNED,
    cases,
    document_id,
    documents,
    transactions,
)
from collectionstore_bench.queries.options import PARTS, parse_options
from collectionstore_bench.queries.sqlite import SqliteStore

COUNT = 2 * BATCH + 50


def test_every_document_is_stored_once_and_alike_at_every_call() -> None:
    bodies = [msgspec.json.decode(body)["then"] for body in transactions(COUNT)]
    assert [len(operations) for operations in bodies] == [BATCH, BATCH, 50]
    loaded = [operation for operations in bodies for operation in operations]
    assert [one["id"] for one in loaded] == [document_id(number) for number in range(COUNT)]
    assert [one["document"] for one in loaded] == list(documents(COUNT))
    assert len({one["document"]["email"] for one in loaded}) == COUNT
    assert sorted(one["document"]["born"] for one in loaded) == list(range(COUNT))


def test_cases_are_of_indexes_that_are_made() -> None:
    names = {one["name"] for one in INDEXES}
    made = cases(COUNT)
    assert {one.index for one in made} <= names
    assert len({one.name for one in made}) == len(made) == 7


def test_sqlite_counts_what_a_scan_is_asked_for(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, 5_000)
    bound = SCANNED["score"]["$gt"]
    found, took = store.scan()
    store.close()
    assert found == sum(one["score"] > bound for one in documents(5_000)) > 0
    assert took > 0


def test_options_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse_options("", []).parts == PARTS
    assert parse_options("", ["--only", "writes"]).parts == ("writes",)
    for wrong in (["--documents", "10"], ["--rounds", "0"], ["--seconds", "0"], ["--only", "other"]):
        with pytest.raises(SystemExit):
            parse_options("", wrong)
    assert "allowed: a whole number from 1000 to 900000" in capsys.readouterr().err
