"""The operator's series: what is counted where, and that a cluster's go with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from collectionstore_operator.kubernetes.api import Kind, Kube, Unavailable
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.clusters import Clusters, LeaderContext
from collectionstore_operator.kubernetes.enrolment import Enrolment
from collectionstore_operator.observability.health import Health, application
from collectionstore_operator.observability.metrics import OperatorMetrics
from collectionstore_operator.status.published import Condition, MemberStatus, PlannedStep, Status
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer, status
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.kubernetes.test_runtime import CLUSTER

MOMENT = "2026-01-01T00:00:00Z"
CONDITION = Condition(
    type="Ready", status="False", reason="X", message="x", observed_generation=1, last_transition_time=MOMENT
)
STEP = PlannedStep(step="GrowVolume", reason="x", since=MOMENT, blocked_by="y")
STATUS = Status(
    conditions=(CONDITION,),
    ready_members=2,
    fault_tolerance=0,
    members=(
        MemberStatus(name="demo-0", ordinal=0, role="Voter", ready=True),
        MemberStatus(name="demo-1", ordinal=1, role="Voter", ready=True),
        MemberStatus(name="demo-2", ordinal=2, role="Voter"),
    ),
    plan=(STEP, PlannedStep(step="AddLearners", reason="x", since=MOMENT)),
    certificates_expire="2026-01-02T00:00:00Z",
)
DEMO = {"namespace": "shop", "cluster": "demo"}


class Followed(OperatorMetrics):
    """Metrics that tell when a round was counted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry, wall=lambda: 1_800_000_000.0)
        self.counted = asyncio.Event()

    def round_finished(self, key: tuple[str, str], result: str, seconds: float, *, trouble: str) -> None:
        super().round_finished(key, result, seconds, trouble=trouble)
        self.counted.set()


