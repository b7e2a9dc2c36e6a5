"""kopf's handlers and settings: loops are started, woken, run to the end of a deletion, and dropped."""

from __future__ import annotations

import asyncio
from typing import Any

import kopf
import pytest
from aiohttp.test_utils import TestClient, TestServer
from kopf._core.intents.handlers import DaemonHandler

from collectionstore_operator.kubernetes import handlers
from collectionstore_operator.kubernetes.api.kinds import Kind
from collectionstore_operator.kubernetes.api.permissions import PERMISSIONS
from collectionstore_operator.kubernetes.caches.watched import WATCHED
from collectionstore_operator.observability.health import STUCK_S, Health, application
from collectionstore_operator.resource import labels
from collectionstore_operator.settings import InvalidSetting, OperatorSettings


class Loops:
    """Loops that only record their calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.versions: list[str] = []
        self.ended = asyncio.Event()
        self.begun = asyncio.Event()
        self.trouble: Exception | None = None

    def cluster(self, namespace: str, name: str) -> Loops:
        self.calls.append(f"run {namespace}/{name}")
        return self

    async def run(self) -> None:
        self.begun.set()
        if self.trouble is not None:
            raise self.trouble
        try:
            await self.ended.wait()
        except asyncio.CancelledError:
            self.calls.append("cancelled")
            raise

    def wake(self, namespace: str, name: str) -> None:
        self.calls.append(f"wake {namespace}/{name}")

    def finish(self, namespace: str, name: str) -> None:
        self.calls.append(f"finish {namespace}/{name}")

    def arrive(self, namespace: str, name: str, version: str) -> None:
        self.versions.append(version)

    def forget(self, namespace: str, name: str) -> None:
        self.calls.append(f"forget {namespace}/{name}")


class Stopped:
    """kopf's stop flag of a daemon, with the reason."""

    def __init__(self) -> None:
        self.reason: kopf.DaemonStoppingReason | None = None
        self._event = asyncio.Event()

    async def wait(self) -> None:
        await self._event.wait()

    def set(self, reason: kopf.DaemonStoppingReason) -> None:
        self.reason = reason
        self._event.set()


def tend(loops: Loops, stopped: Stopped) -> asyncio.Task[None]:
    """Start the daemon of a resource."""
    return asyncio.create_task(handlers.run_until_stopped(loops, "shop", "demo", stopped))  # type: ignore[arg-type]


async def test_daemon_gets_its_stop_flag_before_it_is_cancelled() -> None:
    """A cancelled daemon could not pass the deletion on to the loop that finishes it."""
    made = handlers.registry(Loops(), in_cluster=False)  # type: ignore[arg-type]
    (daemon,) = made._spawning.get_all_handlers()
    assert isinstance(daemon, DaemonHandler)
    assert (daemon.cancellation_backoff, daemon.cancellation_timeout) == (handlers.EXIT_S, handlers.EXIT_S)


async def test_daemon_of_a_deleted_resource_stops_and_the_loop_continues() -> None:
    """kopf removes its own finalizer and drops the resource; ours stays."""
    loops, stopped = Loops(), Stopped()
    daemon = tend(loops, stopped)
    await loops.begun.wait()
    stopped.set(kopf.DaemonStoppingReason.RESOURCE_DELETED)
    await daemon
    assert loops.calls == ["run shop/demo", "cancelled", "finish shop/demo"]


async def test_daemon_stops_at_once_with_the_operator() -> None:
    loops, stopped = Loops(), Stopped()
    daemon = tend(loops, stopped)
    await loops.begun.wait()
    stopped.set(kopf.DaemonStoppingReason.OPERATOR_EXITING)
    await daemon
    assert loops.calls == ["run shop/demo", "cancelled"]


async def test_daemon_ends_with_its_loop() -> None:
    loops = Loops()
    daemon = tend(loops, Stopped())
    loops.ended.set()
    await daemon
    assert loops.calls == ["run shop/demo"]


async def test_failed_loop_is_restarted_by_kopf() -> None:
    loops = Loops()
    loops.trouble = RuntimeError("broken")
    with pytest.raises(RuntimeError, match="broken"):
        await tend(loops, Stopped())


