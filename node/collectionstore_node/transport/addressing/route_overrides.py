"""Route overrides: where a member is dialed in place of its advertised address, from a file that may change.

For fault injection on one machine: a proxy stands between two members, and the file routes one of them to it. The
certificate decides who is on the other end, so an override can delay and break a connection, but never put another
node in the place of the member dialed.

The file is one JSON object, peer name -> "host:port"; a missing file means no overrides. Replace it by a rename: a
reader then sees either file, never a part.
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


class OverridesRefused(NodeError):
    """The file cannot be used: at the start the setting is wrong, later the overrides read before stay in use."""


class RouteOverrides:
    """The overrides as read last; always empty without a path."""

    def __init__(self, path: Path | None = None) -> None:
        """Read the file. Raises `OverridesRefused`."""
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._overrides: Mapping[str, str] = {}
        self.reload()

    def address(self, name: str, advertised: str) -> str:
        """Return the `host:port` at which to dial the member called `name`."""
        return self._overrides.get(name, advertised)

    def reload(self) -> frozenset[str]:
        """Read the file again if it is another one, and return the peers whose route changed. Blocks.

        Raises `OverridesRefused`; what was read before then stays in use.
        """
        if self._path is None:
            return frozenset()
        seen = _version(self._path)
        if seen == self._seen:
            return frozenset()
        self._seen = seen
        before, self._overrides = self._overrides, _read(self._path)
        return frozenset(name for name, _ in before.items() ^ self._overrides.items())


NO_OVERRIDES: Final = RouteOverrides()


def _version(path: Path) -> tuple[int, ...] | None:
    """Return inode, mtime and size, which tell a replaced file from the one before; None without a file."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OverridesRefused(f"{path}: {error.strerror}") from error
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _read(path: Path) -> dict[str, str]:
    try:
        routes = _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise OverridesRefused(f"{path}: {error}") from error
    for name, address in routes.items():
        if not _ADDRESS.fullmatch(address):
            raise OverridesRefused(f"{path}: the route of {name} is {address!r}; allowed: host:port")
    return routes
