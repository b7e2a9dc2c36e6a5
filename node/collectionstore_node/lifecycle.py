"""Ports and tasks that end with the exit stack they belong to, and the end of a process that has no memory left."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any, Final, NoReturn

import structlog
from aiohttp import web

from collectionstore_node.errors import NodeError, OutOfMemory
from collectionstore_node.settings import Address

EXIT_MEMORY: Final = 71
NO_MEMORY: Final = (MemoryError, OutOfMemory)
"""The exceptions of an allocation that failed; where they are caught, the process ends."""

log = structlog.get_logger()


class AddressInUse(Exception):
    """A port cannot be opened; the text says which one and for what."""


def end_without_memory(place: str, error: BaseException) -> NoReturn:
    """Log that memory ran out in `place`, and end the process at once with EXIT_MEMORY.

    Not in order: closing ports, connections and RocksDB takes memory, and a process that hangs on the way answers
    nobody and is restarted by nobody. Nothing is lost: what was acknowledged is in the log.
    """
    try:
        reason = str(error) if isinstance(error, NodeError) else type(error).__name__
        log.error("memory.exhausted", place=place, reason=reason)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(EXIT_MEMORY)


async def serve_http(
    stack: AsyncExitStack, server: web.Server, address: Address, purpose: str, tls: ssl.SSLContext | None
) -> None:
    """Serve HTTP until `stack` ends. Raises `AddressInUse`."""
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=2.0)
    await runner.setup()
    # BEFORE the port is opened: also a runner whose port cannot be opened has to be cleaned up.
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, address.host, address.port, ssl_context=tls, backlog=1024)
    await open_port(site.start(), address, purpose)


async def open_port(start: Awaitable[None], address: Address, purpose: str) -> None:
    """Await `start`, which opens a port. Raises `AddressInUse`."""
    try:
        await start
    except OSError as error:
        raise AddressInUse(f"cannot listen for {purpose} on {address}: {error.strerror or error}") from error


async def cancel_and_wait(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended; how it ended is for its other waiters to see."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
