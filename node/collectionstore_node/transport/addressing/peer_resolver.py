"""Resolves the names of members: the IP address a member has dialed from is tried before those of its DNS name.

A pod that restarts has another address, and DNS may return the old one for half a minute, or not answer at all. The
member itself dials immediately, and so provides its address. The certificate decides who is on the other end of a dial,
so a wrong address costs a moment and nothing else.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from collectionstore_node.transport.addressing.dialed_socket import dialed_socket

LOOKUP_S: Final = 0.5
"""How long to wait for DNS when there is an address to try without it."""


class PeerResolver(AbstractResolver):
    """Resolves names of members: the address learned for a name first, then those of `fallback`."""

    def __init__(self, fallback: AbstractResolver) -> None:
        self._fallback = fallback
        self._learned: dict[str, str] = {}

    def learn(self, host: str, address: str) -> None:
        """Remember the IP address from which the member that is reached under `host` has dialed."""
        self._learned[host] = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses to try, in order. Raises `OSError` when there is none."""
        learned = self._learned.get(host)
        if learned is None:
            return await self._fallback.resolve(host, port, family)
        version = socket.AF_INET6 if ipaddress.ip_address(learned).version == 6 else socket.AF_INET
        first = ResolveResult(
            hostname=host, host=learned, port=port, family=version, proto=0, flags=socket.AI_NUMERICHOST
        )
        try:
            async with asyncio.timeout(LOOKUP_S):
                further = await self._fallback.resolve(host, port, family)
        except (TimeoutError, OSError):
            further = []  # DNS is down or slow, and the learned address can be tried without it.
        return [first, *(one for one in further if one["host"] != learned)]

    async def close(self) -> None:
        """Close the fallback."""
        await self._fallback.close()


class TcpConnector(aiohttp.TCPConnector):
    """Connects over TCP. Names are looked up at every dial: a restarted pod has another address."""

    def __init__(self) -> None:
        self.peer_resolver = PeerResolver(aiohttp.ThreadedResolver())
        super().__init__(
            limit=0,
            use_dns_cache=False,
            force_close=True,
            resolver=self.peer_resolver,
            socket_factory=dialed_socket,
        )


def tcp_connector() -> aiohttp.BaseConnector:
    """Return a connector that dials over TCP."""
    return TcpConnector()
