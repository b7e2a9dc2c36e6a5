"""What a transport is made of, besides its handler and its security: identity, options, sources of time and chance."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from collectionstore_node.ports import MakePort, Port, PortMetrics, Uncounted
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.sealed_files import OpenFile, open_plain
from collectionstore_node.transport.addressing.peer_resolver import tcp_connector
from collectionstore_node.transport.addressing.route_overrides import NO_OVERRIDES, RouteOverrides
from collectionstore_node.transport.settings import DEFAULT_SETTINGS, TransportSettings


@dataclass(frozen=True, slots=True)
class TransportIdentity:
    """Who this node is to other members, and where it listens."""

    cluster_id: str
    node_id: NodeId
    name: str
    listen: tuple[str, int]
    """Host and port to bind; port 0 binds any free one."""
    advertise: str
    """`host:port` sent to other members; port 0 is replaced by the bound port."""


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """Limits, timeouts and places."""

    spool: Path
    """A folder for snapshot files being received; it is emptied at the start."""
    settings: TransportSettings = DEFAULT_SETTINGS
    overrides: RouteOverrides = NO_OVERRIDES
    missing_bytes: Callable[[int], int] | None = None
    """Returns how much space is missing to receive and install snapshot files of this many bytes; None: unknown."""
    open_file: OpenFile = open_plain
    """Opens the files in `spool`, and those that are sent."""


@dataclass(frozen=True, slots=True)
class TransportEnvironment:
    """Sources of randomness, sockets and time; a simulation has its own."""

    random: Callable[[], float]
    """In [0, 1); spreads retries and renewals."""
    connector: Callable[[], aiohttp.BaseConnector] = tcp_connector
    """Makes what dials."""
    clock: Callable[[], float] = time.monotonic
    """Monotonic, in seconds."""
    port: MakePort = Port
    """Makes what listens."""
    port_metrics: PortMetrics = field(default_factory=Uncounted)
