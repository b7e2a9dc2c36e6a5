"""A server that does what a test says: it answers operations of streams and requests by a script, or does not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

HELLO: dict[str, Any] = {
    "event": "hello",
    "protocol": 1,
    "version": "0.1.0",
    "cluster_id": "fake",
    "node_id": "00000000000000a1",
    "node": "fake-0",
    "limits": {"message_bytes": 2_359_296, "operations": 1_024, "operation_bytes": 8_388_608},
}
CLOSE = "close"
"""What a script returns to cut the connection."""

Script = Callable[[dict[str, Any]], Any]


def problem(status: int, code: str, *, retryable: bool = False, outcome: str = "not_applied", **more: Any) -> bytes:
    """Return a problem as the store writes it."""
    body = {"status": status, "code": code, "detail": code, "retryable": retryable, "outcome": outcome, **more}
    return msgspec.json.encode(body)


def applied(operation: dict[str, Any], status: int = 200, **more: Any) -> dict[str, Any]:
    """Return an answer to an operation."""
    return {"tag": operation["tag"], "status": status, "revision": 7, **more}


class FakeServer:
    """Serves on a free port. `script` is given each operation, and returns an answer, None for none, or CLOSE."""

    def __init__(self, script: Script | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.script: Script = script or applied
        self.on_request: Callable[[web.Request, bytes], web.StreamResponse] | None = None
        self.operations: list[dict[str, Any]] = []
        self.messages: list[int] = []
        """How many operations were in each message."""
        self.requests: list[tuple[str, str]] = []
        self.authorizations: list[str | None] = []
        self.hello = dict(HELLO)
        self.refuse_streams: int | None = None
        self.members: list[dict[str, Any]] | None = None
        self.arrived = asyncio.Event()
        self.url = ""
        self.opened = 0
        self._sockets: set[web.WebSocketResponse] = set()
        self._transports: list[asyncio.Transport] = []
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> FakeServer:
        app = web.Application(client_max_size=8 << 20)
        app.router.add_get("/api/v1/stream", self._stream)
        app.router.add_get("/api/v1/cluster", self._cluster)
        app.router.add_route("*", "/{path:.*}", self._request)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.url = f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()
        for transport in self._transports:
            transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)  # transports that were aborted close in the next turns of the loop

    async def tell(self, **event: Any) -> None:
        """Send an event on all streams."""
        for socket in tuple(self._sockets):
            await socket.send_bytes(msgspec.msgpack.encode([event]))

    async def cut(self) -> None:
        """Cut all streams without a goodbye."""
        for socket in tuple(self._sockets):
            _abort(socket)

    async def _cluster(self, request: web.Request) -> web.Response:
        self.authorizations.append(request.headers.get("Authorization"))
        if self.members is None:
            return web.Response(status=404, body=problem(404, "unknown_route"))
        return web.json_response({"cluster_id": "fake", "leader": {"node_id": "a1"}, "members": self.members})

    async def _request(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append((request.method, request.path_qs))
        self.authorizations.append(request.headers.get("Authorization"))
        self.arrived.set()
        if self.on_request is not None:
            return self.on_request(request, body)
        return web.Response(status=404, body=problem(404, "unknown_route"))

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.authorizations.append(request.headers.get("Authorization"))
        if request.transport is not None:
            self._transports.append(request.transport)
        if self.refuse_streams is not None:
            return web.Response(status=self.refuse_streams, body=problem(self.refuse_streams, "refused"))
        socket = web.WebSocketResponse(protocols=("collectionstore.v1.msgpack",), max_msg_size=0)
        await socket.prepare(request)
        self.opened += 1
        self._sockets.add(socket)
        await socket.send_bytes(msgspec.msgpack.encode([self.hello]))
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.BINARY:
                break
            operations = msgspec.msgpack.decode(message.data)
            self.messages.append(len(operations))
            answers = []
            for operation in operations:
                self.operations.append(operation)
                self.arrived.set()
                answer = self.script(operation)
                if answer == CLOSE:
                    _abort(socket)
                    break
                if answer is not None:
                    answers.extend(answer if isinstance(answer, list) else [answer])
            else:
                if answers:
                    await socket.send_bytes(msgspec.msgpack.encode(answers))
        self._sockets.discard(socket)
        return socket


def _abort(socket: web.WebSocketResponse) -> None:
    transport = socket._req.transport if socket._req is not None else None
    if transport is not None:
        transport.abort()
