"""Planned work on an API server in this process: what is recorded, and in which order."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.model.actions import RecordPlannedWork
from collectionstore_operator.model.planned_work import PlannedWork, Switchover, decode
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.kubernetes.test_runtime import RECORD, World, living


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server, clock = FakeApiServer(), Clock()
    async with await server.start() as client:
        yield World(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    await server.stop()


BEGUN = PlannedWork(switchover=Switchover(request="r", term=4))
DONE = PlannedWork(switchover=Switchover(request="r", term=5, done=True))


async def test_planned_work_is_recorded_beside_the_other_facts(world: World) -> None:
    await living(world)
    before = dict(world.server.objects[RECORD]["data"])
    desired, observed = await world.look()
    await world.runtime.execute(RecordPlannedWork(work=BEGUN, was=PlannedWork(), reason="x"), desired, observed)
    assert decode(world.server.objects[RECORD]["data"].pop("planned-work")) == BEGUN
    assert world.server.objects[RECORD]["data"] == before


async def test_recorded_work_is_observed_and_forgotten(world: World) -> None:
    await living(world)
    desired, observed = await world.look()
    await world.runtime.execute(RecordPlannedWork(work=BEGUN, was=PlannedWork(), reason="x"), desired, observed)
    _, observed = await world.look()
    assert observed.planned_work == BEGUN
    await world.runtime.execute(RecordPlannedWork(work=PlannedWork(), was=BEGUN, reason="x"), desired, observed)
    assert (await world.look())[1].planned_work == PlannedWork()


async def test_step_that_was_planned_from_another_record_is_refused(world: World) -> None:
    """Two operators, or a step whose answer was lost: the second of the two is harmless, a third one is refused."""
    await living(world)
    desired, observed = await world.look()
    for work, was in ((BEGUN, PlannedWork()), (BEGUN, PlannedWork()), (DONE, BEGUN)):
        await world.runtime.execute(RecordPlannedWork(work=work, was=was, reason="x"), desired, observed)
    with pytest.raises(ActionRefused, match="another step of planned work"):
        await world.runtime.execute(RecordPlannedWork(work=BEGUN, was=PlannedWork(), reason="x"), desired, observed)
    assert decode(world.server.objects[RECORD]["data"]["planned-work"]) == DONE


async def test_damaged_record_of_planned_work_stops_no_round(world: World) -> None:
    """What else there is to do is done; only planned work waits for hands."""
    await living(world)
    world.server.objects[RECORD]["data"]["planned-work"] = "{"
    assert "Failed" not in await world.rounds(2)
    _, observed = await world.look()
    assert "not valid" in observed.planned_work.unreadable
