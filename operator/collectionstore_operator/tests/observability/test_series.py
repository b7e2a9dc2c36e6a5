"""The table of the operator's series: names and units as Prometheus wants them, and labels that are bounded."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest
from prometheus_client import CollectorRegistry

from collectionstore_operator.model.actions import Action
from collectionstore_operator.observability.metrics import SERIES, OperatorMetrics
from collectionstore_operator.observability.metrics.declared import Declared
from collectionstore_operator.reconcile.loop import Round
from collectionstore_operator.status.conditions import TYPES
from collectionstore_telemetry.metrics import Series, Undeclared
from collectionstore_telemetry.tests.metrics.series_rules import assert_follows_conventions, assert_names_are_unique

OPEN_BOUNDS = {
    "namespace": 1,
    "cluster": 1,
    "schedule": 1,
    "user": 1,
    "version": 1,
    "condition": len(TYPES),
    "kind": 24,
    "method": 5,
    "resource": 24,
    "code": 12,
}
"""How many values a label can take that the table does not list; for series of clusters, per cluster."""
LINES_MAX = 1_500

by_name = pytest.mark.parametrize("series", SERIES, ids=lambda series: series.name)


def test_every_name_is_declared_once() -> None:
    assert_names_are_unique(SERIES)


@by_name
def test_names_texts_and_labels_follow_the_rules(series: Series) -> None:
    assert_follows_conventions(series, parts=r"(operator|cluster|tracing|backup|user)_[a-z0-9]+")


@by_name
def test_labels_are_bounded(series: Series) -> None:
    lines = len(series.buckets) + 3 if series.buckets else 1
    for label in series.labels:
        lines *= len(label.values) or OPEN_BOUNDS[label.name]
    assert lines <= LINES_MAX


def test_closed_sets_are_those_of_the_program() -> None:
    values = {(series.name, label.name): label.values for series in SERIES for label in series.labels}
    assert set(values["collectionstore_operator_actions_total", "action"]) == {
        action.__name__ for action in get_args(Action)
    }
    results = get_args(get_type_hints(Round)["result"])
    assert set(values["collectionstore_operator_reconciles_total", "result"]) == set(results)


def test_everything_that_is_declared_is_made() -> None:
    registry = CollectorRegistry()
    OperatorMetrics(registry, version="1")
    reported = {f"collectionstore_{name}" for name in ("operator_build",)}
    reported |= {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    assert {series.name for series in SERIES} == reported


def test_nothing_is_counted_that_is_not_declared() -> None:
    declared = Declared(CollectorRegistry())
    for make in (declared.counter, declared.histogram, declared.info):
        with pytest.raises(Undeclared):
            make("operator_is_leader")
    with pytest.raises(Undeclared):
        declared.gauge("nobody_knows_this")
