"""The same operations by REST and by a stream, on two stores that begin empty: the same answers, step by step."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from collectionstore_node.api import make_client_server
from collectionstore_node.api.stream.operations import KINDS, UNKNOWN
from collectionstore_node.service import Store
from collectionstore_node.tests.api.conftest import LIMITS, STORE_LIMITS
from collectionstore_node.tests.api.http_clients import Client, Reply
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics, render_nothing
from collectionstore_node.tests.api.stream.stream_clients import JSON, MSGPACK, StreamClient, connect

WATCHES = {"watch", "grant_watch", "unwatch"}
"""They have many answers, or none over HTTP; see `test_stream_watches`."""

COLLECTION = "/api/v1/collections/people"
DOCUMENTS = f"{COLLECTION}/documents"
KEYS = "/api/v1/kv/b"
ADA = {"collection": "people", "id": "ada"}
KEY = {"bucket": "b", "key": "k"}


@dataclass
class Step:
    """One request and the operation that does the same."""

    method: str
    target: str
    op: str
    fields: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    document: Any = None
    value: bytes | None = None


def put(fields: dict[str, Any], document: Any, headers: dict[str, str] | None = None, **more: Any) -> Step:
    target = f"{DOCUMENTS}/{fields['id']}"
    return Step("PUT", target, "put_document", {**ADA, **fields, **more, "document": document}, headers or {}, document)


TRANSACTION = {
    "compare": [{"bucket": "b", "key": "k", "field": "exists", "operand": True}],
    "then": [
        {"op": "put", "collection": "people", "id": "alan", "document": {"name": "Alan"}},
        {"op": "get", "bucket": "b", "key": "k"},
    ],
    "else": [{"op": "get", "collection": "people", "id": "ada"}, {"op": "delete", "bucket": "b", "key": "k"}],
}
FAILING = {"then": [{"op": "put", "collection": "people", "id": "ada", "document": {}, "if_exists": False}]}


def transaction(body: Any, headers: dict[str, str] | None = None, **more: Any) -> Step:
    fields = {"transaction": body, **more}
    return Step("POST", "/api/v1/transactions", "transaction", fields, headers or {}, body)


def patch(
    change: Any,
    query: str = "",
    *,
    target: str = "ada",
    kind: str = "operators",
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Step:
    """Return an update of one document."""
    types = {"operators": "json", "merge_patch": "merge-patch+json", "json_patch": "json-patch+json"}
    fields = {**ADA, "id": target, "body": change, **({} if kind == "operators" else {"form": kind}), **more}
    given = {"Content-Type": f"application/{types[kind]}", **(headers or {})}
    return Step("PATCH", f"{DOCUMENTS}/{target}?{query}", "update_document", fields, given, change)


def body(op: str, verb: str, given: Any, headers: dict[str, str] | None = None, **more: Any) -> Step:
    """Return an operation with the body of a request."""
    return Step("POST", COLLECTION + verb, op, {"collection": "people", "body": given, **more}, headers or {}, given)


def bulk(items: list[Any], mode: str | None = None) -> Step:
    """Return many writes."""
    text = b"\n".join(map(orjson.dumps, items))
    fields: dict[str, Any] = {"collection": "people", "body": items}
    if mode is not None:
        fields["mode"] = mode
    query = "" if mode is None else f"?mode={mode}"
    headers = {"Content-Type": "application/x-ndjson"}
    return Step("POST", f"{COLLECTION}:bulk{query}", "bulk", fields, headers, value=text)


WITH_BODY = {
    "find",
    "count",
    "distinct",
    "aggregate",
    "update",
    "delete",
    "find_and_modify",
    "bulk",
    "update_document",
    "create_index",
    "list_indexes",
    "get_index",
    "drop_index",
}

STEPS = [
    # Collections
    Step("GET", COLLECTION, "get_collection", {"collection": "people"}),
    put({"id": "ada"}, {"name": "early"}),
    Step("PUT", COLLECTION, "create_collection", {"collection": "people"}),
    Step("PUT", COLLECTION, "create_collection", {"collection": "people"}),
    Step("PUT", COLLECTION, "create_collection", {"collection": "people", "if_exists": False}, {"If-None-Match": "*"}),
    Step("PUT", COLLECTION, "create_collection", {"collection": "people", "if_exists": True}, {"If-Match": "*"}),
    Step("PUT", "/api/v1/collections/-x", "create_collection", {"collection": "-x"}),
    Step("GET", COLLECTION, "get_collection", {"collection": "people"}),
    Step("GET", f"{COLLECTION}?consistency=stale", "get_collection", {"collection": "people", "consistency": "stale"}),
    Step("GET", "/api/v1/collections", "list_collections"),
    # Documents
    put({"id": "ada"}, {"name": "Ada", "born": 1815}),
    put({"id": "ada"}, {"name": "Ada Lovelace"}),
    put({"id": "ada"}, {}, {"If-Match": '"1"'}, if_revision=1),
    put({"id": "ada"}, {"n": 1}, {"If-Match": '"1", "5"'}, if_revision=[1, 5]),
    put({"id": "ada"}, {}, {"If-Match": "*"}, if_exists=True),
    put({"id": "ada"}, {}, {"If-None-Match": "*"}, if_exists=False),
    put({"id": "new"}, {}, {"If-Match": "*"}, if_exists=True),
    put({"id": "bad\x01"}, {}),
    put({"id": ".."}, {}),
    put({"id": "ada"}, {"_id": 1}),
    put({"id": "ada"}, [1]),
    put({"id": "ada"}, 7),
    put({"id": "ada"}, {"n": "x" * (70 << 10)}),
    put({"id": "ada"}, {"deep": {"deep": [[[]]]}}),
    put({"id": "ada"}, {"keyed": 1}, {"Idempotency-Key": "key-1"}, idempotency_key="key-1"),
    put({"id": "ada"}, {"keyed": 1}, {"Idempotency-Key": "key-1"}, idempotency_key="key-1"),
    put({"id": "ada"}, {"keyed": 2}, {"Idempotency-Key": "key-1"}, idempotency_key="key-1"),
    put({"id": "ada"}, {}, {"Idempotency-Key": "no spaces"}, idempotency_key="no spaces"),
    Step("GET", f"{DOCUMENTS}/ada", "get_document", ADA),
    Step("GET", f"{DOCUMENTS}/ada?consistency=stale", "get_document", {**ADA, "consistency": "stale"}),
    Step("GET", f"{DOCUMENTS}/none", "get_document", {**ADA, "id": "none"}),
    Step("GET", "/api/v1/collections/none/documents/a", "get_document", {"collection": "none", "id": "a"}),
    Step("GET", f"{DOCUMENTS}/ada", "get_document", {**ADA, "if_revision": 1}, {"If-Match": '"1"'}),
    Step("GET", f"{DOCUMENTS}/ada", "get_document", {**ADA, "unless_revision": 8}, {"If-None-Match": '"8"'}),
    Step("GET", f"{DOCUMENTS}/ada", "get_document", {**ADA, "unless_revision": [1, 2]}, {"If-None-Match": '"1", "2"'}),
    Step("GET", DOCUMENTS, "list_documents", {"collection": "people"}),
    Step("GET", f"{DOCUMENTS}?limit=1&prefix=a", "list_documents", {"collection": "people", "limit": 1, "prefix": "a"}),
    Step("GET", f"{DOCUMENTS}?limit=0", "list_documents", {"collection": "people", "limit": 0}),
    Step("GET", f"{DOCUMENTS}?cursor=zzz", "list_documents", {"collection": "people", "cursor": "zzz"}),
    Step("GET", f"{DOCUMENTS}?timeout=70s", "list_documents", {"collection": "people", "timeout_ms": 70_000}),
    Step("GET", "/api/v1/collections/none/documents", "list_documents", {"collection": "none"}),
    Step(
        "POST",
        DOCUMENTS,
        "insert_document",
        {"collection": "people", "document": {"name": "Grace"}, "idempotency_key": "order-7"},
        {"Idempotency-Key": "order-7"},
        {"name": "Grace"},
    ),
    Step(
        "POST",
        DOCUMENTS,
        "insert_document",
        {"collection": "people", "document": {"name": "Grace"}, "idempotency_key": "order-7"},
        {"Idempotency-Key": "order-7"},
        {"name": "Grace"},
    ),
    Step("DELETE", f"{DOCUMENTS}/ada", "delete_document", {**ADA, "if_revision": 1}, {"If-Match": '"1"'}),
    Step("DELETE", f"{DOCUMENTS}/none", "delete_document", {**ADA, "id": "none"}),
    # Raw values
    Step("GET", f"{KEYS}/k", "get_value", KEY),
    Step(
        "PUT",
        f"{KEYS}/k",
        "put_value",
        {**KEY, "value": b"\x00\xff", "content_type": "image/png"},
        {"Content-Type": "image/png"},
        value=b"\x00\xff",
    ),
    Step("PUT", f"{KEYS}/k", "put_value", {**KEY, "value": b""}, value=b""),
    Step(
        "PUT", f"{KEYS}/k", "put_value", {**KEY, "value": b"1", "if_exists": False}, {"If-None-Match": "*"}, value=b"1"
    ),
    Step(
        "PUT",
        f"{KEYS}/k",
        "put_value",
        {**KEY, "value": b"1", "content_type": "nonsense"},
        {"Content-Type": "nonsense"},
        value=b"1",
    ),
    Step(
        "PUT",
        f"{KEYS}/large",
        "put_value",
        {**KEY, "key": "large", "value": b"x" * (129 << 10)},
        value=b"x" * (129 << 10),
    ),
    Step("PUT", f"{KEYS}/dir/k", "put_value", {**KEY, "key": "dir/k", "value": b"in"}, value=b"in"),
    Step("GET", f"{KEYS}/k", "get_value", KEY),
    Step("GET", f"{KEYS}/dir/k", "get_value", {**KEY, "key": "dir/k"}),
    Step("GET", KEYS, "list_keys", {"bucket": "b"}),
    Step("GET", f"{KEYS}?values=true&prefix=dir/", "list_keys", {"bucket": "b", "values": True, "prefix": "dir/"}),
    Step("GET", "/api/v1/kv/UPPER", "list_keys", {"bucket": "UPPER"}),
    # Transactions
    transaction(TRANSACTION),
    transaction(FAILING),
    transaction({"then": [{"op": "get"}]}),
    transaction({"then": [{"op": "get", "bucket": "b", "key": "k"}] * 129}),
    transaction({}, {"Idempotency-Key": "tx"}, idempotency_key="tx"),
    transaction({}, {"Idempotency-Key": "tx"}, idempotency_key="tx"),
    transaction({"unknown": 1}),
    put({"id": "ada"}, {"n": 1}),
    transaction({"then": [{"op": "update", **ADA, "update": {"$inc": {"n": 1}}, "when": {"n": 1}}]}),
    transaction({"then": [{"op": "update", **ADA, "update": {"$inc": {"n": 1}}, "when": {"n": 1}}]}),
    transaction({"then": [{"op": "update", **ADA, "merge_patch": {"text": "x" * 70_000}}]}),
    transaction({"then": [{"op": "update", **ADA, "update": {"$push": {"n": 1}}}]}),
    transaction({"then": [{"op": "update", **ADA, "update": {"$inc": {"n": "x"}}}]}),
    transaction({"then": [{"op": "update", **ADA, "update": {"$pull": {"n": {"$regex": "("}}}}]}),
    Step("DELETE", f"{KEYS}/k", "delete_value", KEY),
    transaction(TRANSACTION),
    Step("DELETE", f"{KEYS}/k", "delete_value", KEY),
    # Updates
    patch({"$inc": {"n": 1}}),
    patch({"$inc": {"n": 1}}, "return=after", image="after"),
    patch({"$set": {"n": 1}}, "return=before&when=%7B%22n%22:99%7D", image="before", when={"n": 99}),
    patch({"$inc": {"n": "x"}}),
    patch({"$push": {"n": 1}}),
    patch({"n": None, "m": 1}, kind="merge_patch"),
    patch([{"op": "test", "path": "/m", "value": 2}], kind="json_patch"),
    patch({"$set": {"l": [1, 2]}}),
    patch({"$set": {"l.$[one]": 7}}, "array_filters=%5B%7B%22one%22:2%7D%5D", array_filters=[{"one": 2}]),
    patch({"$set": {"x": 1}}, target="none"),
    patch({"$set": {"x": 1}}, "upsert=true", target="upserted", upsert=True),
    patch({"$set": {"x": 1}}, headers={"If-Match": '"1"'}, if_revision=1),
    patch({"$set": {"x": 1}}, headers={"If-None-Match": "*"}, if_exists=False),
    patch({"$inc": {"x": 1}}, headers={"Idempotency-Key": "p"}, idempotency_key="p"),
    patch({"$inc": {"x": 1}}, headers={"Idempotency-Key": "p"}, idempotency_key="p"),
    patch({"$bit": {"x": {"xor": 3}}}),
    body("update", ":update", {"filter": {"x": {"$gt": 0}}, "update": {"$inc": {"x": 1}}}),
    body("update", ":update", {"filter": {}, "update": {"$set": {"y": 1}}, "many": True}),
    body("update", ":update", {"filter": {}, "update": {"$sey": {"y": 1}}}),
    body("update", ":update", {"filter": {}}),
    body(
        "find_and_modify", ":findAndModify", {"filter": {"_id": "ada"}, "update": {"$inc": {"x": 1}}, "return": "after"}
    ),
    body("find_and_modify", ":findAndModify", {"filter": {"_id": "none"}, "remove": True}),
    body("delete", ":delete", {"filter": {"_id": "upserted"}}),
    body("delete", ":delete", {"filter": {"nothing": 1}, "many": True}),
    bulk([{"op": "put", "id": "b1", "document": {"x": 1}}, {"op": "update", "id": "b1", "update": {"$inc": {"x": 1}}}]),
    bulk([{"op": "delete", "id": "none"}, {"op": "put", "id": "b2", "document": {}}], "unordered"),
    bulk([{"op": "put", "id": "b3", "document": {}}, {"op": "delete", "id": "none", "if_exists": True}], "atomic"),
    bulk([{"op": "put", "id": "b3"}]),
    bulk([], "atomic"),
    bulk([{"op": "put", "id": "b3", "document": {}}], "sideways"),
    # Indexes
    body("create_index", "/indexes", {"name": "by_x", "fields": {"x": 1}}),
    body("create_index", "/indexes", {"name": "by_x", "fields": {"x": 1}}),
    body("create_index", "/indexes", {"name": "by_x"}),
    body(
        "create_index", "/indexes", {"name": "by_y", "fields": {"y": 1}}, {"Idempotency-Key": "i"}, idempotency_key="i"
    ),
    body(
        "create_index", "/indexes", {"name": "by_y", "fields": {"y": 1}}, {"Idempotency-Key": "i"}, idempotency_key="i"
    ),
    Step("GET", f"{COLLECTION}/indexes", "list_indexes", {"collection": "people"}),
    Step("GET", f"{COLLECTION}/indexes/by_x", "get_index", {"collection": "people", "name": "by_x"}),
    Step("GET", f"{COLLECTION}/indexes/none", "get_index", {"collection": "people", "name": "none"}),
    Step("DELETE", f"{COLLECTION}/indexes/by_y", "drop_index", {"collection": "people", "name": "by_y"}),
    Step("DELETE", f"{COLLECTION}/indexes/by_y", "drop_index", {"collection": "people", "name": "by_y"}),
    # Queries
    body("find", ":find", {"filter": {"x": {"$gt": 0}}, "sort": {"x": -1}, "projection": {"x": 1}, "limit": 1}),
    body("find", ":find", {"filter": {"$foo": 1}}),
    body("find", ":find", {"limit": 0}),
    body("find", ":find", {"hint": "none"}),
    body("find", ":find?consistency=stale", {}, consistency="stale"),
    body("find", ":find", {"filter": {"x": "y" * 70_000}}),
    body("count", ":count", {"filter": {"x": {"$exists": True}}}),
    body("count", ":count", {"unknown": 1}),
    body("distinct", ":distinct", {"field": "x"}),
    body("distinct", ":distinct", {}),
    body("aggregate", ":aggregate", {"pipeline": [{"$group": {"_id": None, "n": {"$sum": "$x"}}}]}),
    body("aggregate", ":aggregate", {"pipeline": [{"$project": {"x": {"$add": ["$x", "a"]}}}]}),
    body("aggregate", ":aggregate", [1]),
    # The end
    Step("DELETE", COLLECTION, "drop_collection", {"collection": "people"}),
    Step("DELETE", COLLECTION, "drop_collection", {"collection": "people"}),
]


@dataclass
class Pair:
    """Two stores that begin alike."""

    rest: Client
    rest_replica: MemoryReplica
    stream: StreamClient
    stream_replica: MemoryReplica


@pytest.fixture(params=[MSGPACK, JSON])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        replicas = (MemoryReplica(), MemoryReplica())
        ports = [await _serve(stack, one) for one in replicas]
        stream = await connect(session, ports[1], request.param)
        stack.push_async_callback(stream.close)
        yield Pair(Client(session, ports[0]), replicas[0], stream, replicas[1])


async def test_a_stream_answers_as_rest_does(pair: Pair) -> None:
    """Statuses, revisions, bodies, codes and what problems say, for a story with every operation."""
    for number, step in enumerate(STEPS):
        reply = await _rest(pair.rest, step)
        answer = await _stream(pair.stream, step)
        where = f"step {number}: {step.method} {step.target} {step.headers}"
        assert _of_stream(step, answer) == _of_rest(step, reply), where
    assert pair.rest_replica.proposed == pair.stream_replica.proposed
    assert {step.op for step in STEPS} == {*KINDS.values()} - {UNKNOWN} - WATCHES


async def _serve(stack: AsyncExitStack, replica: MemoryReplica) -> int:
    server = make_client_server(
        Store(replica, STORE_LIMITS),
        LIMITS,
        RecordedMetrics(),
        render_metrics=render_nothing,
        authorize_admin=Admins().authorize,
        tls=False,
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    return port


async def _rest(client: Client, step: Step) -> Reply:
    body = step.value
    headers = dict(step.headers)
    if step.document is not None:
        body = orjson.dumps(step.document)
        headers.setdefault("Content-Type", "application/json")
    elif step.method == "PUT" and body is None:
        body = b""
    target = step.target.replace("\x01", "%01").replace("/..", "/%2E%2E")
    return await client.send(step.method, target, body, headers)


async def _stream(stream: StreamClient, step: Step) -> dict[str, Any]:
    fields = dict(step.fields)
    if stream.json and isinstance(fields.get("value"), bytes):
        fields["value"] = base64.b64encode(fields["value"]).decode()
    return await stream.ask(step.op, **fields)


def _of_rest(step: Step, reply: Reply) -> dict[str, Any]:
    seen: dict[str, Any] = {"status": reply.status, "replayed": "Idempotency-Replayed" in reply.headers}
    if reply.status >= 400:
        return seen | {"problem": _compared(reply.json)}
    seen["revision"] = int(reply.headers["X-Revision"])
    if reply.status == 304:
        return seen
    if step.op == "get_value":
        return seen | {"value": reply.body, "type": reply.headers["Content-Type"], "etag": reply.headers["ETag"]}
    if step.op in ("get_document", "get_collection", "create_collection"):
        seen["etag"] = reply.headers["ETag"]
    if step.op == "insert_document":
        seen["id"] = reply.json["id"]
    if (
        step.op in ("get_document", "list_documents", "list_keys", "list_collections", "transaction")
        or step.op in WITH_BODY
    ):
        seen["body"] = reply.json
    return seen


def _of_stream(step: Step, answer: dict[str, Any]) -> dict[str, Any]:
    seen: dict[str, Any] = {"status": answer["status"], "replayed": answer.get("replayed", False)}
    if answer["status"] >= 400:
        return seen | {"problem": _compared(answer["body"])}
    seen["revision"] = answer["revision"]
    if answer["status"] == 304:
        return seen
    etag = f'"{answer.get("etag", answer["revision"])}"'
    if step.op == "get_value":
        value = answer["value"]
        raw = base64.b64decode(value) if isinstance(value, str) else value
        return seen | {"value": raw, "type": answer["content_type"], "etag": etag}
    if step.op in ("get_document", "get_collection", "create_collection"):
        seen["etag"] = etag
    return seen | {name: answer[name] for name in ("id", "body") if name in answer}


def _compared(problem: dict[str, Any]) -> dict[str, Any]:
    """Leave out what differs in two requests, and texts, which name headers here and fields there."""
    return {name: value for name, value in problem.items() if name not in ("request_id", "instance", "detail")}
