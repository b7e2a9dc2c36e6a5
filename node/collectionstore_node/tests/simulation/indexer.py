"""A client that creates and drops indexes while the cluster is in trouble, and what must hold of them at the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import aiohttp

from collectionstore_node.statemachine.index_catalog import collections_with_builds
from collectionstore_node.tests.simulation.checks import members
from collectionstore_node.tests.simulation.hosts import Host
from collectionstore_node.tests.statemachine.indexed import check
from collectionstore_testkit.histories.http_store import COLLECTION

NAMES: Final = ("one", "two", "three")
TIMEOUT_S: Final = 1.0
PAUSE_S: Final = 0.8
"""Longest pause between two requests."""


class Indexer:
    """Uses the collection of the other clients, whose documents are `{"value": text}`."""

    def __init__(
        self,
        urls: Callable[[], Sequence[str]],
        session: aiohttp.ClientSession,
        now: Callable[[], float],
        random: Random,
    ) -> None:
        self._urls, self._session, self._now, self._random = urls, session, now, random
        self.answers: Counter[int] = Counter()
        """Requests by status; 0 for those that had no answer."""

    async def run(self, until: float) -> None:
        """Create and drop until `now()` is `until`."""
        while self._now() < until:
            await asyncio.sleep(self._random.uniform(0, PAUSE_S))
            url = f"{self._random.choice(self._urls())}/api/v1/collections/{COLLECTION}/indexes"
            name = self._random.choice(NAMES)
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            try:
                if self._random.random() < 0.7:
                    body = {
                        "name": name,
                        "fields": {"value": self._random.choice((1, -1))},
                        "sparse": self._random.random() < 0.5,
                    }
                    reply = await self._session.post(url, json=body, timeout=timeout)
                else:
                    reply = await self._session.delete(f"{url}/{name}", timeout=timeout)
                self.answers[reply.status] += 1
                reply.release()
            except (aiohttp.ClientError, TimeoutError, OSError):
                self.answers[0] += 1


def built(hosts: list[Host]) -> bool:
    """Whether no index of `hosts` is being built."""
    return not any(list(collections_with_builds(one.database.state)) for one in members(hosts))


def check_indexes(hosts: list[Host]) -> None:
    """Raise `AssertionError` unless the entries of all `hosts` are those of their documents."""
    for one in members(hosts):
        check(one.database.state)
