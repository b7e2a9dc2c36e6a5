"""Members as the transport knows them: address and connection status."""

from __future__ import annotations

from dataclasses import dataclass

from collectionstore_node.raft.messages import NodeId


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where a member is reached. `address` is `host:port`; `name` is what its certificate must say."""

    node_id: NodeId
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A peer as this node sees it now."""

    node_id: NodeId
    name: str
    address: str
    connected: bool
    """Whether this node's own connection to it is up; that is the one that carries what this node sends."""
    round_trip_s: float | None
    """Last measured round trip; None before the first."""
    round_trip_p50_s: float | None
    """Median of the last 64 measurements, one every `TransportSettings.ping_interval_s`. Of two pings in a row the
    second is measured, so that the time to wake an idle process is not taken for the network's."""
    handshake_s: float | None
    """TCP connect, TLS handshake and WebSocket upgrade of the last dial."""
    queued_messages: int
    queued_bytes: int
    outstanding_requests: int
    sent_bytes: int
    received_bytes: int
    sent_messages: int
    received_messages: int
    dropped_messages: int
    last_heard_age_s: float | None
    """Seconds since anything came from it on any connection; None before the first time."""
    problem: str | None
    """Why it is not connected, as `<close code>: <detail>` when the peer said so, for instance `refused: removed`."""
