"""`:validate` of a document that is not stored: what an editor asks before it saves."""

from __future__ import annotations

from collectionstore_node.tests.api.http_clients import Client

PEOPLE = "/api/v1/collections/people"


async def test_a_document_that_is_not_stored_is_checked(people: Client) -> None:
    schema = {"document": {"properties": {"born": {"type": "integer"}}, "required": ["name"]}}
    assert (await people.put(f"{PEOPLE}/documents/ada", {"name": 1})).status == 201
    reply = await people.post(f"{PEOPLE}:validate", {"schema": schema, "document": {"born": "1815"}})

    assert reply.status == 200
    assert (reply.json["checked"], reply.json["invalid"], reply.json["next_after"]) == (1, 1, None)
    (found,) = reply.json["documents"]
    assert (found["id"], found["revision"]) == ("", 0)
    assert {one["pointer"] for one in found["errors"]} == {"/born", "/name"}


async def test_a_draft_is_checked_digit_by_digit(people: Client) -> None:
    body = b'{"schema":{"document":{"properties":{"n":{"multipleOf":0.01}}}},"document":{"n":%s}}'
    for number, invalid in ((b"0.07", 0), (b"0.075", 1)):
        reply = await people.send("POST", f"{PEOPLE}:validate", body % number, {"Content-Type": "application/json"})
        assert (reply.status, reply.json["invalid"]) == (200, invalid), number


async def test_a_draft_needs_a_schema_and_has_bounds(people: Client) -> None:
    (await people.post(f"{PEOPLE}:validate", {"document": {}})).problem(400, "invalid_schema")
    wrongs: tuple[object, ...] = ([], "text", 1, True)
    for wrong in wrongs:
        (await people.post(f"{PEOPLE}:validate", {"document": wrong})).problem(400, "invalid_body")
    schema = {"document": True}
    large = {"schema": schema, "document": {"text": "x" * (64 << 10)}}
    (await people.post(f"{PEOPLE}:validate", large)).problem(413, "too_large")
    absent = PEOPLE.replace("people", "nobody")
    (await people.post(f"{absent}:validate", {"schema": schema, "document": {}})).problem(404, "collection_not_found")
