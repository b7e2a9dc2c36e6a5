"""What the scale experiment loads, and how it tells that a member was held up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest
from aiohttp import web

from collectionstore_bench.scale import connections
from collectionstore_bench.scale.corpus import BATCH, SIZE_BYTES, document_id, transactions
from collectionstore_bench.scale.prober import Probed, writes_beside
from collectionstore_testkit.clusters.errors import ClusterFailed


@asynccontextmanager
async def serving(answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Answer all requests on a free port; provides the base URL."""
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"http://{host}:{port}"
    await runner.cleanup()


def test_every_document_is_loaded_once_with_its_size_and_in_the_order_of_ids() -> None:
    bodies = [msgspec.json.decode(body)["then"] for body in transactions(2 * BATCH + 50)]

    assert [len(operations) for operations in bodies] == [BATCH, BATCH, 50]
    loaded = [operation for operations in bodies for operation in operations]
    assert [one["id"] for one in loaded] == [document_id(number) for number in range(2 * BATCH + 50)]
    assert sorted(one["id"] for one in loaded) == [one["id"] for one in loaded]
    sizes = [len(msgspec.json.encode(one["document"])) for one in loaded]
    assert max(sizes) <= SIZE_BYTES + 2
    assert min(sizes) >= SIZE_BYTES - 2


async def test_a_member_that_is_held_up_shows_in_the_worst_write() -> None:
    """The second write is answered when it is let, the first and the third at once."""
    held, let, third = asyncio.Event(), asyncio.Event(), asyncio.Event()
    writes = 0

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal writes
        writes += "/documents/" in request.path
        if writes == 2:
            held.set()
            await let.wait()
        elif writes == 3:
            third.set()
        return web.Response(status=201)

    loop = asyncio.get_running_loop()
    async with serving(answer) as url, aiohttp.ClientSession() as session, writes_beside(session, url) as probed:
        await held.wait()
        before, began = list(probed.latencies), loop.time()
        loop.call_later(0.05, let.set)
        await third.wait()
        waited = loop.time() - began

    assert len(before) == 1
    assert probed.latencies[1] >= 0.049  # clocks are read twice
    assert probed.quantile(1.0) >= probed.latencies[1]
    assert waited >= 0.049


async def test_an_unexpected_answer_ends_what_is_measured_beside() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=500 if "/documents/" in request.path else 201, text="out of order")

    async with serving(answer) as url, aiohttp.ClientSession() as session:
        with pytest.raises(ClusterFailed, match="500: out of order"):
            async with writes_beside(session, url):
                await asyncio.Event().wait()


def test_without_an_answered_write_there_is_no_latency() -> None:
    with pytest.raises(ClusterFailed, match="no write was answered"):
        Probed().quantile(0.5)


async def test_idle_connections_have_had_an_answer() -> None:
    served = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        served.append(request.transport)
        return web.json_response({"number": 1})

    async with serving(answer) as url:
        idle = await connections.connect(url, 7)

        assert len(set(served)) == len(idle) == 7
        assert [await one.answered for one in idle] == [b"200"] * 7
        for one in idle:
            assert one.transport is not None
            one.transport.abort()


async def test_a_connection_that_is_refused_its_first_request_fails_the_run() -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"code": "overloaded"}, status=503)

    async with serving(answer) as url:
        with pytest.raises(ClusterFailed, match="503"):
            await connections.connect(url, 1)
