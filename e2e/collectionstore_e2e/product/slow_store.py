"""A slow way to an object store: a TCP proxy on the host that lets so many bytes a second through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from collectionstore_e2e.product.object_store import ObjectStore

CHUNK_S: Final = 0.1
"""The bytes of so long pass at once."""


class SlowWay:
    """The proxy; `bytes_per_s` of all connections together, in each direction, may be changed at any time."""

    def __init__(self, upstream: str, bytes_per_s: float) -> None:
        self._host, _, port = upstream.removeprefix("http://").partition(":")
        self._port = int(port)
        self.bytes_per_s = bytes_per_s
        self.carried = 0
        """Bytes that were let through, in both directions."""
        self.held_s = 0.0
        """Sum of the times that bytes were held back."""
        self._connections: set[asyncio.Task[None]] = set()
        self._turn = {True: asyncio.Lock(), False: asyncio.Lock()}

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until one of its ends closes it."""
        # Not a coroutine: asyncio logs an error for every handler that is cancelled.
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(self._host, self._port)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._carry(reader, back, upwards=True))
                    both.create_task(self._carry(there, writer, upwards=False))
            finally:
                back.close()
        except* OSError:
            pass  # one end has gone, and the other one is told by the end of its connection
        finally:
            writer.close()

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, upwards: bool) -> None:
        while data := await source.read(max(1, int(self.bytes_per_s * CHUNK_S))):
            wait_s = len(data) / self.bytes_per_s
            async with self._turn[upwards]:
                await asyncio.sleep(wait_s)
            self.held_s += wait_s
            self.carried += len(data)
            target.write(data)
            await target.drain()
        if target.can_write_eof():
            target.write_eof()

    async def close(self) -> None:
        """End all connections."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


@asynccontextmanager
async def slowed(store: ObjectStore, bytes_per_s: float) -> AsyncIterator[tuple[ObjectStore, SlowWay]]:
    """Serve a slow way to a store for the duration of the block; return the store by that way, and the way."""
    way = SlowWay(store.endpoint, bytes_per_s)
    host = store.endpoint.removeprefix("http://").partition(":")[0]
    server = await asyncio.start_server(way.accept, host, 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield replace(store, endpoint=f"http://{host}:{port}"), way
    finally:
        server.close()
        await way.close()
