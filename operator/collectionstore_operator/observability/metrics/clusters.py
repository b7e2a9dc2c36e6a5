"""The series of clusters, collected at a scrape from the last status of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from collectionstore_operator.observability.metrics.declared import counted_family, family
from collectionstore_operator.observability.metrics.table import ACTIONS, ROLES, STATUSES
from collectionstore_operator.status.published import Status

Key: TypeAlias = tuple[str, str]
"""Namespace and name of a cluster."""


@dataclass(slots=True)
class Known:
    """The last state of a cluster; a field is None until it is known."""

    status: Status | None = None
    desired_members: int | None = None
    last_round: float | None = None
    """Unix seconds."""
    actions: Counter[str] = field(default_factory=Counter)
    """Number of performed actions by kind."""


Read: TypeAlias = Callable[[Status], float | None]


def _blocked_since(status: Status) -> float | None:
    return min((_seconds(step.since) for step in status.plan if step.blocked_by), default=None)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


FROM_STATUS: Final[Mapping[str, Read]] = {
    "cluster_ready_members": lambda status: status.ready_members,
    "cluster_read_replicas": lambda status: status.read_replicas,
    "cluster_ready_read_replicas": lambda status: status.ready_read_replicas,
    "cluster_released_volumes": lambda status: len(status.released_volumes),
    "cluster_fault_tolerance": lambda status: status.fault_tolerance,
    "cluster_plan_steps": lambda status: len(status.plan) + status.steps_omitted,
    "cluster_blocked_steps": lambda status: sum(bool(step.blocked_by) for step in status.plan),
    "cluster_blocked_since_timestamp_seconds": _blocked_since,
    "cluster_certificate_expiry_timestamp_seconds": (
        lambda status: _seconds(status.certificates_expire) if status.certificates_expire else None
    ),
}
"""Gauges with one value per cluster, and how each is read from the status."""


class Clusters(Collector):
    """The last state of each cluster that this operator reconciles."""

    def __init__(self) -> None:
        self._known: dict[Key, Known] = {}

    def of(self, key: Key) -> Known:
        """Return the state of a cluster, for its owner to update."""
        return self._known.setdefault(key, Known())

    def forget(self, key: Key) -> None:
        """Drop the series of a deleted cluster."""
        self._known.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        yield self._conditions()
        yield self._members()
        yield self._actions()
        yield self._gauge("cluster_desired_members", lambda known: known.desired_members)
        yield self._gauge("cluster_last_round_timestamp_seconds", lambda known: known.last_round)
        for name, read in FROM_STATUS.items():
            yield self._gauge(name, _of_status(read))

    def _conditions(self) -> Metric:
        metric = family("cluster_condition")
        for key, status in self._statuses():
            for one in status.conditions:
                for value in STATUSES:
                    metric.add_metric([*key, one.type, value], float(one.status == value))
        return metric

    def _members(self) -> Metric:
        metric = family("cluster_members")
        for key, status in self._statuses():
            count = Counter((member.role, member.ready) for member in status.members)
            for role in ROLES:
                for ready in (True, False):
                    metric.add_metric([*key, role, str(ready).lower()], count[role, ready])
        return metric

    def _actions(self) -> Metric:
        metric = counted_family("cluster_actions_total")
        for key, known in sorted(self._known.items(), key=lambda item: item[0]):
            for action in ACTIONS:
                metric.add_metric([*key, action], known.actions[action])
        return metric

    def _gauge(self, name: str, read: Callable[[Known], float | None]) -> Metric:
        metric = family(name)
        for key, known in sorted(self._known.items()):
            value = read(known)
            if value is not None:
                metric.add_metric(list(key), value)
        return metric

    def _statuses(self) -> Iterator[tuple[Key, Status]]:
        for key, known in sorted(self._known.items(), key=lambda item: item[0]):
            if known.status is not None:
                yield key, known.status


def _of_status(read: Read) -> Callable[[Known], float | None]:
    return lambda known: None if known.status is None else read(known.status)
