"""The table of series: names and units as Prometheus wants them, and labels that cannot grow without bound."""

from __future__ import annotations

import pytest

from collectionstore_node.api.url_table import CLIENT, PROBES
from collectionstore_node.metrics import SERIES, member_metrics
from collectionstore_node.raft.ready import ProgressState, Role
from collectionstore_node.replica.health.watchdog import Stall
from collectionstore_node.statemachine.commands import Code
from collectionstore_telemetry.metrics import Undeclared
from collectionstore_telemetry.metrics.series import Series
from collectionstore_telemetry.tests.metrics.series_rules import (
    SCRAPE_LABELS,
    assert_follows_conventions,
    assert_names_are_unique,
)

CHILDREN_MAX = 1_750
"""Label values of one series, at most, with a cluster of the largest size and every route asked for."""
OPEN_BOUNDS = {
    "peer": 16,
    "route": len({route.pattern for route in (*CLIENT, *PROBES)}) + 1,
    "method": 6,
    "code": 24,
    "problem": 64,
    "reason": 32,
    "version": 1,
    "issuer": 17,
    "cluster_id": 1,
    "member": 1,
}
"""How many values a label can take that the table does not list."""

by_name = pytest.mark.parametrize("series", SERIES, ids=lambda series: series.name)


def test_every_name_is_declared_once() -> None:
    assert_names_are_unique(SERIES)


@by_name
def test_names_texts_and_labels_follow_the_rules(series: Series) -> None:
    assert_follows_conventions(series, parts=r"[a-z0-9]+", reserved={*SCRAPE_LABELS, "namespace", "cluster"})


@by_name
def test_labels_are_bounded(series: Series) -> None:
    children = 1
    for label in series.labels:
        children *= len(label.values) or OPEN_BOUNDS[label.name]
    if {label.name for label in series.labels} >= {"route", "method"}:
        children //= OPEN_BOUNDS["method"] // 2  # a route has two or three
    assert children * (len(series.buckets) + 3 if series.buckets else 1) <= CHILDREN_MAX * 2


def test_closed_sets_are_those_of_the_program() -> None:
    values = {(series.name, label.name): label.values for series in SERIES for label in series.labels}
    assert values["collectionstore_raft_role", "role"] == tuple(role.value for role in Role)
    assert values["collectionstore_raft_peer_replication", "state"] == tuple(one.value for one in ProgressState)
    assert values["collectionstore_watchdog_stalls_total", "kind"] == tuple(stall.value for stall in Stall)
    assert values["collectionstore_commands_applied_total", "result"] == tuple(code.name.lower() for code in Code)


def test_nothing_is_counted_that_is_not_declared() -> None:
    metrics = member_metrics()
    for wrong in (
        lambda: metrics.counter("nobody_knows_this_total"),
        lambda: metrics.gauge("raft_proposals_total"),
        lambda: metrics.counter("raft_proposals_total", "surplus"),
        lambda: metrics.counter("raft_reads_failed_total"),
        lambda: metrics.counter("raft_reads_failed_total", "of a kind that the table does not have"),
        lambda: metrics.set_info("build", version="1"),
        lambda: metrics.set_info("nobody_knows_this"),
    ):
        with pytest.raises(Undeclared):
            wrong()
