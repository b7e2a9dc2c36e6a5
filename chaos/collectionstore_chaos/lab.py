"""What faults work on: the cluster, the links between members, disks, the budget; and the record of what was done."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from collectionstore_chaos.budget import Budget, NotNow
from collectionstore_chaos.cluster import Cluster
from collectionstore_testkit.faults.disks import SmallDisks
from collectionstore_testkit.faults.links import Links
from collectionstore_testkit.faults.shim import Shim

WORKING_WRITES: Final = 20
"""A cluster that has taken so many more writes works."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was done to the cluster, or that it did about it; `at` in seconds since the run began."""

    at: float
    kind: str
    text: str


@dataclass(slots=True)
class Lab:
    """Everything a fault needs."""

    cluster: Cluster
    links: Links
    shim: Shim
    small: SmallDisks
    budget: Budget
    writes: Callable[[], int]
    """Returns the number of acknowledged writes."""
    show: Callable[[Event], None]
    began: float = field(default_factory=time.monotonic)
    events: list[Event] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """How long each kind of fault lasted, summed up."""

    def report(self, kind: str, text: str) -> None:
        """Record an event and show it."""
        event = Event(time.monotonic() - self.began, kind, text)
        self.events.append(event)
        self.show(event)

    @contextmanager
    def inject(self, kind: str, text: str) -> Iterator[None]:
        """Count a fault that lasts for the time of the block."""
        self.injected[kind] += 1
        self.report(kind, text)
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[kind] += time.monotonic() - began

    async def leader_name(self) -> str:
        """Return the leader's name. Raises NotNow."""
        leader = await self.cluster.leader()
        if leader is None:
            raise NotNow("there is no leader")
        return leader.name

    async def breathe(self, timeout_s: float) -> None:
        """Return when the cluster takes writes again, or when it has not for so long."""
        goal = self.writes() + WORKING_WRITES

        async def works() -> bool:
            return self.writes() >= goal

        await until(works, timeout_s)

    def free(self, *, lasting: bool = False) -> list[str]:
        """Return the members that run and have no fault of their own, with `lasting` those of the first size alone.

        Raises NotNow when there is none.
        """
        founders = self.cluster.founders()
        names = [name for name in self.cluster.members.running() if self.budget.is_free(name)]
        names = [name for name in names if name in founders] if lasting else names
        if not names:
            raise NotNow("no member is free")
        return names


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float, *, poll_s: float = 0.1) -> bool:
    """Wait for a condition and return whether it came true in time."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(poll_s)
    return True
