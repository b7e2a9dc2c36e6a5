"""A store in memory: the API of a node, a time that is moved, and what it does not have."""

from __future__ import annotations

import aiohttp
import pytest
import structlog

from collectionstore_node.ephemeral import serve_ephemeral


async def test_it_serves_the_api_and_forgets() -> None:
    for _ in range(2):
        async with serve_ephemeral() as store, aiohttp.ClientSession(store.url) as session:
            async with session.put("/api/v1/collections/people") as created:
                assert created.status == 201
            async with session.get("/api/v1/cluster") as cluster:
                (member,) = (await cluster.json())["members"]
            assert member["http_address"] == store.url
            assert store.revision == 1


async def test_its_time_is_moved() -> None:
    async with serve_ephemeral() as store, aiohttp.ClientSession(store.url) as session:
        async with session.put("/api/v1/kv/cache/a", params={"ttl": "60s"}, data=b"1") as made:
            assert made.status == 201
        await store.advance(59)
        async with session.get("/api/v1/kv/cache/a") as found:
            assert found.status == 200
        await store.advance(2)
        async with session.get("/api/v1/kv/cache/a") as gone:
            assert gone.status == 404
        with pytest.raises(ValueError, match="forward"):
            await store.advance(-1)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/api/v1/backup/state", None),
        ("GET", "/api/v1/backup/log", None),
        ("POST", "/api/v1/cluster/bootstrap", {}),
        ("POST", "/api/v1/cluster/transfer-leadership", {"node_id": None}),
    ],
)
async def test_it_has_neither_members_nor_a_log(method: str, path: str, body: dict[str, object] | None) -> None:
    async with (
        serve_ephemeral() as store,
        aiohttp.ClientSession(store.url) as session,
        session.request(method, path, json=body) as refused,
    ):
        assert 400 <= refused.status < 500
        assert (await refused.json())["outcome"] == "not_applied"


async def test_logs_are_left_as_they_were() -> None:
    before = structlog.is_configured()
    async with serve_ephemeral():
        assert structlog.is_configured()
    assert structlog.is_configured() == before
