"""The handler of `/api/v1/stream`: opens streams within their bounds, and looks after those that are open."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import WebSocketReader

from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.http.answers import Answer, Outlet
from collectionstore_node.api.http.call import ApiContext, Call
from collectionstore_node.api.http.instruments import TraceOperation
from collectionstore_node.api.stream import settings
from collectionstore_node.api.stream.execution import Executor
from collectionstore_node.api.stream.finished import Finished
from collectionstore_node.api.stream.operations import KINDS, Hello, Limits
from collectionstore_node.api.stream.session import PATH, Session, Streams
from collectionstore_node.api.stream.websocket import negotiate
from collectionstore_node.errors import Overloaded
from collectionstore_node.ports import LOOPBACK

if TYPE_CHECKING:
    from collectionstore_node.api.connections.connection import Connection


class Opened(Answer):
    """The answer to the handshake. It is sent already; the connection is the stream's until it ends."""

    def __init__(self, session: Session) -> None:
        super().__init__(101)
        self._session = session
        self._open = False

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Return when the connection has ended: aiohttp closes it behind this."""
        outlet = cast(Outlet, request.protocol)
        outlet.begin_lasting(self._session)
        try:
            await self._session.finished
        except asyncio.CancelledError:
            self._session.feed_eof()
            raise
        finally:
            outlet.end_lasting()
        return None


class StreamEndpoint:
    """The streams of one port. Make it inside the event loop."""

    def __init__(self, api: ApiContext, trace: TraceOperation | None = None) -> None:
        """`trace` is None when tracing is disabled."""
        loop = asyncio.get_running_loop()
        finished = Finished({kind: api.metrics.route(PATH, kind) for kind in KINDS.values()})
        self._api = api
        self.streams = Streams(
            api, Executor(api, finished), trace, finished, api.diagnostics.slow.thresholds.http_s, loop
        )
        self._loop = loop
        self._sweeping = False
        self._limits = Limits(
            message_bytes=settings.MESSAGE_BYTES_MAX,
            operations=settings.OPERATIONS_MAX,
            operation_bytes=settings.OPERATION_BYTES_MAX,
            document_bytes=api.store.limits.document_bytes_max,
            value_bytes=api.store.limits.value_bytes_max,
            transaction_bytes=api.limits.transaction_bytes_max,
            timeout_ms=int(api.limits.timeout_max_s * 1000),
        )
        sessions = self.streams.sessions
        admission = self.streams.admission
        api.metrics.streams(lambda: len(sessions), lambda: admission.inflight)

    async def open(self, call: Call) -> Answer:
        """Open a stream: 101, or a problem."""
        request = call.request
        codec, response = negotiate(request)
        connection = cast("Connection", request.protocol)
        client = connection.client
        if client is None or connection.transport is None:
            raise ConnectionResetError("the client has gone")
        self._check_bounds(client)
        session = Session(self.streams, connection, client, codec)
        # aiohttp hands what follows on the connection to its parser, which the stream is.
        connection.set_parser(cast(WebSocketReader, session))
        connection.keep_alive(False)  # noqa: FBT003 - positional in aiohttp
        session.open(response, self._hello())
        self._sweep_soon()
        return Opened(session)

    def sweep(self, now: float) -> None:
        """Look after silent clients; `now` is loop time."""
        for session in tuple(self.streams.sessions):
            session.beat(now)

    def _check_bounds(self, client: Client) -> None:
        sessions = self.streams.sessions
        if len(sessions) >= settings.STREAMS_MAX:
            raise Overloaded(f"{settings.STREAMS_MAX} streams are open already")
        if client.network != LOOPBACK:
            same = sum(session.client is client for session in sessions)
            if same >= settings.ADDRESS_STREAMS_MAX:
                raise Overloaded(f"{settings.ADDRESS_STREAMS_MAX} streams of your address are open already")

    def _hello(self) -> Hello:
        status = self._api.store.status()
        return Hello(
            protocol=settings.PROTOCOL,
            cluster_id=status.cluster_id,
            node_id=status.node_id,
            node=status.name,
            version=status.version,
            limits=self._limits,
            ping_s=settings.PING_S,
        )

    def _sweep_soon(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(settings.SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Again and again, as long as there are streams."""
        self._sweeping = False
        self.sweep(self._loop.time())
        if self.streams.sessions:
            self._sweep_soon()
