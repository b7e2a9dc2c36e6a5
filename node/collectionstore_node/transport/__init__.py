"""Node to node: Raft messages, requests and snapshots in frames over mutual TLS.

    transport.py       `Transport`: the facade, and the periodic beat
    options.py settings.py handler.py metrics_port.py addresses.py failures.py
                       what it is made of, what it needs from its owner, what it returns and raises
    listener.py        accepts connections: who is admitted, where frames go
    peers/             the members this node sends to: one bounded queue and one renewed connection each
    requests/          requests and replies on a connection: client side, server side
    snapshots/         resumable transfer of one file on a separate connection
    connection/        one socket: dialing, handshake, sending, receiving, pings, closing; a WebSocket at first, then a
                       stream of frames, where both sides know that
    addressing/        where a member is dialed
    security/          mutual TLS: the port, contexts from reloadable files, the identity in a certificate
    wire/              pure: frames and their parser, handshake messages and checks, send queues
    traffic.py backoff.py log_once.py
                       totals per member, pauses between dials, deduplicated log lines

Each side of a pair dials for what it sends itself; replies use the connection of their request. What is delivered is
delivered at most once and in order per connection; everything may be lost, and Raft expects that.
"""

from collectionstore_node.transport.addresses import PeerAddress, PeerStatus
from collectionstore_node.transport.addressing.peer_resolver import tcp_connector
from collectionstore_node.transport.addressing.route_overrides import OverridesRefused, RouteOverrides
from collectionstore_node.transport.failures import PeerUnavailable, RequestLost, SnapshotFailed
from collectionstore_node.transport.handler import TransportHandler
from collectionstore_node.transport.metrics_port import PeerMetrics, TransportMetrics
from collectionstore_node.transport.options import TransportEnvironment, TransportIdentity, TransportOptions
from collectionstore_node.transport.security.certificate import (
    CertificateFacts,
    key_identifier,
    read_facts,
    signed_by,
)
from collectionstore_node.transport.security.peer_security import PeerSecurity
from collectionstore_node.transport.security.tls import (
    TlsContexts,
    TlsFiles,
    TlsFilesRefused,
    identity_uri,
    node_uri,
    peer_name,
)
from collectionstore_node.transport.settings import TransportSettings
from collectionstore_node.transport.transport import Transport
from collectionstore_node.transport.wire.close_codes import Refused
from collectionstore_node.transport.wire.handshake import PeerName

__all__ = [
    "CertificateFacts",
    "OverridesRefused",
    "PeerAddress",
    "PeerMetrics",
    "PeerName",
    "PeerSecurity",
    "PeerStatus",
    "PeerUnavailable",
    "Refused",
    "RequestLost",
    "RouteOverrides",
    "SnapshotFailed",
    "TlsContexts",
    "TlsFiles",
    "TlsFilesRefused",
    "Transport",
    "TransportEnvironment",
    "TransportHandler",
    "TransportIdentity",
    "TransportMetrics",
    "TransportOptions",
    "TransportSettings",
    "identity_uri",
    "key_identifier",
    "node_uri",
    "peer_name",
    "read_facts",
    "signed_by",
    "tcp_connector",
]
