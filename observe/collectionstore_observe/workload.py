"""Clients that do a little of everything the store offers, right and wrong, so that every series says something."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

COLLECTION: Final = "/api/v1/collections/observed"
BUCKET: Final = "/api/v1/kv/observed"
TRANSACTIONS: Final = "/api/v1/transactions"
_CLIENTS: Final = 8
_KEYS: Final = 200
_IMPATIENT: Final = 60
_PAUSE_S: Final = 0.05
"""Between two requests of a client: a machine that also runs a Prometheus and a browser is not to be filled."""
_TIMEOUT: Final = aiohttp.ClientTimeout(total=5)
_JSON: Final = {"Content-Type": "application/json"}
_FILLING: Final = "x" * 400


@dataclass(frozen=True, slots=True)
class Request:
    """A request, and the answers that a healthy cluster may give to it."""

    method: str
    path: str
    allowed: frozenset[int]
    body: bytes | None = None
    headers: Mapping[str, str] | None = None


class Workload:
    """What clients saw, by status; `unexpected` counts answers that a healthy cluster does not give."""

    def __init__(self, session: aiohttp.ClientSession, urls: Sequence[str]) -> None:
        self._session = session
        self._urls = urls
        self.answers: Counter[int] = Counter()
        self.unexpected: Counter[str] = Counter()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let the clients work for the time of the block."""
        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(self._client(number)) for number in range(_CLIENTS)]
            try:
                yield
            finally:
                for client in clients:
                    client.cancel()

    async def impatient(self) -> None:
        """Send some writes with an immediate deadline: their outcome is unknown, and they end with 5xx."""
        document = _body({"text": _FILLING})
        for number in range(_IMPATIENT):
            path = f"{COLLECTION}/documents/impatient-{number}?timeout=1ms"
            given_up = _write("PUT", path, {200, 201, 503, 504}, document)
            await self._send(self._urls[number % len(self._urls)], given_up)

    async def _client(self, number: int) -> None:
        for turn in itertools.count():
            url = self._urls[(turn + number) % len(self._urls)]
            for request in requests(f"{number}-{turn % _KEYS}"):
                await self._send(url, request)
                await asyncio.sleep(_PAUSE_S)

    async def _send(self, url: str, request: Request) -> None:
        try:
            async with self._session.request(
                request.method, f"{url}{request.path}", data=request.body, headers=request.headers, timeout=_TIMEOUT
            ) as response:
                await response.read()
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            self.unexpected[type(error).__name__] += 1
            return
        self.answers[response.status] += 1
        if response.status not in request.allowed:
            self.unexpected[f"{response.status} to {request.method} {request.path.split('?')[0]}"] += 1


def requests(key: str) -> Iterator[Request]:
    """Give one round of requests: writes, reads, conflicts, transactions, repetitions and mistakes."""
    document = _body({"key": key, "text": _FILLING})
    path = f"{COLLECTION}/documents/{key}"
    yield _write("PUT", COLLECTION, {200, 201})
    yield _write("PUT", path, {200, 201}, document)
    yield _read(path)
    yield _read(path, "?consistency=stale", missing=True)
    yield _read(f"{COLLECTION}/documents", "?limit=10")
    yield Request("PUT", f"{BUCKET}/{key}", frozenset({200, 201}), _FILLING.encode(), {"Content-Type": "text/plain"})
    yield _read(f"{BUCKET}/{key}")
    yield _read(BUCKET, "?limit=10&values=true")
    yield from _transactions(key)
    yield from _repeated(document)
    yield _write("PUT", path, {412}, document, {"If-Match": '"1"'})
    yield _write("PUT", path, {400}, b"{")
    yield _write("PUT", "/api/v1/collections/nowhere/documents/a", {404}, document)
    yield Request("GET", "/api/v1/no/such/route", frozenset({404}))
    yield _write("DELETE", path, {200})
    yield Request("GET", "/readyz", frozenset({200}))


def _transactions(key: str) -> Iterator[Request]:
    target = {"bucket": "observed", "key": key}
    put = {"op": "put", "bucket": "observed", "key": f"moved-{key}", "value": "bW92ZWQ=", "content_type": "text/plain"}
    otherwise = [{"op": "get", **target}]
    for found in (True, False):
        guard = {**target, "field": "exists", "operand": found}
        yield _write("POST", TRANSACTIONS, {200}, _body({"compare": [guard], "then": [put], "else": otherwise}))
    yield _write("POST", TRANSACTIONS, {412}, _body({"compare": [], "then": [{**put, "if_revision": 1}]}))
    yield _write("POST", TRANSACTIONS, {400}, _body({"compare": 1}))
    yield _write("DELETE", f"{BUCKET}/moved-{key}", {200})


def _repeated(document: bytes) -> Iterator[Request]:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    for body, allowed in ((document, 201), (document, 201), (b'{"other":1}', 422)):
        yield _write("POST", f"{COLLECTION}/documents", {allowed}, body, headers)


def _write(
    method: str, path: str, allowed: set[int], body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Request:
    return Request(method, path, frozenset(allowed), body, _JSON | dict(headers or {}))


def _read(path: str, query: str = "", *, missing: bool = False) -> Request:
    return Request("GET", f"{path}{query}", frozenset({200, 404} if missing else {200}))


def _body(value: Any) -> bytes:
    return json.dumps(value).encode()
