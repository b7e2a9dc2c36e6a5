"""Opening a connection to a member: TCP, TLS, WebSocket, greeting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aiohttp

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.transport.addresses import PeerAddress
from collectionstore_node.transport.addressing.peer_resolver import TcpConnector
from collectionstore_node.transport.addressing.route_overrides import NO_ROUTES, Routes
from collectionstore_node.transport.connection.close_reason import Ending, WebSocket, close_socket
from collectionstore_node.transport.connection.connection import WEBSOCKET_BYTES_MAX, Connection, Remote
from collectionstore_node.transport.connection.handshake_exchange import Turned, certificate_name, send_hello
from collectionstore_node.transport.security.peer_security import PeerSecurity
from collectionstore_node.transport.settings import TransportSettings
from collectionstore_node.transport.traffic import Traffic
from collectionstore_node.transport.wire.close_codes import CloseCode, Refused
from collectionstore_node.transport.wire.handshake import (
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    Hello,
    PeerName,
    Purpose,
    check_certificate,
    check_welcome,
)

PEER_PATH: Final = "/peer"


class DialFailed(Exception):
    """No connection. `refused` tells a member that answered and said no from one that could not be reached."""

    def __init__(self, reason: str, *, refused: bool) -> None:
        super().__init__(reason)
        self.refused = refused


@dataclass(slots=True)
class Self:
    """What this node says of itself in every greeting; `address` is final once the port is bound."""

    own: PeerName
    node_id: NodeId
    address: str


def tcp_connector() -> aiohttp.BaseConnector:
    """Return what connects over TCP."""
    return TcpConnector()


class Dialer:
    """Dials members with this node's certificate; one per transport."""

    def __init__(
        self,
        me: Self,
        security: PeerSecurity,
        settings: TransportSettings,
        registry: dict[Connection, None],
        traffic_of: Callable[[str], Traffic],
        connector: aiohttp.BaseConnector,
        clock: Callable[[], float],
        routes: Routes = NO_ROUTES,
    ) -> None:
        """`connector` is this dialer's from here on; `clock` is monotonic, in seconds."""
        self._me = me
        self._security = security
        self._settings = settings
        self._registry = registry
        self._traffic_of = traffic_of
        self._clock = clock
        self._routes = routes
        self._whereabouts = connector.whereabouts if isinstance(connector, TcpConnector) else None
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))

    async def close(self) -> None:
        """Close what aiohttp still holds; the connections were closed by their owners before."""
        await self._session.close()

    def met(self, peer: PeerAddress, dialled_from: str) -> None:
        """Note from which IP address a member has dialled: it listens there, whatever the name service says."""
        host = peer.address.rpartition(":")[0]
        if self._whereabouts is not None and dialled_from:
            self._whereabouts.met(host, dialled_from)

    async def dial(self, peer: PeerAddress, purpose: Purpose) -> Connection:
        """Return a greeted connection, not yet running. Raises `DialFailed`."""
        traffic = self._traffic_of(peer.name)
        began = self._clock()
        address = self._routes.address(peer.name, peer.address)
        socket = await self._connect(address)
        traffic.handshake(self._clock() - began)
        try:
            remote = await self._greet(socket, peer, purpose)
            if self._routes.address(peer.name, peer.address) != address:
                await close_socket(socket, CloseCode.ROTATED, "another route", self._settings.close_timeout_s)
                raise DialFailed("the route changed meanwhile", refused=False)
            return Connection(socket, remote, traffic, self._settings, self._registry, self._clock, pings=True)
        except Turned as error:
            await socket.close()
            raise DialFailed(str(error), refused=_said_no(error.ending)) from error
        except Refused as error:
            await close_socket(socket, error.code, error.detail, self._settings.close_timeout_s)
            raise DialFailed(str(error), refused=True) from error
        except (OSError, aiohttp.ClientError) as error:
            await socket.close()
            raise DialFailed(_one_line(error), refused=False) from error
        except BaseException:
            # Cancelled: a socket without an owner would stay open.
            await close_socket(socket, CloseCode.SHUTTING_DOWN, "", self._settings.close_timeout_s)
            raise

    async def _connect(self, address: str) -> WebSocket:
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

    async def _greet(self, socket: WebSocket, peer: PeerAddress, purpose: Purpose) -> Remote:
        certificate = certificate_name(socket)
        check_certificate(certificate, own=self._me.own, name=peer.name)
        hello = Hello(
            protocol_min=PROTOCOL_MIN,
            protocol_max=PROTOCOL_MAX,
            cluster_id=self._me.own.cluster_id,
            node_id=self._me.node_id,
            name=self._me.own.name,
            address=self._me.address,
            expects=peer.node_id,
            purpose=purpose,
        )
        welcome = await send_hello(socket, hello, self._settings.dial_timeout_s)
        check_welcome(welcome, certificate, own=self._me.own, expects=peer.node_id)
        return Remote(welcome.node_id, welcome.name, welcome.address, purpose)


def _said_no(ending: Ending) -> bool:
    return ending.code is not None and ending.code not in (CloseCode.SHUTTING_DOWN, CloseCode.BUSY)


def _one_line(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        # Its own text names the context's address in memory.
        error = error.os_error
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
