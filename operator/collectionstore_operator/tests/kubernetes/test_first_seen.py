"""For how long a pod is not ready is measured by the operator's own monotonic clock, however wrong any other one is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.first_seen import FirstSeen
from collectionstore_operator.model.observed import Pod
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.kubernetes.test_runtime import World

POD = "/api/v1/namespaces/shop/pods/demo-0"
LONG_AGO, FAR_AHEAD = "2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server, clock = FakeApiServer(), Clock()
    async with await server.start() as client:
        yield World(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    await server.stop()


async def unready_s(world: World) -> float:
    _, observed = await world.look()
    pod = observed.slot(0).pod
    assert isinstance(pod, Pod)
    return pod.unready_s


def say(world: World, ready: str, at: str) -> None:
    found = world.server.objects[POD]
    conditions = [{"type": "Ready", "status": ready, "lastTransitionTime": at}]
    world.server.put(POD, {**found, "status": {**found["status"], "conditions": conditions}})


@pytest.mark.parametrize("told", [LONG_AGO, FAR_AHEAD])
async def test_it_counts_from_when_it_was_first_seen(world: World, told: str) -> None:
    """With a clock that is ahead a member would be replaced at once; with one that is behind, never."""
    world.create()
    await world.rounds(2)
    world.pod(0)
    assert await unready_s(world) == 0.0
    say(world, "False", told)
    assert await unready_s(world) == 0.0
    world.seconds += 40.0
    assert await unready_s(world) == 40.0
    world.seconds += 40.0
    assert await unready_s(world) == 80.0
    say(world, "True", told)
    assert await unready_s(world) == 0.0
    say(world, "False", told)
    assert await unready_s(world) == 0.0


async def test_a_pod_that_was_ready_between_two_looks_begins_again(world: World) -> None:
    world.create()
    await world.rounds(2)
    world.pod(0)
    say(world, "False", LONG_AGO)
    await unready_s(world)
    world.seconds += 40.0
    say(world, "False", "2001-01-01T00:00:30Z")
    assert await unready_s(world) == 0.0


def test_states_that_are_gone_are_forgotten() -> None:
    now = [0.0]
    seen = FirstSeen(lambda: now[0])
    for uid in range(1_000):
        assert seen.lasted({0: f"{uid} then", 1: "always"}) == {0: 0.0, 1: now[0]}
        now[0] += 1.0
    assert seen.lasted({}) == {}
    assert seen.lasted({1: "always"}) == {1: 0.0}
