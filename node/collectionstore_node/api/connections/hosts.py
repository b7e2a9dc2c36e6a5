"""The names under which a server may be addressed: the defence against DNS rebinding. Pure.

A web page of any site can make its own name resolve to 127.0.0.1 and so reach a server on loopback with the rights of
a page of the same origin; its requests carry that name in `Host`. An IP address cannot be rebound, so every literal
address is ours; a name must be known.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

ANY: Final = "*"
"""Turns the check off."""

_CACHED_MAX: Final = 64
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")


class Hosts:
    """The names of one server, in lower case, without ports: a tunnel may have any port."""

    __slots__ = ("_cache", "_names", "_suffixes")

    def __init__(self, names: Iterable[str]) -> None:
        """`names` are host names; one that begins with a dot stands for all names below it."""
        lowered = [name.lower().rstrip(".") for name in names]
        self._names = frozenset(("localhost", *(name for name in lowered if not name.startswith("."))))
        self._suffixes = (".localhost", *(name for name in lowered if name.startswith(".")))
        self._cache: set[str] = set()

    def is_ours(self, header: str) -> bool:
        """Return whether the value of a Host header names this server."""
        if header in self._cache:
            return True
        found = _HOST.fullmatch(header)
        if found is None or not self._known(found[1].lower().rstrip(".")):
            return False
        # Bounded: the port is not checked, so there are many spellings of each name.
        if len(self._cache) < _CACHED_MAX:
            self._cache.add(header)
        return True

    def _known(self, host: str) -> bool:
        if host in self._names or host.endswith(self._suffixes):
            return True
        try:
            ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return False
        return True
