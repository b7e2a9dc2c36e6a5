"""The victim: an ordinary client that writes, reads and remembers what was acknowledged.

Its rate is constant (an open loop would hide nothing, but a slow answer delays only its own connection), a part of its
requests opens a new connection, and at the end it reads back what it wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from collectionstore_attack.field import Address

CLIENTS_PER_MEMBER: Final = 2
PERIOD_S: Final = 0.05
"""Time between two requests of one client."""
TIMEOUT_S: Final = 2.0
KEYS: Final = 40
"""Keys of one client, written in turn."""
NEW_CONNECTION_EVERY: Final = 7
READ_BACK_TIMEOUT_S: Final = 20.0
REFUSED_FOR_SPACE: Final = 507


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. `status` is 0 for an answer that did not come in time or a connection that failed."""

    began: float
    seconds: float
    write: bool
    status: int

    @property
    def ok(self) -> bool:
        return self.status // 100 == 2

    @property
    def ended(self) -> float:
        return self.began + self.seconds


@dataclass(slots=True)
class _Key:
    """What is known of the value of one key: the last acknowledged number, and later ones whose fate is unknown."""

    acknowledged: int = 0
    attempted: int = 0


@dataclass(slots=True)
class Victim:
    """All clients of the victim. `samples` are in the order in which requests ended."""

    addresses: Sequence[Address]
    samples: list[Sample] = field(default_factory=list)
    _keys: dict[str, _Key] = field(default_factory=dict)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Work for the time of the block."""
        async with contextlib.AsyncExitStack() as stack:
            keep = await stack.enter_async_context(_session(force_close=False))
            fresh = await stack.enter_async_context(_session(force_close=True))
            tasks = [
                asyncio.create_task(self._work(keep, fresh, address, f"{position}-{number}"))
                for position, address in enumerate(self.addresses)
                for number in range(CLIENTS_PER_MEMBER)
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
            for end in ended:
                if isinstance(end, Exception):
                    raise end

    def between(self, begins: float, ends: float) -> list[Sample]:
        """Return the requests that began in this time, monotonic seconds."""
        return [sample for sample in self.samples if begins <= sample.began < ends]

    async def lost_writes(self) -> list[str]:
        """Read every key back; return a sentence for each whose acknowledged value is gone."""
        async with _session(force_close=False) as client:
            return [sentence for name, key in self._keys.items() if (sentence := await self._check(client, name, key))]

    async def _work(
        self, keep: aiohttp.ClientSession, fresh: aiohttp.ClientSession, address: Address, name: str
    ) -> None:
        number = 0
        due = time.monotonic()
        while True:
            number += 1
            key = f"{name}-{number // 2 % KEYS}"
            client = fresh if number % NEW_CONNECTION_EVERY == 0 else keep
            await self._request(client, address, key, write=number % 2 == 0)
            due = max(due + PERIOD_S, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def _request(self, client: aiohttp.ClientSession, address: Address, name: str, *, write: bool) -> None:
        url = _url(address, name)
        began = time.monotonic()
        key = self._keys.setdefault(name, _Key()) if write else None
        status = 0
        if key is not None:
            # BEFORE the request: it may be applied although no answer comes.
            key.attempted += 1
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if key is None:
                    async with client.get(url) as answer:
                        await answer.read()
                        # A key that was not written yet is absent: that is the right answer.
                        status = 200 if answer.status == 404 else answer.status
                else:
                    number = key.attempted
                    async with client.put(url, data=str(number).encode()) as answer:
                        await answer.read()
                        status = answer.status
                    if status // 100 == 2:
                        key.acknowledged = number
        except (aiohttp.ClientError, OSError, TimeoutError):
            status = 0  # counted as a failure below
        self.samples.append(Sample(began, time.monotonic() - began, write, status))

    async def _check(self, client: aiohttp.ClientSession, name: str, key: _Key) -> str:
        async with asyncio.timeout(READ_BACK_TIMEOUT_S), client.get(_url(self.addresses[0], name)) as answer:
            content = await answer.read()
        found = int(content) if answer.status == 200 else 0
        if key.acknowledged <= found <= key.attempted:
            return ""
        return f"key {name}: {found} is stored, {key.acknowledged} was acknowledged, {key.attempted} was tried last"


def _session(*, force_close: bool) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=force_close))


def _url(address: Address, key: str) -> str:
    return f"http://{address}/api/v1/kv/victim/{key}"
