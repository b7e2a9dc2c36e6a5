"""Series of the transport, by the name of the peer. Implements `transport.TransportMetrics`."""

from __future__ import annotations

from collectionstore_node.metrics.replica import SnapshotSeries
from collectionstore_telemetry.metrics.registry import Metrics


class PeerSeries:
    """Series of one peer, reported by the transport once per frame."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._sent_messages = metrics.counter("peer_sent_messages_total", name)
        self._sent_bytes = metrics.counter("peer_sent_bytes_total", name)
        self._received_messages = metrics.counter("peer_received_messages_total", name)
        self._received_bytes = metrics.counter("peer_received_bytes_total", name)
        self._dropped = metrics.counter("peer_dropped_messages_total", name)
        self._send_failures = metrics.counter("peer_send_failures_total", name)
        self._round_trip = metrics.histogram("peer_round_trip_seconds", name)
        self._handshake = metrics.histogram("peer_handshake_seconds", name)
        self._connected = metrics.gauge("peer_connected", name)
        self._connected.set(0)

    def sent(self, messages: int, size_bytes: int) -> None:
        """Count a frame."""
        self._sent_messages.inc(messages)
        self._sent_bytes.inc(size_bytes)

    def received(self, messages: int, size_bytes: int) -> None:
        """Count a frame."""
        self._received_messages.inc(messages)
        self._received_bytes.inc(size_bytes)

    def dropped(self, messages: int) -> None:
        """Count messages that were dropped."""
        self._dropped.inc(messages)

    def send_failed(self) -> None:
        """Count a failed dial or a broken connection."""
        self._send_failures.inc()

    def round_trip(self, seconds: float) -> None:
        """Observe the round trip of a ping."""
        self._round_trip.observe(seconds)

    def handshake(self, seconds: float) -> None:
        """Observe the handshake of a dial."""
        self._handshake.observe(seconds)

    def connected(self, count: int) -> None:
        """Set the number of established connections, 0 or 1."""
        self._connected.set(count)


class TransportSeries:
    """Traffic between members; `peer` is a member's name."""

    def __init__(self, metrics: Metrics, snapshots: SnapshotSeries) -> None:
        self._metrics = metrics
        self._snapshots = snapshots
        self._peers: dict[str, PeerSeries] = {}

    def peer(self, name: str) -> PeerSeries:
        """Return the series of a peer, created at the first call."""
        if name not in self._peers:
            self._peers[name] = PeerSeries(self._metrics, name)
        return self._peers[name]

    def forget(self, name: str) -> None:
        """Drop the series of a removed member."""
        if self._peers.pop(name, None) is not None:
            self._metrics.forget("peer", name)

    def rejected(self, reason: str) -> None:
        """Count a connection rejected or closed by this member."""
        self._metrics.counter("peer_rejected_connections_total", reason).inc()

    def snapshot_received(self, size_bytes: int, seconds: float) -> None:
        """Count a snapshot that was received completely."""
        self._snapshots.done("receive", size_bytes=size_bytes, seconds=seconds)

    def snapshot_failed(self) -> None:
        """Count a transfer to this member that was rejected or interrupted."""
        self._snapshots.failed("receive")
