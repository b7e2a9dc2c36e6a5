"""Many ordinary HTTP requests concurrently, through aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from collectionstore_attack.field import SOURCE, Address, Field

REQUEST_TIMEOUT_S: Final = 30.0
REFUSED_PAUSE_S: Final = 0.01
"""Wait after an answer that is no success, so that the attack does not become a test of how fast one can refuse."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `path` begins with a slash."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@asynccontextmanager
async def session(source: str = SOURCE) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session whose connections come from `source`."""
    connector = aiohttp.TCPConnector(limit=0, local_addr=(source, 0))
    timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as opened:
        yield opened


async def send(client: aiohttp.ClientSession, address: Address, request: Request) -> int:
    """Send a request, read the whole answer and return its status. Raises as aiohttp does."""
    async with client.request(
        request.method, f"http://{address}{request.path}", data=request.body, headers=request.headers
    ) as answer:
        async for _ in answer.content.iter_any():
            pass
        return answer.status


async def flood(field: Field, concurrency: int, make: Callable[[int], Request]) -> None:
    """Send `make(number)` from `concurrency` connections, spread over the members, until the attack is over."""
    numbers = iter(range(1 << 62))

    async def work(client: aiohttp.ClientSession, position: int) -> None:
        address = field.clients[position % len(field.clients)]
        while field.remaining():
            try:
                async with asyncio.timeout(field.remaining()):
                    status = await send(client, address, make(next(numbers)))
            except (aiohttp.ClientError, OSError):
                field.count("closed")
                await asyncio.sleep(REFUSED_PAUSE_S)
                continue
            except TimeoutError:
                field.count("no answer yet")
                continue
            field.count(status)
            if status >= 400:
                await asyncio.sleep(REFUSED_PAUSE_S)

    async with session() as client:
        await asyncio.gather(*(work(client, position) for position in range(concurrency)))


async def each(field: Field, requests: list[Request], *, concurrency: int = 4) -> None:
    """Send every request once, to prepare an attack. Raises RuntimeError for an answer that is neither 2xx nor 404."""
    waiting = iter(requests)

    async def work(client: aiohttp.ClientSession) -> None:
        for request in waiting:
            status = await send(client, field.clients[0], request)
            if status // 100 != 2 and status != 404:
                raise RuntimeError(f"preparing the attack: {request.method} {request.path} was answered {status}")

    async with session() as client:
        await asyncio.gather(*(work(client) for _ in range(concurrency)))
