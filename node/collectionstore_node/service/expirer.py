"""`Expirer`: what removes expired documents, values and leases, on the leader: it proposes one step after the other.

A deadline is a moment of the replicated time, and that time advances by entries alone. So the leader proposes one as
soon as a deadline has passed: from that entry on everything that has expired by then is gone on every member, whether
the step has removed it or the next one will. A store without anything that expires costs no entry.

While something does, there is a step every `TICK_S` at least. What passes behind the last entry of a leader is lost to
the replicated time when another one takes over; and a step moves the beginning of a queue behind what was renewed,
whose deleted places every look at the queue would have to pass otherwise.

All of it is in the replicated state, so there is nothing to hand over, and nothing to remember across a restart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol

import structlog

from collectionstore_node.errors import ManyDeleted, NotNow, OutcomeUnknown, ReadTimedOut
from collectionstore_node.service.store_replica import StoreReplica
from collectionstore_node.statemachine.commands import Command, Expire
from collectionstore_node.statemachine.costs import TTL_MIN_MS
from collectionstore_node.statemachine.expiry_queue import Summary, next_deadline_ms, read_summary
from collectionstore_node.statemachine.header import read_header

log = structlog.get_logger()

LOOK_S: Final = TTL_MIN_MS / 2 / 1000
"""How often a member looks at the queues at least: more often than anything can expire that it has not seen before."""
PAUSE_MIN_S: Final = 0.002
TICK_S: Final = 10.0
RETRY_S: Final = 0.5
STEP_TIMEOUT_S: Final = 30.0
TOLD: Final = 1_000
"""Records that a run of steps has removed from which on it is logged."""


class ExpirySeries(Protocol):
    """What is counted of what expires."""

    def queued(self, records: int, leases: int) -> None:
        """Show how many records have a deadline of their own, and how many leases there are."""

    def overdue(self, seconds: float) -> None:
        """Show for how long the first in the queue has been due."""

    def expired(self, records: int) -> None:
        """Count records that were removed because they had expired."""


class Expirer:
    """Proposes the removal of what has expired while its member leads. Belongs to one event loop."""

    def __init__(
        self,
        replica: StoreReplica,
        series: ExpirySeries,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """`clock` is monotonic, in seconds, and `sleep` waits by it."""
        self._replica = replica
        self._series = series
        self._clock = clock
        self._sleep = sleep
        self._counted: int | None = None
        self._stepped: float | None = None
        """When the last step was, or this member began to lead; None while it does not."""

    async def run(self) -> None:
        """Go on until it is cancelled."""
        while True:
            try:
                pause_s = await self.look()
            except (NotNow, OutcomeUnknown) as error:
                if isinstance(error, ManyDeleted):
                    await self._reclaim(error)
                # Not the leader any more, or overloaded. A step that may yet be applied does no harm twice.
                pause_s = RETRY_S
            await self._sleep(pause_s)

    async def look(self) -> float:
        """Propose the steps that are due, if this member leads; return for how long nothing is.

        Raises what proposing raises.
        """
        replica, removed, passed = self._replica, 0, False
        while True:
            summary = self._show()
            if not replica.is_leader:
                self._stepped = None
                self._series.overdue(0.0)
                return LOOK_S
            if self._stepped is None:
                self._stepped = self._clock()
            try:
                deadline_ms = next_deadline_ms(replica.view)
            except ManyDeleted:
                if passed:
                    raise
                # A step costs less than reclaiming, and the queue begins behind them then.
                passed, deadline_ms = True, read_header(replica.view).time_ms
            if deadline_ms is None:
                self._series.overdue(0.0)
                return LOOK_S
            applied_ms = read_header(replica.view).time_ms
            # A new leader may be behind what is applied: then time stands still for that long.
            now_ms = max(replica.time_ms(), applied_ms)
            started = self._clock()
            left_s, since_s = (deadline_ms - now_ms) / 1000, (now_ms - applied_ms) / 1000
            self._series.overdue(max(0.0, -left_s))
            if left_s > 0 and since_s < TICK_S and started - self._stepped < TICK_S:
                return min(LOOK_S, left_s)
            self._stepped = started
            await replica.propose(Command(Expire()), timeout_s=STEP_TIMEOUT_S)
            removed = self._told(removed, summary)
            # As long as the step took: half of the time, at least, belongs to clients, however much has expired.
            await self._sleep(max(self._clock() - started, PAUSE_MIN_S))

    def _show(self) -> Summary:
        summary = read_summary(self._replica.view)
        self._series.queued(summary.queued, summary.leases)
        # Where it leads alone: the sum over the members is then what was removed. What was before is not counted again.
        if self._counted is not None and self._replica.is_leader:
            self._series.expired(summary.expired - self._counted)
        self._counted = summary.expired
        return summary

    def _told(self, removed: int, before: Summary) -> int:
        """Return how many a run of steps has removed with this one, and log a long one."""
        step = read_summary(self._replica.view).expired - before.expired
        if removed < TOLD <= removed + step:
            log.info("expiry.many", records=removed + step, queued=before.queued)
        return removed + step

    async def _reclaim(self, gap: ManyDeleted) -> None:
        with suppress(ReadTimedOut):  # it goes on, and the next look finds it done
            await self._replica.reclaim(gap.lo, gap.hi, timeout_s=STEP_TIMEOUT_S)
