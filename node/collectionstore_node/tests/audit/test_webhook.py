"""The webhook: what it sends, and receivers that refuse, hang, or are not there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from collectionstore_node.audit.sinks import SinkFailed
from collectionstore_node.audit.webhook import WebhookSink
from collectionstore_node.tests.audit.recorded import CHAIN, ORIGIN, event


class Receiver:
    """A receiver on a free port of loopback."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], list[dict[str, Any]]]] = []
        self.status = 204
        self.hang = False
        self._end = asyncio.Event()
        self.url = ""
        application = web.Application()
        application.router.add_post("/audit", self._receive)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)

    async def __aenter__(self) -> Receiver:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/audit?secret=1"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._end.set()
        await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        lines = [json.loads(line) for line in (await request.read()).splitlines()]
        self.requests.append((dict(request.headers), lines))
        if self.hang:
            await self._end.wait()
        return web.Response(status=self.status, headers={"Location": "http://127.0.0.1:1/elsewhere"})


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as made:
        yield made


@pytest.fixture
async def sink(receiver: Receiver, tmp_path: Path) -> AsyncIterator[WebhookSink]:
    token = tmp_path / "token"
    token.write_text("of the webhook\n")
    made = WebhookSink(receiver.url, ORIGIN, chain=CHAIN, wall_ms=lambda: 0, token_file=token, timeout_s=0.2)
    yield made
    await made.close()


async def test_a_batch_is_one_request_of_lines(sink: WebhookSink, receiver: Receiver) -> None:
    await sink.send([event(1), event(2)])
    await sink.send([event(3)])
    (headers, first), (_, second) = receiver.requests
    assert headers["Authorization"] == "Bearer of the webhook"
    assert headers["Content-Type"] == "application/x-ndjson"
    assert [line["type"] for line in first] == ["header", "request", "request"]
    assert second[0]["prev"] == first[-1]["hash"]


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 413, 429, 500, 503])
async def test_what_is_refused_is_sent_again_as_it_was(sink: WebhookSink, receiver: Receiver, status: int) -> None:
    receiver.status = status
    for _ in range(2):
        with pytest.raises(SinkFailed, match=str(status)):
            await sink.send([event(1)])
    receiver.status = 200
    await sink.send([event(1)])
    assert receiver.requests[0][1] == receiver.requests[1][1] == receiver.requests[2][1]
    assert len({headers["Idempotency-Key"] for headers, _ in receiver.requests}) == 1


async def test_a_receiver_that_hangs_is_given_up(sink: WebhookSink, receiver: Receiver) -> None:
    receiver.hang = True
    with pytest.raises(SinkFailed, match="TimeoutError"):
        await sink.send([event(1)])
    receiver.hang = False
    await sink.send([event(1)])
    assert sink.position.sequence == 1


async def test_a_receiver_that_is_not_there_is_a_failure_without_its_url() -> None:
    sink = WebhookSink("http://127.0.0.1:1/?secret=1", ORIGIN, chain=CHAIN, wall_ms=lambda: 0)
    with pytest.raises(SinkFailed) as failed:
        await sink.send([event(1)])
    assert "secret" not in str(failed.value)
    await sink.close()


@pytest.mark.parametrize("content", [b"two\nlines", b"\xff"])
async def test_a_token_that_is_none_is_a_failure(receiver: Receiver, tmp_path: Path, content: bytes) -> None:
    token = tmp_path / "token"
    sink = WebhookSink(receiver.url, ORIGIN, chain=CHAIN, wall_ms=lambda: 0, token_file=token)
    with pytest.raises(SinkFailed):
        await sink.send([event(1)])
    token.write_bytes(content)
    with pytest.raises(SinkFailed):
        await sink.send([event(1)])
    assert not receiver.requests
    await sink.close()
