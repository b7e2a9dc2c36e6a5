"""The debug pages and the log level."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from collectionstore_node.api import HttpLimits, make_client_server, make_probe_server
from collectionstore_node.api.http.instruments import Diagnostics
from collectionstore_node.logs import SlowLog, Thresholds
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics
from collectionstore_telemetry.logs import LogLevels
from collectionstore_telemetry.profiling.profiler import Profiler

PAGES = ["/debug/raft", "/debug/tasks", "/debug/profile", "/debug/log-level"]
Serve = Callable[[Diagnostics], Awaitable[Client]]


async def no_metrics(_accept: str) -> tuple[bytes, str]:
    return b"", ""


@pytest.fixture
async def serve(replica: MemoryReplica, admins: Admins) -> AsyncIterator[Serve]:
    """Serve the client port with these diagnostics, and return a client of it."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def start(diagnostics: Diagnostics) -> Client:
            server = make_client_server(
                Store(replica, StoreLimits()),
                HttpLimits(),
                RecordedMetrics(),
                render_metrics=no_metrics,
                authorize_admin=admins.authorize,
                tls=False,
                diagnostics=diagnostics,
            )
            return Client(session, await _listen(stack, server))

        yield start


async def _listen(stack: AsyncExitStack, server: web.Server) -> int:
    runner = web.ServerRunner(server)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    return port


@pytest.mark.parametrize("page", PAGES)
async def test_pages_of_the_client_port_are_for_operators(client: Client, admins: Admins, page: str) -> None:
    admins.allowed = False
    (await client.get(page)).problem(403, "forbidden")


async def test_pages_of_the_metrics_port_are_read_only(replica: MemoryReplica) -> None:
    async with AsyncExitStack() as stack:
        store = Store(replica, StoreLimits())
        server = make_probe_server(store, HttpLimits(), RecordedMetrics(), render_metrics=no_metrics)
        client = Client(await stack.enter_async_context(aiohttp.ClientSession()), await _listen(stack, server))
        assert (await client.get("/debug/raft")).status == 200
        assert (await client.get("/debug/tasks")).status == 200
        (await client.get("/debug/profile")).problem(404, "unknown_route")
        (await client.put("/debug/log-level", {"level": "debug"})).problem(404, "unknown_route")


async def test_pages_are_served_under_overload(client: Client, replica: MemoryReplica) -> None:
    """An operator who diagnoses an overload must get through."""
    replica.hold = asyncio.Event()
    held = [asyncio.create_task(client.put("/api/v1/kv/b/k", {})) for _ in range(7)]
    while len(replica.timeouts_s) < 7:
        await replica.entered.wait()
        await asyncio.sleep(0)
    (await client.put("/api/v1/kv/b/k", {})).problem(503, "overloaded")
    assert (await client.get("/debug/tasks")).status == 200
    replica.hold.set()
    await asyncio.gather(*held)


async def test_raft_page_has_queues_and_configuration(client: Client) -> None:
    report = (await client.get("/debug/raft")).json
    assert report["role"] == "Leader"
    assert report["configuration"]["index"] == 5
    assert report["queues"]["commands_waiting"] == 0


async def test_tasks_are_grouped_by_where_they_wait(client: Client) -> None:
    gate = asyncio.Event()

    async def inner() -> None:
        await gate.wait()

    async def outer() -> None:
        await inner()

    waiting = [asyncio.create_task(outer(), name=f"waiter-{number}") for number in range(7)]
    await asyncio.sleep(0)
    report = (await client.get("/debug/tasks")).json
    gate.set()
    await asyncio.gather(*waiting)
    (group,) = [one for one in report["groups"] if one["names"][0].startswith("waiter")]
    assert group["count"] == 7
    assert group["names"] == [f"waiter-{number}" for number in range(5)]
    functions = [frame.rpartition(":")[0].rpartition(".")[2] for frame in group["stack"]]
    assert functions[:3] == ["outer", "inner", "wait"]
    assert report["total"] >= 8


async def test_profiling_is_disabled_by_default(client: Client) -> None:
    (await client.get("/debug/profile?seconds=1")).problem(403, "profiling_disabled")


@pytest.mark.parametrize("seconds", ["0", "61", "-1", "1.5", ""])
async def test_a_profile_is_bounded(client: Client, seconds: str) -> None:
    (await client.get(f"/debug/profile?seconds={seconds}")).problem(400, "invalid_parameter")


async def test_a_profile_is_collapsed_stacks_and_one_at_a_time(serve: Serve) -> None:
    client = await serve(Diagnostics(profiler=Profiler()))
    # Long enough for the second one to arrive meanwhile, on a busy machine too.
    first = asyncio.create_task(client.get("/debug/profile?seconds=3"))
    second = asyncio.create_task(client.get("/debug/profile?seconds=3"))
    answers = sorted(await asyncio.gather(first, second), key=lambda reply: reply.status)
    assert answers[1].problem(409, "profile_running")["retryable"]
    lines = answers[0].body.decode().splitlines()
    assert answers[0].headers["Content-Type"].startswith("text/plain")
    stacks = dict(line.rsplit(" ", 1) for line in lines)
    assert all(int(count) > 0 for count in stacks.values())
    assert any(stack.startswith("MainThread;") and "run_until_complete" in stack for stack in stacks)
    assert not any("profiler" in stack for stack in stacks)
    # It is over, so the next one is taken.
    assert (await client.get("/debug/profile?seconds=1")).status == 200


async def test_a_profile_ends_with_the_request() -> None:
    """A client that disconnects must not leave the profiler busy for the next one."""
    profiler = Profiler()
    asked = asyncio.create_task(profiler.collapsed(60))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert await profiler.collapsed(0.01)


async def test_log_level_is_changed_and_reported(client: Client) -> None:
    assert (await client.get("/debug/log-level")).json == {"level": "info", "configured": "info", "reverts_in_s": None}
    with capture_logs() as lines:
        changed = await client.put("/debug/log-level", {"level": "debug", "seconds": 600})
    assert changed.json["level"] == "debug"
    assert 590 < changed.json["reverts_in_s"] <= 600
    assert [line["event"] for line in lines] == ["level.changed"]
    assert (await client.put("/debug/log-level", {"level": "info"})).json["reverts_in_s"] is None


@pytest.mark.parametrize("body", [{"level": "all"}, {"level": "debug", "seconds": 0}, {}, {"level": "debug", "x": 1}])
async def test_an_invalid_level_changes_nothing(client: Client, body: dict[str, object]) -> None:
    (await client.put("/debug/log-level", body)).problem(400, "invalid_body")
    assert (await client.get("/debug/log-level")).json["level"] == "info"


async def test_a_slow_request_is_logged_by_its_pattern(serve: Serve) -> None:
    slow = SlowLog(Thresholds(http_s=0.0), asyncio.get_running_loop().time)
    client = await serve(Diagnostics(LogLevels(), slow))
    with capture_logs() as lines:
        await client.put("/api/v1/kv/salaries/ada%20lovelace", {"amount": 12345})
        await client.get("/livez")
        await client.get("/debug/tasks")
    (line,) = lines
    assert (line["event"], line["kind"], line["method"]) == ("operation.slow", "http", "PUT")
    assert line["route"] == "/api/v1/kv/{bucket}/{key...}"
    assert set(line["phases"]) == {"body", "answer"}
    assert not [word for word in ("salaries", "ada", "12345") if word in str(line)]
