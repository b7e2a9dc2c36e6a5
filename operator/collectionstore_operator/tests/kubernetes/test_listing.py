"""The periodic list: what the watch does not bring gets its loop, and a watch that is behind is noticed."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.caches.watched import clusters_of
from collectionstore_operator.kubernetes.listing import Lister
from collectionstore_operator.observability.health import STUCK_S, Health, application
from collectionstore_operator.resource import labels
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer, status
from collectionstore_operator.tests.kubernetes.test_client import Clock

CLUSTER = "/apis/collectionstore.io/v1alpha1/namespaces/shop/collectionstoreclusters/demo"


class Loops:
    """Loops that only record their calls, and what events have announced."""

    def __init__(self) -> None:
        self.ensured: list[str] = []
        self.versions: dict[tuple[str, str], str] = {}

    def ensure(self, namespace: str, name: str) -> None:
        self.ensured.append(f"{namespace}/{name}")

    def arrived(self, namespace: str, name: str) -> str:
        return self.versions.get((namespace, name), "")


class World:
    """An API server, loops, a clock, and the lister between them."""

    def __init__(self, server: FakeApiServer, kube: Kube) -> None:
        self.server, self.loops, self.clock = server, Loops(), Clock()
        self.lister = Lister(kube, self.loops, namespaces=("shop",), clock=self.clock.time)  # type: ignore[arg-type]

    def change(self, **metadata: object) -> str:
        """Change the resource; return its version."""
        body = {"metadata": {"name": "demo", "namespace": "shop", "uid": "u1", **metadata}}
        return str(self.server.put(CLUSTER, body)["metadata"]["resourceVersion"])


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server, clock = FakeApiServer(), Clock()
    async with await server.start() as client:
        yield World(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    await server.stop()


async def test_resource_that_no_event_announced_gets_its_loop(world: World) -> None:
    world.change()
    await world.lister.once()
    assert world.loops.ensured == ["shop/demo"]


async def test_resource_that_only_waits_for_others_gets_none(world: World) -> None:
    world.change(deletionTimestamp="x", finalizers=["other/one"])
    await world.lister.once()
    assert world.loops.ensured == []
    world.change(deletionTimestamp="x", finalizers=["other/one", labels.FINALIZER])
    await world.lister.once()
    assert world.loops.ensured == ["shop/demo"]


async def test_watch_is_behind_while_a_listed_version_does_not_arrive(world: World) -> None:
    world.loops.versions["shop", "demo"] = world.change()
    await world.lister.once()
    assert world.lister.behind_s() == 0.0
    world.change()
    await world.lister.once()
    world.clock.now += 100.0
    world.change()
    await world.lister.once()
    assert world.lister.behind_s() == 100.0, "of whatever version: nothing has arrived meanwhile"
    world.loops.versions["shop", "demo"] = world.server.objects[CLUSTER]["metadata"]["resourceVersion"]
    await world.lister.once()
    assert world.lister.behind_s() == 0.0


async def test_watch_that_brings_something_is_not_behind(world: World) -> None:
    """A resource that changes all the time is always a version ahead of its events."""
    for _ in range(5):
        world.change()
        await world.lister.once()
        world.clock.now += 100.0
        world.loops.versions["shop", "demo"] = f"older than {world.clock.now}"
    await world.lister.once()
    assert world.lister.behind_s() == 0.0


async def test_resource_that_is_gone_is_forgotten(world: World) -> None:
    world.change()
    await world.lister.once()
    del world.server.objects[CLUSTER]
    world.clock.now += 100.0
    await world.lister.once()
    assert world.lister.behind_s() == 0.0


async def test_api_server_that_does_not_answer_is_no_fault_of_the_watch(world: World) -> None:
    async def behave(_request: web.Request) -> web.Response:
        return status(403, "Forbidden")

    world.server.behave = behave
    world.clock.now += 1_000.0
    assert world.lister.silent_s() == 1_000.0
    await world.lister.once()
    assert world.lister.silent_s() == world.lister.behind_s() == 0.0


@pytest.mark.parametrize("source", ["listing_s", "watch_behind_s"])
async def test_liveness_fails_while_lists_or_the_watch_are_stuck(source: str) -> None:
    health = Health()
    async with TestClient(TestServer(application(health))) as client:
        for seconds, code in ((STUCK_S, 200), (STUCK_S + 1, 503)):
            setattr(health, source, lambda seconds=seconds: seconds)
            async with client.get("/livez") as answer:
                assert answer.status == code


def test_objects_wake_the_clusters_of_their_owners_and_of_their_labels() -> None:
    """An object whose labels were removed is still found by its owner."""
    owned = {"ownerReferences": [{"kind": labels.KIND, "name": "demo"}, {"kind": "Deployment", "name": "web"}]}
    assert clusters_of(owned) == {"demo"}
    assert clusters_of({"labels": labels.object_labels("shop")}) == {"shop"}
    assert clusters_of({"labels": {labels.CLUSTER: "shop"}}) == set()
    assert clusters_of({}) == set()
