"""Series of the reconcile loops, the Lease and the API client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from collectionstore_operator.observability.metrics.backups import BackupSeries
from collectionstore_operator.observability.metrics.clusters import Clusters, Key
from collectionstore_operator.observability.metrics.declared import Declared, family
from collectionstore_operator.observability.metrics.users import UserSeries
from collectionstore_operator.status.published import Status


class OperatorMetrics:
    """All series of one operator."""

    def __init__(
        self, registry: CollectorRegistry, *, version: str = "", wall: Callable[[], float] = time.time
    ) -> None:
        declared = Declared(registry)
        self._wall = wall
        self._reconciles = declared.counter("operator_reconciles_total")
        self._reconcile_seconds = declared.histogram("operator_reconcile_duration_seconds")
        self._errors = declared.counter("operator_errors_total")
        self._actions = declared.counter("operator_actions_total")
        self._action_seconds = declared.histogram("operator_action_duration_seconds")
        self._drifts = declared.counter("operator_drift_corrected_total")
        self._calls = declared.counter("operator_api_requests_total")
        self._call_seconds = declared.histogram("operator_api_request_duration_seconds")
        self._retries = declared.counter("operator_api_retries_total")
        self._is_leader = declared.gauge("operator_is_leader")
        self._epoch = declared.gauge("operator_epoch")
        self._renew_failures = declared.counter("operator_lease_renew_failures_total")
        self._loops = declared.gauge("operator_loops")
        self._spans = declared.counter("tracing_spans_total")
        declared.info("operator_build").info({"version": version})
        self._lease = _LeaseAge()
        self._clusters = Clusters()
        self.backups = BackupSeries()
        """The schedules of backups."""
        self.users = UserSeries()
        """The users of clusters."""
        registry.register(self._lease)
        registry.register(self._clusters)
        registry.register(self.backups)
        registry.register(self.users)

    def loop(self, namespace: str, name: str) -> LoopSeries:
        """Return the series of the loop of a cluster."""
        return LoopSeries(self, (namespace, name))

    def called(self, method: str, resource: str, code: int, seconds: float) -> None:
        """Count one attempt of a request; `code` is 0 without a response."""
        self._calls.labels(method, resource, str(code)).inc()
        self._call_seconds.labels(method).observe(seconds)

    def repeated(self) -> None:
        """Count a retry."""
        self._retries.inc()

    def leads(self, epoch: int, lease_age: Callable[[], float] | None = None) -> None:
        """Record that this operator leads; `lease_age` returns the seconds since its Lease was last renewed."""
        self._is_leader.set(1)
        self._epoch.set(epoch)
        self._lease.age = lease_age

    def stands_by(self) -> None:
        """Record that it no longer leads."""
        self._is_leader.set(0)
        self._lease.age = None

    def not_renewed(self) -> None:
        """Count a failed renewal of the Lease."""
        self._renew_failures.inc()

    def spans_ended(self, result: str, spans: int) -> None:
        """Count spans by export result; called from any thread."""
        self._spans.labels(result).inc(spans)

    def show_loops(self, read: Callable[[], int]) -> None:
        """Call `read` for the number of running loops at every scrape."""
        self._loops.set_function(read)

    def round_finished(self, key: Key, result: str, seconds: float, *, trouble: str) -> None:
        """Count a round of a cluster's loop; the result Gone drops the series of the cluster."""
        self._reconciles.labels(result).inc()
        self._reconcile_seconds.observe(seconds)
        if trouble:
            self._errors.labels(trouble).inc()
        self._clusters.of(key).last_round = self._wall()
        if result == "Gone":
            self._clusters.forget(key)

    def acted(self, key: Key, action: str, outcome: str, seconds: float) -> None:
        """Count an action for a cluster."""
        if outcome == "Done":
            self._clusters.of(key).actions[action] += 1
        self._actions.labels(action, outcome).inc()
        self._action_seconds.labels(action).observe(seconds)

    def drift_corrected(self, kind: str) -> None:
        """Count an object that was restored."""
        self._drifts.labels(kind).inc()

    def reported(self, key: Key, status: Status, desired_members: int | None) -> None:
        """Record the last status of a cluster."""
        known = self._clusters.of(key)
        known.status = status
        if desired_members is not None:
            known.desired_members = desired_members


class LoopSeries:
    """Series of the loop of one cluster."""

    def __init__(self, metrics: OperatorMetrics, key: Key) -> None:
        self._metrics = metrics
        self._key = key

    def round_finished(self, result: str, seconds: float, *, trouble: str) -> None:
        """Count a round; `trouble` is the name of the error that ended it, or empty."""
        self._metrics.round_finished(self._key, result, seconds, trouble=trouble)

    def acted(self, action: str, outcome: str, seconds: float) -> None:
        """Count an action."""
        self._metrics.acted(self._key, action, outcome, seconds)

    def drift_corrected(self, kind: str) -> None:
        """Count an object of this kind that another owner had changed and that was restored."""
        self._metrics.drift_corrected(kind)

    def reported(self, status: Status, *, desired_members: int | None) -> None:
        """Record the last status; `desired_members` is None if it is unknown, which keeps the last value."""
        self._metrics.reported(self._key, status, desired_members)


class _LeaseAge(Collector):
    """Age of the Lease, exposed only while it is held."""

    def __init__(self) -> None:
        self.age: Callable[[], float] | None = None

    def collect(self) -> Iterator[Metric]:
        metric = family("operator_lease_age_seconds")
        if self.age is not None:
            metric.add_metric([], self.age())
        yield metric
