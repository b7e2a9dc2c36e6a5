"""What the transport needs from its owner and tells it: handler, metrics, addresses, status, limits, failures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from collectionstore_node.errors import NodeError, NotNow, OutcomeUnknown
from collectionstore_node.raft.messages import Message, NodeId


class PeerUnavailable(NotNow):
    """The request was definitely not handled by the peer: saying "not applied" is safe."""


class RequestLost(OutcomeUnknown):
    """The request left and no answer came: the peer may have handled it."""


class SnapshotFailed(NodeError):
    """The peer does not have the snapshot; the text says why. Start again when it still needs one."""


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


class TransportHandler(Protocol):
    """The replica, as the transport sees it. Everything is called on the event loop."""

    def on_messages(self, sender: NodeId, messages: tuple[Message, ...]) -> None:
        """Take Raft messages, in the order in which `sender` sent them; must not block."""

    async def on_request(self, sender: NodeId, payload: bytes) -> bytes:
        """Return the answer to a request. Raising `NotNow` tells the peer that nothing was applied.

        Cancelled at the request's deadline and when the connection it came by is gone.
        """

    async def on_snapshot(self, sender: NodeId, envelope: bytes, path: Path) -> None:
        """Install a complete and verified snapshot. The file is deleted afterwards unless it was moved away.

        Not cancelled when the connection is lost. Any exception tells the sender that the snapshot failed.
        """

    def on_unreachable(self, node_id: NodeId) -> None:
        """Learn that messages to `node_id` may have been lost; called at most once per turn of the loop."""

    def refusal(self, node_id: NodeId, name: str) -> str | None:
        """Return why this member may not connect, in a word that the member is told; None lets it in.

        Asked at every hello, and again for all connections after `Transport.set_peers`.
        """


class PeerMetrics(Protocol):
    """Measurements of one peer. Called per frame, not per message."""

    def sent(self, messages: int, size_bytes: int) -> None:
        """Count a frame with `messages` Raft messages in it, often 0."""

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
        """Count a transfer to this node that was refused, or broke off and may go on later."""


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """Bounds and times; the defaults are for nodes that share a region."""

    queue_messages_max: int = 4096
    """Raft messages that wait for one peer ..."""
    queue_bytes_max: int = 64 << 20
    """... and their bytes; a message over either bound is dropped and counted."""
    frame_bytes_target: int = 1 << 20
    """Queued items are put into one frame up to this size, so that a ping waits behind at most one such frame."""
    requests_max: int = 4096
    """Requests outstanding on one connection, on either side."""
    requests_bytes_max: int = 64 << 20
    """Bytes of requests, and of replies, that wait to be sent on one connection."""
    ping_interval_s: float = 0.5
    silence_max_s: float = 2.0
    """A connection on which nothing was heard for this long is closed; one frame must pass in this time."""
    dial_timeout_s: float = 2.0
    """For TCP, TLS and upgrade together, and again for the greeting."""
    greeting_timeout_s: float = 5.0
    """For an accepted connection: for TLS, and again for its hello."""
    close_timeout_s: float = 0.5
    drain_timeout_s: float = 5.0
    """A connection that is being renewed waits this long for the answers it is owed."""
    backoff_min_s: float = 0.05
    backoff_max_s: float = 1.0
    refused_backoff_max_s: float = 5.0
    """Longest pause before dialling a peer again that answered, but refused."""
    connection_age_max_s: float = 3600.0
    """Connections are renewed before this age, without a gap, so that certificates are checked again; those that
    cannot be renewed end at OVERAGE times this."""
    rotation_s: float = 10.0
    """After a reload of the certificates all own connections are renewed within this time."""
    inbound_max: int = 4
    """Message connections accepted of one member; more than one only while it renews its own."""
    greeting_max: int = 64
    """Connections that may be in their greeting at once."""
    snapshot_chunk_bytes: int = 256 << 10
    snapshot_window_bytes: int = 1 << 20
    """Snapshot bytes sent and not yet acknowledged; this paces the sender to what the receiver can store."""
    snapshots_max: int = 2
    """Snapshots received at once."""
    snapshot_bytes_max: int = 64 << 30
    """Sum of the sizes of the snapshots being received or kept to be resumed."""
    snapshot_resume_s: float = 60.0
    """A partly received snapshot is kept for this long after its connection was lost."""
    snapshot_attempts: int = 8
    """Dials in a row without a single new byte acknowledged before `send_snapshot` gives up."""
    snapshot_stall_s: float = 30.0
    """An acknowledgement that takes longer counts as a lost connection."""


OVERAGE: Final = 1.25
DEFAULT_SETTINGS: Final = TransportSettings()
