"""The client port and the metrics port, served from memory by the real state machine, as a target of the fuzzer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

import aiohttp
import orjson
from aiohttp import web
from yarl import URL

from collectionstore_node.api import HttpLimits, make_client_server, make_probe_server
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.statemachine.commands import Action, Command, CreateCollection, DocumentRef, KeyRef, Put
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics, render_nothing
from collectionstore_node.tests.fuzz.engine import Finding
from collectionstore_node.tests.fuzz.http_grammar import any_conversation

PATIENCE_S = 30.0
"""A connection that does not end within this time hangs."""
SEED: tuple[Action, ...] = (
    CreateCollection("people"),
    Put(DocumentRef("people", "a"), b'{"n":1}'),
    Put(KeyRef("b", "k"), b"\x00", content_type="image/png"),
)
EXPECTED_5XX = {501, 503, 504, 505}

_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [^\r\n]*\r\n")


class HttpTarget:
    """Implements `engine.Target`."""

    def __init__(self, ports: list[int], session: aiohttp.ClientSession, metrics: RecordedMetrics) -> None:
        self._ports = ports
        self._session = session
        self._metrics = metrics

    async def run(self, random: Random) -> str:
        """Send one conversation, close this side, and read until the server closes."""
        pieces, clean = any_conversation(random)
        try:
            async with asyncio.timeout(PATIENCE_S):
                answer = await self._converse(random.choice(self._ports), pieces)
        except TimeoutError:
            raise Finding(f"no end of the connection after {pieces!r}") from None
        statuses = [int(one) for one in _STATUS.findall(answer)]
        if any(status >= 500 and status not in EXPECTED_5XX for status in statuses):
            raise Finding(f"{statuses} for {pieces!r}")
        counted, self._metrics.finished[:] = [*self._metrics.finished], []
        if any(status >= 500 and status not in EXPECTED_5XX for _, _, status in counted):
            raise Finding(f"counted {counted} for {pieces!r}")
        if answer and not answer.startswith(b"HTTP/1.1 "):
            raise Finding(f"an answer that is no HTTP, {answer[:80]!r}, for {pieces!r}")
        if clean and not [status for status in statuses if status >= 200]:
            raise Finding(f"no answer to {pieces!r}")
        return f"{statuses[-1]}" if statuses else "closed without an answer"

    async def check(self) -> None:
        """Serve a clean request, and store everything again that is stored."""
        for port in self._ports:
            async with self._session.get(f"http://127.0.0.1:{port}/livez") as answer:
                if answer.status != 200:
                    raise Finding(f"/livez answered {answer.status}")
        await self._store_again("/api/v1/collections/people/documents", "documents", "id")
        await self._store_again("/api/v1/kv/b", "keys", "key")

    async def _store_again(self, path: str, field: str, name: str) -> None:
        base = f"http://127.0.0.1:{self._ports[0]}"
        async with self._session.get(f"{base}{path}?limit=50") as listed:
            if listed.status != 200:
                return  # dropped by a case
            items = orjson.loads(await listed.read())[field]
        for item in items:
            url = URL(f"{base}{path}/{_escaped(item[name])}", encoded=True)
            async with self._session.get(url) as found:
                body, kind = await found.read(), found.headers["Content-Type"]
            async with self._session.put(url, data=body, headers={"Content-Type": kind}) as stored:
                if (found.status, stored.status) != (200, 200):
                    raise Finding(f"{path} {item[name]!r}: read {found.status}, stored again {stored.status}")

    async def _converse(self, port: int, pieces: list[bytes]) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = b""
        try:
            # The server may close while this side still sends: what it answered before counts.
            with suppress(ConnectionError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                writer.write_eof()
            with suppress(ConnectionError):
                while more := await reader.read(1 << 16):
                    answer += more
        finally:
            writer.transport.abort()
        return answer


@asynccontextmanager
async def http_target() -> AsyncIterator[HttpTarget]:
    """Serve both ports until the context ends."""
    replica, metrics = MemoryReplica(), RecordedMetrics()
    for action in SEED:
        await replica.propose(Command(action), timeout_s=1)
    store, limits = Store(replica, StoreLimits(document_bytes_max=64 << 10)), HttpLimits(lingering_s=0.01)
    client = make_client_server(
        store, limits, metrics, render_metrics=render_nothing, authorize_admin=Admins().authorize, tls=False
    )
    runners, ports = [], []
    for server in (client, make_probe_server(store, limits, metrics, render_metrics=render_nothing)):
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        runners.append(runner)
        ports.append(runner.addresses[0][1])
    try:
        async with aiohttp.ClientSession() as session:
            yield HttpTarget(ports, session, metrics)
    finally:
        for runner in runners:
            await runner.cleanup()


def _escaped(name: str) -> str:
    return "".join(f"%{byte:02X}" for byte in name.encode())
