"""Node to node: Raft messages, requests and snapshots over WebSockets with mutual TLS.

    transport.py        the facade: members, port, learnt addresses, the beat
    peer.py             this node's own connection to a member: one bounded queue, kept up and renewed
    link.py             a dialled connection in use: its requests, its orderly end
    receiver.py         the listening side: who is let in, where frames go
    connection.py endings.py
                        one socket: reader, writer, pings, silence; how it ends
    dial.py greeting.py opening a connection, and the first frames on it
    routes.py           detours: where to dial in place of the advertised address
    calls.py serving.py requests: the asker's side, the answerer's side
    snapshot_sender.py snapshot_receiver.py spool.py inbox.py
                        resumable transfer of one file on a connection of its own
    frames.py hello.py lanes.py snapshot_frames.py backoff.py reported.py
                        pure: wire format, identity checks, queues, pauses, what was logged
    security.py tls.py  how connections are secured: the port; contexts from files, reloadable, and the identity
                        in a certificate
    ports.py traffic.py what the owner provides and sees: handler, metrics, settings, status

Each side of a pair dials for what it sends itself; requests are answered on the connection they came by. What is
delivered is delivered at most once and in order per connection; everything may be lost, and Raft expects that.
"""

from collectionstore_node.transport.addresses import PeerAddress, PeerStatus
from collectionstore_node.transport.addressing.route_overrides import Routes, RoutesRefused
from collectionstore_node.transport.connection.dialer import tcp_connector
from collectionstore_node.transport.failures import PeerUnavailable, RequestLost, SnapshotFailed
from collectionstore_node.transport.handler import TransportHandler
from collectionstore_node.transport.metrics_port import PeerMetrics, TransportMetrics
from collectionstore_node.transport.security.peer_security import PeerSecurity
from collectionstore_node.transport.security.tls import TlsContexts, TlsFiles, TlsFilesRefused, identity_uri, peer_name
from collectionstore_node.transport.settings import TransportSettings
from collectionstore_node.transport.transport import Transport
from collectionstore_node.transport.wire.close_codes import Refused
from collectionstore_node.transport.wire.handshake import PeerName

__all__ = [
    "PeerAddress",
    "PeerMetrics",
    "PeerName",
    "PeerSecurity",
    "PeerStatus",
    "PeerUnavailable",
    "Refused",
    "RequestLost",
    "Routes",
    "RoutesRefused",
    "SnapshotFailed",
    "TlsContexts",
    "TlsFiles",
    "TlsFilesRefused",
    "Transport",
    "TransportHandler",
    "TransportMetrics",
    "TransportSettings",
    "identity_uri",
    "peer_name",
    "tcp_connector",
]
