"""Reads of one cluster: what a cache may answer, and when only the API server's answer counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.caches.reads import REMEMBERED_S, Reads
from collectionstore_operator.kubernetes.caches.store import Store
from collectionstore_operator.kubernetes.caches.watched import WATCHED
from collectionstore_operator.kubernetes.certificate_requests import SIGNER
from collectionstore_operator.kubernetes.clusters import PACE
from collectionstore_operator.reconcile.reading import Reading
from collectionstore_operator.resource import labels
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock

NAMESPACE = "/api/v1/namespaces/shop"
SELECTOR = labels.selector("demo")


class Stores:
    """Caches whose stores the test fills; stands for `caches.Caches`."""

    def __init__(self) -> None:
        self.stores = {one.kind: Store(trim=one.trim, group=one.group) for one in WATCHED}
        for one in self.stores.values():
            one.replace([], "0")
        self.broken: set[Kind] = set()

    def store(self, kind: Kind, _namespace: str | None) -> Store | None:
        return None if kind in self.broken else self.stores.get(kind)

    def watches(self, kind: Kind, _namespace: str | None) -> bool:
        return kind in self.stores


class World:
    """An API server, caches that show what the test lets them, and the reads of one cluster."""

    def __init__(self, server: FakeApiServer, kube: Kube) -> None:
        self.server = server
        self.stores = Stores()
        self.clock = Clock()
        self.reads = Reads(kube, self.stores, clock=self.clock.time)  # type: ignore[arg-type]
        self.reads.begin(Reading.CACHED)

    def put(self, name: str, *, kind: str = "pods", **metadata: Any) -> Body:
        body = {"metadata": {"name": name, "namespace": "shop", "labels": labels.object_labels("demo"), **metadata}}
        return self.server.put(f"{NAMESPACE}/{kind}/{name}", body)

    def show(self, kind: Kind, *bodies: Body) -> None:
        """Let the cache have these objects now."""
        version = max((int(one["metadata"]["resourceVersion"]) for one in bodies), default=0)
        self.stores.stores[kind].replace(bodies, str(version))

    def asked(self) -> int:
        """Return how many requests the server got since the last call."""
        count = len(self.server.requests)
        self.server.requests.clear()
        return count


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server = FakeApiServer()
    async with await server.start() as client:
        yield World(server, Kube(client))
    await server.stop()


async def test_cache_answers_without_a_request(world: World) -> None:
    pod = world.put("demo-0")
    world.show(Kind.POD, pod)
    assert await world.reads.find(Kind.POD, "demo-0", "shop") is not None
    assert len(await world.reads.find_all(Kind.POD, "shop", SELECTOR)) == 1
    assert world.reads.from_cache
    assert world.asked() == 0


async def test_newest_state_is_read_from_the_server(world: World) -> None:
    world.show(Kind.POD, world.put("demo-0"))
    world.reads.begin(Reading.NEWEST)
    assert await world.reads.find(Kind.POD, "demo-0", "shop") is not None
    assert not world.reads.from_cache
    assert world.asked() == 1


@pytest.mark.parametrize("kind", [Kind.POD, Kind.PERSISTENT_VOLUME_CLAIM, Kind.STATEFUL_SET, Kind.CLUSTER])
async def test_object_that_a_cache_does_not_have_is_asked_for_every_time(world: World, kind: Kind) -> None:
    """It may be there and have lost its labels, or be so new: only the server's answer proves that it is gone."""
    for _ in range(2):
        assert await world.reads.find(kind, "demo", "shop") is None
        assert world.asked() == 1


async def test_missing_object_that_only_costs_a_delay_is_asked_for_once_in_a_while(world: World) -> None:
    for _ in range(3):
        assert await world.reads.find(Kind.NETWORK_POLICY, "demo", "shop") is None
    assert world.asked() == 1
    world.clock.now += REMEMBERED_S[Kind.NETWORK_POLICY] + 1
    await world.reads.find(Kind.NETWORK_POLICY, "demo", "shop")
    assert world.asked() == 1


async def test_namespace_is_asked_for_every_time(world: World) -> None:
    """Nothing may be created in one that is being deleted, and its pods go at once."""
    for _ in range(2):
        await world.reads.find(Kind.NAMESPACE, "shop")
        assert world.asked() == 1


async def test_secret_is_remembered_for_a_moment_and_read_again_before_anything_is_done(world: World) -> None:
    world.put("demo-authority", kind="secrets", uid="first")
    for _ in range(2):
        assert await world.reads.find(Kind.SECRET, "demo-authority", "shop") is not None
    assert world.asked() == 1
    del world.server.objects[f"{NAMESPACE}/secrets/demo-authority"]
    world.reads.begin(Reading.NEWEST)
    assert await world.reads.find(Kind.SECRET, "demo-authority", "shop") is None
    world.reads.begin(Reading.CACHED)
    assert await world.reads.find(Kind.SECRET, "demo-authority", "shop") is None, "what was read last is remembered"


