"""Faults on the links between members, several at the same time, through the fault proxy of the local runtime."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from collectionstore_local.faults import injection, link_faults
from collectionstore_local.faults.link_faults import ALL, DesiredFaults, LinkFault, Mode
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.members import Members

__all__ = ["ALL", "LinkFault", "Links", "Mode"]

PROXY_TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.02


class Links:
    """The faults that are in force on the links of one cluster."""

    def __init__(self, members: Members) -> None:
        self._directory = members.directory
        self._wanted = DesiredFaults(generation=0)
        self._changing = asyncio.Lock()

    def start_proxy(self) -> None:
        """Route all members through the proxy, which forwards everything. Blocks for a moment."""
        with self._directory.edit_lock():
            self._wanted = injection.ensure_proxy(self._directory)

    @asynccontextmanager
    async def faulty(self, *added: LinkFault) -> AsyncIterator[None]:
        """Keep faults in force on links during the block. Raises ClusterFailed if the proxy does not answer."""
        await self._change(lambda links: links + added)
        try:
            yield
        finally:
            await self._change(lambda links: tuple(link for link in links if link not in added))

    async def heal(self) -> None:
        """End all faults on links; members stay connected through the proxy."""
        await self._change(lambda _: ())

    async def _change(self, change: Callable[[tuple[LinkFault, ...]], tuple[LinkFault, ...]]) -> None:
        async with self._changing:
            links = change(self._wanted.links)
            self._wanted = DesiredFaults(generation=self._wanted.generation + 1, links=links)
            link_faults.write_desired_faults(self._directory, self._wanted)
            try:
                async with asyncio.timeout(PROXY_TIMEOUT_S):
                    while not self._in_force():  # noqa: ASYNC110 - the proxy answers by a file
                        await asyncio.sleep(POLL_S)
            except TimeoutError:
                raise ClusterFailed(f"the fault proxy does not answer: see {self._directory.proxy_log}") from None

    def _in_force(self) -> bool:
        report = link_faults.read_report(self._directory)
        return report is not None and report.generation >= self._wanted.generation
