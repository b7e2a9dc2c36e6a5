"""Opens a connection to a member: TCP, TLS, WebSocket, handshake, and the switch to a stream."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp

from collectionstore_node.transport.addresses import PeerAddress
from collectionstore_node.transport.addressing.peer_resolver import TcpConnector
from collectionstore_node.transport.addressing.route_overrides import NO_OVERRIDES, RouteOverrides
from collectionstore_node.transport.connection.channel import Channel
from collectionstore_node.transport.connection.close_reason import CloseReason, close_socket
from collectionstore_node.transport.connection.connection import Connection, ConnectionContext, Remote
from collectionstore_node.transport.connection.handshake_exchange import HandshakeClosed, certificate_proof, send_hello
from collectionstore_node.transport.connection.stream_channel import StreamChannel
from collectionstore_node.transport.connection.takeover import dismiss, release, take_over, transport_of
from collectionstore_node.transport.connection.websocket_channel import WEBSOCKET_BYTES_MAX, WebSocketChannel
from collectionstore_node.transport.security.peer_security import PeerSecurity
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.handshake import (
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    Hello,
    Purpose,
    Welcome,
    check_certificate,
    check_welcome,
)

PEER_PATH: Final = "/peer"


class DialFailed(Exception):
    """No connection. `refused` distinguishes a member that rejected it from one that was unreachable."""

    def __init__(self, reason: str, *, refused: bool) -> None:
        super().__init__(reason)
        self.refused = refused


class Dialer:
    """Dials members with this node's certificate; one per transport."""

    def __init__(
        self,
        context: ConnectionContext,
        security: PeerSecurity,
        connector: aiohttp.BaseConnector,
        overrides: RouteOverrides = NO_OVERRIDES,
    ) -> None:
        """`connector` is this dialer's from here on."""
        self._context = context
        self._local = context.local
        self._security = security
        self._settings = context.settings
        self._overrides = overrides
        self._resolver = connector.peer_resolver if isinstance(connector, TcpConnector) else None
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))

    async def close(self) -> None:
        """Close what aiohttp still holds; the connections were closed by their owners before."""
        await self._session.close()

    def learn_address(self, peer: PeerAddress, dialed_from: str) -> None:
        """Note from which IP address a member has dialed: it listens there, whatever the name service says."""
        host = peer.address.rpartition(":")[0]
        if self._resolver is not None and dialed_from:
            self._resolver.learn(host, dialed_from)

    async def dial(self, peer: PeerAddress, purpose: Purpose) -> Connection:
        """Return a connection after its handshake, not yet running. Raises `DialFailed`."""
        clock = self._context.clock
        began = clock()
        address = self._overrides.address(peer.name, peer.address)
        socket = await self._connect(address)
        self._context.traffic_of(peer.name).handshake(clock() - began)
        try:
            proof = certificate_proof(socket)
            check_certificate(proof.peer, own=self._local.own, name=peer.name)
            welcome = await self._greet(socket, peer, purpose)
            channel = self._channel(socket, welcome)
        except HandshakeClosed as error:
            await socket.close()
            raise DialFailed(str(error), refused=_is_refusal(error.reason)) from error
        except Refused as error:
            await close_socket(socket, error.code, error.detail, self._settings.close_timeout_s)
            raise DialFailed(str(error), refused=True) from error
        except (OSError, aiohttp.ClientError) as error:
            await socket.close()
            raise DialFailed(_one_line(error), refused=False) from error
        except BaseException:
            # Cancelled: nothing else owns the socket yet, so it would stay open.
            await close_socket(socket, CloseCode.SHUTTING_DOWN, "", self._settings.close_timeout_s)
            raise
        remote = Remote(welcome.node_id, welcome.name, welcome.address, purpose)
        connection = Connection(self._context, channel, remote, pings=True)
        try:
            check_welcome(welcome, proof, own=self._local.own, expects=peer.node_id, stream=self._local.stream)
        except Refused as error:
            await _close(connection, error.code, error.detail)
            raise DialFailed(str(error), refused=True) from error
        if self._overrides.address(peer.name, peer.address) != address:
            await _close(connection, CloseCode.ROTATED, "another route")
            raise DialFailed("the route changed during the handshake", refused=False)
        return connection

    async def _connect(self, address: str) -> aiohttp.ClientWebSocketResponse[Any]:
        timeout = aiohttp.ClientWSTimeout(ws_close=self._settings.close_timeout_s)
        try:
            async with asyncio.timeout(self._settings.dial_timeout_s):
                return await self._session.ws_connect(
                    f"wss://{address}{PEER_PATH}",
                    ssl=self._security.client,
                    timeout=timeout,
                    compress=0,
                    max_msg_size=WEBSOCKET_BYTES_MAX,
                )
        except TimeoutError as error:
            raise DialFailed(f"no answer within {self._settings.dial_timeout_s:g} s", refused=False) from error
        except (OSError, ValueError, aiohttp.ClientError) as error:
            raise DialFailed(_one_line(error), refused=False) from error

    async def _greet(
        self, socket: aiohttp.ClientWebSocketResponse[Any], peer: PeerAddress, purpose: Purpose
    ) -> Welcome:
        """Say hello and return the welcome. Raises `HandshakeClosed`, `Refused`, or `OSError`."""
        hello = Hello(
            protocol_min=PROTOCOL_MIN,
            protocol_max=PROTOCOL_MAX,
            cluster_id=self._local.own.cluster_id,
            node_id=self._local.node_id,
            name=self._local.own.name,
            address=self._local.address,
            expects=peer.node_id,
            purpose=purpose,
            process=self._local.process,
            stream=self._local.stream,
        )
        return await send_hello(socket, hello, self._settings.dial_timeout_s)

    def _channel(self, socket: aiohttp.ClientWebSocketResponse[Any], welcome: Welcome) -> Channel:
        """Return what both sides go on with. Raises `OSError` when the connection is lost."""
        close_timeout_s = self._settings.close_timeout_s
        # Anything else is refused right after, by a WebSocket close frame.
        if not 0 < welcome.stream <= self._local.stream:
            return WebSocketChannel(socket, close_timeout_s)
        # Nothing of the stream can be here: the other side waits for this side's first frame on it.
        channel = StreamChannel(dialed=True, close_timeout_s=close_timeout_s)
        dismiss(take_over(transport_of(socket), channel))
        release(socket)
        return channel


async def _close(connection: Connection, code: CloseCode, detail: str) -> None:
    """Close a connection that was not used yet, and tell the other side why."""
    connection.end(code, detail)
    await connection.run(lambda _: 0)


def _is_refusal(reason: CloseReason) -> bool:
    return reason.code is not None and reason.code not in (CloseCode.SHUTTING_DOWN, CloseCode.BUSY)


def _one_line(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        # Its own text names the context's address in memory.
        error = error.os_error
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
