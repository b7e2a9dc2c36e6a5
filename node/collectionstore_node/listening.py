"""Ports of a node, opened with a readable error and closed with the stack they belong to."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable
from contextlib import AsyncExitStack

from aiohttp import web

from collectionstore_node.settings import Address


class AddressTaken(Exception):
    """A port is in use; the text says which and for what."""


async def start_server(
    stack: AsyncExitStack, server: web.Server, address: Address, purpose: str, tls: ssl.SSLContext | None
) -> None:
    """Serve HTTP until `stack` ends. Raises `AddressTaken`."""
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=2.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.TCPSite(runner, address.host, address.port, ssl_context=tls, backlog=1024)
    await listening(site.start(), address, purpose)


async def listening(start: Awaitable[None], address: Address, purpose: str) -> None:
    """Let `start` open a port. Raises `AddressTaken`."""
    try:
        await start
    except OSError as error:
        raise AddressTaken(f"cannot listen for {purpose} on {address}: {error.strerror or error}") from error
