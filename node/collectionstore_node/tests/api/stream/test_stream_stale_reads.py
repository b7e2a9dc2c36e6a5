"""Stale reads on a stream: the same bounds and refusals as by REST."""

from __future__ import annotations

import pytest

from collectionstore_node.errors import TooStale
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.api.stream.conftest import Open
from collectionstore_node.tests.api.stream.stream_clients import JSON, MSGPACK

ADA = {"collection": "people", "id": "ada"}


@pytest.mark.parametrize("protocol", [MSGPACK, JSON])
async def test_a_read_takes_a_bound_and_says_how_stale_it_is(
    people: Client, replica: MemoryReplica, open_stream: Open, protocol: str
) -> None:
    stream = await open_stream(protocol)
    await stream.ask("put_document", **ADA, document={"name": "Ada"})
    replica.stale_s = 0.25
    got = await stream.ask("get_document", **ADA, consistency="stale", max_staleness_ms=500)
    page = await stream.ask("list_documents", collection="people", consistency="stale")
    linearizable = await stream.ask("get_document", **ADA)
    assert (got["status"], got["staleness_ms"]) == (200, 250)
    assert page["staleness_ms"] >= 250, "a page is as stale as when it was read, and older by what that took"
    assert "staleness_ms" not in linearizable
    assert replica.bounds_s == [0.5, None]


@pytest.mark.parametrize("fields", [{}, {"consistency": "stale", "max_staleness_ms": 0}])
async def test_a_bad_bound_is_400_and_hurts_no_other(
    people: Client, open_stream: Open, fields: dict[str, object]
) -> None:
    stream = await open_stream(JSON)
    bad = await stream.ask("get_document", **ADA, **{"max_staleness_ms": 500, **fields})
    assert (bad["status"], bad["body"]["code"]) == (400, "invalid_parameter")
    assert (await stream.ask("list_documents", collection="people"))["status"] == 200


async def test_what_cannot_be_confirmed_is_503(people: Client, replica: MemoryReplica, open_stream: Open) -> None:
    stream = await open_stream(JSON)
    replica.stale_error = TooStale("too old")
    refused = await stream.ask("get_document", **ADA, consistency="stale")
    assert (refused["status"], refused["body"]["code"]) == (503, "too_stale")


@pytest.mark.parametrize("operation", ["get_document", "list_documents"])
async def test_a_read_waits_for_its_revision(
    people: Client, replica: MemoryReplica, open_stream: Open, operation: str
) -> None:
    """And says which one it has not met, when its time is over."""
    stream = await open_stream(JSON)
    await stream.ask("put_document", **ADA, document={"name": "Ada"})
    fields: dict[str, object] = {**ADA} if operation == "get_document" else {"collection": "people"}
    found = await stream.ask(operation, **fields, min_revision=2)
    assert (found["status"], found["revision"]) == (200, 2)
    late = await stream.ask(operation, **fields, min_revision=3, consistency="stale", timeout_ms=20)
    assert (late["status"], late["body"]["code"]) == (504, "revision_not_reached")
    assert late["body"]["asked_revision"] == 3
    for bad in (-1, 1 << 62):
        refused = await stream.ask(operation, **fields, min_revision=bad)
        assert (refused["status"], refused["body"]["code"]) == (400, "invalid_parameter")
