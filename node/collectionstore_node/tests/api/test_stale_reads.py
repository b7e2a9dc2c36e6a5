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


@pytest.mark.parametrize("path", [f"{DOCUMENTS}/ada", "/api/v1/kv/b/ada"])
async def test_a_repeated_stale_read_waits_for_nothing_where_the_state_is_fresh(
    people: Client, replica: MemoryReplica, path: str, *, hot: bool
) -> None:
    await people.put(path, {"name": "Ada"})
    replica.stale_s = 0.25
    first = await people.get(f"{path}?{STALE}")
    replica.fresh = True
    again = await people.get(f"{path}?{STALE}")
    # The hot path learns the place from the first one, which is served like any other request.
    assert len(replica.bounds_s) == (1 if hot else 2)
    replica.fresh = False
    waited = await people.get(f"{path}?{STALE}")
    assert replica.bounds_s == [None] * (2 if hot else 3)
    for reply in (again, waited):
        assert (reply.status, reply.body) == (200, first.body)
        for name in ("ETag", "X-Revision", "X-Served-By", "X-Staleness-Ms", "Content-Type", "Cache-Control"):
            assert reply.headers[name] == first.headers[name]
    assert replica.confirmed == 0


@pytest.mark.parametrize("fresh", [True, False])
async def test_repeated_stale_reads_are_refused_as_the_first_one(
    people: Client, replica: MemoryReplica, *, fresh: bool
) -> None:
    await people.put(f"{DOCUMENTS}/ada", {"name": "Ada"})
    await people.get(f"{DOCUMENTS}/ada?{STALE}")
    replica.fresh = fresh
    replica.stale_s = 47.0
    absent = await people.get(f"{DOCUMENTS}/nobody?{STALE}")
    absent.problem(404, "document_not_found")
    assert absent.headers["X-Staleness-Ms"] == "47000"
    replica.fresh, replica.stale_error = False, TooStale("this node cannot confirm it")
    reply = await people.get(f"{DOCUMENTS}/ada?{STALE}")
    assert reply.problem(503, "too_stale")["retryable"] is True
    assert reply.headers["X-Staleness-Ms"] == "47000"


@pytest.mark.parametrize("query", ["consistency=Stale", "consistency=stale&consistency=stale", "consistency=stales"])
async def test_another_parameter_is_not_taken_for_a_stale_read(people: Client, query: str) -> None:
    await people.put(f"{DOCUMENTS}/ada", {"name": "Ada"})
    await people.get(f"{DOCUMENTS}/ada?{STALE}")
    (await people.get(f"{DOCUMENTS}/ada?{query}")).problem(400, "invalid_parameter")


async def test_a_write_is_never_stale(people: Client) -> None:
    await people.put(f"{DOCUMENTS}/ada", {"name": "Ada"})
    (await people.put(f"{DOCUMENTS}/ada?{STALE}", {})).problem(400, "unknown_parameter")
