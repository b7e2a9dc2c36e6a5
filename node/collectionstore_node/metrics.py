"""Every Prometheus series of a node, declared once with help, unit and labels.

Names follow `collectionstore_<part>_<noun>_<unit>`. Label values are bounded: members, routes, methods, status classes.
Children are resolved once, because `labels()` costs more than the observation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from collectionstore_node.raft.ready import Role

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_STALL_KINDS = ("event_loop", "fsync", "apply")


class ReplicaMetrics:
    """What the driver counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._is_leader = Gauge("collectionstore_raft_is_leader", "1 while this node leads", registry=registry)
        self._has_leader = Gauge("collectionstore_raft_has_leader", "1 while a leader is known", registry=registry)
        self._leader_changes = Counter(
            "collectionstore_raft_leader_changes_total", "Times that another leader was seen", registry=registry
        )
        self._proposed = Counter(
            "collectionstore_raft_proposals_total", "Commands proposed by this node as leader", registry=registry
        )
        self._proposed_bytes = Counter(
            "collectionstore_raft_proposed_bytes_total", "Bytes of proposed entries", registry=registry
        )
        self._batch_commands = Histogram(
            "collectionstore_raft_entry_commands",
            "Commands coalesced into one entry",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 1024),
            registry=registry,
        )
        self._applied = Counter("collectionstore_raft_applied_commands_total", "Commands applied", registry=registry)
        self._applied_index = Gauge("collectionstore_raft_applied_index", "Last applied log index", registry=registry)
        self.rejected_messages = Counter(
            "collectionstore_raft_rejected_messages_total", "Peer messages refused as impossible", registry=registry
        )
        self.term_jumps = Counter(
            "collectionstore_raft_term_jumps_total",
            "Peer messages that raised the term by more than elections explain",
            registry=registry,
        )
        self.fsync_seconds = Histogram(
            "collectionstore_storage_wal_fsync_seconds",
            "Time to make appended entries and the witness durable",
            buckets=_SECONDS,
            registry=registry,
        )
        self.watchdog = WatchdogSeries(registry)
        self.digests = DigestSeries(registry)
        self._last_leader = 0

    def role_changed(self, role: Role, *, leader: int) -> None:
        """Note who leads now."""
        self._is_leader.set(role is Role.LEADER)
        self._has_leader.set(bool(leader))
        if leader and leader != self._last_leader:
            self._leader_changes.inc()
            self._last_leader = leader

    def proposed(self, commands: int, size: int) -> None:
        """Count one entry."""
        self._proposed.inc(commands)
        self._proposed_bytes.inc(size)
        self._batch_commands.observe(commands)

    def applied(self, commands: int, index: int) -> None:
        """Count applied commands."""
        self._applied.inc(commands)
        self._applied_index.set(index)


class WatchdogSeries:
    """What is, or was, stuck in this process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        stalls = Counter(
            "collectionstore_watchdog_stalls_total",
            "Times that something was stuck for longer than the longest election timeout",
            ["kind"],
            registry=registry,
        )
        step_downs = Counter(
            "collectionstore_watchdog_step_downs_total",
            "Times that this leader stepped down because something in it was stuck",
            ["reason"],
            registry=registry,
        )
        self._stalls = {kind: stalls.labels(kind) for kind in _STALL_KINDS}
        self._step_downs = {kind: step_downs.labels(kind) for kind in _STALL_KINDS}
        self._lag = Histogram(
            "collectionstore_event_loop_lag_seconds",
            "How late ticks are; a stall shorter than the time between two of them may hide",
            buckets=_LAG_SECONDS,
            registry=registry,
        )
        self._sync_age = Gauge(
            "collectionstore_storage_wal_fsync_age_seconds",
            "For how long the sync has been running that runs now; 0 when none does",
            registry=registry,
        )

    def stalled(self, kind: str, *, stepped_down: bool) -> None:
        """Count a stall, and whether it ended a leadership."""
        self._stalls[kind].inc()
        if stepped_down:
            self._step_downs[kind].inc()

    def lag(self, seconds: float) -> None:
        """Observe how late a tick is."""
        self._lag.observe(seconds)

    def show_sync_age(self, read: Callable[[], float]) -> None:
        """Let the gauge ask `read` at every scrape."""
        self._sync_age.set_function(read)


class DigestSeries:
    """Whether the members hold the same state, as the leader sees it; all 0 on the others."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._differing = Gauge(
            "collectionstore_digest_mismatch",
            "Members whose state was found to differ from the others' and that were not replaced yet",
            registry=registry,
        )
        self._inconclusive = Gauge(
            "collectionstore_digest_inconclusive",
            "Members that are heard, but whose state could not be compared for a minute",
            registry=registry,
        )
        self._index = Gauge(
            "collectionstore_digest_compared_index",
            "Log index up to which all members that could be compared last held the same state",
            registry=registry,
        )

    def compared(self, *, index: int | None, differing: int, inconclusive: int) -> None:
        """Note the result of a comparison; `index` is None when there was nothing to compare with."""
        self._differing.set(differing)
        self._inconclusive.set(inconclusive)
        self._index.set(index or 0)


