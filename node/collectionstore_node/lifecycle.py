"""Ports and tasks that end with the exit stack they belong to."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any

from aiohttp import web

from collectionstore_node.settings import Address
from collectionstore_telemetry.listening import bind_host


class AddressInUse(Exception):
    """A port cannot be opened; the text says which one and for what."""


async def serve_http(
    stack: AsyncExitStack, server: web.Server, address: Address, purpose: str, tls: ssl.SSLContext | None
) -> None:
    """Serve HTTP until `stack` ends. Raises `AddressInUse`."""
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=2.0)
    await runner.setup()
    # BEFORE the port is opened: also a runner whose port cannot be opened has to be cleaned up.
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, bind_host(address.host), address.port, ssl_context=tls, backlog=1024)
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
