"""Routes: where a member is dialled in place of its advertised address, from a file that may change at any time.

Made for faults on one machine: a proxy stands between two members, and the file leads one of them to it. Who is on
the other end is decided by the certificate as ever, so a route can delay and break a connection, but never put another
node in the place of the one that is meant.

The file is one JSON object, peer name -> "host:port"; a missing file means no routes. It is to be replaced by a
rename: what can be read is then always whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from collectionstore_node.errors import NodeError

_ADDRESS: Final = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
_decoder: Final = msgspec.json.Decoder(dict[str, str])


class RoutesRefused(NodeError):
    """The file cannot be used: at start the setting is wrong, later the routes read before stay in use."""


class Routes:
    """The routes as read last. Made with no path, it has none and never will."""

    def __init__(self, path: Path | None = None) -> None:
        """Read the file. Raises `RoutesRefused`."""
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._routes: Mapping[str, str] = {}
        self.reload()

    def address(self, name: str, advertised: str) -> str:
        """Return the `host:port` at which to dial the member called `name`."""
        return self._routes.get(name, advertised)

    def reload(self) -> frozenset[str]:
        """Read the file again if it is another one, and return the peers whose route changed. Blocks.

        Raises `RoutesRefused`; what was read before then stays in use.
        """
        if self._path is None:
            return frozenset()
        seen = _look(self._path)
        if seen == self._seen:
            return frozenset()
        self._seen = seen
        before, self._routes = self._routes, _read(self._path)
        return frozenset(name for name, _ in before.items() ^ self._routes.items())


NO_ROUTES: Final = Routes()


def _look(path: Path) -> tuple[int, ...] | None:
    """Return what tells one file of this name from the next; None when there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RoutesRefused(f"{path}: {error.strerror}") from error
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _read(path: Path) -> dict[str, str]:
    try:
        routes = _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise RoutesRefused(f"{path}: {error}") from error
    for name, address in routes.items():
        if not _ADDRESS.fullmatch(address):
            raise RoutesRefused(f"{path}: the route of {name} is {address!r}; allowed: host:port")
    return routes
