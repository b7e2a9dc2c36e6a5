"""The loop: observe, report, act, observe again; no error ends it, and a persisting one is reported once."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from collectionstore_operator.errors import (
    ActionRefused,
    ActionUnfinished,
    FieldError,
    HeldElsewhere,
    InvalidResource,
)
from collectionstore_operator.model.actions import Action, EnsureWorkload, EstablishIdentity
from collectionstore_operator.model.observed import Observed, Unknown, Volume, Workload
from collectionstore_operator.reconcile.loop import Pace, Reconciler
from collectionstore_operator.resource.deletion import Deletion, FinalBackup
from collectionstore_operator.resource.desired import Desired, Spec
from collectionstore_operator.resource.repository import Repository
from collectionstore_operator.status.events import Event
from collectionstore_operator.status.published import Status
from collectionstore_operator.tests.planning.pictures import draw, make_desired

FAST = Pace(busy_s=0.001, idle_s=0.001, backoff_max_s=0.002)


class MemoryRuntime:
    """A runtime in memory: records every call, and applies actions to what it returns next."""

    def __init__(self) -> None:
        self.resource: Desired | InvalidResource | None = Desired(name="demo", generation=2, spec=Spec(paused=False))
        self.seen = Observed(now=1_000.0)
        self.calls: list[str] = []
        self._called = asyncio.Event()
        self.events: list[Event] = []
        self.published: list[Status] = []
        self.trouble: Exception | None = None
        self.refused = ""
        self.refusal: Exception = ActionRefused("not allowed here")
        self.held_by = ""
        self.taken_from: list[str] = []
        self.blindness: Exception | None = None

    async def desired(self) -> Desired | None:
        if isinstance(self.resource, InvalidResource):
            raise self.resource
        return self.resource

    async def hold(self, desired: Desired) -> str:
        if self.held_by:
            raise HeldElsewhere(f"the operator {self.held_by} holds the Lease")
        return self.taken_from.pop() if self.taken_from else ""

    async def observe(self, desired: Desired) -> Observed:
        self._note("observe")
        if self.blindness is not None:
            raise self.blindness
        return self.seen

    async def execute(self, action: Action, desired: Desired, observed: Observed) -> None:
        self._note(type(action).__name__)
        if self.trouble is not None:
            raise self.trouble
        if type(action).__name__ == self.refused:
            raise self.refusal
        if isinstance(action, EstablishIdentity):
            self.seen = msgspec.structs.replace(self.seen, cluster_id="c")
        elif isinstance(action, EnsureWorkload):
            workload = Workload(replicas=action.replicas, revision=action.revision)
            self.seen = msgspec.structs.replace(self.seen, workload=workload)

    async def publish(self, status: Status) -> None:
        self._note("publish")
        self.published.append(status)

    async def last_status(self) -> Status | None:
        return self.published[-1] if self.published else None

    async def publish_observation(self, observed: Observed) -> None:
        self._note("publish_observation")

    async def record(self, event: Event) -> None:
        self.events.append(event)

    async def until(self, count: int, call: str) -> None:
        """Wait until a call was made so often."""
        async with asyncio.timeout(10):
            while self.calls.count(call) < count:
                self._called.clear()
                await self._called.wait()

    def _note(self, call: str) -> None:
        self.calls.append(call)
        self._called.set()


@pytest.fixture
def runtime() -> MemoryRuntime:
    return MemoryRuntime()


async def test_status_is_published_before_the_action_it_announces(runtime: MemoryRuntime) -> None:
    """A long action is visible in `status.plan` while it runs."""
    outcome = await Reconciler(runtime, now=lambda: 5.0).once()
    assert runtime.calls == ["observe", "publish", "publish_observation", "EstablishIdentity"]
    assert (outcome.result, outcome.actions) == ("Acted", 1)
    assert runtime.published[0].plan[0].step == "EstablishIdentity"
    assert runtime.published[0].observed_generation == 2


async def test_every_action_is_an_event_with_its_reason(runtime: MemoryRuntime) -> None:
    """Time, subject and generation are in it."""
    await Reconciler(runtime, now=lambda: 5.0).once()
    (event,) = runtime.events
    assert (event.time, event.kind, event.reason, event.subject) == (5.0, "Normal", "EstablishIdentity", "demo")
    assert event.message
    assert event.generation == 2


async def test_unchanged_status_is_not_published_again(runtime: MemoryRuntime) -> None:
    """An idle cluster writes nothing."""
    runtime.seen = Observed(now=1_000.0, cluster_id="c", workload=Workload(replicas=3, revision="other"))
    runtime.resource = Desired(name="demo", spec=Spec(paused=True))
    reconciler = Reconciler(runtime)
    await reconciler.once()
    await reconciler.once()
    assert runtime.calls == ["observe", "publish", "publish_observation", "observe", "publish_observation"]


async def test_next_loop_continues_from_the_published_status(runtime: MemoryRuntime) -> None:
    """A restart of the operator does not change the status."""
    runtime.resource = Desired(name="demo", spec=Spec(paused=True))
    await Reconciler(runtime).once()
    await Reconciler(runtime).once()
    assert runtime.calls.count("publish") == 1


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [(ActionRefused("stale"), "EstablishIdentityRefused"), (ActionUnfinished("lost"), "EstablishIdentityUnfinished")],
)
async def test_action_that_keeps_failing_is_reported_once(
    runtime: MemoryRuntime, trouble: Exception, reason: str
) -> None:
    """The loop neither stops nor floods the Events."""
    runtime.trouble = trouble
    loop = asyncio.create_task(Reconciler(runtime, pace=FAST).run())
    await runtime.until(5, "EstablishIdentity")
    loop.cancel()
    (event,) = runtime.events
    assert (event.kind, event.reason, event.message) == ("Warning", reason, str(trouble))


async def test_step_whose_action_is_refused_is_blocked_by_the_refusal(runtime: MemoryRuntime) -> None:
    """An admission policy against one object: `blockedBy` says so until it is done; others are not held up by it."""
    runtime.seen = Observed(now=1_000.0, cluster_id="c", objects=(), certificates=())
    runtime.refused = "ApplyObject"
    reconciler = Reconciler(runtime, pace=FAST)
    for _ in range(2):
        await reconciler.once()
    steps = {(one.step, one.blocked_by) for one in runtime.published[-1].plan if not one.step.startswith("Bootstrap")}
    assert steps == {("IssueCertificate", ""), ("ApplyObject", "the last attempt failed: not allowed here")}
    runtime.refused = "IssueCertificate"
    reconciler = Reconciler(runtime, pace=FAST)
    for _ in range(2):
        await reconciler.once()
    authority, operator, *others = [one.blocked_by for one in runtime.published[-1].plan if one.step != "Bootstrap"]
    assert authority == "the last attempt failed: not allowed here"
    assert {operator, *others} == {"IssueCertificate demo must complete first"}
    progress = runtime.published[-1].condition("Progressing")
    assert progress is not None
    assert progress.reason == "Blocked"
    runtime.refused = ""
    async with asyncio.timeout(10):  # until its backoff is over, and the status after it
        while any(one.blocked_by for one in runtime.published[-1].plan if one.step != "Bootstrap"):
            await reconciler.once()
            await asyncio.sleep(0)


async def test_action_that_fails_once_is_retried_without_a_warning(runtime: MemoryRuntime) -> None:
    """A refusal that the next observation resolves is normal."""
    runtime.trouble = ActionRefused("stale")
    loop = asyncio.create_task(Reconciler(runtime, pace=FAST).run())
    await runtime.until(1, "EstablishIdentity")
    runtime.trouble = None
    await runtime.until(1, "EnsureWorkload")
    loop.cancel()
    assert [event.kind for event in runtime.events] == ["Normal", "Normal"]


async def test_status_is_updated_during_the_backoff_of_an_action(runtime: MemoryRuntime) -> None:
    """Observation and status go on; the action itself is not retried early, however often the loop is woken."""
    runtime.trouble = ActionRefused("stale")
    reconciler = Reconciler(runtime, pace=Pace(busy_s=3_600, idle_s=3_600, backoff_max_s=3_600))
    loop = asyncio.create_task(reconciler.run())
    await runtime.until(1, "EstablishIdentity")
    for looks in (2, 3):
        reconciler.wake()
        await runtime.until(looks, "publish_observation")
    assert runtime.calls.count("EstablishIdentity") == 1
    runtime.seen = Observed(now=1_000.0, cluster_id="c")
    runtime.trouble = None
    reconciler.wake()
    await runtime.until(1, "EnsureWorkload")
    loop.cancel()


async def test_refused_object_does_not_hold_up_later_actions(runtime: MemoryRuntime) -> None:
    """An admission policy against one object must not stop a repair; an unknown outcome stops the round."""
    runtime.seen = Observed(now=1_000.0, cluster_id="c", objects=())
    runtime.refused = "ApplyObject"
    first = await Reconciler(runtime).once()
    assert runtime.calls.count("ApplyObject") == 5
    assert runtime.calls[-1] == "EnsureWorkload"
    assert (first.result, first.actions, first.trouble) == ("Failed", 1, "ActionRefused")
    runtime.calls.clear()
    runtime.trouble = ActionUnfinished("no answer")
    await Reconciler(runtime).once()
    assert runtime.calls.count("ApplyObject") == 1
    assert runtime.calls[-1] == "ApplyObject"


@pytest.mark.parametrize("error", [ActionRefused("exceeded quota"), ActionUnfinished("the webhook did not answer")])
async def test_final_backup_that_cannot_be_created_does_not_hold_up_a_repair(
    runtime: MemoryRuntime, error: Exception
) -> None:
    """A deletion can wait for weeks: neither a quota nor a webhook may leave the cluster without its repair."""
    deletion = Deletion(final_backup=FinalBackup(repository=Repository(url="s3://backups/demo")))
    wish = msgspec.structs.replace(make_desired(3, deletion=deletion), uid="u1", deleting=True)
    runtime.resource = wish
    runtime.seen = draw("0: leader\n1: voter\n2: voter down=900", wish, finalizer=True)
    runtime.refused, runtime.refusal = "CreateFinalBackup", error
    reconciler = Reconciler(runtime)
    await reconciler.once()
    assert runtime.calls[-1] == "RetireVolume"
    await reconciler.once()
    told = {one.step: one.blocked_by for one in runtime.published[-1].plan}
    assert told.pop("CreateFinalBackup") == f"the last attempt failed: {error}"
    assert "" in told.values()


@pytest.mark.parametrize("stamp", [Unknown("no node has been observed on it yet"), "removed"])
async def test_node_does_not_join_before_its_volume_is_stamped(runtime: MemoryRuntime, stamp: str | Unknown) -> None:
    """A volume that names a removed incarnation would later be retired without a check of the quorum."""
    wish = make_desired(3)
    observed = draw("0: leader\n1: voter\n2: fresh", wish)
    volume = msgspec.structs.replace(Volume(name="data-demo-2"), node_id=stamp)
    slots = (*observed.slots[:2], msgspec.structs.replace(observed.slots[2], volume=volume))
    runtime.resource, runtime.seen = wish, msgspec.structs.replace(observed, slots=slots, stamps_volumes=True)
    runtime.refused = "StampVolume"
    outcome = await Reconciler(runtime).once()
    assert (outcome.result, outcome.actions, outcome.trouble) == ("Failed", 0, "ActionRefused")
    assert runtime.calls[-1] == "StampVolume"
    runtime.refused = ""
    await Reconciler(runtime).once()
    assert runtime.calls[-2:] == ["StampVolume", "AddLearners"]


async def test_invalid_resource_is_reported_and_nothing_else_is_done(runtime: MemoryRuntime) -> None:
    """The cluster is not even observed: an invalid spec does not say which state is desired."""
    runtime.resource = InvalidResource([FieldError("spec.replicas", "4 tolerate no more than 3", "3, 5, 7 or 9")])
    assert (await Reconciler(runtime).once()).result == "Refused"
    assert runtime.calls == ["publish"]
    accepted = runtime.published[0].condition("Accepted")
    assert accepted is not None
    assert accepted.status == "False"
    assert "spec.replicas" in accepted.message


async def test_loop_ends_when_the_resource_is_gone(runtime: MemoryRuntime) -> None:
    """Nothing is left to reconcile."""
    runtime.resource = None
    async with asyncio.timeout(10):
        await Reconciler(runtime, pace=FAST).run()
    assert runtime.calls == []


async def test_loop_survives_errors_in_a_round(runtime: MemoryRuntime) -> None:
    """A bug or an I/O error during an observation is an Event, and the next round follows."""
    runtime.blindness = OSError("input/output error")
    loop = asyncio.create_task(Reconciler(runtime, pace=FAST).run())
    await runtime.until(3, "observe")
    runtime.blindness = None
    await runtime.until(1, "EstablishIdentity")
    loop.cancel()
    assert [event.reason for event in runtime.events][:2] == ["RoundFailed", "EstablishIdentity"]
    assert runtime.events[0].message == "OSError: input/output error"


async def test_wake_up_cuts_the_delay_short(runtime: MemoryRuntime) -> None:
    """A change is observed at once, however long the idle delay is."""
    runtime.resource = Desired(name="demo", spec=Spec(paused=True))
    reconciler = Reconciler(runtime, pace=Pace(busy_s=3_600, idle_s=3_600))
    loop = asyncio.create_task(reconciler.run())
    await runtime.until(1, "publish_observation")
    reconciler.wake()
    await runtime.until(2, "publish_observation")
    loop.cancel()


async def test_loop_observes_again_at_once_after_an_action(runtime: MemoryRuntime) -> None:
    """Delays apply only while there is nothing to do."""
    loop = asyncio.create_task(Reconciler(runtime, pace=Pace(busy_s=3_600, idle_s=3_600)).run())
    await runtime.until(1, "EnsureWorkload")
    await runtime.until(3, "observe")
    loop.cancel()
    assert [event.reason for event in runtime.events] == ["EstablishIdentity", "EnsureWorkload"]


@pytest.mark.parametrize(("patience", "quick"), [(0, False), (1_000_000, True)])
async def test_step_that_stays_blocked_is_observed_less_often(
    runtime: MemoryRuntime, patience: int, *, quick: bool
) -> None:
    """A step blocked on a person would otherwise be observed every second for weeks; a wake-up ends the delay."""
    workload = Workload(replicas=3, revision="other")
    runtime.seen = Observed(now=1_000.0, cluster_id="c", workload=workload)
    runtime.resource = Desired(name="demo", spec=Spec(paused=True))
    reconciler = Reconciler(runtime, pace=Pace(busy_s=0.0, idle_s=3_600, patience=patience))
    loop = asyncio.create_task(reconciler.run())
    await runtime.until(1, "publish_observation")
    for _ in range(100):
        await asyncio.sleep(0)
    assert (runtime.calls.count("publish_observation") > 1) is quick
    reconciler.wake()
    await runtime.until(2, "publish_observation")
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


async def test_operator_without_the_right_to_act_observes_and_writes_nothing() -> None:
    """And says once who has it."""
    runtime = MemoryRuntime()
    runtime.held_by = "ops/other"
    loop = Reconciler(runtime)
    assert [(await loop.once()).result for _ in range(3)] == ["Standby"] * 3
    assert not runtime.published
    assert "observe" not in runtime.calls
    assert [event.reason for event in runtime.events] == ["HeldElsewhere"]


async def test_takeover_is_an_event() -> None:
    runtime = MemoryRuntime()
    runtime.taken_from = ["the operator ops/other did not renew the Lease"]
    loop = Reconciler(runtime)
    await loop.once()
    await loop.once()
    told = [event.message for event in runtime.events if event.reason == "TookOver"]
    assert told == ["the operator ops/other did not renew the Lease"]


async def test_conditions_become_unknown_when_rounds_fail_for_long() -> None:
    """Once while the reason is the same; the next round that observes says again what it sees."""
    runtime = MemoryRuntime()
    loop = Reconciler(runtime, pace=Pace(busy_s=0.0, stale_s=0.0))
    await loop._guarded_round()
    runtime.blindness = RuntimeError("no answer")
    before = len(runtime.published)
    for _ in range(3):
        assert (await loop._guarded_round()).result == "Failed"
    assert len(runtime.published) == before + 1
    told = {one.type: one for one in runtime.published[-1].conditions}
    assert {told[kind].status for kind in ("Ready", "Available", "Degraded", "QuorumSafe")} == {"Unknown"}
    assert {told[kind].status for kind in ("Accepted",)} == {"True"}
    assert told["Ready"].reason == "RoundsFailing"
    assert "RuntimeError" in told["Ready"].message
    runtime.blindness = None
    await loop._guarded_round()
    assert runtime.published[-1].condition("Ready").status == "False"  # type: ignore[union-attr]


async def test_short_failure_leaves_the_conditions_alone() -> None:
    runtime = MemoryRuntime()
    loop = Reconciler(runtime, pace=Pace(busy_s=0.0, stale_s=3_600.0))
    await loop._guarded_round()
    runtime.blindness = RuntimeError("no answer")
    before = list(runtime.published)
    await loop._guarded_round()
    assert runtime.published == before
