"""Series of the client API; `route` is the pattern, never the path. Implements `api.HttpMetrics`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from collectionstore_node.metrics.table.raft import BRANCHES, FATES
from collectionstore_node.metrics.table.storage import BUILD_RESULTS
from collectionstore_node.metrics.table.traffic import WATCH_ENDS
from collectionstore_telemetry.metrics.recorders import Counter
from collectionstore_telemetry.metrics.registry import Metrics


class RouteSeries:
    """The requests of one route and method."""

    __slots__ = ("_by_status", "_labels", "_metrics", "_seconds")

    def __init__(self, metrics: Metrics, route: str, method: str) -> None:
        self._metrics = metrics
        self._labels = (route, method)
        self._by_status: dict[int, Counter] = {}
        self._seconds = metrics.histogram("http_request_duration_seconds", route, method)

    def finished(self, status: int, seconds: float, trace_id: str | None = None) -> None:
        """Count a request."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._answered(status)
        counter.inc()
        self._seconds.observe(seconds, trace_id)

    def finished_all(self, status: int, seconds: list[float]) -> None:
        """Count untraced requests with one status; sorts `seconds` in place."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._answered(status)
        counter.inc(len(seconds))
        self._seconds.observe_all(seconds)

    def _answered(self, status: int) -> Counter:
        # Resolved at the first response with this status: most statuses never occur on a route.
        counter = self._by_status[status] = self._metrics.counter("http_requests_total", *self._labels, str(status))
        return counter


class HttpSeries:
    """The client API and the probes of one node."""

    def __init__(self, metrics: Metrics, *, inflight_max: int) -> None:
        self._metrics = metrics
        self._routes: dict[tuple[str, str], RouteSeries] = {}
        self._problems: dict[str, Counter] = {}
        self._transactions = {result: metrics.counter("transactions_total", result) for result in BRANCHES}
        self._queued = {result: metrics.counter("queued_writes_total", result) for result in FATES}
        self._readers: dict[str, list[Callable[[], int]]] = {}
        metrics.gauge("http_inflight_requests_max").set(inflight_max)

    def route(self, route: str, method: str) -> RouteSeries:
        """Return the recorders of a route."""
        key = (route, method)
        if key not in self._routes:
            self._routes[key] = RouteSeries(self._metrics, route, method)
        return self._routes[key]

    def problem(self, code: str) -> None:
        """Count a request that was answered with a problem."""
        counter = self._problems.get(code)
        if counter is None:
            counter = self._problems[code] = self._metrics.counter("http_problems_total", code)
        counter.inc()

    def transaction(self, result: str) -> None:
        """Count a transaction by the branch that was executed, or by its failure."""
        self._transactions[result].inc()

    def queued(self, result: str) -> None:
        """Count a queued write by what has become of it."""
        self._queued[result].inc()

    def inflight(self, read: Callable[[], int]) -> None:
        """Add a source of the requests in flight; the gauge is the sum of all sources, as for the next two."""
        self._follow("http_inflight_requests", read)

    def connections(self, read: Callable[[], int]) -> None:
        """Add a source of the number of open connections."""
        self._follow("http_connections", read)

    def arriving(self, read: Callable[[], int]) -> None:
        """Add a source of the size of the bodies being received."""
        self._follow("http_arriving_bytes", read)

    def uploads(self, read: Callable[[], int]) -> None:
        """Add a source of the number of bodies being received."""
        self._follow("http_uploads", read)

    def unsent(self, read: Callable[[], int]) -> None:
        """Add a source of the size of answers that were not taken."""
        self._follow("http_unsent_bytes", read)

    def cut(self, reason: str) -> None:
        """Count a connection closed because its client is too slow."""
        self._metrics.counter("http_cut_connections_total", reason).inc()

    def long_requests(self, read: Callable[[], int]) -> None:
        """Add a source of the number of long requests."""
        self._follow("http_long_requests", read)

    def streams(self, connections: Callable[[], int], operations: Callable[[], int]) -> None:
        """Add a source of the number of open streams, and of their operations in flight."""
        self._follow("stream_connections", connections)
        self._follow("stream_operations", operations)

    def stream_closed(self, reason: str) -> None:
        """Count a stream that has ended."""
        self._metrics.counter("stream_closed_total", reason).inc()

    def _follow(self, name: str, read: Callable[[], int]) -> None:
        readers = self._readers.setdefault(name, [])
        readers.append(read)
        self._metrics.gauge(name).set_function(lambda: sum(one() for one in readers))


class Issuers(Protocol):
    """What is known of the keys of issuers."""

    def ages_s(self) -> Mapping[str, float]:
        """Return how old the keys of each issuer are that has answered."""

    @property
    def without_keys(self) -> int:
        """How many issuers have no keys that may be used."""


class AuthenticationSeries:
    """Who was let in, and who was not. Implements `api.http.guard.AuthenticationMetrics`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._known: tuple[str, ...] = ()

    def follow(self, issuers: Issuers, waiting: Callable[[], int]) -> None:
        """Read the state of issuers, and the number of passwords that wait, at every scrape."""
        self._metrics.gauge("password_checks").set_function(waiting)
        self._metrics.before_scrape(lambda: self._refresh(issuers))

    def authenticated(self, method: str) -> None:
        """Count a credential that was found valid."""
        self._metrics.counter("authentications_total", method).inc()

    def refused(self, reason: str, *, tolerated: bool) -> None:
        """Count a request without a valid credential."""
        self._metrics.counter("authentication_refusals_total", reason, "true" if tolerated else "false").inc()

    def slowed(self) -> None:
        """Count an attempt that came too early."""
        self._metrics.counter("authentication_slowed_total").inc()

    def expelled(self) -> None:
        """Count what was ended with its credential."""
        self._metrics.counter("authentication_expelled_total").inc()

    def _refresh(self, issuers: Issuers) -> None:
        ages = issuers.ages_s()
        for name in self._known:
            if name not in ages:
                self._metrics.forget("issuer", name)
        for name, age_s in ages.items():
            self._metrics.gauge("issuer_keys_age_seconds", name).set(age_s)
        self._known = tuple(ages)
        self._metrics.gauge("issuers_without_keys").set(issuers.without_keys)


