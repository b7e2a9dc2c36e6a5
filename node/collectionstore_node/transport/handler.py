"""The port through which received messages, requests and snapshots reach the replica."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from collectionstore_node.raft.messages import Message, NodeId


class TransportHandler(Protocol):
    """The replica, as the transport sees it. Everything is called on the event loop."""

    def on_messages(self, sender: NodeId, messages: tuple[Message, ...]) -> None:
        """Take Raft messages, in the order in which `sender` sent them; must not block."""

    async def on_request(self, sender: NodeId, payload: bytes) -> bytes:
        """Return the reply to a request. Raising `NotNow` informs the peer that nothing was applied.

        Cancelled at the request's deadline and when the connection it came by is gone.
        """

    async def on_snapshot(self, sender: NodeId, envelope: bytes, path: Path) -> None:
        """Install a complete and verified snapshot. The file is deleted afterwards unless it was moved away.

        Not cancelled when the connection is lost. Any exception is reported to the sender as a failed snapshot.
        """

    def on_unreachable(self, node_id: NodeId) -> None:
        """Learn that messages to `node_id` may have been lost; called at most once per turn of the loop."""

    def refusal(self, node_id: NodeId, name: str) -> str | None:
        """Return why this member may not connect, in a word that is sent to it; None admits it.

        Asked at every hello, and again for all connections after `Transport.set_peers`.
        """
