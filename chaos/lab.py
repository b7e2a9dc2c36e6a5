"""What faults work on: the cluster, the links between members, disks, the budget; and the record of what was done."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

from budget import Budget, NotNow
from cluster import Cluster, ClusterFailed
from collectionstore_local.faults import injection, link_faults
from collectionstore_local.faults.link_faults import LinkFault, Wanted
from disks import SmallDisks
from shim import Shim

ANSWER_S: Final = 10.0
POLL_S: Final = 0.02
WORKING_WRITES: Final = 20
"""A cluster that has taken so many more writes works."""


class Links:
    """The faults on links, several at a time, through the fault proxy of the local runtime."""

    def __init__(self, cluster: Cluster) -> None:
        self._directory = cluster.directory
        self._wanted = Wanted(generation=0)
        self._asking = asyncio.Lock()

    def stand(self) -> None:
        """Lead all members through the proxy, which passes everything on. Blocks for a moment."""
        with self._directory.edit():
            self._wanted = injection.stand_proxy(self._directory)

    @asynccontextmanager
    async def strained(self, *added: LinkFault) -> AsyncIterator[None]:
        """Have faults on links for the time of the block. Raises ClusterFailed when the proxy does not answer."""
        await self._change(lambda links: links + added)
        try:
            yield
        finally:
            await self._change(lambda links: tuple(link for link in links if link not in added))

    async def heal(self) -> None:
        """End every fault on links; members stay connected through the proxy."""
        await self._change(lambda _: ())

    async def _change(self, change: Callable[[tuple[LinkFault, ...]], tuple[LinkFault, ...]]) -> None:
        async with self._asking:
            links = change(self._wanted.links)
            self._wanted = Wanted(generation=self._wanted.generation + 1, links=links)
            link_faults.write_wanted(self._directory, self._wanted)
            try:
                async with asyncio.timeout(ANSWER_S):
                    while not self._is_done():  # noqa: ASYNC110 - the answer is a file
                        await asyncio.sleep(POLL_S)
            except TimeoutError:
                raise ClusterFailed(f"the fault proxy does not answer: see {self._directory.proxy_log}") from None

    def _is_done(self) -> bool:
        report = link_faults.read_report(self._directory)
        return report is not None and report.generation >= self._wanted.generation


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
    """Returns how many writes were acknowledged so far."""
    show: Callable[[Event], None]
    began: float = field(default_factory=time.monotonic)
    events: list[Event] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """How long each kind of fault lasted, summed up."""

    def tell(self, kind: str, text: str) -> None:
        """Record an event and show it."""
        event = Event(time.monotonic() - self.began, kind, text)
        self.events.append(event)
        self.show(event)

    @contextmanager
    def inject(self, kind: str, text: str) -> Iterator[None]:
        """Count a fault that lasts for the time of the block."""
        self.injected[kind] += 1
        self.tell(kind, text)
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[kind] += time.monotonic() - began

    async def leader_name(self) -> str:
        """Return the leader's name. Raises NotNow."""
        leader = await self.cluster.leader()
        if leader is None:
            raise NotNow("nobody leads")
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
        founders = {self.cluster.name(ordinal) for ordinal in range(self.cluster.nodes)}
        names = [name for name in self.cluster.running() if self.budget.is_free(name)]
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
