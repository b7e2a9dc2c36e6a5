"""Every Prometheus series of the operator, declared once with help, unit and labels.

Names follow `collectionstore_operator_<noun>_<unit>`; what is told of a cluster is `collectionstore_cluster_<noun>`.
Label values are bounded: actions, kinds of errors, resources of the API, and one set of series per cluster, which
goes with it. Two operators are told apart by Prometheus' own labels; only the one that leads has clusters to tell of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from collectionstore_operator.status import Status

ROUND_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CALL_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Key: TypeAlias = tuple[str, str]
"""Namespace and name of a cluster."""
Read: TypeAlias = Callable[[Status], float | None]

GAUGES: Final[Mapping[str, tuple[str, Read]]] = {
    "ready_members": ("Members that vote, have caught up and serve", lambda status: status.ready_members),
    "fault_tolerance": ("How many more voters may fail now", lambda status: status.fault_tolerance),
    "plan_steps": ("Steps that remain to be done", lambda status: len(status.plan) + status.steps_omitted),
    "blocked_steps": (
        "Steps among these that wait for something",
        lambda status: sum(bool(step.blocked_by) for step in status.plan),
    ),
    "certificate_expiry_timestamp_seconds": (
        "When the first certificate expires",
        lambda status: (
            datetime.fromisoformat(status.certificates_expire).timestamp() if status.certificates_expire else None
        ),
    ),
}
"""What is told of every cluster, by the end of the name: help, and how it is read."""


class OperatorMetrics:
    """What the loops, the Lease and the client of the API server count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reconciles = Counter(
            "collectionstore_operator_reconciles_total", "Rounds, by what came of them", ["result"], registry=registry
        )
        self._reconcile_seconds = Histogram(
            "collectionstore_operator_reconcile_duration_seconds",
            "Time of a round: look, plan, report, act",
            buckets=ROUND_S,
            registry=registry,
        )
        self._errors = Counter(
            "collectionstore_operator_errors_total", "Troubles that ended a round, by kind", ["kind"], registry=registry
        )
        self._actions = Counter(
            "collectionstore_operator_actions_total",
            "Actions, by what came of them: Done, Refused or Unfinished",
            ["action", "outcome"],
            registry=registry,
        )
        self._calls = Counter(
            "collectionstore_operator_api_requests_total",
            "Tries of requests to the API server; code 0 is no answer",
            ["method", "resource", "code"],
            registry=registry,
        )
        self._call_seconds = Histogram(
            "collectionstore_operator_api_request_duration_seconds",
            "Time of one try of a request to the API server",
            ["method"],
            buckets=CALL_S,
            registry=registry,
        )
        self._retries = Counter(
            "collectionstore_operator_api_retries_total", "Tries of requests that were repeated", registry=registry
        )
        self._is_leader = Gauge(
            "collectionstore_operator_is_leader", "1 while this operator holds the Lease", registry=registry
        )
        self._epoch = Gauge("collectionstore_operator_epoch", "Fencing epoch of this operator", registry=registry)
        self._clusters = _Clusters()
        registry.register(self._clusters)

    def round_finished(self, result: str, seconds: float, *, trouble: str) -> None:
        """Count a round; `trouble` is the name of the error that ended it, empty if none did."""
        self._reconciles.labels(result).inc()
        self._reconcile_seconds.observe(seconds)
        if trouble:
            self._errors.labels(trouble).inc()

    def acted(self, action: str, outcome: str) -> None:
        """Count an action."""
        self._actions.labels(action, outcome).inc()

    def called(self, method: str, resource: str, code: int, seconds: float) -> None:
        """Count one try of a request; `code` is 0 when no answer came."""
        self._calls.labels(method, resource, str(code)).inc()
        self._call_seconds.labels(method).observe(seconds)

    def repeated(self) -> None:
        """Count a try that is made again."""
        self._retries.inc()

    def leads(self, epoch: int) -> None:
        """Note that this operator acts now."""
        self._is_leader.set(1)
        self._epoch.set(epoch)

    def stands_by(self) -> None:
        """Note that it does not act any more."""
        self._is_leader.set(0)

    def reported(self, namespace: str, name: str, status: Status) -> None:
        """Keep what was last said of a cluster."""
        self._clusters.known[namespace, name] = status

    def forgot(self, namespace: str, name: str) -> None:
        """Say nothing more of a cluster that is gone."""
        self._clusters.known.pop((namespace, name), None)


class _Clusters(Collector):
    """The series of the clusters, made from their statuses when they are asked for."""

    def __init__(self) -> None:
        self.known: dict[Key, Status] = {}

    def collect(self) -> Iterator[Metric]:
        """Yield what the statuses say."""
        yield _conditions(self.known)
        for noun, (text, read) in GAUGES.items():
            yield _gauge(f"collectionstore_cluster_{noun}", text, read, self.known)


def _conditions(known: Mapping[Key, Status]) -> Metric:
    family = GaugeMetricFamily(
        "collectionstore_cluster_condition",
        "1 for the status that a condition of a cluster has",
        labels=["namespace", "cluster", "condition", "status"],
    )
    for (namespace, name), status in sorted(known.items()):
        for one in status.conditions:
            for value in ("True", "False", "Unknown"):
                family.add_metric([namespace, name, one.type, value], float(one.status == value))
    return family


def _gauge(series: str, text: str, read: Read, known: Mapping[Key, Status]) -> Metric:
    family = GaugeMetricFamily(series, text, labels=["namespace", "cluster"])
    for (namespace, name), status in sorted(known.items()):
        value = read(status)
        if value is not None:
            family.add_metric([namespace, name], value)
    return family
