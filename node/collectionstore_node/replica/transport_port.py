"""The port to the other members. `transport.Transport` implements it; tests put a function call in its place."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from collectionstore_node.raft.messages import Message, NodeId
from collectionstore_node.transport.addresses import PeerAddress, PeerStatus


class PeerTransport(Protocol):
    """Sends to members. What members send here reaches the `TransportHandler` that the transport was made with."""

    def set_peers(self, peers: Iterable[PeerAddress]) -> None:
        """Replace the membership that this node connects to."""

    def send(self, messages: Iterable[Message]) -> None:
        """Queue each message, or drop and count it; never blocks."""

    async def request(self, to: NodeId, payload: bytes, timeout_s: float) -> bytes:
        """Return the answer of `to`.

        Raises `PeerUnavailable` when it has definitely not handled the request, `RequestLost` when that is unknown.
        """

    async def send_snapshot(self, to: NodeId, envelope: bytes, path: Path) -> None:
        """Return when `to` has verified and installed the file. Raises `SnapshotFailed`."""

    def peers(self) -> tuple[PeerStatus, ...]:
        """Return every peer that this node sends to, by name."""
