"""Series of what comes and goes over the network: other members, and clients."""

from __future__ import annotations

from typing import Final

from collectionstore_node.metrics.table.buckets import SECONDS
from collectionstore_node.metrics.table.raft import PEER
from collectionstore_telemetry.metrics.series import Chapters, Label, counter, gauge, histogram

_ROUTE: Final = Label("route", bound="route patterns of the API, never a path")
_PORT: Final = Label("port", ("clients", "metrics", "peers"))
_METHOD: Final = Label("method", bound="methods of the API")

_PEERS: Final = (
    gauge("peer_connected", "1 while this member's connection to the peer is established", PEER),
    counter("peer_sent_messages_total", "Raft messages sent", PEER),
    counter("peer_sent_bytes_total", "Bytes sent, in frames of every kind", PEER),
    counter("peer_received_messages_total", "Raft messages received", PEER),
    counter("peer_received_bytes_total", "Bytes received, in frames of every kind", PEER),
    counter(
        "peer_dropped_messages_total", "Messages dropped because the queue was full or the peer not connected", PEER
    ),
    counter("peer_send_failures_total", "Failed dials and broken connections", PEER),
    histogram("peer_round_trip_seconds", "Round-trip time of a ping", PEER, buckets=SECONDS),
    histogram(
        "peer_handshake_seconds", "Time of the TCP, TLS and WebSocket handshake of a dial", PEER, buckets=SECONDS
    ),
    gauge("peer_queued_messages", "Raft messages in the send queue", PEER),
    gauge("peer_queued_bytes", "Bytes in the send queue", PEER),
    gauge("peer_outstanding_requests", "Requests to the peer without a reply yet", PEER),
    counter(
        "peer_rejected_connections_total",
        "Connections rejected or closed by this member",
        Label("reason", bound="close codes of the protocol between members, and WebSocket's own"),
    ),
)

_HTTP: Final = (
    counter(
        "http_requests_total",
        "Requests answered",
        _ROUTE,
        _METHOD,
        Label("code", bound="statuses of docs/reference/api.md"),
    ),
    histogram(
        "http_request_duration_seconds",
        "Time from the parsed request to its response",
        _ROUTE,
        _METHOD,
        buckets=SECONDS,
    ),
    counter(
        "http_problems_total",
        "Requests answered with a problem",
        Label("problem", bound="codes of docs/reference/api.md"),
    ),
    gauge("http_inflight_requests", "Requests in flight"),
    gauge("http_inflight_requests_max", "Bound of requests in flight; probes are not counted"),
    gauge("writes_inflight", "Writes of this member's clients in flight"),
    gauge("writes_inflight_max", "How many writes may be in flight, by the time that they take"),
    counter(
        "writes_refused_total",
        "Writes refused before they were proposed: too many in flight, no time for what is in front of it, "
        "or it waited too long before the member looked at it",
        Label("reason", ("queue", "deadline", "overdue")),
    ),
    gauge("http_connections", "Open connections of clients and probes"),
    gauge("http_arriving_bytes", "Bytes that have arrived of request bodies being received"),
    gauge("http_uploads", "Request bodies being received"),
    gauge("http_unsent_bytes", "Size of answers that their clients have not taken yet"),
    counter(
        "http_cut_connections_total",
        "Connections closed because their client is too slow",
        Label("reason", ("slow_head", "slow_read", "evicted_read")),
    ),
    gauge(
        "port_connections",
        "Connections of a port, from accept to their end; of the peers' port, until the member is admitted",
        _PORT,
    ),
    gauge("port_connections_max", "Bound of the connections of a port", _PORT),
    counter(
        "port_refused_connections_total",
        "Connections that a port did not admit",
        _PORT,
        Label("reason", ("full", "address_full", "descriptors", "handshake", "network")),
    ),
    gauge("http_long_requests", "Large bodies and pages that take turns on the event loop, or wait for theirs"),
)

_STREAMS: Final = (
    gauge("stream_connections", "Open streams"),
    gauge("stream_operations", "Operations of streams in flight"),
    gauge("stream_writes_inflight", "Writes of streams in flight"),
    gauge("stream_writes_inflight_max", "How many of them may be in flight, by the time that they take"),
    counter(
        "stream_writes_refused_total",
        "Writes of streams refused before they were proposed, as writes_refused_total",
        Label("reason", ("queue", "deadline", "overdue")),
    ),
    counter(
        "stream_closed_total",
        "Streams that have ended",
        Label("reason", bound="close codes of docs/reference/stream.md, and lost without one"),
    ),
)

WATCH_ENDS: Final = ("left", "page", "slow", "gone", "invalidate", "moved", "failed")
_WATCHES: Final = (
    gauge("watches_open", "Open watches of changes"),
    gauge("watch_lag_revisions", "Revisions by which the last of them is behind what this member has applied"),
    counter("watch_events_total", "Events that were found for watches: changes, initial documents, ends"),
    counter(
        "watches_ended_total",
        "Watches that have ended: their client left, the page was answered, the client was too slow, the history was "
        "not kept, the collection was dropped, the member stopped, or their filter failed",
        Label("reason", WATCH_ENDS),
    ),
)

REFUSALS: Final = (
    "missing",
    "malformed",
    "unknown",
    "expired",
    "not_yet",
    "audience",
    "signature",
    "keys",
    "unmapped",
    "disabled",
    "member",
    "certificate",
)
"""Of credentials; `authn.refusals` says what they mean."""
_AUTHENTICATION: Final = (
    counter(
        "authentications_total",
        "Credentials that were checked and found valid; what a connection shows again is not counted",
        Label("method", ("anonymous", "certificate", "jwt", "local", "password", "service_account", "token")),
    ),
    counter(
        "authentication_refusals_total",
        "Requests without a valid credential, by why; the client is not told. Tolerated ones went on without rights, "
        "as access control is permissive",
        Label("reason", REFUSALS),
        Label("tolerated", ("false", "true")),
    ),
    counter("authentication_slowed_total", "Passwords that were not tried, as too many attempts had failed"),
    counter("authentication_expelled_total", "Streams, watches and long requests ended with their credential"),
    gauge("password_checks", "Passwords that are being checked, or wait for it"),
    gauge(
        "issuer_keys_age_seconds",
        "Age of the keys of an issuer of tokens; absent as long as it has answered nothing",
        Label("issuer", bound="issuers of the access configuration, at most 17"),
    ),
    gauge("issuers_without_keys", "Issuers none of whose tokens are accepted, as their keys are missing or too old"),
)

TRAFFIC: Final[Chapters] = (
    ("Peers", _PEERS),
    ("HTTP", _HTTP),
    ("Streams", _STREAMS),
    ("Watches", _WATCHES),
    ("Authentication", _AUTHENTICATION),
)
