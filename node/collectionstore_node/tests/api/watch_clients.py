"""Clients of watches for tests: a response without an end, event by event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
from yarl import URL

PATIENCE_S = 10.0
"""For what must come; it never passes in a test that succeeds."""
SSE = "text/event-stream"


class WatchClient:
    """One open watch."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.sse = response.headers["Content-Type"] == SSE
        self.comments = 0
        self.id = ""
        """The last one of server-sent events."""

    async def line(self) -> bytes:
        """Return the next line without its end; empty at the end of the response too."""
        async with asyncio.timeout(PATIENCE_S):
            return (await self.response.content.readline()).rstrip(b"\n")

    async def event(self) -> dict[str, Any]:
        """Return the next event."""
        if not self.sse:
            found: dict[str, Any] = orjson.loads(await self.line())
            return found
        kind, data = "", b""
        while True:
            line = await self.line()
            name, _, value = line.partition(b": ")
            match name:
                case b"event":
                    kind = value.decode()
                case b"id":
                    self.id = value.decode()
                case b"data":
                    data += value
                case b"" if line.startswith(b":"):
                    self.comments += 1
                case b"":
                    if data:
                        shown: dict[str, Any] = orjson.loads(data)
                        assert shown["event"] == kind
                        return shown
                    if self.response.content.at_eof():
                        raise EOFError

    async def events(self, count: int) -> list[dict[str, Any]]:
        """Return the next events."""
        return [await self.event() for _ in range(count)]

    async def rest(self) -> bytes:
        """Return what is left until the response ends."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.response.content.read()


class WatchClients:
    """Opens watches on one port."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._port = port

    @asynccontextmanager
    async def open(
        self, target: str, body: object = None, *, status: int = 200, **headers: str
    ) -> AsyncIterator[WatchClient]:
        """Open a watch, by POST if there is a body."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            named["Content-Type"] = "application/json"
        async with self._session.request(
            "GET" if body is None else "POST",
            URL(f"http://127.0.0.1:{self._port}/api/v1/{target}", encoded=True),
            data=None if body is None else orjson.dumps(body),
            headers=named,
            timeout=aiohttp.ClientTimeout(None),
        ) as response:
            assert response.status == status, await response.text()
            yield WatchClient(response)
