"""Two installations that watch the same resource: one acts, and the other takes over when it is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.api.api_errors import OverBudget
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.runtime import ClusterRuntime
from collectionstore_operator.model.actions import MemberRef, RaiseEpoch, RestartPod, TransferLeadership
from collectionstore_operator.reconcile.loop import Reconciler
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer, status
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.kubernetes.test_runtime import CLUSTER, LEASE, World, living

POD = "/api/v1/namespaces/shop/pods/demo-0"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server, clock = FakeApiServer(), Clock()
    async with await server.start() as client:
        yield World(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    await server.stop()


def second(world: World) -> ClusterRuntime:
    """Return the runtime of another installation."""
    kube = world.kube
    return ClusterRuntime(kube, world.nodes, Recorder(kube, "op-2"), namespace="shop", name="demo", holder="ops-2/op")


async def test_only_one_operator_acts_and_the_other_says_why_it_waits(world: World) -> None:
    """Not even its status is written."""
    world.create()
    await world.rounds(2)
    before = world.server.objects[CLUSTER]
    loop = Reconciler(second(world))
    assert [(await loop.once()).result for _ in range(2)] == ["Standby", "Standby"]
    assert world.server.objects[CLUSTER] == before
    told = [
        one for path, one in world.server.objects.items() if "/events/" in path and one["reason"] == "HeldElsewhere"
    ]
    assert [one["note"] for one in told] == ["the operator ops/op holds the Lease demo-operator of this cluster"]


async def test_operator_takes_over_a_released_lease_and_raises_the_epoch_above_that_of_the_nodes(world: World) -> None:
    """The nodes have seen the epoch of one that knew no Lease; nothing happens before that step."""
    await living(world)
    world.node(0, state="Member", last_index=5, term=1, epoch=1_790_000_000)
    assert await world.rounds(1) == ["Acted"]
    _, observed = await world.look()
    assert observed.epoch == 1_790_000_001
    events = {one["reason"]: one["note"] for path, one in world.server.objects.items() if "/events/" in path}
    assert "demo-0 has seen epoch 1790000000" in events["RaiseEpoch"]
    world.server.objects[LEASE]["spec"]["holderIdentity"] = ""
    loop = Reconciler(second(world))
    assert (await loop.once()).result != "Standby"
    assert world.server.objects[LEASE]["spec"]["holderIdentity"] == "ops-2/op"
    assert (await world.rounds(1)) == ["Standby"]


async def test_disruptive_action_reads_the_lease_again(world: World) -> None:
    """This operator was suspended since its last look: another one holds the Lease by now."""
    await living(world)
    desired, observed = await world.look()
    world.server.objects[LEASE]["spec"]["holderIdentity"] = "ops-2/op"
    restart = RestartPod(ordinal=0, name="demo-0", uid="p0", reason="x")
    transfer = TransferLeadership(
        leader=MemberRef(node_id="node-0", name="demo-0"), to=MemberRef(node_id="node-1", name="demo-1"), reason="x"
    )
    for action in (restart, transfer, RaiseEpoch(epoch=9, reason="x")):
        with pytest.raises(ActionRefused, match="is not held any more"):
            await world.runtime.execute(action, desired, observed)
    assert POD in world.server.objects
    assert not [call for call in world.nodes.calls if "transfer" in call]


async def test_restart_of_a_healthy_pod_is_an_eviction_of_this_pod(world: World) -> None:
    """By uid, under the budget; one that the budget refuses is refused at once, and not retried as an overload."""
    await living(world)
    desired, observed = await world.look()
    refusing = True

    async def behave(request: object) -> object:
        if refusing and request.path.endswith("/eviction"):  # type: ignore[attr-defined]
            causes = [{"reason": "DisruptionBudget", "message": "The disruption budget demo needs 2 healthy pods"}]
            return status(429, "TooManyRequests", "Cannot evict pod", causes=causes)
        return None

    world.server.behave = behave  # type: ignore[assignment]
    action = RestartPod(ordinal=0, name="demo-0", uid="p0", evict=True, reason="x")
    world.server.requests.clear()
    with pytest.raises(ActionRefused, match="Cannot evict pod") as raised:
        await world.runtime.execute(action, desired, observed)
    assert isinstance(raised.value.__cause__, OverBudget)
    assert [path for method, path in world.server.requests if method == "POST"] == [f"{POD}/eviction"]
    refusing = False
    with pytest.raises(ActionRefused, match="uid"):
        await world.runtime.execute(
            RestartPod(ordinal=0, name="demo-0", uid="p9", evict=True, reason="x"), desired, observed
        )
    await world.runtime.execute(action, desired, observed)
    assert POD not in world.server.objects
