"""The port for the transport's measurements; `metrics.TransportSeries` implements it."""

from __future__ import annotations

from typing import Protocol


class PeerMetrics(Protocol):
    """Measurements of one peer. Called per write and per frame received, not per message."""

    def sent(self, messages: int, size_bytes: int) -> None:
        """Count a write with `messages` Raft messages in it, often 0."""

    def received(self, messages: int, size_bytes: int) -> None:
        """Count a frame with `messages` Raft messages in it, often 0."""

    def dropped(self, messages: int) -> None:
        """Count messages that were not sent: queue full, or peer not connected."""

    def send_failed(self) -> None:
        """Count a failed dial or a connection lost other than by an orderly close."""

    def round_trip(self, seconds: float) -> None:
        """Observe a ping's round trip."""

    def handshake(self, seconds: float) -> None:
        """Observe a dial: TCP connect, TLS handshake and WebSocket upgrade."""

    def connected(self, count: int) -> None:
        """Set whether this node's own connection to the peer is up: 1 or 0."""


class TransportMetrics(Protocol):
    """Where measurements go, by the peer's name; the name "(unknown)" counts messages to a node without an address."""

    def peer(self, name: str) -> PeerMetrics:
        """Return the series of a peer, made at the first call."""

    def forget(self, name: str) -> None:
        """Drop the series of a peer that is no longer a member."""

    def rejected(self, reason: str) -> None:
        """Count a connection refused or ended by this node, by the close code's name in lower case."""

    def snapshot_received(self, size_bytes: int, seconds: float) -> None:
        """Count a snapshot that arrived whole; `seconds` over all connections that it took."""

    def snapshot_failed(self) -> None:
        """Count a transfer to this node that was refused, or was interrupted and may be resumed."""
