"""Series of what comes and goes over the network: other members, and clients."""

from __future__ import annotations

from typing import Final

from collectionstore_node.metrics.table.buckets import SECONDS
from collectionstore_node.metrics.table.raft import PEER
from collectionstore_telemetry.metrics.series import Chapters, Label, counter, gauge, histogram

_ROUTE: Final = Label("route", bound="patterns of the table of routes, never a path")
_METHOD: Final = Label("method", bound="methods of that table")

_PEERS: Final = (
    gauge("peer_connected", "1 while this node's connection to the peer is up", PEER),
    counter("peer_sent_messages_total", "Raft messages sent", PEER),
    counter("peer_sent_bytes_total", "Bytes sent, frames of every kind", PEER),
    counter("peer_received_messages_total", "Raft messages received", PEER),
    counter("peer_received_bytes_total", "Bytes received, frames of every kind", PEER),
    counter("peer_dropped_messages_total", "Messages not sent: queue full or not connected", PEER),
    counter("peer_send_failures_total", "Dials that failed and connections that broke", PEER),
    histogram("peer_round_trip_seconds", "Ping to pong", PEER, buckets=SECONDS),
    histogram("peer_handshake_seconds", "TCP, TLS and WebSocket handshake of a dial", PEER, buckets=SECONDS),
    gauge("peer_queued_messages", "Raft messages that wait to be sent", PEER),
    gauge("peer_queued_bytes", "Bytes that wait to be sent", PEER),
    gauge("peer_outstanding_requests", "Requests to the peer that are not answered yet", PEER),
    counter(
        "peer_rejected_connections_total",
        "Connections refused or ended by this node",
        Label("reason", bound="close codes of the protocol between members, and WebSocket's own"),
    ),
)

_HTTP: Final = (
    counter(
        "http_requests_total",
        "Requests answered",
        _ROUTE,
        _METHOD,
        Label("code", bound="statuses of docs/api.md"),
    ),
    histogram(
        "http_request_duration_seconds", "Time from the parsed request to its answer", _ROUTE, _METHOD, buckets=SECONDS
    ),
    counter(
        "http_problems_total",
        "Requests that ended in a problem",
        Label("problem", bound="codes of docs/api.md"),
    ),
    gauge("http_inflight_requests", "Requests being served"),
    gauge("http_inflight_requests_max", "Bound of requests being served, probes not counted"),
    gauge("http_connections", "Open connections of clients and probes"),
    gauge("http_arriving_bytes", "Size of request bodies that are still arriving"),
)

TRAFFIC: Final[Chapters] = (
    ("Peers", _PEERS),
    ("HTTP", _HTTP),
)
