"""File descriptors: the limit of the process, and how storage and ports share it.

A connection is one descriptor, and so is every table file of RocksDB. Without shares, idle connections take the last
one, RocksDB cannot open a file (EMFILE), and a healthy disk looks broken.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Final

LIMIT_WANTED: Final = 65_536
"""The soft limit is raised up to this, or to the hard limit if that is lower."""
LIMIT_MIN: Final = 256
"""Below this a node has no room for its clients."""

_OPEN_FILES_MAX: Final = 256
"""Table files that RocksDB keeps open (`Tuning.open_files_max`)."""
_OTHER_FILES: Final = 96
"""WAL files, manifests, snapshots, logs, the event loop, sockets of DNS and of traces."""
_PEERS_MAX: Final = 128
_METRICS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The shares of a limit."""

    table_files_max: int
    peers_max: int
    """Accepted connections of the peer port; dialed ones are one or two for each member and in the reserve."""
    metrics_max: int
    clients_max: int


def raise_limit() -> tuple[int, int]:
    """Raise the soft limit of open files; return it before and after."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = LIMIT_WANTED if hard == resource.RLIM_INFINITY else min(hard, LIMIT_WANTED)
    if soft == resource.RLIM_INFINITY or soft >= ceiling:
        return soft, soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
    return soft, ceiling


def divide(limit: int, *, clients_wanted: int) -> Descriptors:
    """Return the shares of `limit` descriptors: storage and peers first, clients get what is left, up to their wish.

    Raises `ValueError` for less than `LIMIT_MIN`.
    """
    if limit == resource.RLIM_INFINITY:
        limit = LIMIT_WANTED
    if limit < LIMIT_MIN:
        raise ValueError(f"the limit of open files is {limit}; at least {LIMIT_MIN} are needed (ulimit -n)")
    table_files = min(_OPEN_FILES_MAX, limit // 4)
    peers = min(_PEERS_MAX, limit // 8)
    metrics = min(_METRICS_MAX, limit // 16)
    other = min(_OTHER_FILES, limit // 4)
    return Descriptors(table_files, peers, metrics, min(clients_wanted, limit - table_files - peers - metrics - other))
