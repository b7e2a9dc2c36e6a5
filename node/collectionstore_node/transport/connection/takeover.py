"""Takes the TLS connection below a WebSocket from aiohttp, for a stream.

aiohttp has no call for it. What is used: asyncio's own `get_protocol` and `set_protocol`; the attribute `transport` of
aiohttp's protocols and their `connection_lost`, by which they let go of it; `BaseRequest.transport` on the accepted
side; and on the dialing side one private attribute, `ClientWebSocketResponse._response`. `test_takeover.py` fails when
any of this has changed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import ClientWebSocketResponse
from aiohttp.base_protocol import BaseProtocol

from collectionstore_node.transport.connection.stream_channel import StreamChannel


def transport_of(socket: ClientWebSocketResponse[Any]) -> asyncio.Transport:
    """Return the transport below a dialed WebSocket. Raises `OSError` when it is closed."""
    connection = socket._response.connection
    transport = connection.transport if connection is not None else None
    if transport is None:
        raise ConnectionResetError("connection lost")
    return transport


def take_over(transport: asyncio.Transport, channel: StreamChannel) -> asyncio.BaseProtocol:
    """Let `channel` receive what comes from now on, and return aiohttp's protocol; it may still write.

    Raises `OSError` when the transport is closed.
    """
    before = transport.get_protocol()
    channel.attach(transport)
    return before


def dismiss(before: asyncio.BaseProtocol) -> None:
    """Make aiohttp's protocol let go of the transport, which stays open."""
    if not isinstance(before, BaseProtocol):
        raise TypeError(f"{type(before).__name__} is no protocol of aiohttp")
    # BEFORE it is told: it would close what it has.
    before.transport = None
    before.connection_lost(None)


def release(socket: ClientWebSocketResponse[Any]) -> None:
    """Give a dialed connection back to aiohttp's pool as one that is closed; after `dismiss`."""
    socket._response.close()
