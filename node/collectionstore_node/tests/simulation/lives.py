"""A client that writes values that expire while the cluster is in trouble, and what it must see of them.

Each value has a key of its own, and is written once. So it is there from its acknowledgement on until its time has
passed, whatever happens: never gone early, and never back.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import aiohttp

from collectionstore_node.statemachine.expiry_queue import next_deadline_ms
from collectionstore_node.tests.simulation.checks import members
from collectionstore_node.tests.simulation.hosts import Host
from collectionstore_node.tests.statemachine.expiring import check

BUCKET: Final = "lives"
TTLS_MS: Final = (1_000, 1_500, 4_000)
TIMEOUT_S: Final = 1.0
PAUSE_S: Final = 0.25
"""Longest pause between two requests."""
FASTEST: Final = 1.11
"""No clock of a member runs faster."""


class Mortal:
    """A value that expires."""

    def __init__(self, key: str, ttl_ms: int, sent: float) -> None:
        self.key = key
        self.due = sent + ttl_ms / 1000 / FASTEST
        """The world's time before which it is there, if it is at all."""
        self.written = False
        self.gone = False


class Mortals:
    """Writes values, and reads them until they are gone and once more behind that."""

    def __init__(
        self,
        urls: Callable[[], Sequence[str]],
        session: aiohttp.ClientSession,
        now: Callable[[], float],
        random: Random,
    ) -> None:
        self._urls, self._session, self._now, self._random = urls, session, now, random
        self._known: list[Mortal] = []
        self.answers: Counter[str] = Counter()
        """Requests by what they found."""

    async def run(self, until: float) -> None:
        """Write and read until `now()` is `until`. Raises `AssertionError` for what no correct store answers."""
        while self._now() < until:
            await asyncio.sleep(self._random.uniform(0, PAUSE_S))
            if not self._known or self._random.random() < 0.3:
                await self._write()
            else:
                await self._read(self._random.choice(self._known[-12:]))

    async def _write(self) -> None:
        ttl_ms = self._random.choice(TTLS_MS)
        one = Mortal(f"m{len(self._known)}", ttl_ms, self._now())
        status = await self._ask("PUT", f"{one.key}?ttl={ttl_ms}ms")
        one.written = status == 201
        # One whose write may yet be applied proves nothing by its absence.
        if one.written:
            self._known.append(one)
        self.answers["written" if one.written else "not written"] += 1

    async def _read(self, one: Mortal) -> None:
        began = self._now()
        status = await self._ask("GET", one.key)
        if status == 200:
            assert not one.gone, f"{one.key} was gone, and is there again"
            self.answers["there"] += 1
        elif status == 404:
            assert self._now() >= one.due, f"{one.key} is gone before its time: at {self._now()}, due at {one.due}"
            one.gone = True
            self.answers["gone"] += 1
        else:
            self.answers["no answer"] += 1
        assert began <= self._now()

    async def _ask(self, method: str, target: str) -> int:
        url = f"{self._random.choice(self._urls())}/api/v1/kv/{BUCKET}/{target}"
        try:
            reply = await self._session.request(
                method, url, data=b"" if method == "PUT" else None, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
            )
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0
        reply.release()
        return reply.status


def died(hosts: list[Host]) -> bool:
    """Whether nothing is left that expires: until then entries go on, and members are not alike at every moment."""
    return all(next_deadline_ms(one.database.state) is None for one in members(hosts))


def check_lives(hosts: list[Host]) -> None:
    """Raise `AssertionError` unless queues and leases of all `hosts` are those of their records."""
    for one in members(hosts):
        check(one.database.state)
