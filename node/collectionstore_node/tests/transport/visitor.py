"""A peer that can misbehave: it dials with a real certificate and then sends whatever a test wants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.tests.transport.doubles import CLUSTER, QUICK, Node, RecordedPeer
from collectionstore_node.transport import PeerAddress, TlsFiles
from collectionstore_node.transport.addressing.peer_resolver import tcp_connector
from collectionstore_node.transport.connection.close_reason import CloseReason, close_reason_of
from collectionstore_node.transport.connection.connection import Connection, ConnectionContext
from collectionstore_node.transport.connection.dialer import Dialer
from collectionstore_node.transport.connection.local_node import LocalNode
from collectionstore_node.transport.connection.websocket_channel import WebSocketChannel
from collectionstore_node.transport.security.tls import TlsContexts
from collectionstore_node.transport.snapshots.frame_inbox import FrameInbox
from collectionstore_node.transport.traffic import Traffic
from collectionstore_node.transport.wire.frames import Frame
from collectionstore_node.transport.wire.handshake import STREAM_VERSION, PeerName, Purpose


class Visit:
    """One connection of a visitor to a node."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._inbox = FrameInbox(1 << 30)
        self.ended: asyncio.Task[CloseReason] = asyncio.create_task(connection.run(self._inbox.put))
        self.ended.add_done_callback(lambda task: self._inbox.close(close_reason_of(task)))

    async def send(self, frame: bytes) -> None:
        """Send bytes as they are on a stream, and else as one WebSocket message."""
        await self.connection.write(frame)

    async def send_text(self, text: str) -> None:
        """Send a WebSocket text message, which is no frame of ours."""
        assert isinstance(self.connection.channel, WebSocketChannel)
        await self.connection.channel.socket.send_str(text)

    async def receive(self) -> Frame:
        """Return the next frame; raises `ConnectionGone` at the end."""
        return await self._inbox.get()


@asynccontextmanager
async def visit(
    node: Node,
    tls: TlsFiles,
    *,
    node_id: int = 77,
    name: str = "n77",
    claimed_name: str | None = None,
    purpose: Purpose = Purpose.MESSAGES,
    expects: int | None = None,
    process: int = 0,
    address: str = "127.0.0.1:1",
    stream: int = STREAM_VERSION,
) -> AsyncIterator[Visit]:
    """Dial `node` with the certificate `tls`, claiming the rest. Raises `DialFailed`."""
    own = PeerName(CLUSTER, name)
    claimed = PeerName(CLUSTER, claimed_name or name)
    local = LocalNode(claimed, NodeId(node_id), address, process, stream)
    traffic = Traffic(RecordedPeer())
    context = ConnectionContext(local, QUICK, lambda _: traffic, time.monotonic, {})
    dialer = Dialer(context, TlsContexts(tls, own), tcp_connector())
    dialed = PeerAddress(NodeId(expects) if expects is not None else node.id, node.name, node.address.address)
    try:
        one = Visit(await dialer.dial(dialed, purpose))
        try:
            yield one
        finally:
            one.ended.cancel()
            await asyncio.gather(one.ended, return_exceptions=True)
    finally:
        await dialer.close()
