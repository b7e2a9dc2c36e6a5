"""The listening side: admits members, leaves the WebSocket with those that can, and hands their frames to the replica.

A connection is admitted when TLS, its hello, the membership and the replica agree on who it is. From then on every
Raft message on it must be from that member and for this node; the first that is not closes the connection.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final, Protocol

import msgspec
import structlog
from aiohttp import ClientError, web

from collectionstore_node.ports import Listening, PortLimits, PortProtocol
from collectionstore_node.raft.messages import NodeId, decode_messages
from collectionstore_node.transport.connection.channel import Channel
from collectionstore_node.transport.connection.close_reason import CloseReason, close_code_name, close_socket
from collectionstore_node.transport.connection.connection import Connection, ConnectionContext, Remote
from collectionstore_node.transport.connection.dialer import PEER_PATH
from collectionstore_node.transport.connection.handshake_exchange import (
    HandshakeClosed,
    certificate_proof,
    check_member_certificate,
    receive_hello,
    send_welcome,
)
from collectionstore_node.transport.connection.stream_channel import StreamChannel
from collectionstore_node.transport.connection.takeover import dismiss, take_over
from collectionstore_node.transport.connection.websocket_channel import WEBSOCKET_BYTES_MAX, WebSocketChannel
from collectionstore_node.transport.handler import TransportHandler
from collectionstore_node.transport.log_once import LogOnce
from collectionstore_node.transport.metrics_port import TransportMetrics
from collectionstore_node.transport.options import TransportEnvironment
from collectionstore_node.transport.requests.server import RequestServer
from collectionstore_node.transport.security.peer_security import PeerSecurity
from collectionstore_node.transport.settings import OVERAGE
from collectionstore_node.transport.snapshots.receiver import SnapshotReceiver
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.frames import MESSAGES_MAX, Frame, FrameKind, check_count
from collectionstore_node.transport.wire.handshake import (
    Hello,
    PeerName,
    Purpose,
    Welcome,
    check_hello,
    choose_stream,
)

log = structlog.get_logger()

DUPLICATES_MAX: Final = 16
HANDSHAKES_OF_MEMBER_MAX: Final = 8
"""Concurrent handshakes of one member: two purposes, each renewed while the one before still closes, and twice that."""


class Members(Protocol):
    """The members as the listener needs them."""

    def name_of(self, node_id: NodeId) -> str | None:
        """Return the name that the membership has for a node, or None."""

    def learn(self, remote: Remote) -> None:
        """A member has connected: it is up, and reached at the address in its hello."""


class Listener:
    """Accepts connections and runs them; one per transport."""

    def __init__(
        self,
        context: ConnectionContext,
        security: PeerSecurity,
        handler: TransportHandler,
        snapshots: SnapshotReceiver,
        metrics: TransportMetrics,
        members: Members,
        environment: TransportEnvironment,
    ) -> None:
        self._context = context
        self._local = context.local
        self._security = security
        self._handler = handler
        self._snapshots = snapshots
        self._settings = context.settings
        self._metrics = metrics
        self._members = members
        self._handshaking = 0
        self._handshaking_by: Counter[str] = Counter()
        self._duplicates: dict[int, NodeId] = {}
        """Processes that were found to be the second with their node ID."""
        self._inbound: dict[Connection, asyncio.Task[None]] = {}
        self._logged = LogOnce()
        self._web = web.Server(self._accept)
        self._environment = environment
        self._port: Listening | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port, which differs from `port` when that is 0. Raises `OSError`."""
        loop, settings = asyncio.get_running_loop(), self._settings

        def make() -> PortProtocol:
            return PortProtocol(self._web, loop=loop, access_log=None, keepalive_timeout=settings.handshake_timeout_s)

        # Who is admitted is counted by member from then on: what is bounded here has shown no certificate yet.
        limits = PortLimits(settings.unadmitted_max, settings.unadmitted_per_address_max)
        self._port = self._environment.port(
            "peers",
            make,
            limits,
            self._environment.port_metrics,
            tls=self._security.listening,
            handshake_s=settings.handshake_timeout_s,
        )
        return await self._port.open(host, port)

    async def close(self) -> None:
        """Stop listening and close every connection with a reason."""
        if self._port is not None:
            await self._port.close()
        for connection in self._inbound:
            connection.end(CloseCode.SHUTTING_DOWN, "")
        await asyncio.gather(*self._inbound.values(), return_exceptions=True)
        await self._web.shutdown(self._settings.close_timeout_s)

    def connected(self) -> frozenset[NodeId]:
        """Return the members whose connections to this node are up."""
        return frozenset(connection.remote.node_id for connection in self._inbound)

    def recheck(self) -> None:
        """Close the connections of members that may no longer connect; called after the membership has changed."""
        for connection in tuple(self._inbound):
            try:
                self._check_member(connection.remote.node_id, connection.remote.name)
            except Refused as error:
                connection.end(error.code, error.detail)

    def renew(self) -> None:
        """Ask every dialer to open a new connection, so that it is verified against the CAs trusted now.

        A connection that cannot be renewed stays open up to its maximum age: a mistake with certificates can be fixed
        before it takes the cluster down.
        """
        for connection in tuple(self._inbound):
            if connection.remote.purpose is Purpose.MESSAGES:
                connection.ask_to_renew()

    def beat(self, now: float) -> None:
        """Close connections that their dialer should have renewed long ago."""
        for connection in tuple(self._inbound):
            if now - connection.opened_at > self._settings.connection_age_max_s * OVERAGE:
                connection.end(CloseCode.ROTATED, "")
        self._end_duplicates()

    def _check_duplicate(self, hello: Hello) -> None:
        """Refuse a process that was found to be a duplicate, for as long as the one before it is connected."""
        if hello.process not in self._duplicates:
            return
        for connection in self._inbound:
            if connection.remote.node_id == hello.node_id and connection.remote.process != hello.process:
                raise Refused(CloseCode.DUPLICATE, _duplicate(connection.remote))
        del self._duplicates[hello.process]

    def _end_duplicates(self) -> None:
        """Close the newer connection of two processes that have one node ID and are both alive, and tell both sides.

        A process that was restarted leaves a connection behind on which nothing is heard any more. Two that are heard
        are two processes on copies of one data directory: each would vote and acknowledge for the other.
        """
        for newer in tuple(self._inbound):
            for older in tuple(self._inbound):
                if _are_duplicates(older, newer, self._settings.ping_interval_s):
                    one, other = older.remote, newer.remote
                    self._duplicates = {
                        **dict(list(self._duplicates.items())[-DUPLICATES_MAX:]),
                        other.process: one.node_id,
                    }
                    newer.end(CloseCode.DUPLICATE, _duplicate(one))
                    self._rejected(other.name, CloseCode.DUPLICATE, f"it runs at {one.address} and at {other.address}")
                    break

    async def _accept(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != PEER_PATH:
            return web.Response(status=404, text="only peers connect here\n")
        if self._handshaking >= self._settings.handshakes_max or not self._listening:
            return web.Response(status=503, text="too many concurrent connections\n")
        socket = web.WebSocketResponse(
            timeout=self._settings.close_timeout_s, compress=False, max_msg_size=WEBSOCKET_BYTES_MAX
        )
        if not socket.can_prepare(request).ok:
            return web.Response(status=400, text="WebSocket upgrade required\n")
        try:
            await socket.prepare(request)
        except OSError as error:
            log.debug("peer.hung_up", peer=None, reason=str(error))
            return web.Response(status=400)
        connection = await self._handshake(socket, request.transport)
        if connection is not None:
            if isinstance(request.protocol, PortProtocol):
                request.protocol.uncount()
            await self._run(connection)
        return socket

    @property
    def _listening(self) -> bool:
        return self._port is not None and self._port.serving

    async def _handshake(self, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> Connection | None:
        """Return the connection when the dialer is admitted; otherwise it is closed with the reason."""
        self._handshaking += 1
        certificate: PeerName | None = None
        try:
            proof = certificate_proof(socket)
            certificate = proof.peer
            # BEFORE anything of it is read: who is no member has nothing to say here.
            check_member_certificate(socket)
            self._enter_handshake(certificate.name)
            hello = await receive_hello(socket, self._settings.handshake_timeout_s)
            protocol = check_hello(hello, proof, own=self._local.own, node_id=self._local.node_id)
            # BEFORE the welcome: a removed member must see the refusal as the answer to its hello.
            self._check_member(hello.node_id, hello.name)
            self._check_duplicate(hello)
            channel = await self._admit(socket, transport, hello, protocol)
        except Refused as error:
            self._rejected(certificate.name if certificate else "unnamed", error.code, error.detail)
            await close_socket(socket, error.code, error.detail, self._settings.close_timeout_s)
            return None
        except (HandshakeClosed, OSError, ClientError) as error:
            # The dialer hung up: after a refusal on its side it logs the reason itself.
            log.debug("peer.hung_up", peer=certificate.name if certificate else None, reason=str(error))
            return None
        finally:
            self._handshaking -= 1
            if certificate is not None:
                self._leave_handshake(certificate.name)
        return self._connection(socket, channel, hello)

    async def _admit(
        self, socket: web.WebSocketResponse, transport: asyncio.Transport | None, hello: Hello, protocol: int
    ) -> Channel:
        """Send the welcome and return what both sides go on with. Raises `OSError` when the dialer is gone."""
        stream = choose_stream(hello, self._local.stream)
        me, close_timeout_s = self._local, self._settings.close_timeout_s
        welcome = Welcome(protocol, me.own.cluster_id, me.node_id, me.own.name, me.address, stream)
        if not stream:
            await send_welcome(socket, welcome)
            return WebSocketChannel(socket, close_timeout_s)
        if transport is None:
            raise ConnectionResetError("connection lost")
        channel = StreamChannel(dialed=False, close_timeout_s=close_timeout_s)
        # BEFORE the welcome: the dialer's answer to it must not reach the parser of WebSocket messages.
        before = take_over(transport, channel)
        try:
            await send_welcome(socket, welcome)
        except BaseException:
            transport.abort()
            raise
        finally:
            dismiss(before)
        return channel

    def _enter_handshake(self, name: str) -> None:
        """Count a handshake of a member; one member cannot use up what all share."""
        self._handshaking_by[name] += 1
        if self._handshaking_by[name] > HANDSHAKES_OF_MEMBER_MAX:
            raise Refused(CloseCode.BUSY, f"more than {HANDSHAKES_OF_MEMBER_MAX} handshakes of one member")

    def _leave_handshake(self, name: str) -> None:
        self._handshaking_by[name] -= 1
        if self._handshaking_by[name] <= 0:
            del self._handshaking_by[name]

    def _connection(self, socket: web.WebSocketResponse, channel: Channel, hello: Hello) -> Connection:
        self._logged.forget(hello.name)
        source = socket.get_extra_info("peername")
        dialed_from = str(source[0]) if isinstance(source, tuple) else ""
        remote = Remote(hello.node_id, hello.name, hello.address, hello.purpose, dialed_from, hello.process)
        self._members.learn(remote)
        return Connection(self._context, channel, remote, pings=False)

    def _check_member(self, node_id: NodeId, name: str) -> None:
        known = self._members.name_of(node_id)
        if known is not None and known != name:
            raise Refused(CloseCode.WRONG_NODE, f"node {node_id:016x} is {known!r}, not {name!r}")
        reason = self._handler.refusal(node_id, name)
        if reason is not None:
            raise Refused(CloseCode.REFUSED, reason)

    async def _run(self, connection: Connection) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("connections are run by tasks")
        # BEFORE this one is counted: a member that renews its connection would otherwise lose the new one.
        self._supersede(connection.remote)
        self._inbound[connection] = task
        try:
            if connection.remote.purpose is Purpose.SNAPSHOT:
                reason = await self._snapshots.serve(connection)
            else:
                reason = await self._run_messages(connection)
        finally:
            del self._inbound[connection]
        self._closed(connection.remote, reason)

    async def _run_messages(self, connection: Connection) -> CloseReason:
        remote = connection.remote
        requests = RequestServer(remote, self._handler, self._settings, connection.wake)

        def on_frame(frame: Frame) -> int:
            if frame.kind is FrameKind.MESSAGES:
                return self._on_messages(remote.node_id, frame.payload)
            if frame.kind is FrameKind.REQUESTS:
                requests.on_requests(frame.payload)
                return 0
            raise Refused(CloseCode.PROTOCOL, f"{frame.kind.name.lower()} on a message connection")

        try:
            return await connection.run(on_frame, (requests.replies,))
        finally:
            await requests.cancel()

    def _on_messages(self, sender: NodeId, payload: memoryview) -> int:
        check_count(payload, MESSAGES_MAX)
        try:
            messages = decode_messages(payload)
        except msgspec.DecodeError as error:
            raise Refused(CloseCode.PROTOCOL, f"messages: {error}") from error
        me = self._local.node_id
        # All of them BEFORE any is handed on: a frame with one forged message has no effect.
        for message in messages:
            if message.sender != sender:
                raise Refused(CloseCode.SPOOFED, f"a message of {message.sender:016x} on {sender:016x}'s connection")
            if message.to != me:
                raise Refused(CloseCode.SPOOFED, f"a message for {message.to:016x}, this node is {me:016x}")
        self._handler.on_messages(sender, messages)
        return len(messages)

    def _supersede(self, remote: Remote) -> None:
        """Close the member's oldest connection when it has too many."""
        same = [
            connection
            for connection in self._inbound
            if connection.remote.node_id == remote.node_id and connection.remote.purpose is remote.purpose
        ]
        if len(same) >= self._settings.inbound_max:
            min(same, key=lambda one: one.opened_at).end(CloseCode.SUPERSEDED, "too many connections")

    def _closed(self, remote: Remote, reason: CloseReason) -> None:
        if reason.by_peer or reason.graceful or reason.code in (None, CloseCode.SILENT):
            log.debug("peer.left", peer=remote.name, node_id=f"{remote.node_id:016x}", reason=str(reason))
        else:
            self._rejected(remote.name, reason.code, reason.detail)

    def _rejected(self, name: str, code: int, detail: str) -> None:
        """Count, and log once until this member is admitted again: a refused peer keeps dialing."""
        self._metrics.rejected(close_code_name(code))
        if self._logged.first(name, detail):
            log.warning("peer.rejected", peer=name, reason=close_code_name(code), detail=detail)


def _duplicate(first: Remote) -> str:
    return f"node {first.node_id:016x} runs at {first.address} already: is this a copy of its disk?"


def _are_duplicates(older: Connection, newer: Connection, ping_interval_s: float) -> bool:
    """Whether `newer` is of another process than `older`, with the same node ID, and both are alive."""
    one, other = older.remote, newer.remote
    return (
        one.node_id == other.node_id
        and one.process != other.process
        # 0: an older version, which does not say.
        and 0 not in (one.process, other.process)
        and older.opened_at < newer.opened_at
        # A ping that was on its way when the process ended may arrive late; two intervals later it is another one.
        and older.heard_at > newer.opened_at + 2 * ping_interval_s
    )
