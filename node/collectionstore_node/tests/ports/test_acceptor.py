"""A real port on loopback: bounds, idle connections, a process without descriptors, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from collectionstore_node.ports import Port, PortLimits, PortProtocol
from collectionstore_node.tests.transport.doubles import eventually


class RecordedPorts:
    """Implements `PortMetrics`."""

    def __init__(self) -> None:
        self.refusals: Counter[str] = Counter()

    def port(self, port: str, read: Callable[[], int], limit: int) -> None:
        """Take nothing."""

    def refused(self, port: str, reason: str) -> None:
        self.refusals[reason] += 1


async def _answer(request: web.BaseRequest) -> web.Response:
    return web.Response(text="here")


@asynccontextmanager
async def listening(limits: PortLimits, metrics: RecordedPorts) -> AsyncIterator[tuple[Port, int]]:
    loop = asyncio.get_running_loop()
    server = web.Server(_answer)
    port = Port("clients", lambda: PortProtocol(server, loop=loop, access_log=None), limits, metrics, tls=None)
    number = await port.open("127.0.0.1", 0)
    try:
        yield port, number
    finally:
        await port.close()
        await server.shutdown(1)


async def _served(number: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


async def test_idle_connections_lock_nobody_out() -> None:
    metrics = RecordedPorts()
    async with listening(PortLimits(4, 4), metrics) as (port, number):
        idle = [await asyncio.open_connection("127.0.0.1", number) for _ in range(4)]
        await eventually(lambda: port.connections == 4)

        assert (await _served(number)).endswith(b"here")

        assert await idle[0][0].read() == b""  # the oldest made room
        await eventually(lambda: port.connections == 3)
        assert metrics.refusals == {}
        for _, writer in idle:
            writer.close()
        await eventually(lambda: port.connections == 0)


async def test_a_process_without_descriptors_accepts_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = RecordedPorts()
    async with listening(PortLimits(4, 4), metrics) as (port, number):
        accept, failures = Port._accept_once, [errno.EMFILE, errno.ECONNABORTED]

        def failing(self: Port, one: socket.socket) -> tuple[socket.socket, object]:
            accepted = accept(self, one)
            if failures:
                accepted[0].close()
                raise OSError(failures.pop(0), "simulated")
            return accepted

        monkeypatch.setattr(Port, "_accept_once", failing)
        while failures:
            reader, writer = await asyncio.open_connection("127.0.0.1", number)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
            writer.close()

        assert (await _served(number)).endswith(b"here")
        assert metrics.refusals == {"descriptors": 1, "network": 1}
        assert port.serving


async def test_a_port_that_is_closed_refuses_and_another_can_open_it() -> None:
    async with listening(PortLimits(4, 4), RecordedPorts()) as (port, number):
        await port.close()
        assert not port.serving
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", number)
        again = Port("clients", port._make, PortLimits(4, 4), RecordedPorts(), tls=None)
        assert await again.open("127.0.0.1", number) == number
        with pytest.raises(OSError, match="in use"):
            await port.open("127.0.0.1", number)
        await again.close()
