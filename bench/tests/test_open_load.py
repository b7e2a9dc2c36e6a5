"""The generator of the open loop against a server that answers as told. Builds it once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from collectionstore_bench.overload import generator
from collectionstore_bench.overload.plan import Plan, Report
from collectionstore_testkit.clusters.errors import ClusterFailed

pytestmark = pytest.mark.xdist_group("open-load")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nContent-Length: 0\r\n\r\n"
BARE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
PLAN = Plan(
    urls=["http://127.0.0.1:1"],
    connections=10,
    write_rate=500.0,
    warm_up_s=0.2,
    seconds=1.0,
    keys=10,
    payload_bytes=100,
    path="/documents",
    prefix="d-",
    arrivals="constant",
    seed=5,
)


@pytest.fixture(scope="module")
def program() -> Path:
    return generator.program()


@asynccontextmanager
async def server(answer: Callable[[int], bytes | None]) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Serve what `answer` returns for the number of each request; None closes the connection."""
    requests = list[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                if b"Content-Length: " in request:
                    length = int(request.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
                    request += await reader.readexactly(length)
                requests.append(request)
                answered = answer(len(requests))
                if answered is None:
                    return
                writer.write(answered)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", requests
    finally:
        listening.close()


async def measure(program: Path, answer: Callable[[int], bytes | None], **changed: Any) -> tuple[Report, list[bytes]]:
    async with server(answer) as (url, requests):
        plan = msgspec.structs.replace(PLAN, urls=[url], **changed)
        return await generator.run_plan(program, plan), requests


async def test_every_request_that_was_due_in_the_window_is_accounted_for(program: Path) -> None:
    report, requests = await measure(program, lambda number: (OK, REFUSED, BARE, OK)[number % 4])

    told = report.writes
    assert 498 <= told.due <= 501
    assert told.admitted + told.refused + sum(told.errors.values()) == told.due
    assert told.errors.keys() == {"503 without Retry-After"}
    assert abs(told.refused - told.due / 4) <= 5
    assert len(requests) == pytest.approx(600, abs=3)
    head, _, body = requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /documents/d-0000000")
    assert len(body) == PLAN.payload_bytes
    assert isinstance(msgspec.json.decode(body)["text"], str)
    assert report.cpu_s > 0
    assert told.p50_s is not None
    assert told.p99_s is not None
    assert 0 < told.p50_s <= told.p99_s


async def test_a_lost_connection_is_counted_and_replaced(program: Path) -> None:
    report, _ = await measure(program, lambda number: None if number % 50 == 0 else OK)

    assert report.writes.errors.keys() == {"connection lost"}
    assert 8 <= report.writes.errors["connection lost"] <= 12
    assert report.writes.admitted == report.writes.due - report.writes.errors["connection lost"]


async def test_what_waits_for_a_connection_counts_from_when_it_was_due(program: Path) -> None:
    """One connection, and a server that answers its requests of the first half of a second all at the end of it."""
    stalled = asyncio.Event()
    seen = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(PLAN.payload_bytes)
                seen += 1
                if seen == 1:
                    asyncio.get_running_loop().call_later(0.7, stalled.set)
                await stalled.wait()
                writer.write(OK)
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    async with listening:
        plan = msgspec.structs.replace(PLAN, urls=[url], connections=1)
        report = await generator.run_plan(program, plan)

    assert report.writes.admitted == report.writes.due
    # All that were due in the first half of the window waited, one of them for nearly half a second.
    assert report.writes.worst_s is not None
    assert report.writes.worst_s >= 0.4
    assert report.writes.waited >= 200


async def test_a_closed_loop_sends_as_fast_as_it_is_answered_and_reads_beside_writes(program: Path) -> None:
    report, requests = await measure(
        program, lambda _: OK, write_rate=0.0, connections=2, read_rate=100.0, read_connections=2
    )

    assert report.writes.due == report.writes.admitted > 0
    assert report.writes.errors == report.reads.errors == {}
    assert report.reads.admitted == report.reads.due == pytest.approx(100, abs=2)
    assert sum(request.startswith(b"GET /documents/d-") for request in requests) >= 100


async def test_a_member_that_cannot_be_reached_ends_the_run(program: Path) -> None:
    with pytest.raises(ClusterFailed, match="code 1"):
        await generator.run_plan(program, PLAN)
