"""Schemas and sequences through a stream: the same answers as by REST."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.stream.conftest import Open
from collectionstore_node.tests.api.stream.stream_clients import JSON, MSGPACK

PEOPLE = "/api/v1/collections/people"
SCHEMA: Any = {"required": ["age"], "properties": {"age": {"type": "integer"}}}


def put(tag: int, document: Any) -> dict[str, Any]:
    """Return the write of a document."""
    return {"op": "put_document", "tag": tag, "collection": "people", "id": f"d{tag}", "document": document}


@pytest.mark.parametrize("protocol", [MSGPACK, JSON])
async def test_a_stream_is_told_what_is_wrong(client: Client, open_stream: Open, protocol: str) -> None:
    await client.put(PEOPLE, {"schema": {"document": SCHEMA}})
    stream = await open_stream(protocol)
    steps = [{"op": "put", "collection": "people", "id": "t", "document": {"age": "x"}}]

    await stream.send(put(1, {"age": 1}), put(2, {}), {"op": "transaction", "tag": 3, "transaction": {"then": steps}})

    answers = await stream.answers(3)
    assert answers[1]["status"] == 201
    assert "schema_warning" not in answers[1]
    for tag, keyword in ((2, "required"), (3, "type")):
        body = answers[tag]["body"]
        assert (answers[tag]["status"], body["code"]) == (422, "schema_violation")
        assert [(one["pointer"], one["keyword"]) for one in body["errors"]] == [("/age", keyword)]


@pytest.mark.parametrize("protocol", [MSGPACK, JSON])
async def test_a_stream_is_warned(client: Client, open_stream: Open, protocol: str) -> None:
    await client.put(PEOPLE, {"schema": {"document": SCHEMA, "mode": "warn"}})
    stream = await open_stream(protocol)

    await stream.send(put(1, {}), put(2, {"age": 1}))

    answers = await stream.answers(2)
    assert (answers[1]["status"], answers[1]["schema_warning"]) == (201, True)
    assert "schema_warning" not in answers[2]


@pytest.mark.parametrize("protocol", [MSGPACK, JSON])
async def test_a_stream_gets_numbers(client: Client, open_stream: Open, protocol: str) -> None:
    await client.put(PEOPLE, {"ids": "sequence"})
    stream = await open_stream(protocol)
    insert = {"op": "insert_document", "collection": "people", "document": {"n": 1}, "idempotency_key": "k"}

    await stream.send({**insert, "tag": 1})
    first = (await stream.answers(1))[1]
    await stream.send({**insert, "tag": 2}, put(3, {}))
    answers = await stream.answers(2)

    assert (first["status"], first["id"]) == (201, "1")
    assert (answers[2]["status"], answers[2]["id"], answers[2]["replayed"]) == (201, "1", True)
    assert answers[3]["body"]["code"] == "id_not_allowed"
    assert (await client.get(f"{PEOPLE}/documents/1")).json == {"n": 1}
    await client.send("PATCH", PEOPLE, b'{"ids":"client"}', {"Content-Type": "application/merge-patch+json"})
    await stream.send({**insert, "tag": 4, "idempotency_key": "other"})
    refused = (await stream.answers(1))[4]
    assert (refused["status"], refused["body"]["code"]) == (422, "id_not_allowed")
