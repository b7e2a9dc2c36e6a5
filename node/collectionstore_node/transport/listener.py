"""The listening side: who may connect, and where its frames go.

A connection is let in when TLS, its hello, the membership and the replica agree on who it is. From then on every
Raft message on it must be from that member and for this node; the first that is not ends the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import structlog
from aiohttp import ClientError, web

from collectionstore_node.raft.messages import NodeId, decode_messages
from collectionstore_node.transport.connection.close_reason import Ending, close_socket, code_name
from collectionstore_node.transport.connection.connection import WEBSOCKET_BYTES_MAX, Connection, Remote
from collectionstore_node.transport.connection.dialer import PEER_PATH, Self
from collectionstore_node.transport.connection.handshake_exchange import (
    Turned,
    certificate_name,
    receive_hello,
    send_welcome,
)
from collectionstore_node.transport.handler import TransportHandler
from collectionstore_node.transport.log_once import Reported
from collectionstore_node.transport.metrics_port import TransportMetrics
from collectionstore_node.transport.requests.server import Serving
from collectionstore_node.transport.security.peer_security import PeerSecurity
from collectionstore_node.transport.settings import OVERAGE, TransportSettings
from collectionstore_node.transport.snapshots.receiver import SnapshotReceiver
from collectionstore_node.transport.traffic import Traffic
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.frames import Frame, FrameKind
from collectionstore_node.transport.wire.handshake import Hello, PeerName, Purpose, Welcome, check_hello

log = structlog.get_logger()


class Receiver:
    """Accepts connections and runs them; one per transport."""

    def __init__(
        self,
        me: Self,
        security: PeerSecurity,
        handler: TransportHandler,
        snapshots: SnapshotReceiver,
        settings: TransportSettings,
        metrics: TransportMetrics,
        registry: dict[Connection, None],
        traffic_of: Callable[[str], Traffic],
        name_of: Callable[[NodeId], str | None],
        met: Callable[[Remote], None],
        clock: Callable[[], float],
    ) -> None:
        """`name_of` returns the name that the membership has for a node id; `met` learns who was let in.

        `clock` is monotonic, in seconds.
        """
        self._me = me
        self._security = security
        self._handler = handler
        self._snapshots = snapshots
        self._settings = settings
        self._metrics = metrics
        self._registry = registry
        self._traffic_of = traffic_of
        self._name_of = name_of
        self._met = met
        self._clock = clock
        self._greeting = 0
        self._inbound: dict[Connection, asyncio.Task[None]] = {}
        self._reported = Reported()
        self._web = web.Server(self._accept, access_log=None, keepalive_timeout=settings.greeting_timeout_s)
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port, which differs from `port` when that is 0. Raises `OSError`."""
        self._server = await asyncio.get_running_loop().create_server(
            self._web,
            host,
            port,
            ssl=self._security.listening,
            ssl_handshake_timeout=self._settings.greeting_timeout_s,
            ssl_shutdown_timeout=self._settings.close_timeout_s,
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stop listening and end every connection with a reason."""
        if self._server is not None:
            self._server.close()
        for connection in self._inbound:
            connection.end(CloseCode.SHUTTING_DOWN, "")
        await asyncio.gather(*self._inbound.values(), return_exceptions=True)
        await self._web.shutdown(self._settings.close_timeout_s)

    def heard_from(self) -> frozenset[NodeId]:
        """Return the members that are connected to this node now."""
        return frozenset(connection.remote.node_id for connection in self._inbound)

    def recheck(self) -> None:
        """End the connections of members that may no longer connect; called when the membership has changed."""
        for connection in tuple(self._inbound):
            try:
                self._check_member(connection.remote.node_id, connection.remote.name)
            except Refused as error:
                connection.end(error.code, error.detail)

    def renew(self) -> None:
        """Have every connection replaced by its dialer, so that what has changed is checked: the CAs trusted.

        One that cannot be replaced lives on to its greatest age: a mistake with certificates can be put right before
        it takes the cluster down.
        """
        for connection in tuple(self._inbound):
            if connection.remote.purpose is Purpose.MESSAGES:
                connection.ask_to_renew()

    def beat(self, now: float) -> None:
        """End connections that are older than their dialer should have let them become."""
        for connection in tuple(self._inbound):
            if now - connection.opened_at > self._settings.connection_age_max_s * OVERAGE:
                connection.end(CloseCode.ROTATED, "")

    async def _accept(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != PEER_PATH:
            return web.Response(status=404, text="only peers connect here\n")
        if self._greeting >= self._settings.greeting_max or not self._listening:
            return web.Response(status=503, text="too many connections at once\n")
        socket = web.WebSocketResponse(
            timeout=self._settings.close_timeout_s, compress=False, max_msg_size=WEBSOCKET_BYTES_MAX
        )
        if not socket.can_prepare(request).ok:
            return web.Response(status=400, text="peers speak WebSocket here\n")
        try:
            await socket.prepare(request)
        except OSError as error:
            log.debug("peer.hung_up", peer=None, reason=str(error))
            return web.Response(status=400)
        connection = await self._greet(socket)
        if connection is not None:
            await self._run(connection)
        return socket

    @property
    def _listening(self) -> bool:
        return self._server is not None and self._server.is_serving()

    async def _greet(self, socket: web.WebSocketResponse) -> Connection | None:
        """Return the connection when the dialer is let in; otherwise it is closed with the reason."""
        self._greeting += 1
        certificate: PeerName | None = None
        try:
            certificate = certificate_name(socket)
            hello = await receive_hello(socket, self._settings.greeting_timeout_s)
            protocol = check_hello(hello, certificate, own=self._me.own, node_id=self._me.node_id)
            self._check_member(hello.node_id, hello.name)
            await send_welcome(socket, self._welcome(protocol))
        except Refused as error:
            self._rejected(certificate.name if certificate else "unnamed", error.code, error.detail)
            await close_socket(socket, error.code, error.detail, self._settings.close_timeout_s)
            return None
        except (Turned, OSError, ClientError) as error:
            # The dialer hung up: after a refusal on its side it logs the reason itself.
            log.debug("peer.hung_up", peer=certificate.name if certificate else None, reason=str(error))
            return None
        finally:
            self._greeting -= 1
        return self._connection(socket, hello)

    def _connection(self, socket: web.WebSocketResponse, hello: Hello) -> Connection:
        self._reported.forget(hello.name)
        source = socket.get_extra_info("peername")
        dialled_from = str(source[0]) if isinstance(source, tuple) else ""
        remote = Remote(hello.node_id, hello.name, hello.address, hello.purpose, dialled_from)
        self._met(remote)
        traffic = self._traffic_of(hello.name)
        return Connection(socket, remote, traffic, self._settings, self._registry, self._clock, pings=False)

    def _welcome(self, protocol: int) -> Welcome:
        me = self._me
        return Welcome(protocol, me.own.cluster_id, me.node_id, me.own.name, me.address)

    def _check_member(self, node_id: NodeId, name: str) -> None:
        known = self._name_of(node_id)
        if known is not None and known != name:
            raise Refused(CloseCode.WRONG_NODE, f"node {node_id:016x} is {known!r}, not {name!r}")
        reason = self._handler.refusal(node_id, name)
        if reason is not None:
            raise Refused(CloseCode.REFUSED, reason)

    async def _run(self, connection: Connection) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("connections are run by tasks")
        self._supersede(connection.remote)
        self._inbound[connection] = task
        try:
            if connection.remote.purpose is Purpose.SNAPSHOT:
                ending = await self._snapshots.serve(connection)
            else:
                ending = await self._run_messages(connection)
        finally:
            del self._inbound[connection]
        self._left(connection.remote, ending)

    async def _run_messages(self, connection: Connection) -> Ending:
        remote = connection.remote
        serving = Serving(remote, self._handler, self._settings, connection.wake)
        connection.sources = (serving.replies,)

        def on_frame(frame: Frame) -> int:
            if frame.kind is FrameKind.MESSAGES:
                return self._on_messages(remote.node_id, frame.payload)
            if frame.kind is FrameKind.REQUESTS:
                serving.on_requests(frame.payload)
                return 0
            raise Refused(CloseCode.PROTOCOL, f"{frame.kind.name.lower()} on a message connection")

        try:
            return await connection.run(on_frame)
        finally:
            await serving.cancel()

    def _on_messages(self, sender: NodeId, payload: memoryview) -> int:
        try:
            messages = decode_messages(payload)
        except msgspec.DecodeError as error:
            raise Refused(CloseCode.PROTOCOL, f"messages: {error}") from error
        me = self._me.node_id
        for message in messages:
            if message.sender != sender:
                raise Refused(CloseCode.SPOOFED, f"a message of {message.sender:016x} on {sender:016x}'s connection")
            if message.to != me:
                raise Refused(CloseCode.SPOOFED, f"a message for {message.to:016x}, this node is {me:016x}")
        self._handler.on_messages(sender, messages)
        return len(messages)

    def _supersede(self, remote: Remote) -> None:
        """Make room among the member's connections by ending its oldest."""
        same = [
            connection
            for connection in self._inbound
            if connection.remote.node_id == remote.node_id and connection.remote.purpose is remote.purpose
        ]
        if len(same) >= self._settings.inbound_max:
            min(same, key=lambda one: one.opened_at).end(CloseCode.SUPERSEDED, "too many connections")

    def _left(self, remote: Remote, ending: Ending) -> None:
        if ending.by_peer or ending.orderly or ending.code in (None, CloseCode.SILENT):
            log.debug("peer.left", peer=remote.name, node_id=f"{remote.node_id:016x}", reason=str(ending))
        else:
            self._rejected(remote.name, ending.code, ending.detail)

    def _rejected(self, name: str, code: int, detail: str) -> None:
        """Count, and log once until this member is let in again: a refused peer keeps coming back."""
        self._metrics.rejected(code_name(code))
        if self._reported.first(name, detail):
            log.warning("peer.rejected", peer=name, reason=code_name(code), detail=detail)
