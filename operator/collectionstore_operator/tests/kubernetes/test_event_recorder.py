"""Events: one per occurrence, a series while it repeats; and the check of the operator's permissions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.api.event_recorder import NOTE_MAX, Recorder
from collectionstore_operator.kubernetes.api.permissions import OWN, PERMISSIONS, missing, missing_once_reachable
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.status.events import Event
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer, status
from collectionstore_operator.tests.kubernetes.test_client import Clock

DESIRED = Desired(name="demo", namespace="shop", uid="u1")
EVENTS = "/apis/events.k8s.io/v1/namespaces/shop/events"


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    server = FakeApiServer()
    yield server
    await server.stop()


@pytest.fixture
async def kube(server: FakeApiServer) -> AsyncIterator[Kube]:
    async with await server.start() as client:
        yield Kube(client)


def event(time: float, message: str = "it is new") -> Event:
    """Return an event."""
    return Event(time=time, kind="Warning", reason="Bootstrap", subject="demo-0", message=message)


async def test_event_names_its_reason_and_object(server: FakeApiServer, kube: Kube) -> None:
    await Recorder(kube, "operator-1").record(event(0.5), DESIRED)
    (written,) = server.objects.values()
    assert written["reason"] == written["action"] == "Bootstrap"
    assert written["note"] == "demo-0: it is new"
    assert written["type"] == "Warning"
    assert written["eventTime"] == "1970-01-01T00:00:00.500000Z"
    assert written["regarding"]["uid"] == "u1"
    assert written["reportingController"] == "collectionstore.io/operator"


async def test_repeated_event_becomes_a_series(server: FakeApiServer, kube: Kube) -> None:
    recorder = Recorder(kube, "operator-1")
    for time in (10.0, 20.0, 30.0):
        await recorder.record(event(time), DESIRED)
    await recorder.record(event(40.0, "something else"), DESIRED)
    counted, other = server.objects.values()
    assert counted["series"] == {"count": 3, "lastObservedTime": "1970-01-01T00:00:30.000000Z"}
    assert "series" not in other


async def test_repeated_event_after_a_long_pause_is_a_new_one(server: FakeApiServer, kube: Kube) -> None:
    recorder = Recorder(kube, "operator-1")
    for time in (10.0, 400.0):
        await recorder.record(event(time), DESIRED)
    assert len(server.objects) == 2


async def test_expired_event_is_created_again(server: FakeApiServer, kube: Kube) -> None:
    recorder = Recorder(kube, "operator-1")
    await recorder.record(event(10.0), DESIRED)
    server.objects.clear()

    async def behave(request: web.Request) -> web.Response | None:
        return status(404, "NotFound") if request.method == "PATCH" else None

    server.behave = behave
    await recorder.record(event(20.0), DESIRED)
    await recorder.record(event(30.0), DESIRED)
    assert len(server.objects) == 1


async def test_event_that_cannot_be_written_is_dropped(server: FakeApiServer, kube: Kube) -> None:
    async def behave(_request: web.Request) -> web.Response:
        return status(403, "Forbidden", "the namespace is going away")

    server.behave = behave
    await Recorder(kube, "operator-1").record(event(10.0, "x" * 5_000), DESIRED)
    assert len(server.bodies[0]["note"]) == NOTE_MAX


async def test_missing_permission_is_named_by_verb_and_resource(server: FakeApiServer, kube: Kube) -> None:
    asked = []

    async def behave(_request: web.Request) -> web.Response:
        attributes = server.bodies[-1]["spec"]["resourceAttributes"]
        asked.append(attributes)
        refused = attributes.get("resource") == "pods" and attributes["verb"] == "delete"
        refused |= attributes.get("resource") == "leases" and attributes["verb"] == "update"
        refused |= attributes.get("resource") == "signers"
        return web.json_response({"status": {"allowed": not refused}}, status=201)

    server.behave = behave
    assert await missing(kube, namespaces=["shop", None], own_namespace="ops") == [
        "update leases.coordination.k8s.io in the namespace ops",
        "delete pods in the namespace shop",
        "delete pods in all namespaces",
        "update leases.coordination.k8s.io in the namespace shop",
        "update leases.coordination.k8s.io in all namespaces",
        "approve signers.certificates.k8s.io collectionstore.io/node in the whole cluster",
        "sign signers.certificates.k8s.io collectionstore.io/node in the whole cluster",
    ]
    verbs = sum(len(one.verbs) for one in (*PERMISSIONS, *OWN))
    more = sum(len(one.verbs) for one in PERMISSIONS if not one.everywhere)
    assert len(asked) == verbs + more
    status_asked = [one for one in asked if one.get("subresource") == "status" and one["resource"].endswith("clusters")]
    assert {one["verb"] for one in status_asked} == {"get", "patch"}


async def test_permission_check_waits_for_the_api_server(server: FakeApiServer) -> None:
    """However long it takes, until the operator is stopped."""
    clock = Clock()
    troubled = 60

    async def behave(_request: web.Request) -> web.Response:
        nonlocal troubled
        troubled -= 1
        if troubled >= 0:
            return status(503, "ServiceUnavailable")
        return web.json_response({"status": {"allowed": False}}, status=201)

    server.behave = behave
    async with await server.start() as client:
        kube = Kube(client, clock=clock.time, sleep=clock.sleep)
        stop = asyncio.Event()
        lacking = await missing_once_reachable(kube, namespaces=["shop"], own_namespace="ops", stop=stop, pause_s=0)
        assert troubled < 0
        assert "delete pods in the namespace shop" in lacking

        troubled = 1_000_000
        waiting = asyncio.create_task(
            missing_once_reachable(kube, namespaces=["shop"], own_namespace="ops", stop=stop, pause_s=3_600)
        )
        await clock.until(clock.now + 1)
        stop.set()
        assert await waiting == []