async def test_cancelled_daemon_cancels_its_loop() -> None:
    loops = Loops()
    daemon = tend(loops, Stopped())
    await loops.begun.wait()
    daemon.cancel()
    with pytest.raises(asyncio.CancelledError):
        await daemon
    assert loops.calls == ["run shop/demo", "cancelled"]


@pytest.mark.parametrize(
    ("kind", "metadata", "calls"),
    [
        ("MODIFIED", {}, ["wake"]),
        (None, {}, ["wake"]),
        ("DELETED", {}, ["wake", "forget"]),
        ("DELETED", {"deletionTimestamp": "x", "finalizers": [labels.FINALIZER]}, ["wake", "forget"]),
        (None, {"deletionTimestamp": "x", "finalizers": [labels.FINALIZER]}, ["finish"]),
        ("MODIFIED", {"deletionTimestamp": "x", "finalizers": ["other"]}, ["wake"]),
    ],
)
def test_resource_event_wakes_finishes_or_drops_the_loop(
    kind: str | None, metadata: dict[str, Any], calls: list[str]
) -> None:
    """A resource already being deleted when the operator starts gets no daemon: its event starts the loop."""
    loops = Loops()
    body = {"metadata": {"namespace": "shop", "name": "demo", **metadata}}
    handlers.handle_event(loops, kind, body)  # type: ignore[arg-type]
    assert loops.calls == [f"{call} shop/demo" for call in calls]


def test_kopf_writes_nothing_of_its_own() -> None:
    """No Events from log lines, no scan of other resources, and watches with timeouts."""
    made = handlers.settings()
    assert not made.posting.enabled
    assert made.scanning.disabled
    assert made.persistence.finalizer != labels.FINALIZER
    assert made.watching.server_timeout is not None
    assert made.networking.request_timeout is not None


def test_every_watch_has_its_permission() -> None:
    """A watch without its permission would be retried endlessly."""
    watched = {Kind.CLUSTER.plural, *(one.kind.plural for one in WATCHED)}
    allowed = {one.resource for one in PERMISSIONS if {"list", "watch"} <= set(one.verbs)}
    assert watched <= allowed


async def test_health_shows_a_loop_that_is_stuck() -> None:
    health = Health()
    async with TestClient(TestServer(application(health))) as client:
        assert (await client.get("/livez")).status == 200
        assert (await client.get("/readyz")).status == 200, "one that waits for the Lease is ready to take over"
        health.lease_s = lambda: 1.0
        assert (await client.get("/readyz")).status == 503
        health.ready = lambda: True
        assert (await client.get("/readyz")).status == 200
        health.slowest_loop_s = lambda: STUCK_S + 1
        answer = await client.get("/livez")
        assert answer.status == 503
        assert (await answer.json())["slowestLoopSeconds"] == STUCK_S + 1


def test_settings_have_defaults_for_everything() -> None:
    made = OperatorSettings.from_environment({})
    assert made.namespaces == ()
    assert made.own_namespace == "default"
    assert (made.health_host, made.health_port) == ("0.0.0.0", 8080)
    assert made.kubeconfig is None
    assert made.identity


def test_settings_are_read() -> None:
    made = OperatorSettings.from_environment(
        {
            "COLLECTIONSTORE_NAMESPACES": "shop, bank",
            "COLLECTIONSTORE_POD_NAME": "op-1",
            "COLLECTIONSTORE_HEALTH_ADDRESS": "[::]:9000",
            "KUBECONFIG": "/k",
        }
    )
    assert made.namespaces == ("shop", "bank")
    assert made.identity == "op-1"
    assert (made.health_host, made.health_port) == ("::", 9000)
    assert made.kubeconfig == "/k"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("COLLECTIONSTORE_NAMESPACES", "Shop"),
        ("COLLECTIONSTORE_OPERATOR_NAMESPACE", ""),
        ("COLLECTIONSTORE_HEALTH_ADDRESS", "8080"),
        ("COLLECTIONSTORE_HEALTH_ADDRESS", "host:0"),
        ("COLLECTIONSTORE_LOG_LEVEL", "loud"),
    ],
)
def test_invalid_setting_is_named(variable: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=variable):
        OperatorSettings.from_environment({variable: value})
