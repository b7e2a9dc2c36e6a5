"""Stale reads by REST: their bound, what is refused, and what answers say of their staleness."""

from __future__ import annotations

from math import ceil
from time import perf_counter

import pytest

from collectionstore_node.errors import TooStale
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica

COLLECTION = "/api/v1/collections/people"
DOCUMENTS = f"{COLLECTION}/documents"
STALE = "consistency=stale"


@pytest.mark.parametrize(
    ("query", "bound_s"),
    [(STALE, None), (f"{STALE}&max_staleness=500ms", 0.5), (f"max_staleness=10s&{STALE}", 10.0)],
)
@pytest.mark.parametrize("path", [COLLECTION, DOCUMENTS, f"{DOCUMENTS}/ada", "/api/v1/collections", "/api/v1/kv/b"])
async def test_every_read_takes_a_bound(
    people: Client, replica: MemoryReplica, path: str, query: str, bound_s: float | None
) -> None:
    await people.put(f"{DOCUMENTS}/ada", {"name": "Ada"})
    replica.stale_s = 0.1234
    barriers, began = replica.barriers, perf_counter()
    reply = await people.get(f"{path}?{query}")
    took_ms = (perf_counter() - began) * 1000
    assert reply.status == 200
    assert replica.bounds_s == [bound_s]
    assert replica.barriers == barriers, "no quorum was asked by the store itself"
    assert reply.headers["X-Served-By"] == "shop-0"
    # Rounded up, since it is a bound; a list ages while it is made, so the time of the request is in it at most.
    assert 124 <= int(reply.headers["X-Staleness-Ms"]) <= ceil(123.4 + took_ms)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("max_staleness=1s", "consistency=stale"),
        ("consistency=linearizable&max_staleness=1s", "consistency=stale"),
        (f"{STALE}&max_staleness=0s", "1ms to 3600s"),
        (f"{STALE}&max_staleness=3601s", "1ms to 3600s"),
        (f"{STALE}&max_staleness=-1s", "1ms to 3600s"),
        (f"{STALE}&max_staleness=10", "1ms to 3600s"),
        (f"{STALE}&max_staleness=1s&max_staleness=2s", "twice"),
    ],
)
async def test_a_bad_bound_is_400(people: Client, replica: MemoryReplica, query: str, word: str) -> None:
    fields = (await people.get(f"{DOCUMENTS}?{query}")).problem(400, "invalid_parameter")
    assert word in fields["detail"]
    assert replica.bounds_s == []


async def test_a_write_takes_no_bound(people: Client) -> None:
    (await people.put(f"{DOCUMENTS}/ada?max_staleness=1s", {})).problem(400, "unknown_parameter")


async def test_what_cannot_be_confirmed_is_503_and_retryable(people: Client, replica: MemoryReplica) -> None:
    replica.stale_error = TooStale("this node cannot confirm that its state is at most 1 s old: no leader is known")
    replica.stale_s = 47.0
    reply = await people.get(f"{DOCUMENTS}?{STALE}&max_staleness=1s")
    fields = reply.problem(503, "too_stale")
    assert fields["retryable"] is True
    assert fields["outcome"] == "not_applied"
    assert reply.headers["X-Staleness-Ms"] == "47000"
    assert reply.headers["Retry-After"] == "1"


async def test_an_absent_document_is_as_stale_as_a_present_one(people: Client, replica: MemoryReplica) -> None:
    replica.stale_s = 0.5
    reply = await people.get(f"{DOCUMENTS}/nobody?{STALE}")
    reply.problem(404, "document_not_found")
    assert reply.headers["X-Staleness-Ms"] == "500"


async def test_nothing_is_said_of_what_is_not_known_or_not_stale(people: Client, replica: MemoryReplica) -> None:
    unknown = await people.get(f"{DOCUMENTS}?{STALE}")
    assert unknown.headers["X-Served-By"] == "shop-0"
    assert "X-Staleness-Ms" not in unknown.headers
    replica.stale_s = 0.5
    linearizable = await people.get(DOCUMENTS)
    assert "X-Staleness-Ms" not in linearizable.headers
    assert "X-Served-By" not in linearizable.headers
