"""A store in memory, for tests of programs that use one: the real engine, API and protocol, without disk and members.

It needs the node: `pip install collectionstore-node`. What is written is gone with it.

    async with memory_store() as store:
        client = AsyncClient(store.url)

    with running_memory_store() as store:      # for blocking programs, in a thread of its own
        client = Client(store.url)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from importlib.metadata import entry_points
from typing import Any, Final, Protocol, cast

from collectionstore.errors import ConfigurationError

GROUP: Final = "collectionstore.engine"


class MemoryStore(Protocol):
    """A store that is served on a free port of 127.0.0.1."""

    @property
    def url(self) -> str:
        """The connection string."""

    @property
    def revision(self) -> int:
        """Of the last write."""

    async def advance(self, seconds: float) -> None:
        """Move its time forward: what has expired by then is gone when this returns."""


@asynccontextmanager
async def memory_store() -> AsyncIterator[MemoryStore]:
    """Serve an empty store in this event loop for the time of the block. Raises ConfigurationError without the node."""
    async with _engine() as store:
        yield store


class RunningStore:
    """A store in a thread of its own."""

    def __init__(self, store: MemoryStore, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop

    @property
    def url(self) -> str:
        """The connection string."""
        return self._store.url

    @property
    def revision(self) -> int:
        """Of the last write."""
        return self._store.revision

    def advance(self, seconds: float) -> None:
        """Move its time forward: what has expired by then is gone when this returns."""
        asyncio.run_coroutine_threadsafe(self._store.advance(seconds), self._loop).result()


@contextmanager
def running_memory_store() -> Iterator[RunningStore]:
    """Serve an empty store in a thread of its own for the time of the block. Raises ConfigurationError."""
    engine = _engine()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="collectionstore memory store", daemon=True)
    thread.start()
    try:
        store = asyncio.run_coroutine_threadsafe(_enter(engine), loop).result()
        try:
            yield RunningStore(store, loop)
        finally:
            asyncio.run_coroutine_threadsafe(_leave(engine), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _enter(engine: AbstractAsyncContextManager[MemoryStore]) -> MemoryStore:
    return await engine.__aenter__()


async def _leave(engine: AbstractAsyncContextManager[MemoryStore]) -> None:
    await engine.__aexit__(None, None, None)


def _engine() -> AbstractAsyncContextManager[MemoryStore]:
    points = tuple(entry_points(group=GROUP))
    if not points:
        raise ConfigurationError("a store in memory needs the node: pip install collectionstore-node")
    return cast(AbstractAsyncContextManager[MemoryStore], cast(Any, points[0].load())())