@pytest.mark.parametrize(
    ("kind", "path", "within_s"),
    [
        (Kind.CONFIG_MAP, f"{NAMESPACE}/configmaps/a", 2 * PACE.idle_s),
        (Kind.SECRET, f"{NAMESPACE}/secrets/a", 2 * PACE.idle_s),
        (Kind.POD_MONITOR, "/apis/monitoring.coreos.com/v1/namespaces/shop/podmonitors/a", 2 * PACE.idle_s),
        (Kind.PERSISTENT_VOLUME, "/api/v1/persistentvolumes/a", 60.0 + PACE.idle_s),
    ],
)
async def test_edit_that_no_watch_tells_of_is_seen_in_time(
    world: World, kind: Kind, path: str, within_s: float
) -> None:
    """By rounds that find nothing to do, a little closer together than what is remembered for the shortest time."""
    namespace = "shop" if kind.value.namespaced else None
    world.server.put(path, {"metadata": {"name": "a"}})
    assert await world.reads.find(kind, "a", namespace) is not None
    del world.server.objects[path]
    started, found = world.clock.now, True
    while found:
        world.clock.now += PACE.idle_s - 0.1
        world.reads.begin(Reading.CACHED)
        found = await world.reads.find(kind, "a", namespace) is not None
        assert world.clock.now - started <= within_s


async def test_store_that_cannot_be_relied_on_is_not_used(world: World) -> None:
    world.show(Kind.POD, world.put("demo-0"))
    world.stores.broken.add(Kind.POD)
    assert len(await world.reads.find_all(Kind.POD, "shop", SELECTOR)) == 1
    assert world.asked() == 1
    assert not world.reads.from_cache


async def test_cache_behind_what_the_round_before_has_read_is_not_used(world: World) -> None:
    """The loop reads its own writes, and never looks back."""
    old = world.put("demo-0", annotations={"n": "1"})
    world.show(Kind.POD, old)
    new = world.put("demo-0", uid=old["metadata"]["uid"], annotations={"n": "2"})
    world.reads.begin(Reading.NEWEST)
    await world.reads.find(Kind.POD, "demo-0", "shop")
    world.asked()
    world.reads.begin(Reading.CACHED)
    found = await world.reads.find(Kind.POD, "demo-0", "shop")
    assert found is not None
    assert found["metadata"]["annotations"] == {"n": "2"}
    assert world.asked() == 1
    world.show(Kind.POD, new)
    assert await world.reads.find(Kind.POD, "demo-0", "shop") is not None
    assert world.asked() == 0


async def test_cache_behind_an_own_write_is_not_used(world: World) -> None:
    world.show(Kind.POD, world.put("demo-0"))
    world.reads.saw(Kind.POD, world.put("demo-0"))
    await world.reads.find(Kind.POD, "demo-0", "shop")
    assert world.asked() == 1


async def test_cache_that_shows_what_was_seen_to_be_gone_is_not_used(world: World) -> None:
    pod, claim = world.put("demo-0"), world.put("data-demo-0", kind="persistentvolumeclaims")
    world.show(Kind.POD, pod)
    world.show(Kind.PERSISTENT_VOLUME_CLAIM, claim)
    del world.server.objects[f"{NAMESPACE}/pods/demo-0"]
    world.reads.begin(Reading.NEWEST)
    assert await world.reads.find_all(Kind.POD, "shop", SELECTOR) == []
    world.reads.begin(Reading.CACHED)
    assert await world.reads.find_all(Kind.POD, "shop", SELECTOR) == []
    assert await world.reads.find(Kind.POD, "demo-0", "shop") is None
    world.show(Kind.POD)
    world.asked()
    assert await world.reads.find_all(Kind.POD, "shop", SELECTOR) == []
    assert world.asked() == 0


async def test_next_newest_round_measures_anew(world: World) -> None:
    """After an API server was restored from a backup its versions are lower: the caches are used again."""
    world.reads.saw(Kind.POD, {"metadata": {"resourceVersion": "1000000"}})
    world.show(Kind.POD, world.put("demo-0"))
    await world.reads.find_all(Kind.POD, "shop", SELECTOR)
    assert world.asked() == 1
    world.reads.begin(Reading.NEWEST)
    world.reads.begin(Reading.CACHED)
    await world.reads.find_all(Kind.POD, "shop", SELECTOR)
    assert world.asked() == 0


async def test_requests_of_a_cluster_are_those_of_its_account(world: World) -> None:
    def request(name: str, user: str) -> Body:
        path = f"/apis/certificates.k8s.io/v1/certificatesigningrequests/{name}"
        return world.server.put(path, {"metadata": {"name": name}, "spec": {"username": user, "signerName": SIGNER}})

    both = request("a", "ours"), request("b", "others")
    world.stores.broken.add(Kind.SIGNING_REQUEST)
    assert [one["metadata"]["name"] for one in await world.reads.requests_of("ours", SIGNER)] == ["a"]
    world.stores.broken.clear()
    world.show(Kind.SIGNING_REQUEST, *both)
    world.asked()
    assert [one["metadata"]["name"] for one in await world.reads.requests_of("ours", SIGNER)] == ["a"]
    assert world.asked() == 0


async def test_what_was_remembered_is_dropped_in_time(world: World) -> None:
    await world.reads.find(Kind.SECRET, "a", "shop")
    world.clock.now += REMEMBERED_S[Kind.SECRET] + 1
    world.reads.begin(Reading.NEWEST)
    assert world.reads.remembered == 0
