"""Listening addresses: all interfaces of both address families, and who is on this machine."""

from __future__ import annotations

import ipaddress
from typing import Final

_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})


def bind_host(host: str) -> str | None:
    """Return the host to bind: None, that is every interface in IPv4 and IPv6, for either of the wildcard addresses.

    A pod may have addresses of one family or of both, and a manifest is the same for all of them. asyncio opens one
    socket for each family, and none for a family that the kernel does not have.
    """
    return None if host in _EVERYWHERE else host


def is_loopback(remote: str | None) -> bool:
    """Return whether a client is on this machine, or in this pod; an IPv4 address may be mapped into IPv6."""
    try:
        address = ipaddress.ip_address(remote or "")
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
