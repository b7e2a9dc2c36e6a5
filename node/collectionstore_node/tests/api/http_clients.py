"""Clients for tests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from multidict import CIMultiDictProxy
from yarl import URL

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Reply:
    """An answer, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    def problem(self, status: int, code: str) -> dict[str, Any]:
        """Check that this is the problem `code` and return its fields."""
        assert self.headers["Content-Type"] == "application/problem+json", (self.status, self.body)
        fields: dict[str, Any] = self.json
        assert (self.status, fields["code"]) == (status, code), fields
        assert fields["status"] == status
        assert fields["type"] == f"urn:collectionstore:problem:{code}"
        assert fields["outcome"] in ("not_applied", "applied", "unknown")
        assert fields["request_id"] == self.headers["X-Request-Id"]
        assert fields["title"]
        assert fields["detail"]
        assert self.headers["X-Revision"].isdecimal()
        return fields


class Client:
    """Sends requests with paths as they are given, without following redirects."""

    def __init__(self, session: aiohttp.ClientSession, port: int) -> None:
        self._session = session
        self._port = port

    async def send(
        self, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        url = URL(f"http://127.0.0.1:{self._port}{target}", encoded=True)
        async with self._session.request(
            method,
            url,
            data=body,
            headers=headers,
            allow_redirects=False,
            skip_auto_headers=("Content-Type", "User-Agent"),
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, target: str, **headers: str) -> Reply:
        return await self.send("GET", target, headers=_named(headers))

    async def put(self, target: str, document: object, **headers: str) -> Reply:
        return await self.send("PUT", target, orjson.dumps(document), JSON | _named(headers))

    async def post(self, target: str, document: object, **headers: str) -> Reply:
        return await self.send("POST", target, orjson.dumps(document), JSON | _named(headers))

    async def delete(self, target: str, **headers: str) -> Reply:
        return await self.send("DELETE", target, headers=_named(headers))


class RawClient:
    """Opens connections and sends bytes."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def exchange(self, *chunks: bytes) -> bytes:
        """Send `chunks` and return everything until the server closes, as `Connection: close` asks it to."""
        reader, writer = await self.connect()
        try:
            for chunk in chunks:
                writer.write(chunk)
                await writer.drain()
            return await reader.read()
        finally:
            writer.close()


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Return the next status line and headers."""
    return await reader.readuntil(b"\r\n\r\n")


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