class MetricsProbe:
    """The metrics with their registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Followed(self.registry)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def probe() -> MetricsProbe:
    return MetricsProbe()


def test_what_is_said_of_a_cluster_goes_with_it(probe: MetricsProbe) -> None:
    loop = probe.metrics.loop("shop", "demo")
    loop.reported(STATUS, desired_members=3)
    loop.round_finished("Waiting", 0.1, trouble="")
    by_status = {
        value: probe.value("collectionstore_cluster_condition", **DEMO, condition="Ready", status=value)
        for value in ("True", "False", "Unknown")
    }
    assert by_status == {"True": 0.0, "False": 1.0, "Unknown": 0.0}
    assert probe.value("collectionstore_cluster_ready_members", **DEMO) == 2
    assert probe.value("collectionstore_cluster_fault_tolerance", **DEMO) == 0
    assert probe.value("collectionstore_cluster_plan_steps", **DEMO) == 2
    assert probe.value("collectionstore_cluster_blocked_steps", **DEMO) == 1
    assert probe.value("collectionstore_cluster_certificate_expiry_timestamp_seconds", **DEMO) == 1_767_312_000
    assert probe.value("collectionstore_cluster_desired_members", **DEMO) == 3
    assert probe.value("collectionstore_cluster_members", **DEMO, role="Voter", ready="true") == 2
    assert probe.value("collectionstore_cluster_members", **DEMO, role="Voter", ready="false") == 1
    assert probe.value("collectionstore_cluster_members", **DEMO, role="Leader", ready="true") == 0
    assert probe.value("collectionstore_cluster_blocked_since_timestamp_seconds", **DEMO) == 1_767_225_600
    assert probe.value("collectionstore_cluster_last_round_timestamp_seconds", **DEMO) == 1_800_000_000
    loop.reported(STATUS, desired_members=None)
    assert probe.value("collectionstore_cluster_desired_members", **DEMO) == 3
    loop.round_finished("Gone", 0.1, trouble="")
    assert probe.value("collectionstore_cluster_ready_members", **DEMO) is None


def test_cluster_without_certificates_has_no_expiry(probe: MetricsProbe) -> None:
    probe.metrics.reported(("shop", "demo"), Status(), None)
    assert probe.value("collectionstore_cluster_blocked_since_timestamp_seconds", **DEMO) is None
    assert probe.value("collectionstore_cluster_desired_members", **DEMO) is None
    assert probe.value("collectionstore_cluster_certificate_expiry_timestamp_seconds", **DEMO) is None
    assert probe.value("collectionstore_cluster_ready_members", **DEMO) == 0


def test_leadership_is_told(probe: MetricsProbe) -> None:
    assert probe.value("collectionstore_operator_is_leader") == 0
    assert probe.value("collectionstore_operator_lease_age_seconds") is None
    probe.metrics.leads(7, lambda: 2.5)
    assert probe.value("collectionstore_operator_lease_age_seconds") == 2.5
    assert probe.value("collectionstore_operator_is_leader") == 1
    assert probe.value("collectionstore_operator_epoch") == 7
    probe.metrics.stands_by()
    assert probe.value("collectionstore_operator_lease_age_seconds") is None
    assert probe.value("collectionstore_operator_is_leader") == 0


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    server = FakeApiServer()
    yield server
    await server.stop()


async def test_tries_are_counted_with_what_came_of_each(server: FakeApiServer, probe: MetricsProbe) -> None:
    clock = Clock()

    async def behave(_request: web.Request) -> web.Response:
        return status(503, "Trouble")

    server.behave = behave
    async with await server.start() as client:
        kube = Kube(client, clock=clock.time, sleep=clock.sleep, metrics=probe.metrics)
        with pytest.raises(Unavailable):
            await kube.get(Kind.POD, "demo-0", "shop")
        labels = {"method": "GET", "resource": "pods"}
        tries = probe.value("collectionstore_operator_api_requests_total", **labels, code="503")
        assert tries == len(server.requests) > 2
        assert probe.value("collectionstore_operator_api_retries_total") == tries - 1
        await server.stop()
        with pytest.raises(Unavailable):
            await kube.get(Kind.POD, "demo-0", "shop")
        assert probe.value("collectionstore_operator_api_requests_total", **labels, code="0")


async def test_loop_counts_its_rounds_its_actions_and_its_troubles(server: FakeApiServer, probe: MetricsProbe) -> None:
    """From the resource to its end, with an API server that fails in between."""
    clock = Clock()
    async with await server.start() as client:
        kube = Kube(client, clock=clock.time, sleep=clock.sleep, metrics=probe.metrics)
        context = LeaderContext(
            kube=kube,
            recorder=Recorder(kube, "op"),
            epoch=7,
            holder="ops/op",
            may_act=lambda: True,
            metrics=probe.metrics,
            enrolment=Enrolment(kube, ""),
        )
        server.put(CLUSTER, resource())
        running = asyncio.create_task(Clusters(context).cluster("shop", "demo").run())
        await until(probe, "collectionstore_operator_reconciles_total", result="Waiting")
        assert probe.value("collectionstore_operator_actions_total", action="EnsureWorkload", outcome="Done") == 1
        assert probe.value("collectionstore_operator_action_duration_seconds_count", action="EnsureWorkload") == 1
        assert probe.value("collectionstore_cluster_actions_total", **DEMO, action="EnsureWorkload") == 1
        assert probe.value("collectionstore_cluster_actions_total", **DEMO, action="RestartPod") == 0
        assert probe.value("collectionstore_operator_loops") == 1
        assert probe.value("collectionstore_cluster_fault_tolerance", **DEMO) == 0

        async def behave(_request: web.Request) -> web.Response:
            return status(500, "Trouble")

        server.behave = behave
        await until(probe, "collectionstore_operator_errors_total", kind="Unavailable")
        assert probe.value("collectionstore_operator_reconciles_total", result="Failed")
        server.behave = None
        del server.objects[CLUSTER]
        await running
        assert probe.value("collectionstore_operator_reconciles_total", result="Gone") == 1
        assert probe.value("collectionstore_cluster_fault_tolerance", **DEMO) is None
        assert probe.value("collectionstore_cluster_actions_total", **DEMO, action="EnsureWorkload") is None
        rounds = probe.value("collectionstore_operator_reconcile_duration_seconds_count")
        assert rounds is not None
        assert rounds >= 4


def resource() -> dict[str, object]:
    metadata = {"name": "demo", "namespace": "shop", "generation": 1, "uid": "u1"}
    return {"apiVersion": "collectionstore.io/v1alpha1", "kind": "CollectionStoreCluster", "metadata": metadata}


async def until(probe: MetricsProbe, series: str, **labels: str) -> None:
    """Wait until a round has counted something."""
    async with asyncio.timeout(60):
        while not probe.value(series, **labels):
            probe.metrics.counted.clear()
            await probe.metrics.counted.wait()


async def test_metrics_are_served_beside_the_probes(probe: MetricsProbe) -> None:
    """In a form that Prometheus reads, with help on every series."""
    probe.metrics.reported(("shop", "demo"), STATUS, 3)
    probe.metrics.round_finished(("shop", "demo"), "Failed", 0.1, trouble="Unavailable")
    async with TestClient(TestServer(application(Health(), probe.registry))) as client:
        answer = await client.get("/metrics")
        assert answer.status == 200
        families = list(text_string_to_metric_families(await answer.text()))
    assert "collectionstore_operator_reconciles" in {one.name for one in families}
    assert all(one.documentation for one in families)
