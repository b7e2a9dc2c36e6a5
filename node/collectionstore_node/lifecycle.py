"""Ports and tasks that end with the exit stack they belong to, and the end of a process that has no memory left."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol, TypeAlias

import structlog

from collectionstore_node.errors import NodeError, OutOfMemory
from collectionstore_node.ports import Port, PortLimits, PortMetrics, PortProtocol
from collectionstore_node.settings import Address

SHUTDOWN_S: Final = 2.0
"""For requests in flight when a node stops."""
EXIT_MEMORY: Final = 75
NO_MEMORY: Final = (MemoryError, OutOfMemory)
"""The exceptions of an allocation that failed; where they are caught, the process ends."""

log = structlog.get_logger()


class AddressInUse(Exception):
    """A port cannot be opened; the text says which one and for what."""


def end_without_memory(place: str, error: BaseException) -> NoReturn:
    """Log that memory ran out in `place`, and end the process at once with EXIT_MEMORY.

    Not in order: closing ports, connections and RocksDB takes memory, and a process that hangs on the way
    serves no request and is not restarted. Nothing is lost: what was acknowledged is in the log.
    """
    try:
        reason = str(error) if isinstance(error, NodeError) else type(error).__name__
        log.error("memory.exhausted", place=place, reason=reason)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(EXIT_MEMORY)


class HttpServer(Protocol):
    """What makes the connections of a port and ends them."""

    def __call__(self) -> PortProtocol:
        """Return the protocol of a new connection."""

    def pre_shutdown(self) -> None:
        """Close idle connections."""

    async def shutdown(self, timeout: float | None = None) -> None:
        """Let requests finish, then close all connections."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds of a port, its name in metrics, and where they are counted."""

    port: str
    limits: PortLimits
    metrics: PortMetrics


async def serve_http(
    stack: AsyncExitStack, server: HttpServer, address: Address, bounds: Bounds, tls: ssl.SSLContext | None
) -> None:
    """Serve HTTP until `stack` ends. Raises `AddressInUse`."""
    port = Port(bounds.port, server, bounds.limits, bounds.metrics, tls=tls)

    async def stop() -> None:
        await port.close()
        # A turn of the loop, in which requests that have arrived begin to be served.
        await asyncio.sleep(0)
        server.pre_shutdown()
        await server.shutdown(SHUTDOWN_S)

    # BEFORE the port is opened: also a server whose port cannot be opened has to be stopped.
    stack.push_async_callback(stop)
    await open_port(port.open(address.host, address.port), address, bounds.port)


ServeHttp: TypeAlias = Callable[
    [AsyncExitStack, HttpServer, Address, Bounds, ssl.SSLContext | None], Coroutine[Any, Any, None]
]
"""The type of `serve_http`."""


async def open_port(start: Awaitable[object], address: Address, purpose: str) -> None:
    """Await `start`, which opens a port. Raises `AddressInUse`."""
    try:
        await start
    except OSError as error:
        raise AddressInUse(f"cannot listen for {purpose} on {address}: {error.strerror or error}") from error


async def cancel_and_wait(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended; how it ended is for its other waiters to see."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
