"""Operations in flight: of all streams, and of one address. Pure."""

from __future__ import annotations

from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.stream import settings
from collectionstore_node.errors import Overloaded
from collectionstore_node.ports import LOOPBACK


class Admission:
    """Counts the operations of all streams of a port."""

    __slots__ = ("_by_network", "inflight")

    def __init__(self) -> None:
        self.inflight = 0
        """Operations in flight."""
        self._by_network: dict[str, int] = {}
        """By address, and not by `Client`: operations outlive the connections that make one."""

    def enter(self, client: Client) -> None:
        """Count an operation. Raises `Overloaded` when there is no place; call `leave` otherwise."""
        if self.inflight >= settings.ALL_OPERATIONS_MAX:
            raise Overloaded(f"{settings.ALL_OPERATIONS_MAX} operations of streams are being served already")
        own = self._by_network.get(client.network, 0)
        if own >= settings.ADDRESS_OPERATIONS_MAX and client.network != LOOPBACK:
            raise Overloaded(f"{settings.ADDRESS_OPERATIONS_MAX} operations of your address are being served already")
        self._by_network[client.network] = own + 1
        self.inflight += 1

    def leave(self, client: Client) -> None:
        """Count the end of an operation."""
        self.inflight -= 1
        left = self._by_network[client.network] - 1
        if left:
            self._by_network[client.network] = left
        else:
            del self._by_network[client.network]
