"""What a round may do with an observation from caches, and when the next one reads the newest state."""

from __future__ import annotations

import asyncio

import msgspec

from collectionstore_operator.errors import ActionUnfinished
from collectionstore_operator.model.actions import Action
from collectionstore_operator.model.observed import Observed, Workload
from collectionstore_operator.reconcile.loop import Pace, Reconciler
from collectionstore_operator.reconcile.reading import Reading
from collectionstore_operator.resource.desired import Desired, Spec
from collectionstore_operator.tests.reconcile.test_loop import MemoryRuntime

SETTLED = Observed(now=1_000.0, cluster_id="c", workload=Workload(replicas=3, revision="other"))


class CachedRuntime(MemoryRuntime):
    """A runtime with caches that show another state than there is; it is its own source."""

    def __init__(self) -> None:
        super().__init__()
        self.cached = SETTLED
        self.readings: list[Reading] = []
        self.from_cache = False
        self.actions_on: list[bool] = []

    def begin(self, reading: Reading) -> None:
        self.readings.append(reading)
        self.from_cache = reading is Reading.CACHED

    async def observe(self, desired: Desired) -> Observed:
        newest = await super().observe(desired)
        return self.cached if self.from_cache else newest

    async def execute(self, action: Action, desired: Desired, observed: Observed) -> None:
        self.actions_on.append(self.from_cache)
        await super().execute(action, desired, observed)


def settled() -> CachedRuntime:
    made = CachedRuntime()
    made.resource = Desired(name="demo", spec=Spec(paused=True))
    made.seen = SETTLED
    return made


async def test_empty_plan_from_caches_ends_the_round() -> None:
    runtime = settled()
    loop = Reconciler(runtime, source=runtime)
    for _ in range(3):
        await loop.once()
    assert runtime.readings == [Reading.CACHED] * 3


async def test_action_is_planned_again_from_the_newest_state() -> None:
    """The caches still show that something is to be done: it is not done again."""
    runtime = settled()
    runtime.resource = Desired(name="demo", spec=Spec(paused=False))
    runtime.cached = Observed(now=1_000.0)
    runtime.seen = msgspec.structs.replace(runtime.seen, cluster_id="c")
    await Reconciler(runtime, source=runtime).once()
    assert runtime.readings == [Reading.CACHED, Reading.NEWEST]
    assert "EstablishIdentity" not in runtime.calls
    assert not any(runtime.actions_on)


async def test_round_after_an_action_reads_the_newest_state() -> None:
    runtime = CachedRuntime()
    runtime.cached = runtime.seen
    loop = Reconciler(runtime, source=runtime)
    assert (await loop.once()).result == "Acted"
    await loop.once()
    assert runtime.readings == [Reading.CACHED, Reading.NEWEST, Reading.NEWEST]
    assert runtime.actions_on
    assert not any(runtime.actions_on)


async def test_round_after_a_failure_reads_the_newest_state() -> None:
    runtime = CachedRuntime()
    runtime.cached = runtime.seen
    runtime.trouble = ActionUnfinished("lost")
    loop = Reconciler(runtime, source=runtime)
    assert (await loop.once()).result == "Failed"
    await loop.once()
    assert runtime.readings[2] is Reading.NEWEST


async def test_caches_are_bypassed_from_time_to_time() -> None:
    """An event that was lost costs no more than that."""
    runtime = settled()
    loop = Reconciler(runtime, source=runtime, pace=Pace(newest_s=0.0))
    await loop.once()
    assert runtime.readings == [Reading.NEWEST]


async def test_rounds_of_several_clusters_take_turns() -> None:
    """With one turn, the second observes only when the first has acted."""
    turns, order = asyncio.Semaphore(1), list[str]()

    class Named(CachedRuntime):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        async def observe(self, desired: Desired) -> Observed:
            order.append(f"{self.name} observes")
            await asyncio.sleep(0)
            return await super().observe(desired)

        async def execute(self, action: Action, desired: Desired, observed: Observed) -> None:
            order.append(f"{self.name} acts")
            await super().execute(action, desired, observed)

    loops = [Reconciler(Named(name), turns=turns) for name in ("a", "b")]
    await asyncio.gather(*(one.once() for one in loops))
    assert order == ["a observes", "a acts", "b observes", "b acts"]
