"""Where members were met: the address one has dialled from is tried before what the name service says of its name.

A pod that restarts has another address, and a name service may go on giving the one before for half a minute, or not
answer at all. The member itself dials at once, and by that shows where it is. Who is on the other end of a dial is
decided by the certificate as ever, so a wrong address costs a moment and nothing else.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

LOOKUP_S: Final = 0.5
"""How long the name service is waited for when there is an address to try without it."""


class Whereabouts(AbstractResolver):
    """Resolves names of members; knows one address for each that was met, and asks `other` for more."""

    def __init__(self, other: AbstractResolver) -> None:
        self._other = other
        self._met: dict[str, str] = {}

    def met(self, host: str, address: str) -> None:
        """Remember the IP address from which the member that is reached under `host` has dialled."""
        self._met[host] = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses to try, in this order. Raises `OSError` when there is none."""
        met = self._met.get(host)
        if met is None:
            return await self._other.resolve(host, port, family)
        version = socket.AF_INET6 if ipaddress.ip_address(met).version == 6 else socket.AF_INET
        first = ResolveResult(hostname=host, host=met, port=port, family=version, proto=0, flags=socket.AI_NUMERICHOST)
        try:
            async with asyncio.timeout(LOOKUP_S):
                further = await self._other.resolve(host, port, family)
        except (TimeoutError, OSError):
            further = []  # there is one to try
        return [first, *(one for one in further if one["host"] != met)]

    async def close(self) -> None:
        """Release what the other resolver holds."""
        await self._other.close()


class TcpConnector(aiohttp.TCPConnector):
    """Connects over TCP. Names are looked up at every dial: a restarted pod has another address."""

    def __init__(self) -> None:
        self.whereabouts = Whereabouts(aiohttp.ThreadedResolver())
        super().__init__(limit=0, use_dns_cache=False, force_close=True, resolver=self.whereabouts)
