"""Clusters on a failing API server, under operators that die at any request: always safe, and they converge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from collectionstore_operator.errors import OperatorError
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.runtime import ClusterRuntime
from collectionstore_operator.reconcile.loop import Reconciler
from collectionstore_operator.resource import labels
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.simulation.simulated_kube import NAMESPACE, SimulatedKube

CLUSTER = "/apis/collectionstore.io/v1alpha1/namespaces/shop/collectionstoreclusters/demo"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/demo-operator"
GRACE_S = 20
ROUNDS_MAX = 300


class Life:
    """A resource on a simulated Kubernetes, and one operator after another."""

    def __init__(self, world: SimulatedKube, kube: Kube) -> None:
        self.world = world
        self.kube = kube
        self.epoch = 0
        self.operator = self._next_operator()

    def want(self, **spec: Any) -> None:
        """Create or edit the resource."""
        objects = self.world.server.objects
        found = objects.get(CLUSTER) or {
            "apiVersion": labels.API_VERSION,
            "kind": labels.KIND,
            "metadata": {"name": "demo", "namespace": "shop", "generation": 1, "uid": "u1"},
            "spec": {"failedMember": {"graceSeconds": GRACE_S}},
        }
        self.world.server.put(CLUSTER, {**found, "spec": {**found["spec"], **spec}})

    def _next_operator(self, holder: str = "ops/op") -> Reconciler:
        self.epoch += 1
        recorder = Recorder(self.kube, f"op-{self.epoch}")
        runtime = ClusterRuntime(
            self.kube,
            self.world.members,
            recorder,
            namespace="shop",
            name="demo",
            holder=holder,
            clock=lambda: self.world.cluster.time,
        )
        return Reconciler(runtime)

    async def round(self) -> str:
        """Run one round, let an operator that died be followed by another, and let a second pass."""
        task = asyncio.create_task(self.operator.once())
        self.world.trouble.kill = task.cancel
        try:
            result: str = (await task).result
        except OperatorError as error:
            result = type(error).__name__
        except asyncio.CancelledError:
            result = "Died"
        if self.world.trouble.dead:
            self.operator = self._next_operator()
            self.world.trouble.dead = False
        self.world.tick()
        return result

    async def settle(self) -> None:
        """Run until nothing remains to be done for two rounds."""
        quiet = 0
        for _ in range(ROUNDS_MAX):
            quiet = quiet + 1 if await self.round() == "Settled" else 0
            if quiet == 2:
                return
        plan = self.world.server.objects[CLUSTER]["status"].get("plan")
        raise AssertionError(f"did not settle; remaining: {plan}; {self.world.trouble.log_lines[-5:]}")

    async def trouble(self, rounds: int, *, faults: float, deaths: float) -> None:
        """Run under trouble for a while."""
        self.world.trouble.faults, self.world.trouble.deaths = faults, deaths
        for _ in range(rounds):
            await self.round()
        self.world.trouble.faults = self.world.trouble.deaths = 0.0

    def voters(self) -> list[str]:
        return self.world.cluster.voters_by_name()


@asynccontextmanager
async def living(seed: int) -> AsyncIterator[Life]:
    """Start a simulated Kubernetes and its first operator."""
    world, clock = SimulatedKube(seed), Clock()
    try:
        async with await world.server.start() as client:
            yield Life(world, Kube(client, clock=clock.time, sleep=clock.sleep))
    finally:
        await world.server.stop()


@pytest.mark.parametrize("seed", range(4))
async def test_operators_that_die_anywhere_lose_nothing_and_leave_nothing_half_done(seed: int) -> None:
    """Bootstrap, scale up, lose a volume, upgrade, scale down, delete; the operator may die at every request."""
    async with living(seed) as life:
        cluster = life.world.cluster
        life.want(replicas=3)
        await life.trouble(25, faults=0.02, deaths=0.03)
        await life.settle()
        assert life.voters() == ["demo-0", "demo-1", "demo-2"]
        life.want(replicas=5)
        await life.trouble(15, faults=0.02, deaths=0.03)
        await life.settle()
        assert len(life.voters()) == 5
        cluster.lose_disk(life.world.trouble.random.choice(sorted(cluster.pods)))
        life.world.show()
        await life.trouble(15, faults=0.02, deaths=0.03)
        life.want(version="0.2.0")
        await life.trouble(20, faults=0.02, deaths=0.03)
        life.want(replicas=3)
        await life.trouble(15, faults=0.02, deaths=0.03)
        await life.settle()
        assert life.voters() == ["demo-0", "demo-1", "demo-2"]
        assert cluster.bootstraps == 1
        assert len({pod.revision for pod in cluster.pods.values()}) == 1
        assert life.epoch > 3, "nobody died: the test tests nothing"
        await delete(life)
        kept = [path for path in life.world.server.objects if "/persistentvolumeclaims/" in path]
        assert len(kept) >= 3


async def delete(life: Life) -> None:
    """Delete the resource, under faults, until it is gone."""
    life.world.server.objects[CLUSTER]["metadata"]["deletionTimestamp"] = "x"
    life.world.cluster.deleting = True
    await life.trouble(8, faults=0.02, deaths=0.03)
    for _ in range(20):
        if await life.round() == "Gone":
            break
    assert life.world.server.objects[CLUSTER]["metadata"]["finalizers"] == []
    assert not life.world.cluster.pods
    assert not [path for path in life.world.server.objects if path.startswith(f"{NAMESPACE}/pods/")]


async def test_recreated_resource_finds_its_data_on_retained_volumes() -> None:
    """The same members with the same volumes: nothing is bootstrapped a second time."""
    async with living(11) as life:
        life.want(replicas=3)
        await life.settle()
        before = set(life.world.cluster.configuration.voters)
        life.world.trouble.deaths = 0.03
        await delete(life)
        del life.world.server.objects[CLUSTER]
        # Garbage collection: what belonged to the resource goes with it.
        for path, body in list(life.world.server.objects.items()):
            if body.get("metadata", {}).get("ownerReferences"):
                del life.world.server.objects[path]
        life.world.cluster.workload, life.world.cluster.deleting = None, False
        life.want(replicas=3)
        found = life.world.server.objects[CLUSTER]
        life.world.server.put(CLUSTER, {**found, "metadata": {**found["metadata"], "uid": "u2"}})
        await life.trouble(20, faults=0.02, deaths=0.03)
        await life.settle()
        assert set(life.world.cluster.configuration.voters) == before
        assert life.world.cluster.bootstraps == 1


@pytest.mark.parametrize("seed", [21, 22])
async def test_member_on_a_lost_machine_is_replaced_elsewhere(seed: int) -> None:
    """No kubelet confirms that its pod stopped: it is force-deleted once no new pod can get its volume, not before."""
    async with living(seed) as life:
        life.want(replicas=3)
        await life.settle()
        lost = life.world.trouble.random.choice(sorted(life.world.cluster.pods))
        before = life.world.cluster.disks[lost].node_id
        life.world.cluster.lose_machine(lost)
        life.world.show()
        await life.trouble(GRACE_S + 10, faults=0.02, deaths=0.02)
        await life.settle()
        assert life.voters() == ["demo-0", "demo-1", "demo-2"]
        assert before not in life.world.cluster.configuration.voters
        assert [disk.node_id for disk in life.world.cluster.retired] == [before]


async def test_replaced_operator_does_nothing() -> None:
    """Another installation took the Lease over: the first one neither acts nor writes the status."""
    async with living(12) as life:
        life.want(replicas=3)
        await life.settle()
        life.world.server.objects[LEASE]["spec"]["holderIdentity"] = ""
        old, life.operator = life.operator, life._next_operator("ops-2/op")
        life.want(replicas=5)
        await life.settle()
        assert len(life.voters()) == 5
        life.want(replicas=3)
        before = life.world.server.objects[CLUSTER]
        index = life.world.cluster.configuration.index
        assert (await old.once()).result == "Standby"
        assert life.world.cluster.configuration.index == index
        assert life.world.server.objects[CLUSTER] == before
