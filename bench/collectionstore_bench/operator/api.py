"""Calls to the API server of a measurement, as JSON; the stub and the fleet use it."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import aiohttp

Body: TypeAlias = dict[str, Any]

MERGE: Final = "application/merge-patch+json"
GROUP: Final = "/apis/collectionstore.io/v1alpha1"
LINE_BYTES_MAX: Final = 16 << 20


class Refused(RuntimeError):
    """The API server did not do it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach an API server: its URL, its authority and a token."""

    url: str
    authority: Path
    token: str


class Api:
    """One API server. Every call raises Refused, or an error of aiohttp."""

    def __init__(self, access: Access, session: aiohttp.ClientSession) -> None:
        self._access = access
        self._session = session
        self._tls = ssl.create_default_context(cafile=str(access.authority))

    async def call(self, method: str, path: str, body: Body | None = None, *, kind: str = "application/json") -> Body:
        """Return the answer to a request."""
        return await self._send(method, path, None if body is None else json.dumps(body).encode(), kind)

    async def create_yaml(self, path: str, text: bytes) -> Body:
        """Create an object from YAML."""
        return await self._send("POST", path, text, "application/yaml")

    async def _send(self, method: str, path: str, sent: bytes | None, kind: str) -> Body:
        async with self._session.request(
            method, self._access.url + path, data=sent, headers=self._headers(kind), ssl=self._tls
        ) as answer:
            text = await answer.read()
            if answer.status >= 300:
                raise Refused(answer.status, f"{method} {path}: {answer.status} {text[:300].decode(errors='replace')}")
            found: Body = json.loads(text)
            return found

    async def patch(self, path: str, body: Body) -> Body:
        """Merge-patch an object."""
        return await self.call("PATCH", path, body, kind=MERGE)

    async def find(self, path: str) -> Body | None:
        """Return an object, None when there is none."""
        try:
            return await self.call("GET", path)
        except Refused as error:
            if error.status == 404:
                return None
            raise

    async def watch(self, path: str, version: str) -> AsyncIterator[Body]:
        """Yield the events of a list from a resourceVersion on, until the server ends the response."""
        url = f"{self._access.url}{path}?watch=true&resourceVersion={version}&timeoutSeconds=3000"
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get(url, headers=self._headers(MERGE), ssl=self._tls, timeout=timeout) as answer:
            if answer.status >= 300:
                raise Refused(answer.status, f"WATCH {path}: {answer.status}")
            rest = b""
            async for chunk in answer.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)

    def _headers(self, kind: str) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._access.token}", "Content-Type": kind}


@asynccontextmanager
async def connect(access: Access) -> AsyncIterator[Api]:
    """Connect to an API server."""
    timeout = aiohttp.ClientTimeout(total=60)
    connector = aiohttp.TCPConnector(limit=64)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield Api(access, session)
