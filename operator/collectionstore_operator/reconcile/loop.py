"""The reconcile loop: observe, assess, plan, report, act. The only one, for Kubernetes and for one machine.

A round begins with an observation and ends after at most one disturbing action; then the loop observes again. A
change of the resource, a pod or a process only wakes it: nothing is decided from the event itself (level-triggered).

An observation may come from caches, which may be late. So what a round does is never planned from them: a plan with
actions is made again from the newest state, and only that one is performed.

Invariants:
- nothing is done, and no status written, unless this operator has the right to act on the cluster (`hold`);
- the spec is never written; an invalid resource is reported and nothing else is done about it;
- only `execute` changes the cluster, only by an action of the plan, and every action is an Event;
- plan, status and actions of a round rest on one assessment, the last that was made;
- no action rests on a cache, and none follows a round that acted or failed before the newest state was observed;
- the status is published BEFORE the actions it announces, so that a long action can be watched;
- an action is not repeated within a round, and none follows one that was refused or whose outcome is unknown and that
  later ones may depend on: the order of a plan is a guarantee;
- an action that failed is not retried before a backoff, which doubles; observation and status go on meanwhile;
- no error ends the loop: the next round follows, after a backoff that doubles while the same error persists.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

import msgspec
import structlog
from prometheus_client import CollectorRegistry

from collectionstore_operator import faults
from collectionstore_operator.errors import (
    ActionRefused,
    ActionUnfinished,
    HeldElsewhere,
    InvalidResource,
    InvariantViolated,
    OperatorError,
)
from collectionstore_operator.model.actions import (
    Action,
    ApplyObject,
    ConfigureAccess,
    CreateFinalBackup,
    DeleteObject,
    DeleteReleased,
    DenyRequest,
    GrantEnrolment,
    RestoreLabels,
    SetReclaimPolicy,
    SignRequest,
    StartPod,
    disruptive,
    drifted_kind,
)
from collectionstore_operator.model.assessment import Assessment, assess
from collectionstore_operator.model.observed import Observed
from collectionstore_operator.model.plan import Plan, with_failures
from collectionstore_operator.observability.metrics import LoopSeries, OperatorMetrics
from collectionstore_operator.observability.tracing.rounds import NoTrace, RoundTrace
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.reconcile.reading import NewestOnly, Reading, Source
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.status.changes import changed_conditions
from collectionstore_operator.status.events import Event, subject_of
from collectionstore_operator.status.published import Status
from collectionstore_operator.status.report import refused, report
from collectionstore_operator.status.stale import STALE_S, stale

DETACHED: Final = (CreateFinalBackup,)
"""No later action of a plan depends on these, whatever became of them: also one whose outcome is unknown, as of a
webhook that does not answer, must not keep a cluster from being repaired while its deletion waits."""
INDEPENDENT: Final = (
    *DETACHED,
    ApplyObject,
    ConfigureAccess,
    DeleteObject,
    DeleteReleased,
    DenyRequest,
    GrantEnrolment,
    RestoreLabels,
    SetReclaimPolicy,
    SignRequest,
    StartPod,
)
"""No later action of a plan depends on these: one that is refused must not keep a cluster from being repaired.

