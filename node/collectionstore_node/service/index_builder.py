"""`IndexBuilder`: what makes indexes complete, on the leader: it proposes one step of a build after the other.

So it does for the count of documents of a collection that has got a quota.

All that a build has reached is in the replicated state (`statemachine.index_commands`), so there is nothing to hand
over when another member leads, and nothing to remember across a restart: every member looks, and who leads proposes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

import structlog

from collectionstore_node.errors import InvariantViolated, ManyDeleted, NotNow, OutcomeUnknown, ReadTimedOut
from collectionstore_node.service.store_replica import StoreReplica
from collectionstore_node.service.usage_counts import check_readable, counting_steps
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import BuildIndex, Code, Command
from collectionstore_node.statemachine.index_catalog import (
    Index,
    IndexState,
    collections_with_builds,
    read_indexes,
)
from collectionstore_node.statemachine.view import View

log = structlog.get_logger()

LOOK_S: Final = 0.5
"""How often a member looks for builds."""
RETRY_S: Final = 1.0
STEP_TIMEOUT_S: Final = 30.0
PAUSE_MIN_S: Final = 0.002


class BuildSeries(Protocol):
    """What is counted of builds."""

    def building(self, count: int) -> None:
        """Show how many indexes this member is building."""

    def passed(self, documents: int) -> None:
        """Count documents that a step has passed."""

    def ended(self, result: str) -> None:
        """Count a build that has ended: `ready` or `failed`."""


class IndexBuilder:
    """Builds the indexes of a store while its member leads. Belongs to one event loop."""

    def __init__(
        self,
        replica: StoreReplica,
        series: BuildSeries,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """`clock` is monotonic, in seconds, and `sleep` waits by it."""
        self._replica = replica
        self._series = series
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Build until it is cancelled."""
        while True:
            try:
                while await self.build_some():
                    pass
            except (NotNow, OutcomeUnknown) as error:
                if isinstance(error, ManyDeleted):
                    await self._reclaim(error)
                # Not the leader any more, short of space, or overloaded. A step that may yet be applied is done once:
                # the next one says from where on it is.
                await self._sleep(RETRY_S)
            await self._sleep(LOOK_S)

    async def _reclaim(self, gap: ManyDeleted) -> None:
        with suppress(ReadTimedOut):  # it goes on, and the next look finds it done
            await self._replica.reclaim(gap.lo, gap.hi, timeout_s=STEP_TIMEOUT_S)

    async def build_some(self) -> bool:
        """Propose a step of every index that is being built, if this member leads; return whether there was one.

        Raises what proposing raises.
        """
        replica = self._replica
        if not replica.is_leader:
            self._series.building(0)
            return False
        # All of them before the first step: a view is read without an await.
        steps, counts = next_steps(replica.view), counting_steps(replica.view)
        self._series.building(len(steps))
        for step, before in steps:
            started = self._clock()
            check_readable(replica.view, step.collection, step.after)
            outcome = await replica.propose(Command(step), timeout_s=STEP_TIMEOUT_S)
            if outcome.code is Code.OK:
                self._told(step, before)
            # As long as the step took: half of the time, at least, belongs to clients, however busy they are.
            await self._sleep(max(self._clock() - started, PAUSE_MIN_S))
        for count in counts:
            started = self._clock()
            check_readable(replica.view, count.collection, count.after)
            await replica.propose(Command(count), timeout_s=STEP_TIMEOUT_S)
            await self._sleep(max(self._clock() - started, PAUSE_MIN_S))
        return bool(steps or counts)

    def _told(self, step: BuildIndex, before: Index) -> None:
        found = _find(self._replica.view, step)
        if found is None:
            return
        self._series.passed(found.passed - before.passed)
        if found.state is IndexState.BUILDING:
            return
        result = "ready" if found.state is IndexState.READY else "failed"
        self._series.ended(result)
        log.info(
            "index.built",
            collection=step.collection,
            index=found.definition.name,
            result=result,
            documents=found.passed,
            reason=found.reason,
        )


def next_steps(view: View) -> list[tuple[BuildIndex, Index]]:
    """Return the next step of each index that is being built, and the index as it is now. Raises `ManyDeleted`."""
    steps = []
    for name in collections_with_builds(view):
        collection = find_collection(view, name)
        if collection is None:
            raise InvariantViolated("an index is being built of a collection that does not exist")
        steps += [
            (BuildIndex(name, one.id, one.after), one)
            for one in read_indexes(view, collection.id)
            if one.state is IndexState.BUILDING
        ]
    return steps


def _find(view: View, step: BuildIndex) -> Index | None:
    collection = find_collection(view, step.collection)
    if collection is None:
        return None
    return next((one for one in read_indexes(view, collection.id) if one.id == step.index), None)
