"""The audit log and limits. Gauges, and counts of what is refused, are read at scrape time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from collectionstore_telemetry.metrics import Metrics


class Feeding(Protocol):
    """What feeds a sink, as `audit.Feeder` does."""

    @property
    def name(self) -> str: ...

    @property
    def failing(self) -> bool: ...

    @property
    def bytes(self) -> int: ...

    @property
    def bytes_max(self) -> int: ...


class SinkSeries:
    """Counts what becomes of the records of one sink. Implements `audit.feeder.FeederSeries`."""

    def __init__(self, metrics: Metrics, sink: str) -> None:
        self._metrics = metrics
        self._written = metrics.counter("audit_records_total", sink, "written")
        self._dropped = metrics.counter("audit_records_total", sink, "dropped")
        self._failures = metrics.counter("audit_failures_total", sink)

    def written(self, records: int) -> None:
        """Count records that the sink has taken."""
        self._written.inc(records)

    def dropped(self, records: int) -> None:
        """Count records that were lost."""
        self._dropped.inc(records)

    def failed(self) -> None:
        """Count an attempt that failed."""
        self._failures.inc()

    def show(self, feeding: Feeding) -> None:
        """Export how the sink is, from now on."""
        metrics, sink = self._metrics, feeding.name
        metrics.gauge("audit_sink_failing", sink).set_function(lambda: float(feeding.failing))
        metrics.gauge("audit_queued_bytes", sink).set_function(lambda: feeding.bytes)
        metrics.gauge("audit_queued_bytes_max", sink).set_function(lambda: feeding.bytes_max)


class RefusedSeries:
    """Counts what limits refuse, and what is refused because it cannot be audited."""

    def __init__(
        self, metrics: Metrics, limits: Callable[[], Mapping[str, int]], audit: Callable[[], int] | None
    ) -> None:
        """`limits` returns how many were refused so far, by scope; `audit` the same of the audit log, None without."""
        self._limits = limits
        self._audit = audit
        self._by_scope = {scope: metrics.counter("limits_refused_total", scope) for scope in limits()}
        self._unaudited = metrics.counter("audit_refused_total")
        self._told: dict[str, int] = {}
        metrics.before_scrape(self._refresh)

    def _refresh(self) -> None:
        for scope, count in self._limits().items():
            self._by_scope[scope].inc(count - self._told.get(scope, 0))
            self._told[scope] = count
        unaudited = 0 if self._audit is None else self._audit()
        self._unaudited.inc(unaudited - self._told.get("audit", 0))
        self._told["audit"] = unaudited
