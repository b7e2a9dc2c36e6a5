"""Leases over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.api.test_http_expiry import passed

LEASES = "/api/v1/leases"
DOCUMENTS = "/api/v1/collections/people/documents"


async def test_a_lease_is_granted_kept_and_revoked(people: Client, replica: MemoryReplica) -> None:
    made = await people.post(LEASES, {"ttl": "10s"})
    assert (made.status, made.json) == (201, {"id": 2, "ttl_ms": 10_000, "revision": 2})
    lease = made.headers["Location"]
    assert lease == f"{LEASES}/2"
    await people.put(f"{DOCUMENTS}/a?lease=2", {"n": 1})
    await people.send("PUT", "/api/v1/kv/cache/k?lease=2", b"v")
    read = await people.get(f"{DOCUMENTS}/a")
    assert (read.headers["X-Lease"], read.headers["X-Expires-In-Ms"]) == ("2", "10001")
    await passed(people, replica, 8)
    kept = await people.send("POST", f"{lease}:keepalive")
    assert (kept.status, kept.json) == (200, {"id": 2, "ttl_ms": 10_000, "revision": 6})
    await passed(people, replica, 8)
    shown = (await people.get(lease)).json
    records = [{"collection": "people", "id": "a"}, {"bucket": "cache", "key": "k"}]
    assert shown == {"id": 2, "ttl_ms": 10_000, "expires_in_ms": 2_001, "attached": 2, "records": records}
    revoked = await people.delete(lease)
    assert (revoked.status, revoked.json["id"]) == (200, 2)
    (await people.get(f"{DOCUMENTS}/a")).problem(404, "document_not_found")
    (await people.get("/api/v1/kv/cache/k")).problem(404, "key_not_found")
    for reply in (
        await people.get(lease),
        await people.delete(lease),
        await people.send("POST", f"{lease}:keepalive"),
        await people.put(f"{DOCUMENTS}/b?lease=2", {}),
    ):
        reply.problem(404, "lease_not_found")


async def test_what_is_attached_goes_when_a_lease_ends(people: Client, replica: MemoryReplica) -> None:
    await people.post(LEASES, {"ttl": "1s"})
    then: list[dict[str, Any]] = [
        {"op": "put", "collection": "people", "id": name, "document": {}, "lease": 2} for name in ("a", "b")
    ]
    assert (await people.post("/api/v1/transactions", {"then": then})).status == 200
    await passed(people, replica, 1.001)
    assert (await people.get(DOCUMENTS)).json["documents"] == []
    (await people.get(f"{LEASES}/2")).problem(404, "lease_not_found")


async def test_leases_are_listed_in_pages(people: Client, replica: MemoryReplica) -> None:
    ids = [(await people.post(LEASES, {"ttl": f"{5 + number}s"})).json["id"] for number in range(5)]
    await passed(people, replica, 5.001)
    found, cursor = list[int](), ""
    while True:
        page = (await people.get(f"{LEASES}?limit=2{cursor}")).json
        found += [one["id"] for one in page["leases"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert found == ids[1:]
    (await people.get(f"{LEASES}?cursor=AAAA")).problem(400, "invalid_cursor")
    (await people.get(f"{LEASES}?limit=0")).problem(400, "invalid_parameter")
    (await people.get(f"{LEASES}?prefix=a")).problem(400, "unknown_parameter")


@pytest.mark.parametrize("body", [{}, {"ttl": "none"}, {"ttl": "0s"}, {"ttl": "5s", "id": 3}, {"ttl": None}])
async def test_a_lease_needs_a_ttl(people: Client, body: Any) -> None:
    (await people.post(LEASES, body)).problem(400, "invalid_body")


@pytest.mark.parametrize("name", ["0", "-1", "x", "01", "9007199254740992", "%31%30"])
async def test_a_name_that_is_no_lease_is_refused(people: Client, name: str) -> None:
    for method, target in (("GET", name), ("DELETE", name), ("POST", f"{name}:keepalive")):
        (await people.send(method, f"{LEASES}/{target}")).problem(400, "invalid_name")


async def test_leases_take_no_preconditions(people: Client) -> None:
    await people.post(LEASES, {"ttl": "5s"})
    (await people.post(LEASES, {"ttl": "5s"}, If_Match="*")).problem(400, "invalid_precondition")
    (await people.delete(f"{LEASES}/2", If_Match="*")).problem(400, "invalid_precondition")


async def test_a_repeated_grant_has_one_lease(people: Client) -> None:
    first = await people.post(LEASES, {"ttl": "5s"}, Idempotency_Key="k")
    again = await people.post(LEASES, {"ttl": "5s"}, Idempotency_Key="k")
    assert (again.status, again.json) == (201, first.json)
    assert len((await people.get(LEASES)).json["leases"]) == 1
