"""`Races`: turns for requests that search for the first document that matches, and find the same one.

The workers of a queue do so: one of them wins, and each of the others has paid for an entry of the log. A request that
has lost takes turns with those of the same filter on this member, and so do all that come while there are such ones.
They lose to other members alone then. Where none loses, changes of the same document go on together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeAlias

from collectionstore_node.errors import NotNow

Filter: TypeAlias = tuple[str, bytes]
"""A collection and the text of a filter."""


class _Turns:
    """The requests with one filter."""

    __slots__ = ("lock", "requests")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        """Handed on in the order of arrival."""
        self.requests = 0


class Races:
    """The filters for which requests take turns; each is forgotten with its last request."""

    __slots__ = ("_turns",)

    def __init__(self) -> None:
        self._turns: dict[Filter, _Turns] = {}

    @asynccontextmanager
    async def turn(self, filter_: Filter, *, lost: bool, timeout_s: float) -> AsyncGenerator[None]:
        """Wait for the turn of a request, if it has `lost` or others with the filter have. Raises `NotNow`."""
        turns = self._turns.get(filter_)
        if turns is None:
            if not lost:
                yield
                return
            turns = self._turns[filter_] = _Turns()
        turns.requests += 1
        try:
            try:
                await asyncio.wait_for(turns.lock.acquire(), timeout_s)
            except TimeoutError:
                raise NotNow("others with the same filter had their turns until the time was up") from None
            try:
                yield
            finally:
                turns.lock.release()
        finally:
            turns.requests -= 1
            if not turns.requests:
                del self._turns[filter_]
