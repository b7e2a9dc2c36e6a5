"""Where members are reached: from the membership, or learned from their own handshake.

A joining node does not know its leader's address yet, and a member that moved is known under its old one until the
membership changes. Both have just dialed this node, and a handshake says where the dialer is reached. A learned address
is never used in place of one that the membership has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.transport.addresses import PeerAddress

LEARNED_MAX: Final = 64
LEARNED_KEPT_S: Final = 10.0
"""A learned address is forgotten this long after its member was last connected."""


class PeerDirectory:
    """The addresses of members other than `own`. `now` is any monotonic time in seconds."""

    def __init__(self, own: NodeId) -> None:
        self._own = own
        self._members: dict[NodeId, PeerAddress] = {}
        self._learned: dict[NodeId, PeerAddress] = {}
        self._seen: dict[NodeId, float] = {}

    def members(self) -> Collection[PeerAddress]:
        """Return the members of the membership."""
        return self._members.values()

    def replace(self, members: Iterable[PeerAddress]) -> frozenset[NodeId]:
        """Replace the membership and return the members that left it."""
        before = self._members
        self._members = {one.node_id: one for one in members if one.node_id != self._own}
        return frozenset(before.keys() - self._members.keys())

    def forget_learned(self, node_id: NodeId) -> None:
        """Forget what was learned of a node: the membership knows it now."""
        self._learned.pop(node_id, None)

    def member(self, node_id: NodeId) -> PeerAddress | None:
        """Return the address that the membership has, or None."""
        return self._members.get(node_id)

    def learned(self, node_id: NodeId) -> PeerAddress | None:
        """Return a learned address, or None."""
        return self._learned.get(node_id)

    def find(self, node_id: NodeId) -> PeerAddress | None:
        """Return the best known address, or None."""
        return self._members.get(node_id) or self._learned.get(node_id)

    def learn(self, address: PeerAddress, now: float) -> None:
        """Learn the address of a node that the membership does not have; the oldest goes when there are too many."""
        if address.node_id not in self._learned and len(self._learned) >= LEARNED_MAX:
            self._learned.pop(next(iter(self._learned)))
        self._learned[address.node_id] = address
        self._seen[address.node_id] = now

    def expire(self, connected: Collection[NodeId], now: float) -> None:
        """Forget learned addresses of nodes that were not `connected` for LEARNED_KEPT_S."""
        for node_id in tuple(self._learned):
            if node_id in connected:
                self._seen[node_id] = now
            elif now - self._seen[node_id] > LEARNED_KEPT_S:
                del self._learned[node_id]
        self._seen = {node_id: at for node_id, at in self._seen.items() if node_id in self._learned}
