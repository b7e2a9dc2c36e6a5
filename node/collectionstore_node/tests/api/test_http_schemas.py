"""Options and schemas over HTTP: setting them, what they refuse, warnings, sequences, and checks of old documents."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from collectionstore_node.errors import UpgradePending
from collectionstore_node.service import Store
from collectionstore_node.service.configuration import Options
from collectionstore_node.service.operations import Ids
from collectionstore_node.tests.api.http_clients import Client, Reply
from collectionstore_node.tests.api.memory_replica import MemoryReplica

PEOPLE = "/api/v1/collections/people"
DOCUMENTS = f"{PEOPLE}/documents"
MERGE = {"Content-Type": "application/merge-patch+json"}
AGE: Any = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}


def schema(document: Any = AGE, mode: str = "strict", **members: Any) -> dict[str, Any]:
    """Return options with a schema."""
    return {"schema": {"document": document, "mode": mode, **members}}


async def patched(client: Client, options: Any, target: str = PEOPLE, **headers: str) -> Reply:
    """Send a change of options."""
    return await client.send("PATCH", target, orjson.dumps(options), MERGE | headers)


async def test_options_are_set_read_and_changed(client: Client) -> None:
    new = await client.put(PEOPLE, schema())
    shown = {"schema": {"document": AGE, "mode": "strict", "defaults": False, "version": 1}}
    assert (new.status, new.json) == (201, {"name": "people", "revision": 1, "options": shown, "options_revision": 1})
    same = await client.put(PEOPLE, schema())
    assert (same.status, same.json) == (200, new.json)
    assert (await client.get(PEOPLE)).json == new.json
    # Without a body, as before: whatever its options are.
    assert (await client.send("PUT", PEOPLE, b"")).status == 200
    (await client.put(PEOPLE, {"ids": "client"})).problem(409, "options_differ")

    reply = await patched(client, {"schema": {"mode": "warn"}})
    shown["schema"]["mode"] = "warn"
    revision = reply.json["revision"]
    assert reply.json == {"name": "people", "options": shown, "options_revision": revision, "revision": revision}
    assert reply.headers["ETag"] == f'"{revision}"'
    found = await client.get(PEOPLE)
    assert (found.json["options"], found.headers["ETag"]) == (shown, f'"{revision}"')
    assert found.json["revision"] == 1

    reply = await patched(client, {"schema": {"document": {"required": ["a"]}}})
    assert reply.json["options"]["schema"]["document"] == {"required": ["a"]}
    assert reply.json["options"]["schema"]["version"] == reply.json["revision"]
    reply = await patched(client, {"schema": None})
    assert reply.json["options"] == {}
    page = await client.get("/api/v1/collections")
    assert page.json["collections"] == [{"name": "people", "revision": 1}]


async def test_a_body_without_options_creates_a_plain_collection(client: Client) -> None:
    reply = await client.put(PEOPLE, {})
    assert (reply.status, reply.json) == (201, {"name": "people", "revision": 1})
    assert (await client.get(PEOPLE)).json == {"name": "people", "revision": 1}


async def test_options_change_under_their_entity_tag(people: Client) -> None:
    first = await patched(people, schema(), **{"If-Match": '"1"'})
    assert first.status == 200
    problem = (await patched(people, {"ids": "client"}, **{"If-Match": '"1"'})).problem(412, "precondition_failed")
    assert problem["current_revision"] == first.json["options_revision"]
    assert (await patched(people, {"ids": "client"}, **{"If-Match": first.headers["ETag"]})).status == 200
    (await patched(people, {}, **{"If-None-Match": "*"})).problem(400, "invalid_precondition")


async def test_changes_at_the_same_time_are_all_made(people: Client) -> None:
    """Each is made again on top of what another one made of the options since it read them."""
    await patched(people, schema())
    changes: list[Any] = [{"schema": {"mode": "warn"}}, {"schema": {"defaults": True}}, {"ids": "client"}]

    replies = await asyncio.gather(*(patched(people, change) for change in changes))

    assert [one.status for one in replies] == [200] * 3
    found = (await people.get(PEOPLE)).json["options"]
    assert (found["schema"]["mode"], found["schema"]["defaults"], found["ids"]) == ("warn", True, "client")


async def test_a_repeated_change_is_made_once(people: Client) -> None:
    first = await patched(people, schema(), **{"Idempotency-Key": "k"})
    again = await patched(people, schema(), **{"Idempotency-Key": "k"})
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.json["options_revision"], again.json["revision"]) == (first.json["revision"],) * 2
    (await patched(people, {"ids": "client"}, **{"Idempotency-Key": "k"})).problem(422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"shcema": {}}, "invalid_options", "/shcema"),
        (schema(mode="hard"), "invalid_options", "/schema/mode"),
        (schema({"properties": {"a": {"typ": "string"}}}), "invalid_schema", "/schema/document/properties/a/typ"),
        (schema({"$ref": "https://example.com/s"}), "invalid_schema", "/schema/document/$ref"),
        (schema({"pattern": "a(?=b)"}), "invalid_schema", "/schema/document/pattern"),
        (schema({"$ref": "#"}), "invalid_schema", "/schema/document"),
        ({"ids": "uuid4"}, "invalid_options", "/ids"),
        ({"sequence_start": 2}, "invalid_options", "/sequence_start"),
    ],
)
async def test_what_is_no_option_is_refused_before_it_is_proposed(
    people: Client, replica: MemoryReplica, body: Any, code: str, pointer: str
) -> None:
    proposed = len(replica.proposed)
    for reply in (await patched(people, body), await people.put("/api/v1/collections/other", body)):
        (error,) = reply.problem(400, code)["errors"]
        assert error["pointer"] == pointer
        assert error["detail"]
    assert len(replica.proposed) == proposed


async def test_bad_bodies_of_options(people: Client) -> None:
    (await people.send("PATCH", PEOPLE, b"{", MERGE)).problem(400, "malformed_json")
    (await people.send("PATCH", PEOPLE, b"[]", MERGE)).problem(400, "not_an_object")
    (await people.send("PATCH", PEOPLE, b'{"ids":"client","ids":"uuid7"}', MERGE)).problem(400, "duplicate_key")
    (await people.send("PATCH", PEOPLE, b"{}", {})).problem(415, "unsupported_content_type")
    (await people.send("PATCH", PEOPLE, b'{"schema":' * 200 + b"1" + b"}" * 200, MERGE)).problem(
        400, "nesting_too_deep"
    )
    large = orjson.dumps(schema({"description": "x" * 200_000}))
    (await people.send("PATCH", PEOPLE, large, MERGE)).problem(413, "too_large")
    (await people.send("PATCH", PEOPLE, b'{"schema":{"document":{"maximum":1e999}}}', MERGE)).problem(
        400, "number_out_of_range"
    )
    (await patched(people, {}, "/api/v1/collections/nowhere")).problem(404, "collection_not_found")


async def test_during_an_upgrade_options_are_refused_cleanly(people: Client, replica: MemoryReplica) -> None:
    replica.write_error = UpgradePending("the cluster is being upgraded")
    (await patched(people, schema())).problem(503, "upgrade_pending")
    (await people.put("/api/v1/collections/other", schema())).problem(503, "upgrade_pending")


# Documents


async def test_a_refused_document_is_told_what_is_wrong_and_where(people: Client) -> None:
    await patched(people, schema({**AGE, "properties": {**AGE["properties"], "tags": {"items": {"maxLength": 3}}}}))
    secret = "do not tell"

    reply = await people.put(f"{DOCUMENTS}/ada", {"age": -1, "tags": ["ok", secret]})

    problem = reply.problem(422, "schema_violation")
    assert problem["errors"] == [
        {"pointer": "/age", "keyword": "minimum", "detail": "allowed: minimum 0"},
        {"pointer": "/tags/1", "keyword": "maxLength", "detail": "allowed: maxLength 3"},
    ]
    assert secret.encode() not in reply.body
    assert problem["outcome"] == "not_applied"
    problem = (await people.post(DOCUMENTS, {})).problem(422, "schema_violation")
    assert problem["errors"] == [{"pointer": "/age", "keyword": "required", "detail": "this member is required"}]


async def test_every_kind_of_write_is_checked_and_told(people: Client) -> None:
    await patched(people, schema())
    assert (await people.put(f"{DOCUMENTS}/ada", {"age": 1})).status == 201
    ada = f"{DOCUMENTS}/ada"
    replies = [
        await people.put(f"{ada}?when=%7B%22age%22%3A1%7D", {}),
        await people.send("PATCH", ada, b'{"$unset":{"age":""}}', {"Content-Type": "application/json"}),
        await people.send("PATCH", ada, b'{"age":null}', MERGE),
        await people.send(
            "PATCH", ada, b'[{"op":"remove","path":"/age"}]', {"Content-Type": "application/json-patch+json"}
        ),
        await people.post(f"{PEOPLE}:update", {"filter": {}, "update": {"$unset": {"age": ""}}}),
        await people.post(f"{PEOPLE}:update", {"filter": {}, "many": True, "update": {"$unset": {"age": ""}}}),
        await people.post(f"{PEOPLE}:update", {"filter": {"x": 1}, "upsert": True, "update": {"$set": {"y": 1}}}),
        await people.post(f"{PEOPLE}:findAndModify", {"filter": {}, "replacement": {}}),
        await people.post(
            "/api/v1/transactions", {"then": [{"op": "put", "collection": "people", "id": "b", "document": {}}]}
        ),
        await people.post(
            "/api/v1/transactions",
            {"then": [{"op": "update", "collection": "people", "id": "ada", "update": {"$unset": {"age": ""}}}]},
        ),
    ]
    for reply in replies:
        problem = reply.problem(422, "schema_violation")
        assert problem["errors"] == [{"pointer": "/age", "keyword": "required", "detail": "this member is required"}]
    assert (await people.get(ada)).json == {"age": 1}

    lines = b"".join(
        orjson.dumps(one) + b"\n"
        for one in (
            {"op": "put", "id": "x", "document": {}},
            {"op": "insert", "document": {"age": "q"}},
            {"op": "put", "id": "y", "document": {"age": 3}},
        )
    )
    headers = {"Content-Type": "application/x-ndjson"}
    bulk = await people.send("POST", f"{PEOPLE}:bulk?mode=unordered", lines, headers)
    assert bulk.status == 207
    assert [one.get("code") for one in bulk.json["results"]] == ["schema_violation", "schema_violation", None]
    assert bulk.json["results"][1]["errors"][0]["pointer"] == "/age"
    atomic = await people.send("POST", f"{PEOPLE}:bulk?mode=atomic", lines, headers)
    problem = atomic.problem(422, "schema_violation")
    assert (problem["line"], problem["errors"][0]["pointer"]) == (1, "/age")


async def test_a_large_document_is_refused_without_a_list(people: Client) -> None:
    await patched(people, schema())
    problem = (await people.put(f"{DOCUMENTS}/ada", {"x": "y" * 20_000})).problem(422, "schema_violation")
    assert "errors" not in problem
    assert "too large" in problem["detail"]


async def test_a_member_that_does_not_know_the_schema_yet_says_so(people: Client, replica: MemoryReplica) -> None:
    await patched(people, schema())
    problem = (await people.put(f"{DOCUMENTS}/ada", {})).problem(422, "schema_violation")
    assert problem["errors"]
    await patched(people, schema({}))
    assert (await people.put(f"{DOCUMENTS}/ada", {})).status == 201


async def test_a_warning_is_said_in_every_answer(people: Client) -> None:
    await patched(people, schema(mode="warn"))
    name = "X-Schema-Warning"
    put = await people.put(f"{DOCUMENTS}/ada", {})
    assert (put.status, name in put.headers) == (201, True)
    post = await people.post(DOCUMENTS, {}, **{"Idempotency_Key": "k"})
    assert (post.status, name in post.headers) == (201, True)
    patch = await people.send("PATCH", f"{DOCUMENTS}/ada", b'{"n":1}', MERGE)
    assert (patch.status, name in patch.headers) == (200, True)
    one = await people.post(f"{PEOPLE}:update", {"filter": {}, "update": {"$set": {"n": 2}}})
    assert name in one.headers
    many = await people.post(f"{PEOPLE}:update", {"filter": {}, "many": True, "update": {"$set": {"n": 3}}})
    assert many.json["schema_warnings"] == 2
    steps = [
        {"op": "put", "collection": "people", "id": name, "document": {"age": age}}
        for name, age in (("a", 1), ("b", "x"))
    ]
    transaction = await people.post("/api/v1/transactions", {"then": steps})
    assert [one.get("schema_warning") for one in transaction.json["results"]] == [None, True]
    bulk = await people.send(
        "POST", f"{PEOPLE}:bulk", b'{"op":"put","id":"q","document":{}}\n', {"Content-Type": "application/x-ndjson"}
    )
    assert bulk.json["results"][0]["schema_warning"] is True
    good = await people.put(f"{DOCUMENTS}/ada", {"age": 1})
    assert name not in good.headers


async def test_defaults_are_filled_in(people: Client) -> None:
    await patched(people, schema({"properties": {"role": {"default": "user"}}, "required": ["role"]}, defaults=True))
    await people.put(f"{DOCUMENTS}/ada", {"name": "Ada"})
    assert (await people.get(f"{DOCUMENTS}/ada")).json == {"name": "Ada", "role": "user"}


# IDs


async def test_a_sequence_gives_numbers(client: Client) -> None:
    await client.put(PEOPLE, {"ids": "sequence", "sequence_start": 7})
    first = await client.post(DOCUMENTS, {"n": 1}, Idempotency_Key="k")
    again = await client.post(DOCUMENTS, {"n": 1}, Idempotency_Key="k")
    assert (first.status, first.json["id"], first.headers["Location"]) == (201, "7", f"{DOCUMENTS}/7")
    assert (again.json, again.headers["Location"]) == (first.json, f"{DOCUMENTS}/7")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (await client.post(DOCUMENTS, {})).json["id"] == "8"
    (await client.put(f"{DOCUMENTS}/own", {})).problem(422, "id_not_allowed")
    assert (await client.put(f"{DOCUMENTS}/7", {"n": 2})).status == 200

    lines = b'{"op":"insert","document":{}}\n{"op":"insert","document":{}}\n'
    headers = {"Content-Type": "application/x-ndjson"}
    bulk = await client.send("POST", f"{PEOPLE}:bulk", lines, headers)
    assert [one["id"] for one in bulk.json["results"]] == ["9", "10"]
    problem = (await client.send("POST", f"{PEOPLE}:bulk?mode=atomic", lines, headers)).problem(422, "id_not_allowed")
    assert problem["line"] == 1


async def test_clients_make_the_ids(client: Client) -> None:
    await client.put(PEOPLE, {"ids": "client"})
    (await client.post(DOCUMENTS, {})).problem(422, "id_not_allowed")
    assert (await client.put(f"{DOCUMENTS}/own", {})).status == 201
    (await client.post(DOCUMENTS, {"_id": "own"})).problem(400, "reserved_field")


async def test_a_collection_that_is_not_there_is_not_found_by_an_insert(client: Client) -> None:
    (await client.post(DOCUMENTS, {})).problem(404, "collection_not_found")


# Checks of old documents


async def test_old_documents_are_checked_page_by_page(people: Client) -> None:
    for number in range(7):
        await people.put(f"{DOCUMENTS}/d{number}", {"age": number if number % 3 else "x"})
    report = (await people.post(f"{PEOPLE}:validate", schema(mode="warn"))).json
    assert (report["checked"], report["invalid"], report["next_after"], report["version"]) == (7, 3, None, None)
    assert [one["id"] for one in report["documents"]] == ["d0", "d3", "d6"]
    assert report["documents"][0]["errors"][0]["pointer"] == "/age"
    assert report["documents"][0]["revision"] == 2

    await patched(people, schema())
    found, after = [], None
    for _ in range(4):
        page = (await people.post(f"{PEOPLE}:validate", {"after": after, "limit": 2})).json
        assert page["checked"] <= 2
        found += [one["id"] for one in page["documents"]]
        after = page["next_after"]
    assert (found, after) == (["d0", "d3", "d6"], None)
    assert page["version"]
    few = (await people.post(f"{PEOPLE}:validate", {"show": 1})).json
    assert (few["invalid"], len(few["documents"])) == (3, 1)


async def test_a_check_of_a_schema_with_defaults_counts_them(people: Client) -> None:
    await people.put(f"{DOCUMENTS}/ada", {})
    tried = schema({"properties": {"age": {"default": 1}}, "required": ["age"]})
    assert (await people.post(f"{PEOPLE}:validate", tried)).json["invalid"] == 1
    tried["schema"]["defaults"] = True
    assert (await people.post(f"{PEOPLE}:validate", tried)).json["invalid"] == 0
    assert (await people.get(f"{DOCUMENTS}/ada")).json == {}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid_schema"),
        ({"schema": {"document": {"typ": 1}}}, "invalid_schema"),
        ({"schema": 5}, "invalid_options"),
        ({"limit": 0, **schema()}, "invalid_query"),
        ({"limit": 10**9, **schema()}, "invalid_query"),
        ({"show": -1, **schema()}, "invalid_query"),
        ({"limit": "1", **schema()}, "invalid_body"),
        ({"after": "", **schema()}, "invalid_name"),
        ({"unknown": 1}, "invalid_body"),
    ],
)
async def test_bad_checks(people: Client, body: Any, code: str) -> None:
    (await people.post(f"{PEOPLE}:validate", body)).problem(400, code)
    (await people.post("/api/v1/collections/nowhere:validate", schema())).problem(404, "collection_not_found")


@pytest.mark.parametrize("late", [[True, False, False], [False, True, False], [True, True, True]])
async def test_a_member_that_does_not_know_of_a_sequence_yet_numbers_all_the_same(
    client: Client, store: Store, monkeypatch: pytest.MonkeyPatch, late: list[bool]
) -> None:
    """Whichever attempts of a request meet such a member, the document has one number."""
    await client.put(PEOPLE, {"ids": "sequence"})
    known, asked = store.options.ids_of, iter(list[bool]())

    def ids_of(_options: Options, name: str) -> Ids:
        return Ids.UUID7 if next(asked, False) else known(name)

    monkeypatch.setattr(Options, "ids_of", ids_of)
    replies = []
    for is_late in late:
        asked = iter([is_late])
        replies.append(await client.post(DOCUMENTS, {"n": 1}, Idempotency_Key="k"))

    assert [(one.status, one.json["id"], one.headers["Location"]) for one in replies] == [
        (201, "1", f"{DOCUMENTS}/1")
    ] * 3
    asked = iter([True])
    assert (await client.post(DOCUMENTS, {})).json["id"] == "2"
    assert len((await client.get(DOCUMENTS)).json["documents"]) == 2
