"""Serves a store in memory on a free port of 127.0.0.1."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import structlog
from aiohttp import web

from collectionstore_node.api import make_client_server
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.ephemeral.replica import EphemeralReplica
from collectionstore_node.lifecycle import cancel_and_wait
from collectionstore_node.metrics import ExpirySeries, HttpSeries, IndexSeries, member_metrics
from collectionstore_node.service import Expirer, IndexBuilder, Store, StoreLimits
from collectionstore_telemetry.metrics import Exposition, process_collectors


class EphemeralStore:
    """A store that is served."""

    def __init__(self, replica: EphemeralReplica, expirer: Expirer) -> None:
        self._replica = replica
        self._expirer = expirer

    @property
    def url(self) -> str:
        """Base URL for clients."""
        return self._replica.url

    @property
    def revision(self) -> int:
        """Of the last write."""
        return self._replica.revision

    async def advance(self, seconds: float) -> None:
        """Move the replicated time forward: what has expired by then is gone when this returns."""
        if seconds < 0:
            raise ValueError("the time of a store goes forward only")
        self._replica.moved_ms += round(seconds * 1_000)
        await self._expirer.look()


@asynccontextmanager
async def serve_ephemeral() -> AsyncIterator[EphemeralStore]:
    """Serve an empty store in memory for the time of the block."""
    async with AsyncExitStack() as stack:
        stack.enter_context(_quiet())
        loop = asyncio.get_running_loop()
        replica = EphemeralReplica()
        metrics = member_metrics(enabled=False)
        limits = StoreLimits()
        store = Store(replica, limits, loop.time)
        stack.callback(store.queries.close)
        stack.callback(store.watches.close)
        exposition = Exposition(metrics, process=process_collectors())
        stack.callback(exposition.close)
        server = make_client_server(
            store,
            HttpLimits(),
            HttpSeries(metrics, inflight_max=limits.inflight_requests_max),
            render_metrics=exposition.render,
            authorize_admin=lambda request: True,
            tls=False,
        )
        runner = web.ServerRunner(server)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        replica.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        expirer = Expirer(replica, ExpirySeries(metrics), loop.time, asyncio.sleep)
        builder = IndexBuilder(replica, IndexSeries(metrics), loop.time, asyncio.sleep)
        for name, work in (("expiry", expirer.run()), ("indexes", builder.run())):
            stack.push_async_callback(cancel_and_wait, asyncio.create_task(work, name=name))
        yield EphemeralStore(replica, expirer)


@contextmanager
def _quiet() -> Iterator[None]:
    """Log errors only, unless the program has configured its logs: what is tested is not the store."""
    if structlog.is_configured():
        yield
        return
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        yield
    finally:
        structlog.reset_defaults()
