"""Operations of the specification tests, as calls of the client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from collectionstore import (
    AsyncClient,
    AsyncCollection,
    DeleteMany,
    DeleteOne,
    InsertOne,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
)
from collectionstore_testkit.specifications.values import to_store

IGNORED: Final = frozenset(
    (
        "comment",
        "allowDiskUse",
        "maxTimeMS",
        "session",
        "rawData",
        "readConcern",
        "readPreference",
        "verbose",
        "timeoutMS",
    )
)
"""What changes nothing of what a test can see here."""
REASONS: Final[Mapping[str, str]] = {
    "collation": "no collations; indexes have `fold`",
    "let": "no variables of a command (`let`)",
    "bypassDocumentValidation": "a schema cannot be bypassed",
    "writeConcern": "no write concern: every write is durable on a majority, or asks for less by `ack`",
    "noCursorTimeout": "cursors hold nothing at a server, and never time out",
    "cursorType": "no tailable cursors; there are watches",
    "min": "no bounds of index keys in a find",
    "max": "no bounds of index keys in a find",
    "returnKey": "index keys are not answered",
    "showRecordId": "there are no record IDs",
}


class NotOffered(Exception):
    """The store, or its client, does not have what a test needs; the text is the reason."""


async def run_operation(client: AsyncClient, target: Any, name: str, arguments: Mapping[str, Any]) -> Any:
    """Carry out an operation of a collection, or of one within a transaction; return its result as tests have it."""
    given = {one: value for one, value in arguments.items() if one not in IGNORED}
    if dict(given.get("writeConcern") or {}).get("w") != 0:
        given.pop("writeConcern", None)  # every write is durable on a majority
    for argument, value in list(given.items()):
        if argument in REASONS and value not in ([], {}, None):
            raise NotOffered(REASONS[argument])
        if argument == "hint":
            if value not in ("_id_", {"_id": 1}):
                raise NotOffered("hints are names of indexes that there are")
            del given[argument]  # the order of IDs is there without one
    if name not in _CALLS:
        raise NotOffered(f"no operation {name}")
    if isinstance(given.get("update"), list):
        raise NotOffered("no updates by pipelines")
    return await _CALLS[name](target, to_store(given))


def bulk_result(made: Any) -> dict[str, Any]:
    """Return the result of a bulk as tests have it."""
    return {
        "insertedCount": made.inserted_count,
        "matchedCount": made.matched_count,
        "modifiedCount": made.modified_count,
        "deletedCount": made.deleted_count,
        "upsertedCount": made.upserted_count,
        "insertedIds": {str(at): one for at, one in made.inserted_ids.items()},
        "upsertedIds": {str(at): one for at, one in made.upserted_ids.items()},
    }


async def _find(target: Any, given: dict[str, Any]) -> Any:
    given.pop("batchSize", None)
    if not isinstance(target, AsyncCollection):
        given.pop("skip", None)
    limit = given.pop("limit", 0)
    found = target.find(
        given.pop("filter", None),
        given.pop("projection", None),
        sort=given.pop("sort", None) or None,
        limit=abs(limit),
        **given,
    )
    return await (found.to_list() if isinstance(target, AsyncCollection) else found)


async def _find_one(target: Any, given: dict[str, Any]) -> Any:
    return await target.find_one(given.get("filter"), given.get("projection"), sort=given.get("sort"))


async def _aggregate(target: Any, given: dict[str, Any]) -> Any:
    _need(target)
    return await target.aggregate(given["pipeline"])


async def _count(target: Any, given: dict[str, Any]) -> Any:
    if given.get("skip") or given.get("limit"):
        found = await target.find(given.get("filter"), skip=given.get("skip", 0), limit=given.get("limit", 0)).to_list()
        return len(found)
    return await target.count_documents(given.get("filter"))


async def _estimated(target: Any, given: dict[str, Any]) -> Any:
    return await target.estimated_document_count()


async def _distinct(target: Any, given: dict[str, Any]) -> Any:
    _need(target)
    return await target.distinct(given["fieldName"], given.get("filter"))


async def _insert_one(target: Any, given: dict[str, Any]) -> Any:
    return {"insertedId": (await target.insert_one(given["document"])).inserted_id}


async def _insert_many(target: Any, given: dict[str, Any]) -> Any:
    if isinstance(target, AsyncCollection):
        made = await target.insert_many(given["documents"], ordered=given.get("ordered", True))
        return {"insertedIds": {str(at): one for at, one in enumerate(made.inserted_ids)}}
    made_ids = [(await target.insert_one(one)).inserted_id for one in given["documents"]]
    return {"insertedIds": {str(at): one for at, one in enumerate(made_ids)}}


def _updated(made: Any) -> dict[str, Any]:
    found = {
        "matchedCount": made.matched_count,
        "modifiedCount": made.modified_count,
        "upsertedCount": int(made.upserted_id is not None),
    }
    return found if made.upserted_id is None else {**found, "upsertedId": made.upserted_id}


async def _update_one(target: Any, given: dict[str, Any]) -> Any:
    return _updated(await target.update_one(given.pop("filter"), given.pop("update"), **_snake(given)))


async def _update_many(target: Any, given: dict[str, Any]) -> Any:
    _need(target)
    return _updated(await target.update_many(given.pop("filter"), given.pop("update"), **_snake(given)))


async def _replace_one(target: Any, given: dict[str, Any]) -> Any:
    return _updated(await target.replace_one(given.pop("filter"), given.pop("replacement"), **_snake(given)))


async def _delete_one(target: Any, given: dict[str, Any]) -> Any:
    return {"deletedCount": (await target.delete_one(given["filter"])).deleted_count}


async def _delete_many(target: Any, given: dict[str, Any]) -> Any:
    _need(target)
    return {"deletedCount": (await target.delete_many(given["filter"])).deleted_count}


def _snake(given: dict[str, Any]) -> dict[str, Any]:
    names = {"arrayFilters": "array_filters", "returnDocument": "return_document"}
    made = {names.get(name, name): value for name, value in given.items()}
    if "return_document" in made:
        made["return_document"] = made["return_document"].lower()
    return made


async def _modify(target: Any, given: dict[str, Any], method: str, *content: str) -> Any:
    _need(target)
    words = [given.pop("filter"), *(given.pop(name) for name in content)]
    return await getattr(target, method)(*words, **_snake(given))


async def _bulk(target: Any, given: dict[str, Any]) -> Any:
    _need(target)
    operations = []
    for one in given["requests"]:
        ((kind, fields),) = one.items()
        for argument in set(fields) & set(REASONS):
            raise NotOffered(REASONS[argument])
        if isinstance(fields.get("update"), list):
            raise NotOffered("no updates by pipelines")
        if "hint" in fields and fields.pop("hint") not in ("_id_", {"_id": 1}):
            raise NotOffered("hints are names of indexes that there are")
        operations.append(_KINDS[kind](**_snake(fields)))
    return bulk_result(await target.bulk_write(operations, ordered=given.get("ordered", True)))


def _need(target: Any) -> None:
    if not isinstance(target, AsyncCollection):
        raise NotOffered("transactions read by ID, find and count, and write single documents")


_KINDS: Final[Mapping[str, Any]] = {
    "insertOne": InsertOne,
    "updateOne": UpdateOne,
    "updateMany": UpdateMany,
    "replaceOne": ReplaceOne,
    "deleteOne": DeleteOne,
    "deleteMany": DeleteMany,
}
_CALLS: Final[Mapping[str, Any]] = {
    "find": _find,
    "findOne": _find_one,
    "aggregate": _aggregate,
    "countDocuments": _count,
    "count": _count,
    "estimatedDocumentCount": _estimated,
    "distinct": _distinct,
    "insertOne": _insert_one,
    "insertMany": _insert_many,
    "updateOne": _update_one,
    "updateMany": _update_many,
    "replaceOne": _replace_one,
    "deleteOne": _delete_one,
    "deleteMany": _delete_many,
    "findOneAndUpdate": lambda target, given: _modify(target, given, "find_one_and_update", "update"),
    "findOneAndReplace": lambda target, given: _modify(target, given, "find_one_and_replace", "replacement"),
    "findOneAndDelete": lambda target, given: _modify(target, given, "find_one_and_delete"),
    "bulkWrite": _bulk,
}
