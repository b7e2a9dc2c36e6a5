"""A node in a thread of its own: the real API, service and state machine over memory, for commands that block."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from collectionstore_node.api import HttpLimits, make_client_server
from collectionstore_node.metrics import IndexSeries, member_metrics
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.service.index_builder import IndexBuilder
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics, render_nothing


class NodeThread:
    """A context manager; `url` is a connection string of the node."""

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self.replica: MemoryReplica | None = None
        self.port = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="node", daemon=True)

    @property
    def url(self) -> str:
        return f"collectionstore://127.0.0.1:{self.port}/?discovery=off"

    def __enter__(self) -> NodeThread:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        assert self._end is not None
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(30)

    def call(self, function: Callable[[MemoryReplica], Any]) -> Any:
        """Run a function with the replica in the node's loop, and return its result."""
        assert self._loop is not None

        async def run() -> Any:
            return function(self.replica)  # type: ignore[arg-type]

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self.replica = MemoryReplica()
        store = Store(self.replica, StoreLimits())
        server = make_client_server(
            store,
            HttpLimits(),
            RecordedMetrics(),
            render_metrics=render_nothing,
            authorize_admin=Admins().authorize,
            tls=False,
        )
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self._port).start()
        self.port = runner.addresses[0][1]
        builder = IndexBuilder(self.replica, IndexSeries(member_metrics(enabled=False)), self._loop.time, asyncio.sleep)
        building = asyncio.create_task(builder.run())
        self._ready.set()
        await self._end.wait()
        building.cancel()
        await asyncio.gather(building, return_exceptions=True)
        await runner.cleanup()


if __name__ == "__main__":  # to look at the commands by hand
    with NodeThread(int(sys.argv[1])) as node, contextlib.suppress(KeyboardInterrupt):
        sys.stdout.write(node.url + "\n")
        sys.stdout.flush()
        while True:
            time.sleep(3600)
