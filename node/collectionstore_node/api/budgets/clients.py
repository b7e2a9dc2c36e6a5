"""Clients by address, and the share of the requests in flight that one of them may take."""

from __future__ import annotations

import math

from collectionstore_node.errors import Overloaded
from collectionstore_node.ports import LOOPBACK


class Client:
    """All connections from one address."""

    __slots__ = ("connections", "inflight", "inflight_max", "network")

    def __init__(self, network: str, inflight_max: float) -> None:
        self.network = network
        self.inflight_max = inflight_max
        self.connections = 0
        self.inflight = 0
        """Requests being served, without probes and without those whose bodies still arrive."""


class Clients:
    """The clients of one port, as long as they have a connection, or a request of one that has ended."""

    __slots__ = ("_by_network", "_inflight_max")

    def __init__(self, inflight_max: int) -> None:
        """`inflight_max` is the most that one address may have in flight; loopback has no share."""
        self._by_network: dict[str, Client] = {}
        self._inflight_max = inflight_max

    def connected(self, network: str) -> Client:
        """Count a connection of an address."""
        client = self._by_network.get(network)
        if client is None:
            share = math.inf if network == LOOPBACK else self._inflight_max
            client = self._by_network[network] = Client(network, share)
        client.connections += 1
        return client

    def disconnected(self, client: Client) -> None:
        """Count the end of a connection."""
        client.connections -= 1
        self._forget(client)

    def enter(self, client: Client) -> None:
        """Count a request. Raises `Overloaded` when the address has its share in flight; call `leave` otherwise."""
        if client.inflight >= client.inflight_max:
            raise Overloaded(f"{client.inflight_max} requests of your address are being served already")
        client.inflight += 1

    def leave(self, client: Client) -> None:
        """Count the end of a request."""
        client.inflight -= 1
        if not client.inflight:
            self._forget(client)

    def _forget(self, client: Client) -> None:
        # BEHIND its last request: closing a connection and opening another one must not give a new share.
        if client.connections or client.inflight:
            return
        # A request that had arrived may begin after that; by then the address may have another client.
        if self._by_network.get(client.network) is client:
            del self._by_network[client.network]
