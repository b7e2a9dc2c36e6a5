"""Documents and values that expire over HTTP: on every way to write one, hidden from every way to read one."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson
import pytest

from collectionstore_node.statemachine.levels import ENGINE
from collectionstore_node.tests.api.http_clients import JSON, Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.api.test_http_indexes import built

PEOPLE = "/api/v1/collections/people"
DOCUMENTS = f"{PEOPLE}/documents"
BUCKET = "/api/v1/kv/cache"
LINES = {"Content-Type": "application/x-ndjson"}


async def passed(client: Client, replica: MemoryReplica, seconds: float) -> None:
    """Let time pass: an entry of the new time is applied."""
    replica.now_ms += round(seconds * 1000)
    assert (await client.send("PUT", "/api/v1/kv/clock/tick", b"")).status in (200, 201)


async def bulk(client: Client, *items: dict[str, Any], mode: str = "ordered") -> Any:
    body = b"\n".join(map(orjson.dumps, items))
    return await client.send("POST", f"{PEOPLE}:bulk?mode={mode}", body, LINES)


async def test_every_write_takes_a_ttl(people: Client, replica: MemoryReplica) -> None:
    """And what it wrote is gone from every read when its time has passed."""
    assert (await people.put(f"{DOCUMENTS}/put?ttl=5s", {"n": 1})).status == 201
    made = (await people.post(f"{DOCUMENTS}?ttl=5000ms", {"n": 2})).json["id"]
    await people.put(f"{DOCUMENTS}/patched", {"n": 0})
    patched = await people.send(
        "PATCH", f"{DOCUMENTS}/patched?ttl=5s", b'{"$set":{"n":3}}', {"Content-Type": "application/json"}
    )
    assert patched.status == 200
    upserted = await people.send(
        "PATCH", f"{DOCUMENTS}/upserted?upsert=true&ttl=5s", b'{"$set":{"n":4}}', {"Content-Type": "application/json"}
    )
    assert upserted.status == 201
    await people.put(f"{DOCUMENTS}/when", {"n": 0})
    when = await people.put(DOCUMENTS + '/when?ttl=5s&when={"n":0}', {"n": 5})
    assert when.status == 200
    reply = await bulk(
        people,
        {"op": "put", "id": "b1", "document": {"n": 6}, "ttl": "5s"},
        {"op": "update", "id": "b2", "update": {"$set": {"n": 7}}, "upsert": True, "ttl": "5s"},
        {"op": "insert", "document": {"n": 8}, "ttl": "5s"},
    )
    assert [one["status"] for one in reply.json["results"]] == [201, 201, 201]
    reply = await bulk(people, {"op": "put", "id": "b3", "document": {"n": 9}, "ttl": "5s"}, mode="atomic")
    assert reply.status == 200
    then = [
        {"op": "put", "collection": "people", "id": "t1", "document": {"n": 10}, "ttl": "5s"},
        {
            "op": "update",
            "collection": "people",
            "id": "t2",
            "update": {"$set": {"n": 11}},
            "upsert": True,
            "ttl": "5s",
        },
        {"op": "put", "bucket": "cache", "key": "t", "value": "dg==", "ttl": "5s"},
    ]
    reply = await people.post("/api/v1/transactions", {"then": then})
    assert [one["created"] for one in reply.json["results"]] == [True] * 3
    assert (await people.send("PUT", f"{BUCKET}/put?ttl=5s", b"v")).status == 201
    await people.put(f"{DOCUMENTS}/stays", {"n": 12})

    read = await people.get(f"{DOCUMENTS}/{made}")
    assert read.headers["X-Expires-In-Ms"] == "5001"
    assert "X-Lease" not in read.headers
    assert "X-Expires-In-Ms" not in (await people.get(f"{DOCUMENTS}/stays")).headers
    assert len((await people.get(DOCUMENTS)).json["documents"]) == 12
    await passed(people, replica, 5.001)

    assert [one["id"] for one in (await people.get(DOCUMENTS)).json["documents"]] == ["stays"]
    assert (await people.get(BUCKET)).json["keys"] == []
    for gone in ("put", made, "patched", "upserted", "when", "b1", "b2", "b3", "t1", "t2"):
        (await people.get(f"{DOCUMENTS}/{gone}")).problem(404, "document_not_found")
    (await people.get(f"{BUCKET}/put")).problem(404, "key_not_found")
    for body in ({}, {"filter": {"n": {"$gt": 0}}}, {"filter": {"_id": {"$in": ["put", "b1", "stays"]}}}):
        found = (await people.post(f"{PEOPLE}:find", body)).json["documents"]
        assert [one["id"] for one in found] == ["stays"]
    assert (await people.post(f"{PEOPLE}:count", {})).json["count"] == 1
    assert (await people.post(f"{PEOPLE}:distinct", {"field": "n"})).json["values"] == [12]


async def test_queries_by_an_index_leave_out_what_has_expired(people: Client, replica: MemoryReplica) -> None:
    """Also those that count entries, or tell a document by its entry."""
    await people.post(f"{PEOPLE}/indexes", {"name": "by-n", "fields": {"n": 1}})
    await built(replica)
    for number in range(6):
        await people.put(f"{DOCUMENTS}/d{number}" + ("?ttl=5s" if number % 2 else ""), {"n": number})
    asked = {"filter": {"n": {"$gte": 0}}, "hint": "by-n"}
    covered = asked | {"projection": {"n": 1}, "sort": {"n": 1}, "explain": True}
    before = (await people.post(f"{PEOPLE}:find", covered)).json
    assert before["explain"]["plan"]["covered"]
    assert [one["id"] for one in before["documents"]] == [f"d{number}" for number in range(6)]
    await passed(people, replica, 5.001)
    after = (await people.post(f"{PEOPLE}:find", covered)).json
    assert [one["id"] for one in after["documents"]] == ["d0", "d2", "d4"]
    assert not after["explain"]["plan"]["covered"]
    assert [one["id"] for one in (await people.post(f"{PEOPLE}:find", asked)).json["documents"]] == ["d0", "d2", "d4"]
    assert (await people.post(f"{PEOPLE}:count", asked)).json["count"] == 3
    assert (await people.post(f"{PEOPLE}:distinct", asked | {"field": "n"})).json["values"] == [0, 2, 4]


async def test_aggregations_and_joins_leave_out_what_has_expired(people: Client, replica: MemoryReplica) -> None:
    await people.send("PUT", "/api/v1/collections/orders", b"")
    await people.put(f"{DOCUMENTS}/a", {"n": 1})
    await people.put(f"{DOCUMENTS}/b?ttl=5s", {"n": 2})
    for name, tail in (("x", "?ttl=5s"), ("y", "")):
        await people.put(f"/api/v1/collections/orders/documents/{name}{tail}", {"of": "a"})
    join = {"$lookup": {"from": "orders", "localField": "_id", "foreignField": "of", "as": "orders"}}
    await passed(people, replica, 5.001)
    reply = await people.post(f"{PEOPLE}:aggregate", {"pipeline": [join, {"$project": {"orders._id": 1}}]})
    assert reply.json["documents"] == [{"_id": "a", "orders": [{"_id": "y"}]}]
    union = [{"$unionWith": "orders"}, {"$count": "all"}]
    assert (await people.post(f"{PEOPLE}:aggregate", {"pipeline": union})).json["documents"] == [{"all": 2}]


async def test_pages_go_on_behind_what_has_expired(people: Client, replica: MemoryReplica) -> None:
    for number in range(30):
        await people.put(f"{DOCUMENTS}/d{number:02}" + ("" if number % 10 == 9 else "?ttl=5s"), {"n": number})
    await passed(people, replica, 5.001)
    found, cursor = list[str](), ""
    while True:
        page = (await people.get(f"{DOCUMENTS}?limit=2{cursor}")).json
        found += [one["id"] for one in page["documents"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == ["d09", "d19", "d29"]
    first = (await people.post(f"{PEOPLE}:find", {"limit": 1})).json
    second = (await people.post(f"{PEOPLE}:find", {"limit": 1, "cursor": first["next_cursor"]})).json
    assert [one["id"] for one in first["documents"] + second["documents"]] == ["d09", "d19"]


async def test_conditions_find_an_expired_target_absent(people: Client, replica: MemoryReplica) -> None:
    await people.put(f"{DOCUMENTS}/a?ttl=5s", {"n": 1})
    await people.send("PUT", f"{BUCKET}/k?ttl=5s", b"v")
    held = await people.put(f"{DOCUMENTS}/a", {"n": 2}, If_None_Match="*")
    held.problem(412, "precondition_failed")
    await passed(people, replica, 5.001)
    (await people.put(f"{DOCUMENTS}/a", {"n": 2}, If_Match="*")).problem(412, "precondition_failed")
    again = await people.put(f"{DOCUMENTS}/a", {"n": 2}, If_None_Match="*")
    assert again.status == 201
    (await people.delete(f"{BUCKET}/k")).problem(404, "key_not_found")


async def test_touch_moves_the_deadline_and_keeps_the_revision(people: Client, replica: MemoryReplica) -> None:
    made = await people.put(f"{DOCUMENTS}/a?ttl=5s", {"n": 1})
    await people.send("PUT", f"{BUCKET}/some/key?ttl=5s", b"v")
    replica.now_ms = 4_000
    touched = await people.post(f"{PEOPLE}:touch", {"id": "a", "ttl": "1m"}, If_Match=made.headers["ETag"])
    assert (touched.status, touched.json) == (200, {"id": "a", "revision": made.json["revision"]})
    assert touched.headers["ETag"] == made.headers["ETag"]
    value = await people.post(f"{BUCKET}:touch", {"key": "some/key", "ttl": "none"})
    assert value.status == 200
    await passed(people, replica, 10)
    read = await people.get(f"{DOCUMENTS}/a")
    assert (read.json, read.headers["X-Expires-In-Ms"]) == ({"n": 1}, "50001")
    assert "X-Expires-In-Ms" not in (await people.get(f"{BUCKET}/some/key")).headers
    (await people.post(f"{PEOPLE}:touch", {"id": "b", "ttl": "1m"})).problem(404, "document_not_found")
    (await people.post(f"{BUCKET}:touch", {"key": "b", "ttl": "1m"})).problem(404, "key_not_found")
    (await people.post(f"{PEOPLE}:touch", {"id": "a", "ttl": "1m"}, If_Match='"99"')).problem(
        412, "precondition_failed"
    )
    (await people.post(f"{PEOPLE}:touch", {"id": "a", "ttl": "1m"}, If_None_Match="*")).problem(
        400, "invalid_precondition"
    )


MERGE = {"Content-Type": "application/merge-patch+json"}


async def test_a_collection_has_a_ttl(people: Client, replica: MemoryReplica) -> None:
    await people.put(f"{DOCUMENTS}/before", {})
    reply = await people.send("PATCH", PEOPLE, b'{"ttl":"90s"}', MERGE)
    assert (reply.status, reply.json["options"]) == (200, {"ttl": "90s"})
    assert (await people.get(PEOPLE)).json["options"] == {"ttl": "90s"}
    await people.put(f"{DOCUMENTS}/a", {})
    await people.put(f"{DOCUMENTS}/stays?ttl=none", {})
    await people.put(f"{DOCUMENTS}/own?ttl=5s", {})
    assert (await people.get(f"{DOCUMENTS}/a")).headers["X-Expires-In-Ms"] == "90001"
    await passed(people, replica, 90.001)
    assert [one["id"] for one in (await people.get(DOCUMENTS)).json["documents"]] == ["before", "stays"]
    reply = await people.send("PATCH", PEOPLE, b'{"ttl":null}', MERGE)
    assert (reply.status, reply.json["options"]) == (200, {})


@pytest.mark.parametrize("ttl", [5, True, "none", "0s", "1", "-1s", "4000d", {"s": 1}, "9" * 300 + "s"])
async def test_a_ttl_of_a_collection_that_is_none_is_refused(people: Client, ttl: Any) -> None:
    reply = await people.send("PATCH", PEOPLE, orjson.dumps({"ttl": ttl}), MERGE)
    problem = reply.problem(400, "invalid_options")
    assert problem["errors"][0]["pointer"] == "/ttl"
    assert "1s to 3650d" in problem["detail"]


async def test_a_document_of_a_sequence_takes_no_ttl_of_its_own(people: Client, replica: MemoryReplica) -> None:
    """It is refused, and not left out."""
    await people.send("PUT", "/api/v1/collections/orders", b'{"ids":"sequence","ttl":"1h"}', JSON)
    (await people.post("/api/v1/collections/orders/documents?ttl=5s", {})).problem(400, "invalid_ttl")
    reply = await people.send(
        "POST", "/api/v1/collections/orders:bulk?mode=ordered", b'{"op":"insert","document":{},"ttl":"5s"}', LINES
    )
    reply.problem(400, "invalid_ttl")
    made = await people.post("/api/v1/collections/orders/documents", {})
    read = await people.get(f"/api/v1/collections/orders/documents/{made.json['id']}")
    assert read.headers["X-Expires-In-Ms"] == "3600001"


async def test_reads_of_the_past_show_what_was_there(people: Client, replica: MemoryReplica) -> None:
    """And leave out what had expired by then, also before it is removed."""
    made = await people.put(f"{DOCUMENTS}/a?ttl=5s", {"n": 1})
    revision = made.json["revision"]
    await passed(people, replica, 5.001)
    gone = replica.revision
    await passed(people, replica, 1)
    assert (await people.get(f"{DOCUMENTS}/a?at_revision={revision}")).json == {"n": 1}
    assert len((await people.get(f"{DOCUMENTS}?at_revision={revision}")).json["documents"]) == 1
    assert (await people.get(f"{DOCUMENTS}?at_revision={gone}")).json["documents"] == []
    (await people.get(f"{DOCUMENTS}/a?at_revision={gone}")).problem(404, "document_not_found")


BAD = [
    "0s",
    "-1s",
    "1",
    "",
    "1.5s",
    "999ms",
    "NaN",
    "Infinity",
    "1e3s",
    "3651d",
    "9" * 15 + "d",
    "9" * 400 + "s",
    "5S",
    "5 s",
    "٥s",
    "None",
]


@pytest.mark.parametrize("ttl", BAD)
async def test_a_ttl_that_is_none_is_refused(people: Client, replica: MemoryReplica, ttl: str) -> None:
    """With what is allowed, and where it was found; before anything is proposed."""
    await people.put(f"{DOCUMENTS}/a", {})
    count = len(replica.proposed)
    for target in (f"{DOCUMENTS}/a", DOCUMENTS, f"{BUCKET}/a"):
        method = "POST" if target == DOCUMENTS else "PUT"
        reply = await people.send(method, f"{target}?ttl={quote(ttl)}", b"{}", {"Content-Type": "application/json"})
        assert "1s to 3650d" in reply.problem(400, "invalid_parameter")["detail"]
    step = {"op": "put", "collection": "people", "id": "a", "document": {}, "ttl": ttl}
    problem = (await people.post("/api/v1/transactions", {"else": [step]})).problem(400, "invalid_body")
    assert problem["errors"][0]["pointer"] == "/else/0/ttl"
    problem = (await bulk(people, {"op": "put", "id": "a", "document": {}, "ttl": ttl})).problem(400, "invalid_body")
    assert (problem["line"], problem["errors"][0]["pointer"]) == (1, "/ttl")
    (await people.post(f"{PEOPLE}:touch", {"id": "a", "ttl": ttl})).problem(400, "invalid_body")
    assert len(replica.proposed) == count


@pytest.mark.parametrize("ttl", [5, 5.0, True, [], {"s": 5}])
async def test_a_ttl_in_json_is_a_text(people: Client, ttl: Any) -> None:
    step = {"op": "put", "collection": "people", "id": "a", "document": {}, "ttl": ttl}
    (await people.post("/api/v1/transactions", {"then": [step]})).problem(400, "invalid_body")
    (await people.post(f"{PEOPLE}:touch", {"id": "a", "ttl": ttl})).problem(400, "invalid_body")
    (await people.post("/api/v1/leases", {"ttl": ttl})).problem(400, "invalid_body")


@pytest.mark.parametrize("lease", ["0", "-1", "x", "1.0", "9007199254740992", "9" * 30, ""])
async def test_a_lease_that_is_none_is_refused(people: Client, lease: str) -> None:
    reply = await people.put(f"{DOCUMENTS}/a?lease={lease}", {})
    reply.problem(400, "invalid_parameter")


async def test_what_does_not_go_together_is_refused(people: Client) -> None:
    (await people.put(f"{DOCUMENTS}/a?ttl=5s&lease=1", {})).problem(400, "invalid_parameter")
    (await people.put(f"{DOCUMENTS}/a?ttl=5s&ttl=6s", {})).problem(400, "invalid_parameter")
    (await people.delete(f"{DOCUMENTS}/a?ttl=5s")).problem(400, "unknown_parameter")
    (await people.get(f"{DOCUMENTS}/a?ttl=5s")).problem(400, "unknown_parameter")
    step: dict[str, Any] = {"op": "put", "collection": "people", "id": "a", "document": {}, "ttl": "5s", "lease": 1}
    (await people.post("/api/v1/transactions", {"then": [step]})).problem(400, "invalid_body")
    for op in ({"op": "delete"}, {"op": "get"}):
        step = {**op, "collection": "people", "id": "a", "ttl": "5s"}
        (await people.post("/api/v1/transactions", {"then": [step]})).problem(400, "invalid_body")
    (await bulk(people, {"op": "delete", "id": "a", "ttl": "5s"})).problem(400, "invalid_body")
    (await people.post(f"{PEOPLE}:touch", {"id": "a"})).problem(400, "invalid_body")
    (await people.put(f"{DOCUMENTS}/a?lease=77", {})).problem(404, "lease_not_found")


async def test_a_repeated_write_is_answered_as_the_first(people: Client, replica: MemoryReplica) -> None:
    first = await people.put(f"{DOCUMENTS}/a?ttl=5s", {"n": 1}, Idempotency_Key="k")
    other = await people.put(f"{DOCUMENTS}/a?ttl=6s", {"n": 1}, Idempotency_Key="k")
    other.problem(422, "idempotency_key_reused")
    await passed(people, replica, 6)
    again = await people.put(f"{DOCUMENTS}/a?ttl=5s", {"n": 1}, Idempotency_Key="k")
    assert (again.status, again.json) == (201, first.json)
    (await people.get(f"{DOCUMENTS}/a")).problem(404, "document_not_found")


async def test_a_cluster_that_is_being_upgraded_changes_nothing(people: Client, replica: MemoryReplica) -> None:
    """The replica in memory applies what it should refuse: the state machine says so, too."""
    replica.level = ENGINE
    replica.view.values.clear()
    replica.view._order.clear()
    await people.send("PUT", PEOPLE, b"")
    for reply in (
        await people.put(f"{DOCUMENTS}/a?ttl=5s", {}),
        await people.send("PUT", f"{BUCKET}/a?ttl=5s", b""),
        await people.post("/api/v1/leases", {"ttl": "5s"}),
        await people.post("/api/v1/locks/job:acquire", {"owner": "me", "ttl": "5s"}),
        await people.post(f"{PEOPLE}:touch", {"id": "a", "ttl": "5s"}),
    ):
        reply.problem(503, "upgrade_pending")
    assert (await people.get(f"{DOCUMENTS}/a")).status == 404
