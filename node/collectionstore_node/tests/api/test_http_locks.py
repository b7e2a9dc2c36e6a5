"""Locks over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.api.test_http_expiry import passed

LOCK = "/api/v1/locks/job"
ME = {"owner": "me", "ttl": "10s"}


async def test_a_lock_is_acquired_renewed_and_released(people: Client, replica: MemoryReplica) -> None:
    (await people.get(LOCK)).problem(404, "lock_not_found")
    made = await people.post(f"{LOCK}:acquire", ME)
    assert (made.status, made.json) == (201, {"name": "job", "owner": "me", "token": 2, "revision": 2})
    held = {"name": "job", "owner": "me", "token": 2, "expires_in_ms": 10_001}
    assert (await people.get(LOCK)).json == held
    problem = (await people.post(f"{LOCK}:acquire", {"owner": "you", "ttl": "10s"})).problem(409, "lock_held")
    assert problem["holder"] == held
    assert problem["outcome"] == "not_applied"
    await passed(people, replica, 8)
    renewed = await people.post(f"{LOCK}:renew", {"token": 2, "ttl": "10s"})
    assert (renewed.status, renewed.json["token"]) == (200, 2)
    await passed(people, replica, 8)
    assert (await people.get(LOCK)).json["token"] == 2
    for verb, body in (("renew", {"token": 1, "ttl": "10s"}), ("release", {"token": 1})):
        (await people.post(f"{LOCK}:{verb}", body)).problem(409, "lock_not_held")
    assert (await people.post(f"{LOCK}:release", {"token": 2})).status == 200
    (await people.post(f"{LOCK}:release", {"token": 2})).problem(409, "lock_not_held")
    again = await people.post(f"{LOCK}:acquire", {"owner": "you", "ttl": "10s"})
    assert again.json["token"] > 2
    assert (await people.post(f"{LOCK}:release", {"force": True})).status == 200
    (await people.get(LOCK)).problem(404, "lock_not_found")


async def test_a_lock_expires(people: Client, replica: MemoryReplica) -> None:
    await people.post(f"{LOCK}:acquire", ME)
    await passed(people, replica, 10.001)
    (await people.get(LOCK)).problem(404, "lock_not_found")
    (await people.post(f"{LOCK}:renew", {"token": 2, "ttl": "10s"})).problem(409, "lock_not_held")
    assert (await people.post(f"{LOCK}:acquire", {"owner": "you", "ttl": "10s"})).status == 201


async def test_a_holder_that_has_lost_it_writes_nothing(people: Client, replica: MemoryReplica) -> None:
    """The token is compared where the write is applied: it does not matter how late the write comes."""

    def write(token: int, number: int) -> dict[str, Any]:
        guard = {"lock": "job", "field": "revision", "operand": token}
        return {
            "compare": [guard],
            "then": [{"op": "put", "collection": "people", "id": "a", "document": {"n": number}}],
        }

    old = (await people.post(f"{LOCK}:acquire", ME)).json["token"]
    assert (await people.post("/api/v1/transactions", write(old, 1))).json["succeeded"]
    await passed(people, replica, 10.001)
    new = (await people.post(f"{LOCK}:acquire", {"owner": "you", "ttl": "10s"})).json["token"]
    assert not (await people.post("/api/v1/transactions", write(old, 2))).json["succeeded"]
    assert (await people.post("/api/v1/transactions", write(new, 3))).json["succeeded"]
    assert (await people.get("/api/v1/collections/people/documents/a")).json == {"n": 3}
    free = {"compare": [{"lock": "other", "field": "exists", "operand": False}], "then": []}
    assert (await people.post("/api/v1/transactions", free)).json["succeeded"]


async def test_a_request_waits_for_a_lock(people: Client) -> None:
    token = (await people.post(f"{LOCK}:acquire", ME)).json["token"]
    body = {"owner": "you", "ttl": "10s", "wait": "5s"}
    waiting = asyncio.ensure_future(people.post(f"{LOCK}:acquire?timeout=10s", body))
    await asyncio.sleep(0)
    await people.post(f"{LOCK}:release", {"token": token})
    reply = await waiting
    assert (reply.status, reply.json["owner"]) == (201, "you")
    (await people.post(f"{LOCK}:acquire", ME | {"wait": "1ms"})).problem(409, "lock_held")


async def test_locks_are_listed(people: Client) -> None:
    for name in ("b", "a", "c.d"):
        await people.post(f"/api/v1/locks/{name}:acquire", ME | {"owner": f"of {name}"})
    page = (await people.get("/api/v1/locks?limit=2")).json
    assert [(one["name"], one["owner"]) for one in page["locks"]] == [("a", "of a"), ("b", "of b")]
    page = (await people.get(f"/api/v1/locks?limit=2&cursor={page['next_cursor']}")).json
    assert [one["name"] for one in page["locks"]] == ["c.d"]
    # They are in a bucket that clients cannot name.
    (await people.get("/api/v1/kv/_locks/a")).problem(400, "invalid_name")
    (await people.send("PUT", "/api/v1/kv/_locks/a", b"")).problem(400, "invalid_name")
    step = {"op": "delete", "bucket": "_locks", "key": "a"}
    (await people.post("/api/v1/transactions", {"then": [step]})).problem(400, "invalid_name")


@pytest.mark.parametrize(
    ("verb", "body", "pointer"),
    [
        ("acquire", {"ttl": "5s"}, None),
        ("acquire", {"owner": "me"}, "/ttl"),
        ("acquire", {"owner": "me", "ttl": "none"}, "/ttl"),
        ("acquire", {"owner": "me", "ttl": "0s"}, "/ttl"),
        ("acquire", {"owner": "me", "ttl": "5s", "lease": 3}, "/ttl"),
        ("acquire", {"owner": "me", "lease": 0}, "/lease"),
        ("acquire", {"owner": "", "ttl": "5s"}, "/owner"),
        ("acquire", {"owner": "a\nb", "ttl": "5s"}, "/owner"),
        ("acquire", {"owner": "x" * 257, "ttl": "5s"}, "/owner"),
        ("acquire", {"owner": 5, "ttl": "5s"}, None),
        ("acquire", {"owner": "me", "ttl": "5s", "wait": "0s"}, "/wait"),
        ("acquire", {"owner": "me", "ttl": "5s", "wait": "-1s"}, "/wait"),
        ("acquire", {"owner": "me", "ttl": "5s", "wait": "1000s"}, "/wait"),
        ("acquire", {"owner": "me", "ttl": "5s", "wait": "x"}, "/wait"),
        ("renew", {"ttl": "5s"}, None),
        ("renew", {"token": 0, "ttl": "5s"}, None),
        ("renew", {"token": 3}, "/ttl"),
        ("release", {}, "/token"),
        ("release", {"token": 3, "force": True}, "/token"),
        ("release", {"token": "3"}, None),
        ("release", {"token": 1 << 63}, None),
    ],
)
async def test_mistakes_have_their_place(
    people: Client, replica: MemoryReplica, verb: str, body: Any, pointer: str | None
) -> None:
    count = len(replica.proposed)
    reply = await people.post(f"{LOCK}:{verb}", body)
    assert (reply.status, reply.json["outcome"]) == (400, "not_applied")
    if pointer is not None:
        assert reply.problem(400, "invalid_body")["errors"][0]["pointer"] == pointer
    assert len(replica.proposed) == count


@pytest.mark.parametrize("name", ["-a", ".", "a%2Fb", "a:b", "%20", "x" * 256, "%C3%BC"])
async def test_a_name_that_is_none_is_refused(people: Client, name: str) -> None:
    (await people.post(f"/api/v1/locks/{name}:acquire", ME)).problem(400, "invalid_name")


@pytest.mark.parametrize(
    "guard",
    [
        {"lock": "job", "field": "value", "operand": "dg=="},
        {"lock": "job", "field": "revision", "operand": 1, "bucket": "b", "key": "k"},
        {"lock": "a/b", "field": "revision", "operand": 1},
        {"lock": 5, "field": "revision", "operand": 1},
    ],
)
async def test_a_guard_on_a_lock_that_is_none_is_refused(people: Client, guard: Any) -> None:
    reply = await people.post("/api/v1/transactions", {"compare": [guard]})
    assert reply.status == 400


async def test_a_repeated_acquisition_has_its_token(people: Client) -> None:
    first = await people.post(f"{LOCK}:acquire", ME, Idempotency_Key="k")
    again = await people.post(f"{LOCK}:acquire", ME, Idempotency_Key="k")
    assert (again.status, again.json) == (201, first.json)
    (await people.post(f"{LOCK}:acquire", ME, If_Match="*")).problem(400, "invalid_precondition")


async def test_a_lock_goes_with_its_lease(people: Client) -> None:
    lease = (await people.post("/api/v1/leases", {"ttl": "10s"})).json["id"]
    made = await people.post(f"{LOCK}:acquire", {"owner": "me", "lease": lease})
    assert made.status == 201
    assert (await people.get(LOCK)).json["lease"] == lease
    await people.delete(f"/api/v1/leases/{lease}")
    (await people.get(LOCK)).problem(404, "lock_not_found")
    (await people.post(f"{LOCK}:acquire", {"owner": "me", "lease": lease})).problem(404, "lease_not_found")
