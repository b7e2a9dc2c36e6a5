"""The order of scenarios: those that share the cluster side by side, then those that need it alone, one by one.

The order is the same in every run: the scenarios with the longest time limits begin, so that none of them is the last
one to run while the others have ended.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from collectionstore_e2e.harness.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one scenario: how long it took, with its preparation and clean-up, and since the run began."""

    name: str
    passed: bool
    began_s: float
    took_s: float


Run = Callable[[Scenario], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Order:
    """Which scenarios run side by side, in the order in which they begin, and which run alone after them."""

    together: tuple[Scenario, ...]
    alone: tuple[Scenario, ...]

    @classmethod
    def of(cls, scenarios: Sequence[Scenario]) -> Order:
        """Return the order of these scenarios."""
        longest = sorted(scenarios, key=lambda one: (-one.timeout_s, one.name))
        return cls(
            tuple(one for one in longest if not one.exclusive),
            # A node that cannot be restored would fail all that follow it: so they are the last.
            tuple(one for one in longest if one.exclusive),
        )

    async def run(self, each: Run, at_once: int) -> list[Outcome]:
        """Run them, at most `at_once` (1 or more) at a time; return their outcomes in the order of their ends."""
        outcomes: list[Outcome] = []
        waiting = deque(self.together)

        async def work() -> None:
            while waiting:
                outcomes.append(await each(waiting.popleft()))

        async with asyncio.TaskGroup() as workers:
            for _ in range(min(at_once, len(waiting))):
                workers.create_task(work())
        for one in self.alone:
            outcomes.append(await each(one))
        return outcomes
