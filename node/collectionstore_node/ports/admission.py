"""Admission to a port: how many connections it has, together and from one address. Pure: no sockets, no clock.

A port that is full closes the connections that have been idle longest, as nginx does with `worker_connections`: so
connections that do nothing never lock anybody out. Only when all of them are busy is a new one refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final, Literal, Protocol

EVICTED_MAX: Final = 32
"""Closed at once when a port is full, so that the search for idle connections is not repeated for each new one."""

LOOPBACK: Final = "loopback"
"""All clients on this machine, which have one address and no share."""

Refusal = Literal["full", "address_full"]


@dataclass(frozen=True, slots=True)
class PortLimits:
    """Bounds of one port."""

    connections_max: int
    per_address_max: int
    """Of one IPv4 address, or one IPv6 network of 64 bits; loopback has no bound of its own."""


class Occupant(Protocol):
    """A connection as its port sees it."""

    def idle_since(self) -> float | None:
        """Return since when it waits for a request, in loop time; None while it is busy."""

    def evict(self) -> None:
        """Close it at once."""


class Slot:
    """A place that one connection takes, from `accept` to its end."""

    __slots__ = ("network", "occupant")

    def __init__(self, network: str, occupant: Occupant) -> None:
        self.network = network
        self.occupant = occupant


class Admission:
    """Counts the connections of one port."""

    __slots__ = ("_by_network", "_limits", "_slots")

    def __init__(self, limits: PortLimits) -> None:
        self._limits = limits
        self._slots: set[Slot] = set()
        self._by_network: dict[str, set[Slot]] = {}

    @property
    def connections(self) -> int:
        """Number of admitted connections."""
        return len(self._slots)

    def admit(self, network: str, occupant: Occupant) -> Slot | Refusal:
        """Return the place of a new connection, or why there is none. May evict idle connections for it."""
        same = None if network == LOOPBACK else self._by_network.get(network)
        # An address at its own bound pays itself: others keep their idle connections.
        if same is not None and len(same) >= self._limits.per_address_max and not self._evict(same):
            return "address_full"
        if len(self._slots) >= self._limits.connections_max and not self._evict(self._slots):
            return "full"
        slot = Slot(network, occupant)
        self._slots.add(slot)
        self._by_network.setdefault(network, set()).add(slot)
        return slot

    def release(self, slot: Slot) -> None:
        """Give a place back; a second time is nothing."""
        self._slots.discard(slot)
        same = self._by_network.get(slot.network)
        if same is not None:
            same.discard(slot)
            if not same:
                del self._by_network[slot.network]

    def evict_idle(self) -> int:
        """Close connections that have been idle longest; return how many."""
        return self._evict(self._slots)

    def _evict(self, slots: Iterable[Slot]) -> int:
        idle = [(since, slot) for slot in slots if (since := slot.occupant.idle_since()) is not None]
        longest = nsmallest(min(EVICTED_MAX, 1 + len(idle) // 8), idle, key=_since)
        for _, slot in longest:
            # The place is free at once; the descriptor follows within a turn of the loop, which the reserve covers.
            self.release(slot)
            slot.occupant.evict()
        return len(longest)


def network_of(address: str) -> str:
    """Return what counts as one client: an IPv4 address, or the /64 of an IPv6 address, which one host may fill."""
    if ":" not in address:
        return LOOPBACK if address.startswith("127.") else address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return network_of(str(found.ipv4_mapped))
    if found.is_loopback:
        return LOOPBACK
    return str(ipaddress.IPv6Network((found, 64), strict=False))


def _since(pair: tuple[float, Slot]) -> float:
    return pair[0]
