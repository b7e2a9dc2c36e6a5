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


class Told:
    """Metrics, and what they tell."""

    def __init__(self) -> None:
        self.metrics = member_metrics()

    def value(self, name: str, **labels: str) -> float | None:
        """Return a sample as Prometheus reads it, or None."""
        wanted = (f"collectionstore_{name}", labels)
        for family in parse(self.metrics.render(), text_string_to_metric_families):
            for sample in family.samples:
                if (sample.name, sample.labels) == wanted:
                    return float(sample.value)
        return None


@pytest.fixture
def told() -> Told:
    return Told()


def test_closed_sets_are_told_as_zero_from_the_start(told: Told) -> None:
    """Otherwise the first failure would be no increase."""
    assert told.value("raft_proposals_failed_total", reason="overloaded") == 0
    assert told.value("transactions_total", result="conflict") == 0
    assert told.value("raft_leader_changes_total") == 0
    assert told.value("peer_sent_bytes_total", peer="demo-1") is None


def test_peer_that_is_gone_leaves_nothing_behind(told: Told) -> None:
    series = TransportSeries(told.metrics, SnapshotSeries(told.metrics))
    for name in ("demo-1", "demo-2"):
        series.peer(name).sent(2, 100)
        series.peer(name).round_trip(0.001)
    series.forget("demo-1")
    assert told.value("peer_sent_messages_total", peer="demo-1") is None
    assert told.value("peer_round_trip_seconds_count", peer="demo-1") is None
    assert told.value("peer_sent_messages_total", peer="demo-2") == 2
    series.peer("demo-1").sent(1, 1)
    assert told.value("peer_sent_messages_total", peer="demo-1") == 1


def test_role_is_told_as_one_of_all(told: Told) -> None:
    replica = ReplicaMetrics(told.metrics)
    for role, leader in ((Role.PRE_CANDIDATE, 0), (Role.CANDIDATE, 0), (Role.LEADER, 7), (Role.FOLLOWER, 7)):
        replica.role_changed(role, leader=leader)
    replica.role_changed(Role.FOLLOWER, leader=9)
    assert [told.value("raft_role", role=role.value) for role in (Role.FOLLOWER, Role.LEADER)] == [1, 0]
    assert told.value("raft_campaigns_total") == 1
    assert told.value("raft_leader_changes_total") == 2


def test_commands_are_counted_by_what_came_of_them(told: Told) -> None:
    outcomes = [[Outcome(Code.OK, 1), Outcome(Code.PRECONDITION_FAILED, 2)], [Outcome(Code.OK, 1, replayed=True)]]
    ReplicaMetrics(told.metrics).applied(outcomes, 0.01)
    assert told.value("commands_applied_total", result="ok") == 2
    assert told.value("commands_applied_total", result="precondition_failed") == 1
    assert told.value("commands_replayed_total") == 1
    assert told.value("raft_apply_duration_seconds_count") == 1


def test_requests_are_counted_by_route_and_the_gauges_are_sums(told: Told) -> None:
    http = HttpSeries(told.metrics, inflight_max=8)
    for status in (200, 200, 503):
        http.route("/livez", "GET").finished(status, 0.002)
    http.route("/health", "GET")
    http.inflight(lambda: 2)
    http.inflight(lambda: 3)
    assert told.value("http_requests_total", route="/livez", method="GET", code="200") == 2
    assert told.value("http_request_duration_seconds_count", route="/livez", method="GET") == 3
    assert told.value("http_request_duration_seconds_count", route="/health", method="GET") is None
    assert told.value("http_inflight_requests") == 5


async def test_both_formats_tell_the_same_series(told: Told) -> None:
    ReplicaMetrics(told.metrics)
    exposition = Exposition(told.metrics, process=CollectorRegistry())
    plain, _ = await exposition.render("text/plain")
    text, _ = await exposition.render(OPENMETRICS)
    exposition.close()
    names = {family.name.removesuffix("_info") for family in parse(plain.decode(), text_string_to_metric_families)}
    assert names == {family.name for family in parse(text.decode(), read_openmetrics)}
