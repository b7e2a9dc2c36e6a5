"""The peers of this node: made when a member is known, moved when its address changes, closed when it leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.transport.addresses import PeerAddress, PeerStatus
from collectionstore_node.transport.connection.connection import ConnectionContext, Remote
from collectionstore_node.transport.connection.dialer import Dialer
from collectionstore_node.transport.handler import TransportHandler
from collectionstore_node.transport.options import TransportEnvironment
from collectionstore_node.transport.peers.directory import PeerDirectory
from collectionstore_node.transport.peers.peer import Peer
from collectionstore_node.transport.traffic import TrafficTable
from collectionstore_node.transport.wire.close_codes import CloseCode


class PeerTable:
    """One `Peer` for each member that this node sends to. Belongs to the event loop."""

    def __init__(
        self,
        context: ConnectionContext,
        dialer: Dialer,
        handler: TransportHandler,
        traffic: TrafficTable,
        environment: TransportEnvironment,
    ) -> None:
        self.directory = PeerDirectory(context.local.node_id)
        self._context = context
        self._dialer = dialer
        self._handler = handler
        self._traffic = traffic
        self._environment = environment
        self._peers: dict[NodeId, Peer] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._dialing = False

    def start(self) -> None:
        """Dial the members set so far, and from now on every new member immediately."""
        self._dialing = True
        self.set_members(tuple(self.directory.members()))

    async def close(self) -> None:
        """Flush what is queued, for a bounded time, and close every connection with a reason."""
        peers = tuple(self._peers.values())
        self._peers.clear()
        await asyncio.gather(*(peer.close(CloseCode.SHUTTING_DOWN) for peer in peers), *self._closing)

    def find(self, node_id: NodeId) -> Peer | None:
        """Return the peer of a member, or None when no address of it is known.

        Begins to dial a node that is known from its handshake alone, for instance the leader while this node joins.
        """
        peer = self._peers.get(node_id)
        if peer is None and (address := self.directory.learned(node_id)) is not None:
            self._peers[node_id] = peer = self._make(address)
        return peer

    def all(self) -> Collection[Peer]:
        """Return every peer."""
        return self._peers.values()

    def statuses(self, now: float) -> tuple[PeerStatus, ...]:
        """Return the status of every peer at monotonic time `now`, by name."""
        return tuple(sorted((peer.status(now) for peer in self._peers.values()), key=lambda one: one.name))

    def set_members(self, members: Iterable[PeerAddress]) -> None:
        """Replace the membership: dial new members, move those with another address, drop those that left."""
        left = self.directory.replace(members)
        if not self._dialing:
            return
        for node_id in left:
            self._drop(node_id)
        for address in self.directory.members():
            self.directory.forget_learned(address.node_id)
            peer = self._peers.get(address.node_id)
            if peer is None:
                self._peers[address.node_id] = self._make(address)
            else:
                peer.move(address)

    def learn(self, remote: Remote) -> None:
        """Learn from a handshake that a member is up, and, when the membership does not know it, its address."""
        node_id = remote.node_id
        known = self.directory.member(node_id)
        # Only for the address that the membership has for this very member: it must not act for another one.
        if known is not None and known.address == remote.address:
            self._dialer.learn_address(known, remote.dialed_from)
        if known is None:
            known = PeerAddress(node_id, remote.name, remote.address)
            self.directory.learn(known, self._context.clock())
        peer = self._peers.get(node_id)
        if peer is not None:
            peer.move(known)
            peer.dial_now()

    def name_of(self, node_id: NodeId) -> str | None:
        """Return the name that the membership has for a node, or None."""
        known = self.directory.member(node_id)
        return known.name if known is not None else None

    def expire(self, connected: Collection[NodeId], now: float) -> None:
        """Drop peers of which no address is known any more; `connected` nodes are known for longer."""
        self.directory.expire(connected, now)
        for node_id in tuple(self._peers):
            if self.directory.find(node_id) is None:
                self._drop(node_id)

    def _make(self, address: PeerAddress) -> Peer:
        return Peer(address, self._dialer, self._handler, self._context, self._environment.random)

    def _drop(self, node_id: NodeId) -> None:
        peer = self._peers.pop(node_id, None)
        if peer is None:
            return
        name = peer.address.name
        task = asyncio.create_task(peer.close(CloseCode.DONE), name=f"close-{name}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        # A member that lost its disk returns under its name with another node ID: its series live on.
        if all(other.address.name != name for other in self._peers.values()):
            self._traffic.forget(name)
