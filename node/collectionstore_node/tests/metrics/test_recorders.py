"""What the parts of a member count, and what of it is exposed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from collectionstore_node.metrics import HttpSeries, ReplicaMetrics, SnapshotSeries, TransportSeries, member_metrics
from collectionstore_node.raft.ready import Role
from collectionstore_node.statemachine.commands import Code, Outcome
from collectionstore_telemetry.metrics import Exposition

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def parse(text: str, read: Callable[..., Iterable[Metric]]) -> list[Metric]:
    """Return the families of an exposition; prometheus-client's parsers have no annotations."""
    return list(read(text))


class MetricsProbe:
    """Metrics, with access to their exposed samples."""

    def __init__(self) -> None:
        self.metrics = member_metrics()

    def value(self, name: str, **labels: str) -> float | None:
        """Return a sample as Prometheus reads it, or None."""
        expected = (f"collectionstore_{name}", labels)
        for family in parse(self.metrics.render(), text_string_to_metric_families):
            for sample in family.samples:
                if (sample.name, sample.labels) == expected:
                    return float(sample.value)
        return None


@pytest.fixture
def probe() -> MetricsProbe:
    return MetricsProbe()


def test_closed_label_sets_are_exposed_as_zero_from_the_start(probe: MetricsProbe) -> None:
    """Otherwise `rate()` would not see the first failure."""
    assert probe.value("raft_proposals_failed_total", reason="overloaded") == 0
    assert probe.value("transactions_total", result="conflict") == 0
    assert probe.value("raft_leader_changes_total") == 0
    assert probe.value("peer_sent_bytes_total", peer="demo-1") is None


def test_removed_peer_has_no_series(probe: MetricsProbe) -> None:
    series = TransportSeries(probe.metrics, SnapshotSeries(probe.metrics))
    for name in ("demo-1", "demo-2"):
        series.peer(name).sent(2, 100)
        series.peer(name).round_trip(0.001)
    series.forget("demo-1")
    assert probe.value("peer_sent_messages_total", peer="demo-1") is None
    assert probe.value("peer_round_trip_seconds_count", peer="demo-1") is None
    assert probe.value("peer_sent_messages_total", peer="demo-2") == 2
    series.peer("demo-1").sent(1, 1)
    assert probe.value("peer_sent_messages_total", peer="demo-1") == 1


def test_role_is_exposed_as_one_of_all_roles(probe: MetricsProbe) -> None:
    replica = ReplicaMetrics(probe.metrics)
    for role, leader in ((Role.PRE_CANDIDATE, 0), (Role.CANDIDATE, 0), (Role.LEADER, 7), (Role.FOLLOWER, 7)):
        replica.role_changed(role, leader=leader)
    replica.role_changed(Role.FOLLOWER, leader=9)
    assert [probe.value("raft_role", role=role.value) for role in (Role.FOLLOWER, Role.LEADER)] == [1, 0]
    assert probe.value("raft_campaigns_total") == 1
    assert probe.value("raft_leader_changes_total") == 2


def test_commands_are_counted_by_outcome(probe: MetricsProbe) -> None:
    outcomes = [[Outcome(Code.OK, 1), Outcome(Code.PRECONDITION_FAILED, 2)], [Outcome(Code.OK, 1, replayed=True)]]
    ReplicaMetrics(probe.metrics).applied(outcomes, 0.01)
    assert probe.value("commands_applied_total", result="ok") == 2
    assert probe.value("commands_applied_total", result="precondition_failed") == 1
    assert probe.value("commands_replayed_total") == 1
    assert probe.value("raft_apply_duration_seconds_count") == 1


def test_every_outcome_is_counted(probe: MetricsProbe) -> None:
    """A code without a counter would end the member that applies it."""
    ReplicaMetrics(probe.metrics).applied([[Outcome(code, 1) for code in Code]], 0.01)

    for code in Code:
        assert probe.value("commands_applied_total", result=code.name.lower()) == 1


def test_requests_are_counted_by_route_and_the_gauges_are_sums(probe: MetricsProbe) -> None:
    http = HttpSeries(probe.metrics, inflight_max=8)
    for status in (200, 200, 503):
        http.route("/livez", "GET").finished(status, 0.002)
    http.route("/health", "GET")
    http.inflight(lambda: 2)
    http.inflight(lambda: 3)
    assert probe.value("http_requests_total", route="/livez", method="GET", code="200") == 2
    assert probe.value("http_request_duration_seconds_count", route="/livez", method="GET") == 3
    assert probe.value("http_request_duration_seconds_count", route="/health", method="GET") is None
    assert probe.value("http_inflight_requests") == 5


async def test_both_formats_expose_the_same_series(probe: MetricsProbe) -> None:
    ReplicaMetrics(probe.metrics)
    exposition = Exposition(probe.metrics, process=CollectorRegistry())
    plain, _ = await exposition.render("text/plain")
    text, _ = await exposition.render(OPENMETRICS)
    exposition.close()
    names = {family.name.removesuffix("_info") for family in parse(plain.decode(), text_string_to_metric_families)}
    assert names == {family.name for family in parse(text.decode(), read_openmetrics)}
