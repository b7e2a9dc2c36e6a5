"""One loop for each backup, schedule, user and role: woken by events, ended when there is nothing left to do.

There is no daemon of kopf for them, and so no finalizer of it: thousands of backups that are complete cost nothing, and
an operator that is not running keeps none of them from being deleted. An event starts the loop of what has changed; on
start kopf sends one for everything that there is.

Invariants:
- at most one loop runs for a resource;
- a loop that failed waits and goes on: no error ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import structlog

from collectionstore_operator.errors import OperatorError
from collectionstore_operator.kubernetes.api import Kind
from collectionstore_operator.kubernetes.backups.rounds import Outcome
from collectionstore_operator.resource.backups import names

AT_ONCE: Final = 4
"""Rounds at the same time: those of clusters go first in what the API server answers."""
BACKOFF_S: Final = 5.0
BACKOFF_MAX_S: Final = 60.0

Key: TypeAlias = tuple[Kind, str, str]
"""Kind, namespace and name."""


class Rounds(Protocol):
    """The rounds of one resource."""

    async def once(self) -> Outcome:
        """Run one round."""


MakeRounds: TypeAlias = Callable[[Kind, str, str], Rounds]

log = structlog.get_logger(__name__)


class BackupLoops:
    """The loops of all resources beside clusters that this operator watches."""

    def __init__(self, make: MakeRounds, *, forgotten: Callable[[Key], None] = lambda _key: None) -> None:
        """`forgotten` is called for a resource that is gone."""
        self._make = make
        self._forgotten = forgotten
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._woken: dict[Key, asyncio.Event] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    @property
    def running(self) -> frozenset[Key]:
        """Return what loops run for."""
        return frozenset(self._tasks)

    def changed(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """Start or wake the loop of a resource that has changed, and that of the schedule that waits for a backup."""
        metadata = body["metadata"]
        namespace = metadata["namespace"]
        self.wake((kind, namespace, metadata["name"]))
        schedule = (metadata.get("labels") or {}).get(names.SCHEDULE, "")
        if kind is Kind.BACKUP and (key := (Kind.BACKUP_SCHEDULE, namespace, schedule)) in self._woken:
            self._woken[key].set()

    def wake(self, key: Key) -> None:
        """Start a round soon, and the loop if none runs."""
        self._woken.setdefault(key, asyncio.Event()).set()
        if key not in self._tasks:
            kind, namespace, name = key
            task = asyncio.create_task(self._run(key), name=f"{kind.plural} {namespace}/{name}")
            self._tasks[key] = task

    async def close(self) -> None:
        """Cancel all loops."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: Key) -> None:
        kind, namespace, name = key
        rounds, woken, failures = self._make(kind, namespace, name), self._woken[key], 0
        try:
            with structlog.contextvars.bound_contextvars(namespace=namespace, owner=f"{kind.plural}/{name}"):
                while True:
                    # Cleared BEFORE the round: what changes during it must wake the next one.
                    woken.clear()
                    wait_s = BACKOFF_S
                    try:
                        async with self._turns:
                            outcome = await rounds.once()
                        failures = 0
                        if outcome.gone:
                            self._forgotten(key)
                            return
                        if outcome.done and not woken.is_set():
                            return
                        wait_s = outcome.wait_s
                    except OperatorError as error:
                        log.warning("backup_round.failed", error=type(error).__name__, detail=str(error))
                        failures += 1
                        wait_s = min(BACKOFF_MAX_S, BACKOFF_S * 2.0 ** min(failures - 1, 8))
                    except Exception:  # a bug in one round must not end the backups of a cluster
                        log.exception("backup_round.failed")
                        failures += 1
                        wait_s = min(BACKOFF_MAX_S, BACKOFF_S * 2.0 ** min(failures - 1, 8))
                    await _wait(woken, wait_s)
        finally:
            self._tasks.pop(key, None)
            self._woken.pop(key, None)


async def _wait(woken: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        pass  # no wake-up within the time: the next round is due
