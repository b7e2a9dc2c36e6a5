"""The client of the API server: which responses are retried, how they are decoded, and preconditions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable

import pytest
from aiohttp import web

from collectionstore_operator.kubernetes.api import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    Kind,
    Kube,
    NotFound,
    Unavailable,
)
from collectionstore_operator.kubernetes.api.kinds import kind_named
from collectionstore_operator.tests.kubernetes.fake_api_server import Behaviour, FakeApiServer, status

PODS = "/api/v1/namespaces/shop/pods"
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "demo-0", "namespace": "shop"}}


class Clock:
    """Time that advances only during `sleep`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self._goal = float("inf")
        self._reached = asyncio.Event()

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        if self.now >= self._goal:
            self._reached.set()

    async def until(self, goal: float) -> None:
        """Wait until others have slept so long."""
        self._goal = goal
        self._reached.clear()
        await asyncio.wait_for(self._reached.wait(), 60)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    server = FakeApiServer()
    yield server
    await server.stop()


@pytest.fixture
async def kube(server: FakeApiServer, clock: Clock) -> AsyncIterator[Kube]:
    async with await server.start() as client:
        yield Kube(client, clock=clock.time, sleep=clock.sleep, random_source=random.Random(1))


def answer_first(answers: Iterable[web.StreamResponse]) -> Behaviour:
    """Return a behaviour that gives these responses, one per request, and then none."""
    rest = iter(answers)

    async def behave(_request: web.Request) -> web.StreamResponse | None:
        return next(rest, None)

    return behave


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
async def test_transient_error_is_retried(server: FakeApiServer, kube: Kube, clock: Clock, code: int) -> None:
    server.put(f"{PODS}/demo-0", POD)
    server.behave = answer_first([status(code, "Trouble") for _ in range(3)])
    assert (await kube.get(Kind.POD, "demo-0", "shop"))["metadata"]["name"] == "demo-0"
    assert len(server.requests) == 4
    assert kube.retries == 3
    assert all(low <= slept <= 2 * low for low, slept in zip((0.05, 0.1, 0.2), clock.slept, strict=True))


async def test_retry_after_is_respected(server: FakeApiServer, kube: Kube, clock: Clock) -> None:
    busy = status(429, "TooManyRequests")
    busy.headers["Retry-After"] = "7"
    server.put(f"{PODS}/demo-0", POD)
    server.behave = answer_first([busy])
    await kube.get(Kind.POD, "demo-0", "shop")
    assert clock.slept == [7.0]


async def test_lost_connection_is_retried(server: FakeApiServer, kube: Kube) -> None:
    cut = [True, True]

    async def behave(request: web.Request) -> None:
        if cut and cut.pop() and request.transport is not None:
            request.transport.close()

    server.put(f"{PODS}/demo-0", POD)
    server.behave = behave
    assert await kube.find(Kind.POD, "demo-0", "shop") is not None
    assert not cut
    assert kube.retries >= 1  # aiohttp repeats a GET by itself, once


async def test_persisting_error_is_raised_after_the_deadline(server: FakeApiServer, kube: Kube, clock: Clock) -> None:
    async def behave(_request: web.Request) -> web.Response:
        return web.Response(status=502, text="<html>bad gateway</html>")

    server.behave = behave
    with pytest.raises(Unavailable, match="bad gateway") as caught:
        await kube.get(Kind.POD, "demo-0", "shop")
    assert caught.value.status == 502
    assert 10 < clock.now <= 20


async def test_unreachable_server_is_raised_after_the_deadline(server: FakeApiServer, kube: Kube, clock: Clock) -> None:
    await server.stop()
    with pytest.raises(Unavailable, match="GET /api/v1/namespaces/shop/pods"):
        await kube.find_all(Kind.POD, "shop")
    assert 10 < clock.now <= 20


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", Invalid),
        (401, "Unauthorized", Forbidden),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (422, "Invalid", Invalid),
    ],
)
async def test_permanent_error_is_raised_at_once(
    server: FakeApiServer, kube: Kube, code: int, reason: str, kind: type[ApiError]
) -> None:
    server.behave = answer_first([status(code, reason, "because")] * 2)
    with pytest.raises(kind, match=r"PATCH .*: because") as caught:
        await kube.apply(POD)
    assert type(caught.value) is kind
    assert len(server.requests) == 1


