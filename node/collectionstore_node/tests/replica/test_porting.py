"""Exports, imports and joins over RocksDB, whose cursors are moved by every read: one state, whatever is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from collectionstore_node.query.aggregation import parse_pipeline
from collectionstore_node.query.find import parse_find
from collectionstore_node.query.scanning import Record
from collectionstore_node.service import Consistency, Store, StoreLimits, StoreReplica, document_exports
from collectionstore_node.service.imports import Line, Mode
from collectionstore_node.service.operations import AggregateDocuments, ExportDocuments
from collectionstore_node.service.results import IndexState
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import Command, CreateCollection, CreateIndex
from collectionstore_node.statemachine.index_catalog import read_indexes
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, group
from collectionstore_node.tests.replica.test_index_builds import built
from collectionstore_node.tests.statemachine.indexed import defined

NEW = Consistency.LINEARIZABLE


class Ids:
    """Implements `Format`: the IDs of documents, and what is in them."""

    def begin(self) -> bytes:
        return b""

    def document(self, record: Record, document: dict[str, Any]) -> bytes:
        return record.id.encode() + b" " + record.text + b"\n"

    def took(self, data: bytes, count: int) -> None:
        """Count nothing."""

    def end(self, revision: int) -> bytes:
        return b"end"


def store_of(member: Member) -> Store:
    return Store(cast(StoreReplica, member.replica), StoreLimits())


async def imported(store: Store, collection: str, documents: dict[str, Any], mode: Mode = Mode.INSERT) -> None:
    lines = [Line(at, name, orjson.dumps(one)) for at, (name, one) in enumerate(documents.items(), 1)]
    for at in range(0, len(lines), 100):
        applied = await store.imports.batch(
            collection, lines[at : at + 100], mode, key=None, identity=b"", errors_max=0, timeout_s=PATIENCE_S
        )
        assert applied.refused == []
        assert applied.failed is None


async def ready(member: Member, collection: str) -> None:
    def all_are() -> bool:
        view = member.database.state
        found = find_collection(view, collection)
        return found is not None and all(one.state is IndexState.READY for one in read_indexes(view, found.id))

    async with built([member]):
        await member.until(all_are)


async def joined(store: Store, pipeline: list[Any]) -> tuple[list[Any], list[Any]]:
    found = await store.queries.aggregate(
        AggregateDocuments("people", parse_pipeline(pipeline)), consistency=NEW, timeout_s=PATIENCE_S
    )
    return [orjson.loads(one) for one in found.documents], [one and one["kind"] for one in found.joins]


async def test_joins_by_an_index_are_those_without_one(tmp_path: Path) -> None:
    """Several in one pipeline, in batches, each with entries and documents that are read side by side."""
    async with group(tmp_path, 1) as (_, (member,)):
        await member.until(lambda: member.local.applier.level >= CHANGES)
        for name in ("people", "cities"):
            await member.replica.propose(Command(CreateCollection(name)), timeout_s=PATIENCE_S)
        store = store_of(member)
        await imported(store, "people", {f"p{at:04}": {"at": at % 40, "tags": [at % 7, "x"]} for at in range(700)})
        await imported(
            store, "cities", {f"c{at:04}": {"k": at % 150, "t": [at % 9], "text": "x" * 500} for at in range(1_500)}
        )
        lookups: list[Any] = [
            {"$lookup": {"from": "cities", "localField": "at", "foreignField": "k", "as": "one"}},
            {"$lookup": {"from": "cities", "localField": "_id", "foreignField": "_id", "as": "none"}},
            {"$project": {"n": {"$size": "$one"}, "m": {"$size": "$none"}, "first": {"$first": "$one._id"}}},
            {"$unionWith": {"coll": "cities", "pipeline": [{"$match": {"k": {"$lt": 3}}}, {"$project": {"k": 1}}]}},
            {"$skip": 200},
        ]
        before, kinds = await joined(store, lookups)
        assert kinds == ["scan", "ids", "scan"]
        await member.replica.propose(Command(CreateIndex("cities", defined("k", {"k": 1}))), timeout_s=PATIENCE_S)
        await ready(member, "cities")

        after, kinds = await joined(store, lookups)

        assert kinds == ["index", "ids", "index"]
        assert after == before
        assert {one.get("n") for one in after} == {10, None}
        store.queries.close()


async def test_an_export_is_of_one_state_and_its_import_is_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document_exports, "PIECE_BYTES", 4 << 10)
    async with group(tmp_path, 1) as (_, (member,)):
        for name in ("people", "copy"):
            await member.replica.propose(Command(CreateCollection(name)), timeout_s=PATIENCE_S)
        store = store_of(member)
        documents = {f"p{at:04}": {"at": at, "text": "x" * 100} for at in range(500)}
        await imported(store, "people", documents)
        request = ExportDocuments("people", parse_find({"at": {"$gte": 0}}), None)
        export = await store.queries.export(request, Ids(), consistency=NEW, timeout_s=PATIENCE_S)
        pieces = [await anext(stream := export.pieces())]
        # All of them are replaced while it is read.
        await imported(store, "people", {name: {"changed": True} for name in documents}, Mode.REPLACE)
        async for piece in stream:
            pieces.append(piece)
        export.close()

        *found, end = b"".join(pieces).split(b"\n")
        assert end == b"end"
        exported = dict(one.split(b" ", 1) for one in found)
        assert {name.decode(): orjson.loads(text) for name, text in exported.items()} == documents
        await imported(store, "copy", {name.decode(): orjson.loads(text) for name, text in exported.items()})
        assert await store.queries.existing("copy", [*documents, "none"], timeout_s=PATIENCE_S) == documents.keys()
        store.queries.close()
