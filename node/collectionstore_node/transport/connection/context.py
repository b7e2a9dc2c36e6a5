"""What all connections of a node share, those it dials and those it accepts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.transport.settings import TransportSettings
from collectionstore_node.transport.traffic import Traffic
from collectionstore_node.transport.wire.handshake import PeerName

if TYPE_CHECKING:
    from collectionstore_node.transport.connection.connection import Connection


@dataclass(slots=True)
class LocalNode:
    """What this node says of itself in every handshake."""

    own: PeerName
    node_id: NodeId
    address: str
    """`host:port`; final once the port is bound."""

    def bound(self, port: int) -> None:
        """Advertise `port` where port 0 stood for whichever is bound."""
        host, _, advertised = self.address.rpartition(":")
        if advertised == "0":
            self.address = f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class ConnectionContext:
    """Shared by the dialer, the listener and every connection."""

    local: LocalNode
    settings: TransportSettings
    traffic_of: Callable[[str], Traffic]
    """Returns the totals of the member with this name."""
    clock: Callable[[], float]
    """Monotonic, in seconds."""
    running: dict[Connection, None]
    """The connections that are running, for their owner to call `beat` on; each adds and removes itself."""
