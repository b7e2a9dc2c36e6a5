"""The transport of one node: sends to members, listens for them, transfers snapshots both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog

from collectionstore_node.raft.messages import Message, NodeId
from collectionstore_node.transport.addresses import PeerAddress, PeerStatus
from collectionstore_node.transport.addressing.route_overrides import OverridesRefused
from collectionstore_node.transport.connection.connection import Connection, ConnectionContext
from collectionstore_node.transport.connection.dialer import Dialer
from collectionstore_node.transport.connection.local_node import LocalNode
from collectionstore_node.transport.failures import PeerUnavailable
from collectionstore_node.transport.handler import TransportHandler
from collectionstore_node.transport.listener import Listener
from collectionstore_node.transport.metrics_port import TransportMetrics
from collectionstore_node.transport.options import TransportEnvironment, TransportIdentity, TransportOptions
from collectionstore_node.transport.peers.peer import Peer
from collectionstore_node.transport.peers.peer_table import PeerTable
from collectionstore_node.transport.security.peer_security import PeerSecurity
from collectionstore_node.transport.security.tls import TlsFilesRefused
from collectionstore_node.transport.snapshots.receiver import SnapshotReceiver
from collectionstore_node.transport.snapshots.sender import SnapshotSender
from collectionstore_node.transport.snapshots.spool import Spool
from collectionstore_node.transport.traffic import TrafficTable
from collectionstore_node.transport.wire.close_codes import CloseCode
from collectionstore_node.transport.wire.handshake import PeerName

log = structlog.get_logger()

_UNKNOWN: Final = "(unknown)"


class Transport:
    """Sends and receives for one node. Made and used on the event loop; every bound is in `TransportSettings`."""

    def __init__(
        self,
        identity: TransportIdentity,
        handler: TransportHandler,
        security: PeerSecurity,
        metrics: TransportMetrics,
        options: TransportOptions,
        environment: TransportEnvironment,
    ) -> None:
        """Nothing is opened before `start`. What members send goes to `handler`."""
        settings = options.settings
        self._settings = settings
        self._listen = identity.listen
        self._security = security
        self._tls_problem: str | None = None
        self._overrides = options.overrides
        self._overrides_problem: str | None = None
        self._clock = environment.clock
        self._traffic = TrafficTable(metrics)
        self._connections: dict[Connection, None] = {}
        self._local = LocalNode(PeerName(identity.cluster_id, identity.name), identity.node_id, identity.advertise)
        self._local.process = 1 + int(environment.random() * 2**62)
        if not settings.streams:
            self._local.stream = 0
        context = ConnectionContext(self._local, settings, self._traffic.of, environment.clock, self._connections)
        self._dialer = Dialer(context, security, environment.connector(), options.overrides)
        self._peers = PeerTable(context, self._dialer, handler, self._traffic, environment)
        self._spool = Spool(options.spool, settings, options.missing_bytes, options.open_file)
        self._snapshots_in = SnapshotReceiver(self._spool, handler, settings, metrics, environment.clock)
        self._snapshots_out = SnapshotSender(
            self._dialer, settings, environment.random, self._peers.directory.find, options.open_file
        )
        self._listener = Listener(context, security, handler, self._snapshots_in, metrics, self._peers, environment)
        self._beating: asyncio.Task[None] | None = None
        self.port = identity.listen[1]
        """The port bound, from `start` on."""

    async def start(self) -> None:
        """Listen, and dial the members set so far. Raises `OSError` when the address cannot be bound."""
        await asyncio.to_thread(self._spool.clear)
        try:
            self.port = await self._listener.start(*self._listen)
        except OSError:
            await self._dialer.close()
            raise
        # BEFORE the first dial: a handshake advertises the address.
        self._local.bound(self.port)
        self._beating = asyncio.create_task(self._beat(), name="transport-beat")
        self._peers.start()

    async def close(self) -> None:
        """Flush what is queued for a moment, close every connection with a reason, and stop listening."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
        await self._peers.close()
        await self._listener.close()
        await self._snapshots_in.close()
        await self._dialer.close()

    def set_peers(self, peers: Iterable[PeerAddress]) -> None:
        """Replace the membership that this node connects to; this node itself is left out.

        Every connection of a member that may no longer connect (`TransportHandler.refusal`) ends with that reason.
        """
        self._peers.set_members(peers)
        self._listener.recheck()

    def send(self, messages: Iterable[Message]) -> None:
        """Send each message to its receiver, those of one in one frame, or drop and count it; never blocks."""
        # At once, and not in the next turn of the loop: a leader's entries leave BEFORE it writes them to its own log.
        receivers: list[Peer] = []
        for message in messages:
            peer = self._peers.find(message.to)
            if peer is None:
                self._traffic.of(_UNKNOWN).dropped(1)
                continue
            peer.send(message)
            if peer not in receivers:
                receivers.append(peer)
        for peer in receivers:
            peer.flush()

    async def request(self, to: NodeId, payload: bytes, timeout_s: float) -> bytes:
        """Send a request to `to` and return its reply.

        Raises `PeerUnavailable` when the peer has definitely not handled it, `RequestLost` when that is unknown.
        """
        peer = self._peers.find(to)
        if peer is None:
            raise PeerUnavailable(f"no address of {to:016x} is known")
        return await peer.request(payload, timeout_s)

    async def send_snapshot(self, to: NodeId, envelope: bytes, path: Path) -> None:
        """Return when `to` has verified the file and its replica has installed it. Raises `SnapshotFailed`.

        Takes as long as that takes; it resumes after lost connections as long as there is progress.
        """
        await self._snapshots_out.send(to, envelope, path)

    async def reload_tls(self) -> bool:
        """Use the certificate files if their content changed, and return whether it did; to be called periodically.

        New handshakes use them, on both sides. Connections are renewed within about `rotation_s`; those that
        cannot be, for instance because their CA is no longer trusted, end at their maximum age. Files that cannot be
        used are logged once and the ones before stay in use: they are often read halfway through an exchange.
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
            log.info("certificates.reloaded", not_after=self._security.certificate.not_after.isoformat())
            for peer in self._peers.all():
                peer.rotate(self._settings.rotation_s)
            self._listener.renew()
        return changed

    async def reload_routes(self) -> None:
        """Use the file of route overrides if it changed; to be called periodically.

        Connections that took another route are closed and dialed again. A file that cannot be used is logged
        once, and the overrides before stay in use.
        """
        try:
            changed = await asyncio.to_thread(self._overrides.reload)
        except OverridesRefused as error:
            if str(error) != self._overrides_problem:
                self._overrides_problem = str(error)
                log.warning("routes.refused", reason=self._overrides_problem)
            return
        if not changed:
            return
        self._overrides_problem = None
        log.warning("routes.changed", peers=sorted(changed))
        for connection in tuple(self._connections):
            if connection.dialed and connection.remote.name in changed:
                connection.end(CloseCode.ROTATED, "another route")
        for peer in self._peers.all():
            if peer.address.name in changed:
                peer.dial_now()

    def peers(self) -> tuple[PeerStatus, ...]:
        """Return every peer that this node sends to, by name."""
        return self._peers.statuses(self._clock())

    async def _beat(self) -> None:
        """Every `ping_interval_s`: send pings, close silent connections, expire what is stale."""
        interval_s = self._settings.ping_interval_s
        last = self._clock()
        while True:
            await asyncio.sleep(interval_s)
            now = self._clock()
            # A late beat says that this loop was stalled: what peers sent meanwhile is unread in the sockets.
            late = now - last > 2 * interval_s
            last = now
            for connection in tuple(self._connections):
                connection.beat(now, late=late)
            self._listener.beat(now)
            self._snapshots_in.sweep(now)
            self._peers.expire(self._listener.connected(), now)
