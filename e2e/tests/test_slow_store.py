"""The slow way to a store: it carries all bytes, holds them back, and ends with its block."""

from __future__ import annotations

import asyncio

import pytest

from collectionstore_e2e.product.object_store import ObjectStore
from collectionstore_e2e.product.slow_store import slowed

HOST = "127.0.0.1"


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _carried(bytes_per_s: float, size: int) -> tuple[float, float, int]:
    """Send bytes to an echo and back; return how long that took, how long they were held back, and how many passed."""
    loop = asyncio.get_running_loop()
    async with await asyncio.start_server(_echo, HOST, 0) as upstream:
        endpoint = f"http://{HOST}:{upstream.sockets[0].getsockname()[1]}"
        async with slowed(ObjectStore(endpoint, "id", "secret"), bytes_per_s) as (store, way):
            assert (store.key_id, store.secret) == ("id", "secret")
            assert store.endpoint != endpoint
            began = loop.time()
            reader, writer = await asyncio.open_connection(HOST, int(store.endpoint.rpartition(":")[2]))
            sent = bytes(range(256)) * (size // 256)
            writer.write(sent)
            writer.write_eof()
            assert await reader.read(-1) == sent
            writer.close()
            return loop.time() - began, way.held_s, way.carried


def test_all_bytes_come_through_late() -> None:
    took_s, held_s, carried = asyncio.run(_carried(10_000, 2_560))
    assert carried == 2 * 2_560
    assert held_s == pytest.approx(2 * 2_560 / 10_000)
    assert took_s >= 2_560 / 10_000


def test_a_connection_that_is_stuck_ends_with_the_block() -> None:
    async def stuck() -> None:
        async with await asyncio.start_server(_echo, HOST, 0) as upstream:
            endpoint = f"http://{HOST}:{upstream.sockets[0].getsockname()[1]}"
            async with slowed(ObjectStore(endpoint, "id", "secret"), 0.001) as (store, _):
                reader, writer = await asyncio.open_connection(HOST, int(store.endpoint.rpartition(":")[2]))
                writer.write(b"x" * 100)
                await writer.drain()
            # What was not carried makes it a reset.
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()

    asyncio.run(asyncio.wait_for(stuck(), 30))


def test_a_store_that_is_gone_ends_the_connection() -> None:
    async def gone() -> None:
        async with await asyncio.start_server(_echo, HOST, 0) as upstream:
            endpoint = f"http://{HOST}:{upstream.sockets[0].getsockname()[1]}"
        async with slowed(ObjectStore(endpoint, "id", "secret"), 1_000) as (store, way):
            reader, writer = await asyncio.open_connection(HOST, int(store.endpoint.rpartition(":")[2]))
            assert await reader.read(-1) == b""
            assert way.carried == 0
            writer.close()

    asyncio.run(asyncio.wait_for(gone(), 30))