class PeerSeries:
    """The series of one peer, as the transport reports them per frame."""

    def __init__(self, series: TransportSeries, name: str) -> None:
        self._sent_messages = series.sent_messages.labels(name)
        self._sent_bytes = series.sent_bytes.labels(name)
        self._received_messages = series.received_messages.labels(name)
        self._received_bytes = series.received_bytes.labels(name)
        self._dropped = series.dropped_messages.labels(name)
        self._send_failures = series.send_failures.labels(name)
        self._round_trip = series.round_trip.labels(name)
        self._handshake = series.handshake.labels(name)
        self._connected = series.connected.labels(name)

    def sent(self, messages: int, size_bytes: int) -> None:
        """Count a frame."""
        self._sent_messages.inc(messages)
        self._sent_bytes.inc(size_bytes)

    def received(self, messages: int, size_bytes: int) -> None:
        """Count a frame."""
        self._received_messages.inc(messages)
        self._received_bytes.inc(size_bytes)

    def dropped(self, messages: int) -> None:
        """Count messages that were not sent."""
        self._dropped.inc(messages)

    def send_failed(self) -> None:
        """Count a failed dial or a broken connection."""
        self._send_failures.inc()

    def round_trip(self, seconds: float) -> None:
        """Observe a ping."""
        self._round_trip.observe(seconds)

    def handshake(self, seconds: float) -> None:
        """Observe a dial."""
        self._handshake.observe(seconds)

    def connected(self, count: int) -> None:
        """Set whether the connection is up."""
        self._connected.set(count)


class TransportSeries:
    """Traffic between nodes; `peer` is the member's name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"collectionstore_peer_{name}_total", text, ["peer"], registry=registry)

        self.sent_messages = counter("sent_messages", "Raft messages sent")
        self.sent_bytes = counter("sent_bytes", "Bytes sent, frames of every kind")
        self.received_messages = counter("received_messages", "Raft messages received")
        self.received_bytes = counter("received_bytes", "Bytes received, frames of every kind")
        self.dropped_messages = counter("dropped_messages", "Messages not sent: queue full or not connected")
        self.send_failures = counter("send_failures", "Dials that failed and connections that broke")
        self.round_trip = Histogram(
            "collectionstore_peer_round_trip_seconds", "Ping to pong", ["peer"], buckets=_SECONDS, registry=registry
        )
        self.handshake = Histogram(
            "collectionstore_peer_handshake_seconds",
            "TCP, TLS and WebSocket handshake of a dial",
            ["peer"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.connected = Gauge(
            "collectionstore_peer_connected",
            "1 while this node's connection to the peer is up",
            ["peer"],
            registry=registry,
        )
        self._rejected = Counter(
            "collectionstore_peer_rejected_connections_total",
            "Connections refused or ended by this node",
            ["reason"],
            registry=registry,
        )
        self._peers: dict[str, PeerSeries] = {}

    def peer(self, name: str) -> PeerSeries:
        """Return the series of a peer, made at the first call."""
        if name not in self._peers:
            self._peers[name] = PeerSeries(self, name)
        return self._peers[name]

    def forget(self, name: str) -> None:
        """Drop the series of a peer that is no longer a member."""
        if self._peers.pop(name, None) is not None:
            for series in (
                self.sent_messages,
                self.sent_bytes,
                self.received_messages,
                self.received_bytes,
                self.dropped_messages,
                self.send_failures,
                self.round_trip,
                self.handshake,
                self.connected,
            ):
                series.remove(name)

    def rejected(self, reason: str) -> None:
        """Count a connection refused or ended by this node."""
        self._rejected.labels(reason).inc()


class RouteCounts:
    """The requests of one route and method, counted in plain integers: a labelled counter and a histogram of
    prometheus-client cost 4 us a request."""

    __slots__ = ("by_status", "in_bucket", "seconds")

    def __init__(self) -> None:
        self.by_status: dict[int, int] = {}
        self.in_bucket = [0] * (len(_SECONDS) + 1)
        self.seconds = 0.0

    def finished(self, status: int, seconds: float) -> None:
        """Count a request."""
        self.by_status[status] = self.by_status.get(status, 0) + 1
        self.in_bucket[bisect_left(_SECONDS, seconds)] += 1
        self.seconds += seconds


class HttpSeries(Collector):
    """The client API; `route` is the pattern, never the path."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._routes: dict[tuple[str, str], RouteCounts] = {}
        self._inflight: list[Callable[[], int]] = []
        registry.register(self)

    def route(self, route: str, method: str) -> RouteCounts:
        """Return the counters of a route."""
        return self._routes.setdefault((route, method), RouteCounts())

    def inflight(self, read: Callable[[], int]) -> None:
        """Add a reader of the number of requests being served; the gauge shows their sum."""
        self._inflight.append(read)

    def collect(self) -> Iterator[Metric]:
        """Yield the families at a scrape."""
        requests = CounterMetricFamily(
            "collectionstore_http_requests", "Requests answered", labels=["route", "method", "code"]
        )
        seconds = HistogramMetricFamily(
            "collectionstore_http_request_seconds",
            "Time from the parsed request to its answer",
            labels=["route", "method"],
        )
        for labels, counts in self._routes.items():
            for status, count in sorted(counts.by_status.items()):
                requests.add_metric([*labels, str(status)], count)
            if counts.by_status:
                edges = [*(str(edge) for edge in _SECONDS), "+Inf"]
                cumulated = list(zip(edges, accumulate(counts.in_bucket), strict=True))
                seconds.add_metric(labels, cumulated, counts.seconds)
        yield requests
        yield seconds
        yield GaugeMetricFamily(
            "collectionstore_http_inflight_requests",
            "Requests being served",
            value=sum(read() for read in self._inflight),
        )


def build_info(registry: CollectorRegistry, *, version: str, cluster: str, name: str) -> None:
    """Declare which build runs as which member."""
    Info("collectionstore_build", "Version of this node", registry=registry).info(
        {"version": version, "cluster_id": cluster, "member": name}
    )
