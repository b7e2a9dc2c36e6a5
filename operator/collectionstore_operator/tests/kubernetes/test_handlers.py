"""What kopf is told, and what is done when it calls: loops are started, woken, finished and forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import kopf
import pytest
from aiohttp.test_utils import TestClient, TestServer
from kopf._core.intents.handlers import DaemonHandler

from collectionstore_operator.kubernetes import handlers
from collectionstore_operator.kubernetes.api.permissions import PERMISSIONS
from collectionstore_operator.kubernetes.clusters import Rounds
from collectionstore_operator.observability.health import STUCK_S, Health, application
from collectionstore_operator.reconcile.loop import Round
from collectionstore_operator.resource import labels
from collectionstore_operator.settings import InvalidSetting, OperatorSettings
from collectionstore_operator.tests.kubernetes.test_client import Clock


class Loops:
    """Loops that only note what they are told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
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

    def forget(self, namespace: str, name: str) -> None:
        self.calls.append(f"forget {namespace}/{name}")


class Stopped:
    """Kopf's word to a daemon that it has to stop, and why."""

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


async def test_daemon_is_told_to_stop_before_it_is_cancelled() -> None:
    """A cancelled one could not hand the deletion on to the loop that finishes it."""
    made = handlers.registry(Loops(), in_cluster=False)  # type: ignore[arg-type]
    (daemon,) = made._spawning.get_all_handlers()
    assert isinstance(daemon, DaemonHandler)
    assert (daemon.cancellation_backoff, daemon.cancellation_timeout) == (handlers.EXIT_S, handlers.EXIT_S)


async def test_daemon_of_a_resource_that_is_deleted_leaves_and_the_loop_goes_on_without_it() -> None:
    """Kopf takes its own finalizer off and may forget the resource; ours stays."""
    loops, stopped = Loops(), Stopped()
    daemon = tend(loops, stopped)
    await loops.begun.wait()
    stopped.set(kopf.DaemonStoppingReason.RESOURCE_DELETED)
    await daemon
    assert loops.calls == ["run shop/demo", "cancelled", "finish shop/demo"]


async def test_daemon_leaves_at_once_when_the_operator_stops() -> None:
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


async def test_loop_that_breaks_is_kopfs_to_start_again() -> None:
    loops = Loops()
    loops.trouble = RuntimeError("broken")
    with pytest.raises(RuntimeError, match="broken"):
        await tend(loops, Stopped())


async def test_daemon_that_is_cancelled_takes_its_loop_along() -> None:
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
def test_change_of_a_resource_wakes_finishes_or_forgets(
    kind: str | None, metadata: dict[str, Any], calls: list[str]
) -> None:
    """One that was being deleted when the operator came up gets no daemon: its event is what finishes it."""
    loops = Loops()
    body = {"metadata": {"namespace": "shop", "name": "demo", **metadata}}
    handlers.handle_event(loops, kind, body)  # type: ignore[arg-type]
    assert loops.calls == [f"{call} shop/demo" for call in calls]


def test_kopf_writes_nothing_of_its_own() -> None:
    """No Events from log lines, no scan of what is not ours, and watches that end."""
    made = handlers.settings()
    assert not made.posting.enabled
    assert made.scanning.disabled
    assert made.persistence.finalizer != labels.FINALIZER
    assert made.watching.server_timeout is not None
    assert made.networking.request_timeout is not None


def test_everything_that_is_watched_may_be_watched() -> None:
    """A watch without its permission would be repeated for ever."""
    watched = {kind.plural for kind in handlers.WATCHED}
    allowed = {one.resource for one in PERMISSIONS if {"list", "watch"} <= set(one.verbs)}
    assert watched <= allowed


def test_rounds_tell_how_long_a_loop_has_been_silent() -> None:
    clock = Clock()
    rounds = Rounds(clock.time)
    clock.now = 5.0
    assert rounds.silent_s() == 5.0
    rounds.finished(Round(result="Failed"))
    clock.now = 7.0
    assert rounds.silent_s() == 2.0


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
def test_setting_that_is_not_allowed_is_named(variable: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=variable):
        OperatorSettings.from_environment({variable: value})
