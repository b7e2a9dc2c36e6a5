"""Limits and timeouts of the transport."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


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
    streams: bool = True
    """Whether to leave the WebSocket after the handshake for a stream of frames, where the other side does it too."""
    ping_interval_s: float = 0.5
    silence_max_s: float = 2.0
    """A connection on which nothing was heard for this long is closed; in a WebSocket message, one frame must pass in
    this time."""
    dial_timeout_s: float = 2.0
    """For TCP, TLS and upgrade together, and again for the handshake."""
    handshake_timeout_s: float = 5.0
    """For an accepted connection: for TLS, and again for its hello."""
    close_timeout_s: float = 0.5
    drain_timeout_s: float = 5.0
    """A connection that is being renewed waits this long for the answers it is owed."""
    backoff_min_s: float = 0.05
    backoff_max_s: float = 1.0
    refused_backoff_max_s: float = 5.0
    """Longest pause before dialing a peer again that answered, but refused."""
    connection_age_max_s: float = 3600.0
    """Connections are renewed before this age, without a gap, so that certificates are checked again; those that
    cannot be renewed end at OVERAGE times this."""
    rotation_s: float = 10.0
    """After a reload of the certificates all own connections are renewed within this time."""
    inbound_max: int = 4
    """Message connections accepted of one member; more than one only while it renews its own."""
    handshakes_max: int = 64
    """Maximum number of concurrent handshakes."""
    unadmitted_max: int = 128
    """Connections of the peer port, from `accept` on, whose dialer is not admitted yet; beyond them those are closed
    that have been in their TLS handshake for longest."""
    unadmitted_per_address_max: int = 32
    """The same of one address; loopback has no bound of its own."""
    snapshot_chunk_bytes: int = 256 << 10
    snapshot_window_bytes: int = 1 << 20
    """Snapshot bytes sent and not yet acknowledged; this paces the sender to what the receiver can store."""
    snapshots_max: int = 2
    """Maximum number of snapshots received concurrently."""
    snapshot_bytes_max: int = 64 << 30
    """Sum of the sizes of the snapshots being received or kept to be resumed."""
    snapshot_resume_s: float = 60.0
    """A partly received snapshot is kept for this long after its connection was lost."""
    snapshot_attempts: int = 8
    """Dials in a row without a single new byte acknowledged before `send_snapshot` fails."""
    snapshot_stall_s: float = 30.0
    """An acknowledgement that takes longer counts as a lost connection."""


OVERAGE: Final = 1.25


DEFAULT_SETTINGS: Final = TransportSettings()