`StampVolume` is not among them: a node must not become a member before its volume names it. A volume that still names
an earlier, removed incarnation counts as that of no member, and would be retired without a check of the quorum.
"""

log = structlog.get_logger(__name__)


class Runtime(Protocol):
    """What the loop runs on: a cluster in Kubernetes, or processes of this machine. No decision is made in it.

    `desired`, `observe` and `last_status` are queries: they change nothing outside this process. `hold` changes only
    who may act.
    """

    async def desired(self) -> Desired | None:
        """Read the resource; None once it is gone or released. Raises InvalidResource."""

    async def hold(self, desired: Desired) -> str:
        """Take or renew the right to act on the cluster; return what there is to tell about it, else empty.

        Raises HeldElsewhere.
        """

    async def observe(self, desired: Desired) -> Observed:
        """Observe everything; what cannot be read is Unknown."""

    async def execute(self, action: Action, desired: Desired, observed: Observed) -> None:
        """Perform one action; doing it twice is harmless. Raises ActionRefused or ActionUnfinished."""

    async def publish(self, status: Status) -> None:
        """Make a changed status visible."""

    async def last_status(self) -> Status | None:
        """Return the status published last, also by an earlier loop; None when there is none."""

    async def publish_observation(self, observed: Observed) -> None:
        """Make the observation available to other programs, every round, AFTER the status that rests on it."""

    async def record(self, event: Event) -> None:
        """Make an event visible."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Delays between rounds. A wake-up cuts each of them short, except the backoff after a failed observation."""

    busy_s: float = 0.25
    """While a step of the plan is blocked."""
    idle_s: float = 2.0
    """While the plan is settled; a failed member is noticed after at most this and one observation."""
    backoff_max_s: float = 10.0
    """Longest backoff after failed rounds; the first is `busy_s`, each next twice as long."""
    patience: int = 120
    """Consecutive rounds with a blocked plan and an unchanged status after which `idle_s` applies."""
    stale_s: float = STALE_S
    """Rounds that fail for longer than this set the conditions to Unknown."""
    newest_s: float = 600.0
    """After at most this time a round reads the newest state whatever the caches say: so much can an event that was
    lost cost."""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one round."""

    result: Literal["Gone", "Refused", "Acted", "Waiting", "Settled", "Failed", "Standby"]
    actions: int = 0
    trouble: str = ""
    """Class of the error that ended it; empty if none did."""
    seconds: float = 0.0


class _Decision(NamedTuple):
    """What a round has found and decided."""

    desired: Desired
    observed: Observed
    assessment: Assessment
    plan: Plan


class Reconciler:
    """Runs rounds for one resource until it is stopped."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        pace: Pace | None = None,
        now: Callable[[], float] = time.time,
        finished: Callable[[Round], None] | None = None,
        series: LoopSeries | None = None,
        trace: RoundTrace | None = None,
        source: Source | None = None,
        turns: AbstractAsyncContextManager[object] | None = None,
    ) -> None:
        """`source` is what `runtime` reads from, if it has caches; `turns` bounds how many loops have a round at once.

        `finished` is called with the outcome of every round, failed ones too: a loop that stays silent is stuck.
        """
        self._finished = finished
        self._series = series or OperatorMetrics(CollectorRegistry()).loop("", "")
        self._trace = trace or NoTrace()
        self._source = source or NewestOnly()
        self._turns = turns or contextlib.nullcontext()
        self._runtime = runtime
        self._pace = pace or Pace()
        self._now = now
        self._woken = asyncio.Event()
        self._failures = 0
        self._backoff_until: dict[Action, float] = {}
        self._last_failure: dict[Action, str] = {}
        self._unchanged = 0
        self._observed_at = time.monotonic()
        self._status: Status | None = None
        self._last_warning = ""
        self._standing_by = False
        self._next_reading = Reading.CACHED
        self._newest_due = time.monotonic() + self._pace.newest_s * random.uniform(0.5, 1.0)
        """Spread: all loops start together."""

    def wake(self) -> None:
        """Start the next round as soon as the running one is over."""
        self._woken.set()

    async def run(self) -> None:
        """Run rounds until cancelled, or until the resource is gone."""
        while True:
            # Cleared BEFORE the observation: what changes during it must wake the next round.
            self._woken.clear()
            outcome = await self._guarded_round()
            self._series.round_finished(outcome.result, outcome.seconds, trouble=outcome.trouble)
            if self._finished is not None:
                self._finished(outcome)
            if outcome.result == "Gone":
                return
            await self._wait(outcome)

    async def once(self) -> Round:
        """Run one round, in its turn: observe, assess, plan, report, act."""
        async with self._turns:
            return await self._round()

    async def _round(self) -> Round:
        reading = Reading.NEWEST if time.monotonic() >= self._newest_due else self._next_reading
        self._next_reading = Reading.NEWEST  # until this round has ended without an action
        decision = await self._decide(reading)
        if self._source.from_cache and isinstance(decision, _Decision) and decision.plan.actions:
            decision = await self._decide(Reading.NEWEST)
        if isinstance(decision, Round):
            return decision
        desired, observed, assessment, planned = decision
        faults.reach("Round.observed")
        self._trace.planned(desired.generation, planned)
        with self._trace.step("publish status"):
            # BEFORE the actions: an action can take minutes, and `status.plan` says which one is running and why.
            self._last_failure = {one: self._last_failure[one] for one in planned.actions if one in self._last_failure}
            told = with_failures(planned, self._last_failure, independent=INDEPENDENT)
            await self._publish(report(assessment, told, await self._previous()), desired)
        # AFTER the status: csctl takes a fresh observation as the sign that the status beside it is as fresh.
        await self._runtime.publish_observation(observed)
        faults.reach("Round.published")
        outcome = await self._act(desired, observed, planned)
        if outcome.result in ("Waiting", "Settled"):
            self._next_reading = Reading.CACHED
        return outcome

    async def _decide(self, reading: Reading) -> _Decision | Round:
        """Observe and plan; return the outcome of the round where there is nothing to plan."""
        if reading is Reading.NEWEST:
            self._newest_due = time.monotonic() + self._pace.newest_s * random.uniform(0.5, 1.0)
        self._source.begin(reading)
        runtime, step = self._runtime, self._trace.step
        try:
            with step("read resource"):
                desired = await runtime.desired()
        except InvalidResource as error:
            await self._publish(refused(error, await self._previous(), self._now()), None)
            return Round(result="Refused", trouble=type(error).__name__)
        if desired is None:
            return Round(result="Gone")
        try:
            with step("hold lease"):
                taken = await runtime.hold(desired)
        except HeldElsewhere as error:
            # Not even the status is written: two operators would write over each other.
            self._standing_by = True
            log.warning("round.standby", reason=str(error))
            await self._warn("HeldElsewhere", "", str(error), desired.generation)
            return Round(result="Standby")
        self._standing_by = False
        if taken:
            event = Event(time=self._now(), reason="TookOver", message=taken, generation=desired.generation)
            await runtime.record(event)
        with step("observe"):
            observed = await runtime.observe(desired)
        with step("plan"):
            assessment = assess(desired, observed)
            planned = plan(assessment)
        return _Decision(desired, observed, assessment, planned)

    async def _act(self, desired: Desired, observed: Observed, planned: Plan) -> Round:
        started = time.monotonic()
        self._backoff_until = {action: until for action, until in self._backoff_until.items() if until > started}
        performed: list[str] = []
        failed = ""
        for action in planned.actions:
            if action in self._backoff_until:
                if isinstance(action, INDEPENDENT):
                    continue
                break  # later actions may depend on it: a finalizer before objects, an identity before volumes
            name, subject = type(action).__name__, subject_of(action, desired)
            with self._trace.action(name, subject, action.reason):
                trouble = await self._perform(action, name, subject, desired, observed)
                if trouble:
                    self._trace.failed(trouble)
            if trouble:
                failed = trouble
                self._backoff_until[action] = started + self._backoff_s(self._failures)
                if isinstance(action, INDEPENDENT) and trouble == ActionRefused.__name__:
                    continue
                if isinstance(action, DETACHED):
                    continue
                break
            performed.append(name)
            if disruptive(action):
                break  # its effect must be observed before anything else is decided
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

    def _backoff_s(self, failures: int) -> float:
        return min(self._pace.backoff_max_s, self._pace.busy_s * 2.0 ** min(failures, 16))

    async def _perform(self, action: Action, name: str, subject: str, desired: Desired, observed: Observed) -> str:
        """Perform one action and record its outcome; return the class of the error, empty when it was done."""
        started = time.monotonic()
        outcome = "Unfinished"
        try:
            faults.reach(f"{name}.before")
            await self._runtime.execute(action, desired, observed)
            faults.reach(f"{name}.after")
            outcome = "Done"
        except (ActionRefused, ActionUnfinished) as error:
            if isinstance(error, ActionRefused):
                outcome = "Refused"
            log.warning("action.failed", action=name, subject=subject, outcome=outcome, detail=str(error))
            self._last_failure[action] = str(error)
            # One refusal is normal: the configuration index moved between observation and call. Two in a row are not.
            if self._failures > 0:
                await self._warn(f"{name}{outcome}", subject, str(error), desired.generation)
            return type(error).__name__
        finally:
            self._series.acted(name, outcome, time.monotonic() - started)
        self._last_failure.pop(action, None)
        seconds = time.monotonic() - started
        log.info("action.performed", action=name, subject=subject, reason=action.reason, seconds=round(seconds, 3))
        self._last_warning = ""
        drifted = drifted_kind(action)
        if drifted:
            self._series.drift_corrected(drifted)
        await self._runtime.record(
            Event(
                time=self._now(),
                kind="Warning" if drifted else "Normal",
                reason="DriftCorrected" if drifted else name,
                subject=subject,
                message=action.reason,
                seconds=round(seconds, 3),
                generation=desired.generation,
            )
        )
        return ""

    async def _guarded_round(self) -> Round:
        started, unobserved = time.monotonic(), True
        self._trace.begin()
        try:
            outcome = await self.once()
            unobserved = False
        except InvariantViolated as error:
            log.error("plan.rejected", detail=str(error))
            await self._warn("InvariantViolated", "", str(error), 0)
            outcome = Round(result="Failed", trouble=type(error).__name__)
        except OperatorError as error:  # the API server or a node failed to answer, or refused
            log.warning("round.failed", error=type(error).__name__, detail=str(error))
            await self._warn("RoundFailed", "", f"{type(error).__name__}: {error}", 0)
            outcome = Round(result="Failed", trouble=type(error).__name__)
        except Exception as error:  # the loop must survive any bug in a round: a cluster without a loop is not repaired
            log.exception("round.failed")
            await self._warn("RoundFailed", "", f"{type(error).__name__}: {error}", 0)
            outcome = Round(result="Failed", trouble=type(error).__name__)
        self._trace.end(outcome.result, outcome.trouble)
        if not unobserved:
            self._observed_at = time.monotonic()
        elif time.monotonic() - self._observed_at >= self._pace.stale_s:
            await self._tell_stale(outcome.trouble)
        if unobserved:
            # Nothing was observed, so the backoff of single actions says nothing any more: the round's own applies.
            self._backoff_until.clear()
        if outcome.result == "Failed":
            self._failures += 1
        elif not self._backoff_until:
            self._failures = 0
        self._unchanged = self._unchanged + 1 if outcome.result == "Waiting" else 0
        return msgspec.structs.replace(outcome, seconds=time.monotonic() - started)

    async def _tell_stale(self, trouble: str) -> None:
        """Set the conditions to Unknown: a status that nobody has checked for so long must not say that all is well."""
        previous = await self._previous()
        if previous is None or self._standing_by:
            return
        told = stale(previous, self._pace.stale_s, trouble, self._now())
        if told == previous:
            return
        seconds = round(time.monotonic() - self._observed_at, 1)
        log.error("status.stale", seconds=seconds, detail=trouble)
        try:
            await self._publish(told, None)
        except OperatorError as error:
            # What keeps rounds from ending may keep this from being written, too: it is tried again after the next.
            log.warning("status.not_written", detail=str(error))

    async def _wait(self, outcome: Round) -> None:
        if outcome.result == "Acted":
            return
        if outcome.result == "Failed" and not self._backoff_until:
            # Observation failed. A wake-up does not cut this short: the failing object may itself cause watch events.
            await asyncio.sleep(self._backoff_s(self._failures - 1))
            return
        busy = outcome.result in ("Waiting", "Failed") and self._unchanged < self._pace.patience
        # Spread, or the rounds of all clusters would come together for ever: their loops start together.
        delay_s = self._pace.busy_s if busy else self._pace.idle_s * random.uniform(0.8, 1.0)
        try:
            async with asyncio.timeout(delay_s):
                await self._woken.wait()
        except TimeoutError:
            pass  # no wake-up within the delay: the next round is due

    async def _previous(self) -> Status | None:
        if self._status is None:
            self._status = await self._runtime.last_status()
        return self._status

    async def _publish(self, status: Status, desired: Desired | None) -> None:
        members = None if desired is None else 0 if desired.spec.asleep else desired.spec.replicas
        self._series.reported(status, desired_members=members)
        previous = await self._previous()
        if status != previous:
            self._unchanged = 0
            await self._runtime.publish(status)
            self._status = status
            await self._report_changes(previous, status)

    async def _report_changes(self, previous: Status | None, status: Status) -> None:
        """Log every condition that changed, and record an Event for each but Progressing: actions have their own."""
        for one in changed_conditions(previous, status):
            if one.good:
                log.info("condition.changed", type=one.type, status=one.status, reason=one.reason, detail=one.message)
            else:
                log.warning(
                    "condition.changed", type=one.type, status=one.status, reason=one.reason, detail=one.message
                )
            if one.recorded:
                await self._runtime.record(
                    Event(
                        time=self._now(),
                        kind="Normal" if one.good else "Warning",
                        reason=f"{one.type}{one.status}",
                        message=f"{one.reason}: {one.message}",
                        generation=status.observed_generation,
                    )
                )

    async def _warn(self, reason: str, subject: str, message: str, generation: int) -> None:
        """Record a warning Event, once while it stays the same: a persisting fault must not flood the Events."""
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
