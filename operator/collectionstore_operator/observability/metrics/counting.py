"""What the loops, the Lease and the client of the API server count."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from collectionstore_operator.observability.metrics.clusters import Clusters, Key
from collectionstore_operator.observability.metrics.declared import Declared, family
from collectionstore_operator.status.report import Status


class OperatorMetrics:
    """Everything that one operator counts."""

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
        registry.register(self._lease)
        registry.register(self._clusters)

    def loop(self, namespace: str, name: str) -> LoopSeries:
        """Return what the loop of a cluster counts with."""
        return LoopSeries(self, (namespace, name))

    def called(self, method: str, resource: str, code: int, seconds: float) -> None:
        """Count one try of a request; `code` is 0 when no answer came."""
        self._calls.labels(method, resource, str(code)).inc()
        self._call_seconds.labels(method).observe(seconds)

    def repeated(self) -> None:
        """Count a try that is made again."""
        self._retries.inc()

    def leads(self, epoch: int, lease_age: Callable[[], float] | None = None) -> None:
        """Note that this operator acts now; `lease_age` tells since when its Lease was not renewed, in seconds."""
        self._is_leader.set(1)
        self._epoch.set(epoch)
        self._lease.age = lease_age

    def stands_by(self) -> None:
        """Note that it does not act any more."""
        self._is_leader.set(0)
        self._lease.age = None

    def not_renewed(self) -> None:
        """Count a renewal of the Lease that failed."""
        self._renew_failures.inc()

    def spans_ended(self, result: str, spans: int) -> None:
        """Count spans that were exported or failed to be; from any thread."""
        self._spans.labels(result).inc(spans)

    def show_loops(self, read: Callable[[], int]) -> None:
        """Ask `read` at every scrape how many loops run."""
        self._loops.set_function(read)

    def round_finished(self, key: Key, result: str, seconds: float, *, trouble: str) -> None:
        """Count a round of a cluster's loop; what is told of the cluster goes with its last round."""
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

    def reported(self, key: Key, status: Status, desired_members: int | None) -> None:
        """Keep what was last said of a cluster."""
        known = self._clusters.of(key)
        known.status = status
        if desired_members is not None:
            known.desired_members = desired_members


class LoopSeries:
    """What the loop of one cluster counts."""

    def __init__(self, metrics: OperatorMetrics, key: Key) -> None:
        self._metrics = metrics
        self._key = key

    def round_finished(self, result: str, seconds: float, *, trouble: str) -> None:
        """Count a round; `trouble` is the name of the error that ended it, empty if none did."""
        self._metrics.round_finished(self._key, result, seconds, trouble=trouble)

    def acted(self, action: str, outcome: str, seconds: float) -> None:
        """Count an action."""
        self._metrics.acted(self._key, action, outcome, seconds)

    def reported(self, status: Status, *, desired_members: int | None) -> None:
        """Keep what was last said of the cluster; `desired_members` is None when nobody can tell."""
        self._metrics.reported(self._key, status, desired_members)


class _LeaseAge(Collector):
    """How old the Lease is, while there is one."""

    def __init__(self) -> None:
        self.age: Callable[[], float] | None = None

    def collect(self) -> Iterator[Metric]:
        told = family("operator_lease_age_seconds")
        if self.age is not None:
            told.add_metric([], self.age())
        yield told
