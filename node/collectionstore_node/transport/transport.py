"""The transport of one node: the members it sends to, the port it listens on, snapshots both ways."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

import aiohttp
import structlog

from collectionstore_node.raft.messages import Message, NodeId
from collectionstore_node.transport.addresses import PeerAddress, PeerStatus
from collectionstore_node.transport.addressing.route_overrides import NO_ROUTES, Routes, RoutesRefused
from collectionstore_node.transport.connection.connection import Connection, Remote
from collectionstore_node.transport.connection.dialer import Dialer, Self, tcp_connector
from collectionstore_node.transport.failures import PeerUnavailable
from collectionstore_node.transport.handler import TransportHandler
from collectionstore_node.transport.listener import Receiver
from collectionstore_node.transport.metrics_port import TransportMetrics
from collectionstore_node.transport.peers.peer import Peer
from collectionstore_node.transport.security.peer_security import PeerSecurity
from collectionstore_node.transport.security.tls import TlsFilesRefused
from collectionstore_node.transport.settings import DEFAULT_SETTINGS, TransportSettings
from collectionstore_node.transport.snapshots.receiver import SnapshotReceiver
from collectionstore_node.transport.snapshots.sender import SnapshotSender
from collectionstore_node.transport.snapshots.spool import Spool
from collectionstore_node.transport.traffic import Traffic
from collectionstore_node.transport.wire.close_codes import CloseCode
from collectionstore_node.transport.wire.handshake import PeerName

log = structlog.get_logger()

_UNKNOWN: Final = "(unknown)"
_LEARNT_MAX: Final = 64
_LEARNT_KEPT_S: Final = 10.0
"""A member known only from its own hello is given up this long after it was last connected."""


class Transport:
    """Sends and receives for one node. Made and used on the event loop; every bound is in `TransportSettings`."""

    def __init__(
        self,
        *,
        cluster_id: str,
        node_id: NodeId,
        name: str,
        listen: tuple[str, int],
        advertise: str,
        security: PeerSecurity,
        spool: Path,
        handler: TransportHandler,
        metrics: TransportMetrics,
        random: Callable[[], float],
        settings: TransportSettings = DEFAULT_SETTINGS,
        connector: Callable[[], aiohttp.BaseConnector] = tcp_connector,
        clock: Callable[[], float] = time.monotonic,
        routes: Routes = NO_ROUTES,
    ) -> None:
        """Nothing is opened before `start`.

        `advertise` is the `host:port` told to others; port 0 stands for the one that is bound. `random` returns
        floats in [0, 1) and spreads retries and renewals. `connector` makes what dials, `clock` is monotonic, in
        seconds: the simulation has its own.
        """
        self._listen = listen
        self._handler = handler
        self._metrics = metrics
        self._random = random
        self._settings = settings
        self._clock = clock
        self._security = security
        self._tls_problem: str | None = None
        self._routes = routes
        self._routes_problem: str | None = None
        self._me = Self(PeerName(cluster_id, name), node_id, advertise)
        self._connections: dict[Connection, None] = {}
        self._traffic: dict[str, Traffic] = {}
        self._directory: dict[NodeId, PeerAddress] = {}
        self._learnt: dict[NodeId, PeerAddress] = {}
        self._seen: dict[NodeId, float] = {}
        self._peers: dict[NodeId, Peer] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._beating: asyncio.Task[None] | None = None
        self.port = listen[1]
        """The port bound, from `start` on."""
        self._dialer = Dialer(
            self._me, security, settings, self._connections, self._traffic_of, connector(), clock, routes
        )
        self._spool = Spool(spool, settings)
        self._snapshots_in = SnapshotReceiver(self._spool, handler, settings, metrics, clock)
        self._snapshots_out = SnapshotSender(self._dialer, settings, random, self._address_of)
        self._receiver = Receiver(
            self._me,
            security,
            handler,
            self._snapshots_in,
            settings,
            metrics,
            self._connections,
            self._traffic_of,
            self._name_of,
            self._met,
            clock,
        )

    @property
    def certificate_not_after(self) -> datetime:
        """When this node's certificate ends, UTC."""
        return self._security.not_after

    async def start(self) -> None:
        """Listen, and dial the members set so far. Raises `OSError` when the address cannot be bound."""
        await asyncio.to_thread(self._spool.clear)
        try:
            self.port = await self._receiver.start(*self._listen)
        except OSError:
            await self._dialer.close()
            raise
        host, _, port = self._me.address.rpartition(":")
        if port == "0":
            self._me.address = f"{host}:{self.port}"
        self._beating = asyncio.create_task(self._beat(), name="transport-beat")
        self.set_peers(self._directory.values())

    async def close(self) -> None:
        """Flush what is queued for a moment, close every connection with a reason, and stop listening."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        peers = tuple(self._peers.values())
        self._peers.clear()
        await asyncio.gather(*(peer.close(CloseCode.SHUTTING_DOWN) for peer in peers), *self._closing)
        await self._receiver.close()
        await self._snapshots_in.close()
        await self._dialer.close()

    def set_peers(self, peers: Iterable[PeerAddress]) -> None:
        """Replace the membership that this node connects to; this node itself is left out.

        Every connection of a member that may no longer connect (`TransportHandler.refusal`) ends with that reason.
        """
        directory = {peer.node_id: peer for peer in peers if peer.node_id != self._me.node_id}
        gone = self._directory.keys() - directory.keys()
        self._directory = directory
        if self._beating is None:
            return
        for node_id in gone:
            self._drop(node_id)
        for node_id, address in directory.items():
            self._learnt.pop(node_id, None)
            peer = self._peers.get(node_id)
            if peer is None:
                self._peers[node_id] = self._peer(address)
            else:
                peer.move(address)
        self._receiver.recheck()

    def send(self, messages: Iterable[Message]) -> None:
        """Queue each message for its receiver, or drop and count it; never blocks."""
        for message in messages:
            peer = self._peers.get(message.to) or self._learnt_peer(message.to)
            if peer is None:
                self._traffic_of(_UNKNOWN).dropped(1)
            else:
                peer.send(message)

    async def request(self, to: NodeId, payload: bytes, timeout_s: float) -> bytes:
        """Ask `to` and return its answer.

        Raises `PeerUnavailable` when the peer has definitely not handled it, `RequestLost` when that is unknown.
        """
        peer = self._peers.get(to) or self._learnt_peer(to)
        if peer is None:
            raise PeerUnavailable(f"no address of {to:016x} is known")
        return await peer.request(payload, timeout_s)

    async def send_snapshot(self, to: NodeId, envelope: bytes, path: Path) -> None:
        """Return when `to` has verified the file and its replica has installed it. Raises `SnapshotFailed`.

        Takes as long as that takes; it goes on over lost connections as long as there is progress.
        """
        await self._snapshots_out.send(to, envelope, path)

    async def reload_tls(self) -> bool:
        """Use the certificate files if their content changed, and return whether it did; to be called now and then.

        New handshakes use them at once, on both sides. Connections are renewed within about `rotation_s`; those that
        fail to be, for instance because their CA is no longer trusted, end at their greatest age. Files that cannot be
        used are logged once and the ones before stay in use: they are often seen halfway through an exchange.
        """
        try:
            changed = await asyncio.to_thread(self._security.reload)
        except TlsFilesRefused as error:
            if str(error) != self._tls_problem:
                self._tls_problem = str(error)
                log.warning("certificates.refused", reason=self._tls_problem)
            return False
        self._tls_problem = None
        if changed:
            log.info("certificates.reloaded", not_after=self._security.not_after.isoformat())
            for peer in self._peers.values():
                peer.rotate(self._settings.rotation_s)
            self._receiver.renew()
        return changed

    async def reload_routes(self) -> None:
        """Use the routes file if it changed; to be called now and then.

        Connections that took another way are dropped at once and dialled anew. A file that cannot be used is logged
        once, and the routes before stay in use.
        """
        try:
            changed = await asyncio.to_thread(self._routes.reload)
        except RoutesRefused as error:
            if str(error) != self._routes_problem:
                self._routes_problem = str(error)
                log.warning("routes.refused", reason=self._routes_problem)
            return
        if not changed:
            return
        self._routes_problem = None
        log.warning("routes.changed", peers=sorted(changed))
        for connection in tuple(self._connections):
            if connection.dialled and connection.remote.name in changed:
                connection.end(CloseCode.ROTATED, "another route")
        for peer in self._peers.values():
            if peer.address.name in changed:
                peer.nudge()

    def peers(self) -> tuple[PeerStatus, ...]:
        """Return every peer that this node sends to, by name."""
        now = self._clock()
        return tuple(sorted((peer.status(now) for peer in self._peers.values()), key=lambda one: one.name))

    async def _beat(self) -> None:
        """Ping, and look for what has gone silent or stale, every `ping_interval_s`."""
        interval_s = self._settings.ping_interval_s
        last = self._clock()
        while True:
            await asyncio.sleep(interval_s)
            now = self._clock()
            late = now - last > 2 * interval_s
            last = now
            for connection in tuple(self._connections):
                connection.beat(now, late=late)
            self._receiver.beat(now)
            self._snapshots_in.sweep(now)
            self._forget_strangers(now)

    def _peer(self, address: PeerAddress) -> Peer:
        traffic = self._traffic_of(address.name)
        return Peer(address, self._dialer, self._handler, traffic, self._settings, self._random, self._clock)

    def _drop(self, node_id: NodeId) -> None:
        peer = self._peers.pop(node_id, None)
        if peer is None:
            return
        task = asyncio.create_task(peer.close(CloseCode.DONE), name=f"close-{peer.address.name}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        name = peer.address.name
        if all(other.address.name != name for other in self._peers.values()):
            self._traffic.pop(name, None)
            self._metrics.forget(name)

    def _met(self, remote: Remote) -> None:
        """Learn from a hello: a member is there, and, when the membership does not know it yet, where it is."""
        node_id = remote.node_id
        known = self._directory.get(node_id)
        # Only for the address that the membership has for this very member: it may not speak for another.
        if known is not None and known.address == remote.address:
            self._dialer.met(known, remote.dialled_from)
        if known is None:
            if node_id not in self._learnt and len(self._learnt) >= _LEARNT_MAX:
                self._learnt.pop(next(iter(self._learnt)))
            self._learnt[node_id] = PeerAddress(node_id, remote.name, remote.address)
            self._seen[node_id] = self._clock()
        peer = self._peers.get(node_id)
        if peer is not None:
            peer.move(known or self._learnt[node_id])
            peer.nudge()

    def _learnt_peer(self, node_id: NodeId) -> Peer | None:
        """Start to dial a member that this node knows from its hello alone, for instance its leader while it joins."""
        address = self._learnt.get(node_id)
        if address is None:
            return None
        self._peers[node_id] = peer = self._peer(address)
        return peer

    def _forget_strangers(self, now: float) -> None:
        heard_from = self._receiver.heard_from()
        for node_id in tuple(self._learnt):
            if node_id in heard_from:
                self._seen[node_id] = now
            elif now - self._seen[node_id] > _LEARNT_KEPT_S:
                del self._learnt[node_id]
        self._seen = {node_id: at for node_id, at in self._seen.items() if node_id in self._learnt}
        for node_id in self._peers.keys() - self._directory.keys() - self._learnt.keys():
            self._drop(node_id)

    def _address_of(self, node_id: NodeId) -> PeerAddress | None:
        return self._directory.get(node_id) or self._learnt.get(node_id)

    def _name_of(self, node_id: NodeId) -> str | None:
        known = self._directory.get(node_id)
        return known.name if known is not None else None

    def _traffic_of(self, name: str) -> Traffic:
        traffic = self._traffic.get(name)
        if traffic is None:
            traffic = self._traffic[name] = Traffic(self._metrics.peer(name))
        return traffic