class Writes(Protocol):
    """The writes in flight of a member, as `service.WriteAdmission` counts them."""

    inflight: int
    limit: int

    @property
    def refused(self) -> Mapping[str, int]:
        """How many were refused, by reason."""


class WriteSeries:
    """The admission of writes. Read at scrape time: the hot path counts nothing here."""

    def __init__(self, metrics: Metrics, writes: Writes, *, prefix: str = "") -> None:
        self._writes = writes
        self._refused = {reason: metrics.counter(f"{prefix}writes_refused_total", reason) for reason in writes.refused}
        self._told = dict.fromkeys(writes.refused, 0)
        metrics.gauge(f"{prefix}writes_inflight").set_function(lambda: writes.inflight)
        metrics.gauge(f"{prefix}writes_inflight_max").set_function(lambda: writes.limit)
        metrics.before_scrape(self._refresh)

    def _refresh(self) -> None:
        for reason, count in self._writes.refused.items():
            self._refused[reason].inc(count - self._told[reason])
            self._told[reason] = count


class ExpirySeries:
    """What expires. Implements `service.expirer.ExpirySeries`."""

    def __init__(self, metrics: Metrics) -> None:
        self._queued = metrics.gauge("expiry_queued")
        self._leases = metrics.gauge("leases")
        self._overdue = metrics.gauge("expiry_overdue_seconds")
        self._expired = metrics.counter("expired_total")

    def queued(self, records: int, leases: int) -> None:
        """Show how many records have a deadline of their own, and how many leases there are."""
        self._queued.set(records)
        self._leases.set(leases)

    def overdue(self, seconds: float) -> None:
        """Show for how long the first in the queue has been due."""
        self._overdue.set(seconds)

    def expired(self, records: int) -> None:
        """Count records that were removed because they had expired."""
        self._expired.inc(records)


class WatchCounts(Protocol):
    """The watches of a member, as `service.Watches` counts them."""

    told: int

    @property
    def ended(self) -> Mapping[str, int]:
        """How many have ended, by reason."""

    @property
    def lag(self) -> int:
        """By how many revisions the last of them is behind."""

    def __len__(self) -> int:
        """Return how many are open."""


class WatchSeries:
    """The watches. Read at scrape time, as there may be thousands."""

    def __init__(self, metrics: Metrics, watches: WatchCounts) -> None:
        self._watches = watches
        self._told = 0
        self._events = metrics.counter("watch_events_total")
        self._ended = {reason: metrics.counter("watches_ended_total", reason) for reason in WATCH_ENDS}
        self._counted = dict.fromkeys(WATCH_ENDS, 0)
        metrics.gauge("watches_open").set_function(lambda: len(watches))
        metrics.gauge("watch_lag_revisions").set_function(lambda: watches.lag)
        metrics.before_scrape(self._refresh)

    def _refresh(self) -> None:
        told = self._watches.told
        self._events.inc(told - self._told)
        self._told = told
        for reason, counter in self._ended.items():
            count = self._watches.ended.get(reason, 0)
            counter.inc(count - self._counted[reason])
            self._counted[reason] = count


class IndexSeries:
    """The builds of indexes. Implements `service.index_builder.BuildSeries`."""

    def __init__(self, metrics: Metrics) -> None:
        self._building = metrics.gauge("index_building")
        self._passed = metrics.counter("index_build_documents_total")
        self._ended = {result: metrics.counter("index_builds_total", result) for result in BUILD_RESULTS}

    def building(self, count: int) -> None:
        """Show how many indexes this member is building."""
        self._building.set(count)

    def passed(self, documents: int) -> None:
        """Count documents that a step has passed."""
        self._passed.inc(documents)

    def ended(self, result: str) -> None:
        """Count a build that has ended."""
        self._ended[result].inc()
