"""A bank that is run by interactive transactions throughout a run, against a local cluster."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp

from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.histories.bank import Bank
from collectionstore_testkit.histories.http_store import BrokenPromise
from collectionstore_testkit.recorded_load import FINISH_TIMEOUT_S, READ_TIMEOUT_S, PromiseBroken


class BankLoad:
    """A bank on a cluster that has started."""

    def __init__(self, urls: Callable[[], Sequence[str]], *, seed: int, clients: int) -> None:
        """`urls()` are the members to use, running or not."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._bank = Bank(
            urls=urls,
            session=self._session,
            now=time.monotonic,
            random=random.Random(f"bank {seed}"),
            clients=clients,
        )

    @property
    def outcomes(self) -> Counter[str]:
        """Transactions by kind and result."""
        return self._bank.outcomes

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Open the bank, and run it for the time of the block. Raises PromiseBroken or ClusterFailed at its end."""
        await self._bank.prepare()
        task = asyncio.create_task(self._bank.run(until=float("inf")))
        try:
            yield
        finally:
            self._bank.stop()
            await asyncio.wait((task,), timeout=FINISH_TIMEOUT_S)
            finished = task.done()
            task.cancel()
        if not finished:
            raise ClusterFailed(f"the clients of the bank did not get an answer for {FINISH_TIMEOUT_S:g} s")
        _raise(task.exception())

    async def check(self) -> None:
        """Check what the bank has become, once the cluster works again. Raises PromiseBroken or ClusterFailed."""
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                await self._bank.check()
        except TimeoutError:
            raise ClusterFailed(
                f"the fate of the bank's transactions was not known after {READ_TIMEOUT_S:g} s"
            ) from None
        except BrokenPromise as error:
            raise PromiseBroken(f"the bank: {error}") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


def _raise(error: BaseException | None) -> None:
    if isinstance(error, BaseExceptionGroup) and (broken := error.subgroup(BrokenPromise)) is not None:
        raise PromiseBroken(f"the bank: {broken.exceptions[0]}") from error
    if error is not None:
        raise error
