"""Clusters whose operators observe through caches that are late: each kind for itself, and by another time every round.

Everything else is as in `test_faults`: each action is judged against the truth, and a cluster must settle.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest

from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.caches.reads import Reads
from collectionstore_operator.kubernetes.caches.store import Store
from collectionstore_operator.kubernetes.caches.watched import WATCHED
from collectionstore_operator.kubernetes.runtime import ClusterRuntime
from collectionstore_operator.reconcile.loop import Reconciler
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.kubernetes.test_faults import Life
from collectionstore_operator.tests.simulation.simulated_kube import SimulatedKube

LAG_MAX: Final = 8
"""In rounds, of which the simulation has one a second."""


class LateCaches:
    """Stores that show how the objects were up to LAG_MAX rounds ago; stands for `caches.Caches`."""

    def __init__(self, world: SimulatedKube, seed: int) -> None:
        self._world = world
        self._random = random.Random(seed)
        self._past: deque[dict[str, Body]] = deque(maxlen=LAG_MAX + 1)
        self._shown = {one.kind: 0 for one in WATCHED}
        self.stores = {one.kind: Store(trim=one.trim, group=one.group) for one in WATCHED}
        self.lag_max = LAG_MAX
        self._round = 0
        self.step()

    def step(self) -> None:
        """Let each store catch up by some rounds, or not at all, but never go back."""
        self._past.append(copy.deepcopy(self._world.server.objects))
        self._round += 1
        for one in WATCHED:
            lag = self._random.randint(0, min(self.lag_max, len(self._past) - 1))
            at = max(self._shown[one.kind], self._round - lag)
            self._shown[one.kind] = at
            objects = self._past[at - self._round - 1]
            found = [_placed(body, path) for path, body in objects.items() if path.split("/")[-2] == one.kind.plural]
            versions = [int(body["metadata"]["resourceVersion"]) for body in objects.values()]
            self.stores[one.kind].replace(found, str(max(versions, default=0)))

    def store(self, kind: Kind, _namespace: str | None) -> Store | None:
        return self.stores.get(kind)

    def watches(self, kind: Kind, _namespace: str | None) -> bool:
        return kind in self.stores


def _placed(body: Body, path: str) -> Body:
    """Return an object with its namespace, which the simulation leaves out."""
    namespace = "shop" if "/namespaces/shop/" in path else ""
    return {**body, "metadata": {**body["metadata"], "namespace": namespace}}


class LateLife(Life):
    """A resource whose operators observe through late caches."""

    def __init__(self, world: SimulatedKube, kube: Kube, seed: int) -> None:
        self.caches = LateCaches(world, seed)
        super().__init__(world, kube)

    def _next_operator(self, holder: str = "ops/op") -> Reconciler:
        self.epoch += 1
        runtime = ClusterRuntime(
            self.kube,
            self.world.members,
            Recorder(self.kube, f"op-{self.epoch}"),
            namespace="shop",
            name="demo",
            holder=holder,
            reads=Reads(self.kube, self.caches),  # type: ignore[arg-type]
        )
        return Reconciler(runtime, source=runtime.reads)

    async def round(self) -> str:
        result = await super().round()
        self.caches.step()
        return result

    async def settle(self) -> None:
        """Settle for longer than any cache can be late: what a late cache hides is done in the end."""
        for _ in range(LAG_MAX + 1):
            await super().settle()


@asynccontextmanager
async def living(seed: int) -> AsyncIterator[LateLife]:
    world, clock = SimulatedKube(seed), Clock()
    try:
        async with await world.server.start() as client:
            yield LateLife(world, Kube(client, clock=clock.time, sleep=clock.sleep), seed)
    finally:
        await world.server.stop()


@pytest.mark.parametrize("seed", range(4))
async def test_late_caches_cost_time_and_nothing_else(seed: int) -> None:
    """Bootstrap, scale up, lose a volume, upgrade, scale down, under faults and operators that die."""
    async with living(seed) as life:
        cluster = life.world.cluster
        life.want(replicas=3)
        await life.trouble(25, faults=0.02, deaths=0.02)
        await life.settle()
        assert life.voters() == ["demo-0", "demo-1", "demo-2"]
        life.want(replicas=5)
        await life.trouble(15, faults=0.02, deaths=0.02)
        await life.settle()
        assert len(life.voters()) == 5
        cluster.lose_disk(life.world.trouble.random.choice(sorted(cluster.pods)))
        life.world.show()
        await life.trouble(15, faults=0.02, deaths=0.02)
        life.want(version="0.2.0")
        await life.trouble(20, faults=0.02, deaths=0.02)
        life.want(replicas=3)
        await life.trouble(15, faults=0.02, deaths=0.02)
        await life.settle()
        assert life.voters() == ["demo-0", "demo-1", "demo-2"]
        assert cluster.bootstraps == 1
        assert len({pod.revision for pod in cluster.pods.values()}) == 1


async def test_settled_cluster_is_observed_without_reads() -> None:
    """What is left in a minute is the renewal of its Lease and what only the server can tell, once."""
    async with living(9) as life:
        life.caches.lag_max = 0
        life.want(replicas=3)
        await life.settle()
        life.world.server.requests.clear()
        assert await life.round() == "Settled"
        assert {(method, path.rpartition("/")[0]) for method, path in life.world.server.requests} <= {
            ("GET", "/api/v1/namespaces")
        }


async def test_pod_that_a_late_cache_still_shows_is_not_restarted_again() -> None:
    """A rollout restarts every pod once: what a restart did is read before the next one is decided."""
    async with living(10) as life:
        life.want(replicas=3)
        await life.settle()
        life.world.server.requests.clear()
        life.want(version="0.2.0")
        await life.settle()
        evicted = [path for method, path in life.world.server.requests if path.endswith("/eviction")]
        assert sorted(path.split("/")[-2] for path in evicted) == ["demo-0", "demo-1", "demo-2"]
