"""Totals sent to and received from each member, over all its connections, for status and metrics."""

from __future__ import annotations

from collections import deque
from statistics import median

from collectionstore_node.transport.metrics_port import PeerMetrics, TransportMetrics

_ROUND_TRIPS_KEPT = 64


class Traffic:
    """Totals since the peer became known, kept across reconnects; every count goes to the metrics as well."""

    def __init__(self, metrics: PeerMetrics) -> None:
        self.metrics = metrics
        self.sent_bytes = 0
        self.received_bytes = 0
        self.sent_messages = 0
        self.received_messages = 0
        self.dropped_messages = 0
        self.heard_at: float | None = None
        """Monotonic time of the last frame on any connection."""
        self.handshake_s: float | None = None
        self._round_trips: deque[float] = deque(maxlen=_ROUND_TRIPS_KEPT)

    def sent(self, messages: int, size_bytes: int) -> None:
        """Count what one write sent, and the Raft messages in it."""
        self.sent_messages += messages
        self.sent_bytes += size_bytes
        self.metrics.sent(messages, size_bytes)

    def received(self, messages: int, size_bytes: int) -> None:
        """Count a frame received and the Raft messages in it."""
        self.received_messages += messages
        self.received_bytes += size_bytes
        self.metrics.received(messages, size_bytes)

    def dropped(self, messages: int) -> None:
        """Count messages that were not sent."""
        self.dropped_messages += messages
        self.metrics.dropped(messages)

    def round_trip(self, seconds: float) -> None:
        """Keep a ping's round trip."""
        self._round_trips.append(seconds)
        self.metrics.round_trip(seconds)

    def handshake(self, seconds: float) -> None:
        """Keep how long the last dial took."""
        self.handshake_s = seconds
        self.metrics.handshake(seconds)

    @property
    def round_trip_s(self) -> float | None:
        """Last round trip; None before the first."""
        return self._round_trips[-1] if self._round_trips else None

    @property
    def round_trip_p50_s(self) -> float | None:
        """Median of the last 64 round trips; None before the first."""
        return median(self._round_trips) if self._round_trips else None


class TrafficTable:
    """The totals of every member, by name."""

    def __init__(self, metrics: TransportMetrics) -> None:
        self._metrics = metrics
        self._traffic: dict[str, Traffic] = {}

    def of(self, name: str) -> Traffic:
        """Return the totals of a member, made at the first call."""
        traffic = self._traffic.get(name)
        if traffic is None:
            traffic = self._traffic[name] = Traffic(self._metrics.peer(name))
        return traffic

    def forget(self, name: str) -> None:
        """Drop the totals and the series of a member."""
        self._traffic.pop(name, None)
        self._metrics.forget(name)
