"""Streams to a client port that is served from memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from collectionstore_node.tests.api.http_clients import Client, RawClient
from collectionstore_node.tests.api.stream.frames import RawStream, raw_stream
from collectionstore_node.tests.api.stream.stream_clients import MSGPACK, StreamClient, connect

Open = Callable[..., Awaitable[StreamClient]]
OpenRaw = Callable[..., Awaitable[RawStream]]


@pytest.fixture
async def open_stream(port: int) -> AsyncIterator[Open]:
    """Opens streams and closes them at the end."""
    opened: list[StreamClient] = []
    async with aiohttp.ClientSession() as session:

        async def opener(protocol: str = MSGPACK, **headers: str) -> StreamClient:
            stream = await connect(session, port, protocol, headers)
            opened.append(stream)
            return stream

        yield opener
        for one in opened:
            await one.close()


@pytest.fixture
async def open_raw(raw: RawClient) -> AsyncIterator[OpenRaw]:
    """Opens streams of bytes and aborts them at the end."""
    opened: list[RawStream] = []

    async def opener(protocol: str = MSGPACK) -> RawStream:
        stream = await raw_stream(raw, protocol)
        opened.append(stream)
        return stream

    yield opener
    for one in opened:
        await one.abort()


@pytest.fixture
async def stream(open_stream: Open) -> StreamClient:
    """A stream in msgpack, behind its hello."""
    return await open_stream()


@pytest.fixture
async def people_stream(people: Client, open_stream: Open) -> StreamClient:
    """A stream to a store that has the collection `people`."""
    return await open_stream()
