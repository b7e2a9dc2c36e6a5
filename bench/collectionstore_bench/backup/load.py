"""What the state is filled with, and the writers whose latency is measured."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence

import aiohttp

FILLERS = 32
VALUE_BYTES = 128 << 10
DOCUMENTS = "documents"


async def fill_documents(session: aiohttp.ClientSession, urls: Sequence[str], count: int) -> None:
    """Create a collection of `count` documents of some 300 bytes. Raises what a request raises that keeps failing."""
    async with session.put(f"{urls[0]}/api/v1/collections/{DOCUMENTS}") as response:
        response.raise_for_status()
    numbers = iter(range(count))

    async def fill(url: str) -> None:
        for number in numbers:
            body = {"n": number, "name": f"document {number}", "text": f"{number * 7919:x} " * 30}
            await _put(session, f"{url}/api/v1/collections/{DOCUMENTS}/documents/d{number:07}", json=body)

    await asyncio.gather(*(fill(url) for _, url in zip(range(FILLERS), itertools.cycle(urls), strict=False)))


async def fill_values(session: aiohttp.ClientSession, urls: Sequence[str], size: int) -> None:
    """Store values of VALUE_BYTES up to `size` bytes; half of each is random, so that it compresses to half."""
    numbers = iter(range(size // VALUE_BYTES))
    drawn = random.Random(7)

    async def fill(url: str) -> None:
        for number in numbers:
            data = drawn.randbytes(VALUE_BYTES // 2) + b"collection store " * (VALUE_BYTES // 34)
            await _put(session, f"{url}/api/v1/kv/large/{number:07}", data=data)

    await asyncio.gather(*(fill(url) for _, url in zip(range(FILLERS // 2), itertools.cycle(urls), strict=False)))


async def _put(session: aiohttp.ClientSession, url: str, **body: object) -> None:
    # An overloaded node refuses; what it refused is repeated until it takes it.
    for attempt in itertools.count():
        async with session.put(url, **body) as response:  # type: ignore[arg-type]
            if response.status < 300:
                return
            if attempt == 60 or response.status not in (503, 504):
                response.raise_for_status()
            await asyncio.sleep(0.5)


async def write_at_rate(
    session: aiohttp.ClientSession, urls: Sequence[str], rate: float, until: asyncio.Event
) -> list[float | None]:
    """Write small documents at a fixed rate until the event; return the seconds of each, None for one that failed.

    Open loop: a write begins when it is due, whatever those before it do, and its latency counts from then.
    """
    loop = asyncio.get_running_loop()
    began, results, tasks = loop.time(), [], set()

    async def write(number: int, due: float) -> None:
        url = f"{urls[number % len(urls)]}/api/v1/collections/{DOCUMENTS}/documents/w{number % 1000:04}"
        try:
            async with session.put(url, json={"n": number}) as response:
                done = response.status < 300
        except aiohttp.ClientError:
            done = False
        results.append(loop.time() - due if done else None)

    for number in itertools.count():
        if until.is_set():
            break
        due = began + number / rate
        if (wait := due - loop.time()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(write(number, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return results
