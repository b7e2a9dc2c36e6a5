"""The operator's pages: they answer on loopback alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from collectionstore_operator.observability.debugging import LoopReport, Pages
from collectionstore_operator.observability.health import Health, application
from collectionstore_telemetry.logs import LogLevels

Client = TestClient[web.Request, web.Application]
Start = Callable[[Pages, str], Awaitable[Client]]
LOOP = LoopReport(
    namespace="shop",
    name="demo",
    running=True,
    silent_s=0.4,
    rounds=7,
    last_result="Failed",
    last_trouble="Unavailable",
    last_actions=0,
    last_s=0.1,
)


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Serve the pages to somebody at an address."""
    clients: list[Client] = []

    async def serve(pages: Pages, remote: str) -> Client:
        @web.middleware
        async def from_there(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            return await handler(request.clone(remote=remote))

        application_ = application(Health())
        application_.middlewares.append(from_there)
        pages.add_to(application_)
        client: Client = TestClient(TestServer(application_))
        clients.append(client)
        await client.start_server()
        return client

    yield serve
    for client in clients:
        await client.close()


async def test_loops_and_tasks_are_shown(start: Start) -> None:
    pages = Pages(LogLevels(), profiling_allowed=False)
    pages.loops = lambda: [LOOP]
    client = await start(pages, "::ffff:127.0.0.1")
    async with client.get("/debug/clusters") as answer:
        assert (await answer.json())[0]["last_trouble"] == "Unavailable"
    async with client.get("/debug/tasks") as answer:
        assert (await answer.json())["total"] >= 1


@pytest.mark.parametrize("page", ["/debug/profile", "/debug/log-level", "/debug/tasks", "/debug/clusters"])
async def test_every_page_is_for_loopback(start: Start, page: str) -> None:
    client = await start(Pages(LogLevels(), profiling_allowed=True), "10.1.2.3")
    async with client.get(page) as answer:
        assert (answer.status, answer.content_type) == (403, "application/problem+json")
        assert (await answer.json())["code"] == "forbidden"


async def test_level_is_changed(start: Start) -> None:
    client = await start(Pages(LogLevels(), profiling_allowed=False), "::1")
    with capture_logs() as lines:
        async with client.put("/debug/log-level", json={"level": "debug"}) as answer:
            assert await answer.json() == {"level": "debug", "configured": "info", "reverts_in_s": None}
        async with client.put("/debug/log-level", json={"level": "warning", "seconds": 600}) as answer:
            report = await answer.json()
            assert (report["level"], report["configured"]) == ("warning", "info")
            assert 590 < report["reverts_in_s"] <= 600
        for seconds in (0, 86_401):
            async with client.put("/debug/log-level", json={"level": "debug", "seconds": seconds}) as answer:
                assert (answer.status, (await answer.json())["code"]) == (400, "invalid_body")
        async with client.put("/debug/log-level", json={"level": "all"}) as answer:
            assert (await answer.json())["code"] == "invalid_body"
        async with client.put("/debug/log-level", json={"level": "info"}) as answer:
            assert answer.status == 200
    assert [line["now"] for line in lines] == ["debug", "warning", "info"]


async def test_profiles_are_off_bounded_and_one_at_a_time(start: Start) -> None:
    off = await start(Pages(LogLevels(), profiling_allowed=False), "127.0.0.1")
    async with off.get("/debug/profile") as answer:
        assert (await answer.json())["code"] == "profiling_disabled"
    client = await start(Pages(LogLevels(), profiling_allowed=True), "127.0.0.1")
    for seconds in ("0", "61", "x", "99999"):
        async with client.get(f"/debug/profile?seconds={seconds}") as answer:
            assert (await answer.json())["code"] == "invalid_parameter"

    async def profile() -> tuple[int, str]:
        async with client.get("/debug/profile?seconds=1") as answer:
            return answer.status, await answer.text()

    done, refused = sorted(await asyncio.gather(profile(), profile()))
    assert done[0] == 200
    assert "MainThread;" in done[1]
    assert refused[0] == 409
