"""Planned work on an API server in this process: what is recorded, and in which order."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.model.actions import GateWorkload, RecordPlannedWork, ReleasePod, ScaleWorkload
from collectionstore_operator.model.observed import Pod, Workload
from collectionstore_operator.model.planned_work import Hibernation, PlannedWork, Switchover, decode
from collectionstore_operator.resource import labels
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.kubernetes.test_runtime import CLUSTER, RECORD, WORKLOAD, World, living


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server, clock = FakeApiServer(), Clock()
    async with await server.start() as client:
        yield World(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    await server.stop()


POD = "/api/v1/namespaces/shop/pods/demo-0"
CLAIM = "/api/v1/namespaces/shop/persistentvolumeclaims/data-demo-0"
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


def hibernation() -> PlannedWork:
    recorded = Hibernation(term=1, commit_index=5, voters=("node-0",), replicas=3, stopping=True)
    return PlannedWork(hibernation=recorded)


async def test_workload_is_scaled_and_nothing_else_of_it_changes(world: World) -> None:
    """The template of pods that start again is the one of pods that were stopped."""
    await living(world)
    before = world.server.objects[WORKLOAD]["spec"]
    desired, observed = await world.look()
    newer = msgspec.structs.replace(desired, spec=msgspec.structs.replace(desired.spec, version="9.9.9"))
    for _ in range(2):  # the answer to the first may have been lost
        await world.runtime.execute(ScaleWorkload(replicas=0, was=3, reason="x"), newer, observed)
    assert world.server.objects[WORKLOAD]["spec"] == {**before, "replicas": 0}


async def test_workload_that_has_changed_is_not_scaled(world: World) -> None:
    await living(world)
    desired, observed = await world.look()
    world.server.objects[WORKLOAD]["spec"]["replicas"] = 5
    with pytest.raises(ActionRefused, match="has changed since it was observed"):
        await world.runtime.execute(ScaleWorkload(replicas=0, was=3, reason="x"), desired, observed)


async def test_hibernated_cluster_keeps_claims_and_objects(world: World) -> None:
    """Rounds of the real loop: the pods' workload is at 0, drift is not taken for it, the claims stay."""
    await living(world)
    desired, observed = await world.look()
    await world.runtime.execute(RecordPlannedWork(work=hibernation(), was=PlannedWork(), reason="x"), desired, observed)
    world.server.objects[CLUSTER]["spec"]["hibernate"] = True
    await world.rounds(1)
    assert world.server.objects[WORKLOAD]["spec"]["replicas"] == 0
    world.nodes.answers.clear()
    world.server.objects.pop(POD)
    await world.rounds(3)
    assert world.server.objects[WORKLOAD]["spec"]["replicas"] == 0
    assert "deletionTimestamp" not in world.server.objects[CLAIM]["metadata"]
    conditions = {one["type"]: one for one in world.server.objects[CLUSTER]["status"]["conditions"]}
    assert conditions["Hibernated"]["status"] == "True"
    assert conditions["Available"]["reason"] == "Hibernated"
    world.server.objects[CLUSTER]["spec"].pop("hibernate")
    await world.rounds(1)
    assert world.server.objects[WORKLOAD]["spec"]["replicas"] == 3


async def test_template_is_gated_and_ungated_with_the_manifest(world: World) -> None:
    await living(world)
    desired, observed = await world.look()
    await world.runtime.execute(GateWorkload(reason="x"), desired, observed)
    _, observed = await world.look()
    assert isinstance(observed.workload, Workload)
    assert observed.workload.gated
    template = world.server.objects[WORKLOAD]["spec"]["template"]["spec"]
    assert template["schedulingGates"] == [{"name": labels.GATE}]
    assert world.server.objects[WORKLOAD]["metadata"]["annotations"][labels.DIGEST] == "gated"


async def test_pod_is_let_through_our_gate_only(world: World) -> None:
    await living(world)
    gates = [{"name": labels.GATE}, {"name": "example.com/quota"}]
    world.server.objects[POD]["spec"]["schedulingGates"] = gates
    desired, observed = await world.look()
    pod = observed.slot(0).pod
    assert isinstance(pod, Pod)
    assert pod.gated
    with pytest.raises(ActionRefused, match="another one than was observed"):
        await world.runtime.execute(ReleasePod(ordinal=0, name="demo-0", uid="old", reason="x"), desired, observed)
    await world.runtime.execute(ReleasePod(ordinal=0, name="demo-0", uid=pod.uid, reason="x"), desired, observed)
    assert world.server.objects[POD]["spec"]["schedulingGates"] == gates[1:]
