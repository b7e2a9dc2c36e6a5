"""Indexes of a collection: create, read with their progress, drop."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from collectionstore_node.api.handlers.read_answers import NO_CACHE
from collectionstore_node.api.handlers.write_answers import refusal, removed
from collectionstore_node.api.http.answers import Answer, json_answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.idempotency import REPLAYED, idempotency_key
from collectionstore_node.api.http.names import collection_name, index_name
from collectionstore_node.api.http.preconditions import write_precondition
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.indexes.definition import parse_definition, shown
from collectionstore_node.service.operations import ANY, ReadIndexes
from collectionstore_node.service.results import Code, IndexesResult, IndexInfo, IndexState


class NewIndex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST; `parse_definition` checks what is in it."""

    name: Any = None
    fields: Any = None
    unique: Any = False
    sparse: Any = False
    fold: Any = None
    filter: Any = None


async def post(call: Call) -> Answer:
    """Create an index, which is then built: 201 at once; `state` says when it is ready. 409 if the name is taken."""
    collection = collection_name(call.arguments[0])
    key = _key(call)
    body = await call.json_struct(NewIndex)
    definition = parse_definition(msgspec.structs.asdict(body))
    outcome = await call.api.store.indexes.create(collection, definition, key=key, timeout_s=call.timeout_s)
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="index_not_found")
    revision = outcome.revision
    location = b"Location: /api/v1/collections/%s/indexes/%s\r\n" % (collection.encode(), definition.name.encode())
    replayed = REPLAYED if outcome.replayed else b""
    members = shown(definition) | {"state": "building", "revision": revision}
    return json_answer(members, status=201, headers=location + revision_line(revision) + replayed)


async def list_all(call: Call) -> Answer:
    """Return all indexes of a collection, in order of creation."""
    found = await _read(call)
    return json_answer(
        {"indexes": [_shown(one) for one in found.indexes], "revision": found.revision},
        headers=revision_line(found.revision) + NO_CACHE,
    )


async def get(call: Call) -> Answer:
    """Return one index."""
    name = index_name(call.arguments[1])
    found = await _read(call)
    for one in found.indexes:
        if one.record.definition.name == name:
            return json_answer(_shown(one), headers=revision_line(found.revision) + NO_CACHE)
    raise Problem("index_not_found", f"the collection has no index {name!r}")


async def delete(call: Call) -> Answer:
    """Drop an index, also one that is being built or has failed."""
    collection, name = collection_name(call.arguments[0]), index_name(call.arguments[1])
    outcome = await call.api.store.indexes.drop(collection, name, key=_key(call), timeout_s=call.timeout_s)
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="index_not_found")
    return removed(outcome, orjson.dumps({"name": name, "revision": outcome.revision}))


async def _read(call: Call) -> IndexesResult:
    request = ReadIndexes(collection_name(call.arguments[0]))
    return await call.api.store.indexes.read(request, consistency=call.options.consistency, timeout_s=call.timeout_s)


def _key(call: Call) -> str | None:
    headers = call.request.headers
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", "creating and dropping an index take no precondition")
    return idempotency_key(headers)


def _shown(info: IndexInfo) -> dict[str, Any]:
    index, statistics = info
    members = shown(index.definition)
    members["state"] = index.state.name.lower()
    members["revision"] = index.id
    members |= {
        "entries": statistics.entries,
        "documents": statistics.documents,
        "multikey_documents": statistics.multikey,
        "key_bytes": statistics.key_bytes,
    }
    if index.state is IndexState.BUILDING:
        members["progress"] = {"documents": index.passed}
    if index.state is IndexState.FAILED:
        members["failure"] = {"reason": index.reason, "ids": list(index.documents)}
    return members
