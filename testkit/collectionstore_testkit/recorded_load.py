"""Clients that use a local cluster throughout a run and record every operation that they complete."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.histories.operations import Operation
from collectionstore_testkit.histories.workload import Workload, WorkloadSettings

TIMEOUT_S = 2.0
KEYS = 4
WATCH_S = 5.0
"""How long the clients stay with the same keys. Keys that a transaction joins are checked together, and a check costs
more than in proportion to their operations: so all keys are new from time to time, and each lot is checked apart."""
FINISH_TIMEOUT_S = 60.0
READ_TIMEOUT_S = 120.0


class PromiseBroken(Exception):
    """The store answered what its API does not allow; the text says what."""


class RecordedLoad:
    """Clients of one cluster, which has started."""

    def __init__(self, urls: Callable[[], Sequence[str]], *, seed: int, clients: int, rate: float) -> None:
        """`urls()` are the members to use, running or not.

        `rate` is in operations per second, by all clients together, if responses took no time.
        """
        self._urls = urls
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self._random = random.Random(f"load {seed}")
        self._settings = WorkloadSettings(
            clients=clients,
            keys=KEYS,
            operations_per_key=1 << 30,
            timeout_s=TIMEOUT_S,
            pause_s=2 * clients / rate,
        )
        self._watches: list[Workload] = []
        self._over = asyncio.Event()

    @property
    def history(self) -> list[Operation]:
        """Every completed operation."""
        operations = sorted((one for watch in self._watches for one in watch.history), key=lambda one: one.invoked)
        return [msgspec.structs.replace(one, id=number) for number, one in enumerate(operations, 1)]

    @staticmethod
    def now() -> float:
        """Return the time of the history, monotonic and in seconds."""
        return time.monotonic()

    def writes(self) -> int:
        """Return the number of acknowledged writes."""
        return sum(watch.progress.writes for watch in self._watches)

    def counts(self) -> str:
        """Return the counts of operations by outcome, as text."""
        outcomes = sum((watch.progress.outcomes for watch in self._watches), Counter())
        return ", ".join(f"{outcomes[name]:,} {name}" for name in ("ok", "failed", "unknown"))

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run the clients for the time of the block; operations that are in flight at its end are finished.

        Raises PromiseBroken as soon as an answer is not allowed, ClusterFailed when none comes at the end.
        """
        await self._watch().prepare()
        body = asyncio.current_task()
        task = asyncio.create_task(self._work())
        task.add_done_callback(lambda _: body.cancel() if body is not None and not self._over.is_set() else None)
        try:
            yield
        except asyncio.CancelledError:
            if body is not None and task.done() and not task.cancelled():
                body.uncancel()
                _raise(task)
            raise
        finally:
            self._over.set()
            await asyncio.wait((task,), timeout=FINISH_TIMEOUT_S)
            finished = task.done()
            task.cancel()
        if not finished:
            raise ClusterFailed(f"clients did not get an answer for {FINISH_TIMEOUT_S:g} s")
        _raise(task)

    async def read_all(self) -> None:
        """Read every key once more, as part of the history. Raises ClusterFailed or PromiseBroken."""
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                for watch in self._watches:
                    await watch.read_all()
        except TimeoutError:
            raise ClusterFailed(f"not every key could be read at the end within {READ_TIMEOUT_S:g} s") from None
        except AssertionError as error:
            raise PromiseBroken(f"a response violates the API: {error}") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def _work(self) -> None:
        """Replace the clients by others with other keys, every WATCH_S; the replaced ones finish their operations."""
        async with asyncio.TaskGroup() as group:
            while not self._over.is_set():
                watch = self._watch()
                group.create_task(watch.run(until=float("inf")))
                try:
                    async with asyncio.timeout(WATCH_S):
                        await self._over.wait()
                except TimeoutError:
                    pass  # time for the next
                watch.stop()

    def _watch(self) -> Workload:
        watch = Workload(
            urls=self._urls,
            session=self._session,
            now=self.now,
            random=random.Random(self._random.random()),
            settings=self._settings,
            name=f"w{len(self._watches)}",
        )
        self._watches.append(watch)
        return watch


def _raise(task: asyncio.Task[None]) -> None:
    """Raise what the clients raised; an answer that is not allowed as PromiseBroken."""
    error = task.exception()
    if isinstance(error, BaseExceptionGroup) and (broken := error.subgroup(AssertionError)) is not None:
        raise PromiseBroken(f"a response violates the API: {'; '.join(_texts(broken))}") from error
    if error is not None:
        raise error


def _texts(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [text for one in error.exceptions for text in _texts(one)]
    return [str(error)]


def by_kind(history: Sequence[Operation]) -> dict[str, Counter[str]]:
    """Return how many operations of each kind ended how."""
    counts: dict[str, Counter[str]] = {}
    for one in history:
        counts.setdefault(_kind(one), Counter())[one.outcome] += 1
    return counts


def _kind(operation: Operation) -> str:
    if len(operation.keys) > 1 or len(operation.then) > 1:
        return "transaction"
    return "compare-and-set" if operation.guards else operation.then[0].action
