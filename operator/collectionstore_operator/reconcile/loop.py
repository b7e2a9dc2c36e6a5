"""The driver of the operator: look, plan, act, report; the only loop, the same on Kubernetes and on one machine.

A round begins with a fresh look and ends after at most one disturbing action; then the loop looks again. What a
change of the resource, a pod or a process does is only to wake it: nothing is decided from the event itself.

Invariants:
- the resource is never written; what is wrong with it is reported and nothing is touched;
- the status is published BEFORE the actions it announces, so that a long action can be watched;
- an action is not repeated within a round, and none follows one whose fate is unknown, or that was refused and that
  others may rest on;
- an action that failed rests for a while, longer each time; the cluster is looked at and reported on all the same;
- no error ends the loop: the next round comes, later each time the same trouble persists.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import msgspec
import structlog
from prometheus_client import CollectorRegistry

from collectionstore_operator.errors import (
    ActionRefused,
    ActionUnfinished,
    InvalidResource,
    InvariantViolated,
    OperatorError,
)
from collectionstore_operator.model.actions import (
    Action,
    ApplyObject,
    DeleteObject,
    DenyRequest,
    Plan,
    SignRequest,
    disruptive,
)
from collectionstore_operator.model.observed import Observed
from collectionstore_operator.observability.metrics import LoopSeries, OperatorMetrics
from collectionstore_operator.observability.tracing.rounds import NoTrace, RoundTrace
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.status.events import Event, subject_of
from collectionstore_operator.status.report import Status, refused, report

INDEPENDENT: Final = (ApplyObject, DeleteObject, SignRequest, DenyRequest)
"""Nothing later in a plan rests on these: one that is refused must not keep a cluster from being repaired."""

log = structlog.get_logger(__name__)


class Runtime(Protocol):
    """One side of the loop: a cluster in Kubernetes, or processes of this machine. No decision is made in it."""

    async def desired(self) -> Desired | None:
        """Read the resource; None when it is gone. Raises InvalidResource."""

    async def observe(self, desired: Desired) -> Observed:
        """Look at everything; what cannot be read is Unknown."""

    async def execute(self, action: Action, desired: Desired, observed: Observed) -> None:
        """Perform one action; doing it twice is harmless. Raises ActionRefused or ActionUnfinished."""

    async def publish(self, status: Status) -> None:
        """Make a changed status visible."""

    async def last_status(self) -> Status | None:
        """Read the status published last, also by an earlier loop; None when there is none."""

    async def looked(self, observed: Observed) -> None:
        """Note that a look was taken and its status published: for probes, and for those who wait for a fresh look."""

    async def record(self, event: Event) -> None:
        """Make an event visible."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How soon the loop looks again. A wake-up cuts every one of these short, except after trouble."""

    busy_s: float = 0.25
    """While something is being waited for."""
    idle_s: float = 2.0
    """While nothing is to be done; a dead member shows after at most this and one look."""
    trouble_max_s: float = 10.0
    """Longest delay after rounds that failed; the first is `busy_s`, each next twice as long."""
    patience: int = 120
    """Rounds in which nothing but time passed, after which what is waited for is looked at as when idle."""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one round."""

    result: Literal["Gone", "Refused", "Acted", "Waiting", "Settled", "Failed"]
    actions: int = 0
    trouble: str = ""
    """Name of the error that ended it; empty when none did."""
    seconds: float = 0.0


class Reconciler:
    """Runs rounds for one resource until told to stop."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        pace: Pace | None = None,
        now: Callable[[], float] = time.time,
        finished: Callable[[Round], None] | None = None,
        series: LoopSeries | None = None,
        trace: RoundTrace | None = None,
    ) -> None:
        """`finished` is told of every round, whatever came of it: a loop that says nothing for long is stuck."""
        self._finished = finished
        self._series = series or OperatorMetrics(CollectorRegistry()).loop("", "")
        self._trace = trace or NoTrace()
        self._runtime = runtime
        self._pace = pace or Pace()
        self._now = now
        self._woken = asyncio.Event()
        self._failures = 0
        self._resting: dict[Action, float] = {}
        self._unchanged = 0
        self._status: Status | None = None
        self._last_warning = ""

    def wake(self) -> None:
        """Look again as soon as the running round is over."""
        self._woken.set()

    async def run(self) -> None:
        """Run rounds until cancelled, or until the resource is gone."""
        while True:
            # Cleared BEFORE the look: what changes during it wakes the next round.
            self._woken.clear()
            outcome = await self._guarded_round()
            self._series.round_finished(outcome.result, outcome.seconds, trouble=outcome.trouble)
            if self._finished is not None:
                self._finished(outcome)
            if outcome.result == "Gone":
                return
            await self._wait(outcome)

    async def once(self) -> Round:
        """Run one round: look, plan, report, act."""
        runtime, step = self._runtime, self._trace.step
        try:
            with step("read resource"):
                desired = await runtime.desired()
        except InvalidResource as error:
            await self._publish(refused(error, await self._previous(), self._now()), None)
            return Round(result="Refused", trouble=type(error).__name__)
        if desired is None:
            return Round(result="Gone")
        with step("observe"):
            observed = await runtime.observe(desired)
        with step("plan"):
            planned = plan(desired, observed)
        self._trace.planned(desired.generation, planned)
        with step("publish status"):
            await self._publish(report(desired, observed, planned, await self._previous()), desired)
        await runtime.looked(observed)
        return await self._act(desired, observed, planned)

    async def _act(self, desired: Desired, observed: Observed, planned: Plan) -> Round:
        started = time.monotonic()
        self._resting = {action: until for action, until in self._resting.items() if until > started}
        performed: list[str] = []
        failed = ""
        for action in planned.actions:
            if action in self._resting:
                if isinstance(action, INDEPENDENT):
                    continue
                break
            name, subject = type(action).__name__, subject_of(action, desired)
            with self._trace.action(name, subject, action.reason):
                trouble = await self._perform(action, name, subject, desired, observed)
                if trouble:
                    self._trace.failed(trouble)
            if trouble:
                failed = trouble
                self._resting[action] = started + self._pause_s(self._failures)
                if isinstance(action, INDEPENDENT) and trouble == ActionRefused.__name__:
                    continue
                break
            performed.append(name)
            if disruptive(action):
                break
        if failed:
            return Round(result="Failed", actions=len(performed), trouble=failed)
        if not performed:
            return Round(result="Settled" if planned.converged else "Waiting")
        log.info(
            "round.completed",
            generation=desired.generation,
            actions=performed,
            steps=[f"{step.name} {step.subject}".strip() for step in planned.steps],
            seconds=round(time.monotonic() - started, 3),
        )
        return Round(result="Acted", actions=len(performed))

    def _pause_s(self, failures: int) -> float:
        return min(self._pace.trouble_max_s, self._pace.busy_s * 2.0 ** min(failures, 16))

    async def _perform(self, action: Action, name: str, subject: str, desired: Desired, observed: Observed) -> str:
        """Perform one action and record what came of it; return the name of the trouble, empty when it was done."""
        started = time.monotonic()
        outcome = "Unfinished"
        try:
            await self._runtime.execute(action, desired, observed)
            outcome = "Done"
        except (ActionRefused, ActionUnfinished) as error:
            if isinstance(error, ActionRefused):
                outcome = "Refused"
            log.warning("action.failed", action=name, subject=subject, outcome=outcome, detail=str(error))
            # Once is everyday life: a leader that changes its mind about a follower. Twice in a row is news.
            if self._failures > 0:
                await self._warn(f"{name}{outcome}", subject, str(error), desired.generation)
            return type(error).__name__
        finally:
            self._series.acted(name, outcome, time.monotonic() - started)
        seconds = time.monotonic() - started
        log.info("action.performed", action=name, subject=subject, reason=action.reason, seconds=round(seconds, 3))
        self._last_warning = ""
        await self._runtime.record(
            Event(
                time=self._now(),
                reason=name,
                subject=subject,
                message=action.reason,
                seconds=round(seconds, 3),
                generation=desired.generation,
            )
        )
        return ""

    async def _guarded_round(self) -> Round:
        started, blind = time.monotonic(), True
        self._trace.begin()
        try:
            outcome = await self.once()
            blind = False
        except InvariantViolated as error:
            log.error("plan.rejected", detail=str(error))
            await self._warn("InvariantViolated", "", str(error), 0)
            outcome = Round(result="Failed", trouble=type(error).__name__)
        except OperatorError as error:  # not ours: whoever was asked did not answer, or said no
            log.warning("round.failed", error=type(error).__name__, detail=str(error))
            await self._warn("RoundFailed", "", f"{type(error).__name__}: {error}", 0)
            outcome = Round(result="Failed", trouble=type(error).__name__)
        except Exception as error:  # the loop must outlive any bug in a round: a cluster without a loop heals nothing
            log.exception("round.failed")
            await self._warn("RoundFailed", "", f"{type(error).__name__}: {error}", 0)
            outcome = Round(result="Failed", trouble=type(error).__name__)
        self._trace.end(outcome.result, outcome.trouble)
        if blind:
            self._resting.clear()
        if outcome.result == "Failed":
            self._failures += 1
        elif not self._resting:
            self._failures = 0
        self._unchanged = self._unchanged + 1 if outcome.result == "Waiting" else 0
        return msgspec.structs.replace(outcome, seconds=time.monotonic() - started)

    async def _wait(self, outcome: Round) -> None:
        if outcome.result == "Acted":
            return
        if outcome.result == "Failed" and not self._resting:
            # Nothing could be seen. Not cut short: what fails may itself wake us.
            await asyncio.sleep(self._pause_s(self._failures - 1))
            return
        busy = outcome.result in ("Waiting", "Failed") and self._unchanged < self._pace.patience
        delay_s = self._pace.busy_s if busy else self._pace.idle_s
        try:
            async with asyncio.timeout(delay_s):
                await self._woken.wait()
        except TimeoutError:
            pass  # the usual case: nothing happened meanwhile

    async def _previous(self) -> Status | None:
        if self._status is None:
            self._status = await self._runtime.last_status()
        return self._status

    async def _publish(self, status: Status, desired: Desired | None) -> None:
        self._series.reported(status, desired_members=desired.spec.replicas if desired is not None else None)
        if status != await self._previous():
            self._unchanged = 0
            await self._runtime.publish(status)
            self._status = status

    async def _warn(self, reason: str, subject: str, message: str, generation: int) -> None:
        """Record a warning, once while it stays the same."""
        text = f"{reason} {subject} {message}"
        if text != self._last_warning:
            self._last_warning = text
            await self._runtime.record(
                Event(
                    time=self._now(),
                    kind="Warning",
                    reason=reason,
                    subject=subject,
                    message=message,
                    generation=generation,
                )
            )
