"""The clients' program against a store that is made of paper: what it prints, and what it sends again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from collectionstore_testkit.clients.program import Clients
from collectionstore_testkit.clients.recorded import Recorded

COLLECTION = "/api/v1/collections/histories"


class PaperStore:
    """Takes every write and forgets it; every third request is refused, to be sent again."""

    def __init__(self) -> None:
        self.served = asyncio.Event()
        self.refused = 0
        self._requests = itertools.count(1)

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == COLLECTION:
            return web.json_response({}, status=201)
        number = next(self._requests)
        if number > 60:
            self.served.set()
        if number % 3 == 0:
            self.refused += 1
            return web.json_response({"outcome": "not_applied", "retryable": True}, status=503)
        revision = {"X-Revision": str(number)}
        if request.method == "PUT":
            return web.json_response({"revision": number}, status=201, headers=revision)
        if request.method == "POST":
            steps = (await request.json())["else"]
            body = {"succeeded": False, "revision": number, "results": [{"revision": 0} for _ in steps]}
            return web.json_response(body, headers=revision)
        return web.json_response({"code": "key_not_found"}, status=404, headers=revision)


@pytest.fixture
async def store() -> PaperStore:
    return PaperStore()


@pytest.fixture
async def url(store: PaperStore) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", store.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_everything_is_printed_and_what_was_refused_is_sent_again(
    store: PaperStore, url: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Reads as well as writes: in the end no operation has failed, and all that was done is in the output."""
    clients = Clients(url, None, seed=1, clients=3, rate=2_000.0)
    running, served = asyncio.create_task(clients.run()), asyncio.create_task(store.served.wait())
    await asyncio.wait({running, served}, return_when=asyncio.FIRST_COMPLETED)
    served.cancel()
    clients.over.set()
    await running
    recorded = Recorded()
    for line in capfdbinary.readouterr().out.decode().splitlines():
        recorded.take(line)
    assert recorded.started is not None
    assert recorded.ended is not None
    assert recorded.ended.operations == len(recorded.operations) == recorded.totals.ok
    assert (recorded.totals.failed, recorded.totals.unknown) == (0, 0)
    assert recorded.totals.retries == store.refused > 20
    assert recorded.problem() == ""
    # A store that forgets everything is found out.
    assert any("not linearizable" in fault for fault in recorded.faults())
