"""Strikes at fault points: once at each, before the operator goes on, whatever becomes of the connection to its log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from collectionstore_e2e.scenarios.member_faults import GO, STANDS, _Strikes

LOG = [f"{STANDS}A.before", '{"event": "something else"}', f"{STANDS}A.after", f"{STANDS}Round.published"]


class Operator:
    """Stands at each point of LOG until it is let go; its log breaks off after so many lines, and is then told anew."""

    def __init__(self, breaks: list[int]) -> None:
        self.breaks = breaks
        self.happened: list[str] = []
        self._gone = asyncio.Event()
        self.over = asyncio.Event()
        self.client = self
        self.kubectl = self

    async def follow(self, _pod: str) -> AsyncIterator[str]:
        said = 0
        for number, line in enumerate(LOG):
            if self.breaks and number == self.breaks[0]:
                self.breaks.pop(0)
                raise aiohttp.ClientPayloadError("the connection was lost")
            if line.startswith(STANDS):
                said += 1
                self._gone.clear()
                yield line
                if said > self.happened.count("goes on"):
                    await self._gone.wait()
            else:
                yield line
        self.over.set()
        await asyncio.Event().wait()

    async def exec(self, _pod: str, *command: str) -> None:
        assert GO in command[-1]
        self.happened.append("goes on")
        self._gone.set()

    async def strike(self) -> None:
        self.happened.append("struck")


@pytest.mark.parametrize("breaks", [[], [1], [3], [0, 2, 3]])
def test_each_point_is_struck_once_and_before_the_operator_goes_on(breaks: list[int]) -> None:
    async def follow() -> tuple[list[str], list[str]]:
        operator: Any = Operator(breaks)
        strikes = _Strikes(operator, operator.strike)
        following = asyncio.create_task(strikes.follow("op"))
        async with asyncio.timeout(30):
            await operator.over.wait()
        following.cancel()
        return strikes.struck, operator.happened

    struck, happened = asyncio.run(follow())
    assert struck == ["A.before", "A.after", "Round.published"]
    assert happened == ["struck", "goes on"] * 3


def test_a_strike_that_fails_is_not_hidden() -> None:
    async def fail() -> None:
        raise AssertionError("no such pod")

    async def follow() -> None:
        operator: Any = Operator([])
        await _Strikes(operator, fail).follow("op")

    with pytest.raises(AssertionError, match="no such pod"):
        asyncio.run(follow())