async def test_terminating_namespace_is_recognized(server: FakeApiServer, kube: Kube) -> None:
    server.behave = answer_first([status(403, "Forbidden", causes=[{"reason": "NamespaceTerminating"}])])
    with pytest.raises(Forbidden) as caught:
        await kube.create(POD)
    assert caught.value.namespace_terminating


async def test_list_is_paged_and_restarts_when_its_token_expires(server: FakeApiServer, kube: Kube) -> None:
    def page(names: list[str], token: str = "") -> web.Response:
        return web.json_response({"metadata": {"continue": token}, "items": [{"name": name} for name in names]})

    server.behave = answer_first(
        [page(["a"], "t1"), status(410, "Expired"), page(["a"], "t2"), page(["b"], "t3"), page(["c"])]
    )
    found = await kube.find_all(Kind.POD, "shop", {"b": "2", "a": "1"})
    assert [one["name"] for one in found] == ["a", "b", "c"]
    assert [query.get("continue") for query in server.queries] == [None, "t1", None, "t2", "t3"]
    assert {query["labelSelector"] for query in server.queries} == {"a=1,b=2"}


async def test_delete_has_preconditions_and_is_idempotent(server: FakeApiServer, kube: Kube) -> None:
    server.put(f"{PODS}/demo-0", POD | {"metadata": {"name": "demo-0", "uid": "u1"}})
    with pytest.raises(Conflict):
        await kube.delete(Kind.POD, "demo-0", "shop", uid="u2")
    assert await kube.delete(Kind.POD, "demo-0", "shop", uid="u1")
    assert not await kube.delete(Kind.POD, "demo-0", "shop", uid="u1")
    assert server.bodies[-1]["preconditions"] == {"uid": "u1"}


async def test_delete_whose_response_was_lost_is_no_error(server: FakeApiServer, kube: Kube) -> None:
    server.put(f"{PODS}/demo-0", POD)
    lost = [True]

    async def behave(request: web.Request) -> web.Response | None:
        if lost and lost.pop():
            del server.objects[request.path]
            return status(504, "Timeout")
        return None

    server.behave = behave
    assert not await kube.delete(Kind.POD, "demo-0", "shop")


async def test_apply_names_its_field_manager(server: FakeApiServer, kube: Kube) -> None:
    await kube.apply(POD, force=False)
    await kube.apply(POD)
    assert server.queries == [
        {"fieldManager": "collectionstore-operator", "force": "false"},
        {"fieldManager": "collectionstore-operator", "force": "true"},
    ]
    assert server.requests[0] == ("PATCH", f"{PODS}/demo-0")


async def test_replace_of_a_changed_object_is_a_conflict(server: FakeApiServer, kube: Kube) -> None:
    read = server.put(f"{PODS}/demo-0", POD | {"metadata": {"name": "demo-0", "namespace": "shop"}})
    server.put(f"{PODS}/demo-0", read)
    with pytest.raises(Conflict):
        await kube.replace(read)


def test_paths_are_those_of_the_api() -> None:
    assert Kind.POD.path("shop", "demo-0") == f"{PODS}/demo-0"
    assert Kind.POD.path(None) == "/api/v1/pods"
    assert Kind.NODE.path("shop", "n1") == "/api/v1/nodes/n1"
    assert Kind.CLUSTER.path("shop", "demo", "status") == (
        "/apis/collectionstore.io/v1alpha1/namespaces/shop/collectionstoreclusters/demo/status"
    )
    assert Kind.SECRET.path("shop", "../x") == "/api/v1/namespaces/shop/secrets/..%2Fx"


@pytest.mark.parametrize(
    ("api_version", "name", "kind"),
    [
        ("v1", "Service", Kind.SERVICE),
        ("apps/v1", "StatefulSet", Kind.STATEFUL_SET),
        ("policy/v1", "PodDisruptionBudget", Kind.POD_DISRUPTION_BUDGET),
        ("monitoring.coreos.com/v1", "PodMonitor", Kind.POD_MONITOR),
        ("v1", "ConfigMap", Kind.CONFIG_MAP),
    ],
)
def test_kind_is_found_by_its_name(api_version: str, name: str, kind: Kind) -> None:
    assert kind_named({"apiVersion": api_version, "kind": name}) is kind


def test_unused_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="ReplicaSet is not a kind that the operator uses"):
        kind_named({"apiVersion": "apps/v1", "kind": "ReplicaSet"})
