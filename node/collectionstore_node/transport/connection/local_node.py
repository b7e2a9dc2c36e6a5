"""This node as it presents itself to other members."""

from __future__ import annotations

from dataclasses import dataclass

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.transport.wire.handshake import STREAM_VERSION, PeerName


@dataclass(slots=True)
class LocalNode:
    """This node's part of every handshake."""

    own: PeerName
    node_id: NodeId
    address: str
    """`host:port`; final once the port is bound."""
    process: int = 0
    """A number drawn when this process started; 0 is none."""
    stream: int = STREAM_VERSION
    """Highest version of the stream that this node offers and accepts; 0 is none."""

    def bound(self, port: int) -> None:
        """Advertise `port` where port 0 stood for whichever is bound."""
        host, _, advertised = self.address.rpartition(":")
        if advertised == "0":
            self.address = f"{host}:{port}"
