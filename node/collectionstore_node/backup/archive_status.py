"""How far an archive is, served as JSON over HTTP: for the operator, which starts it and cannot read its output.

One value, no request body, an answer to whatever is asked. A client has `CLIENT_S` for all of its request and for
reading the answer; beyond `CLIENTS_MAX` the one that has been there for longest is cut for the newest.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final

import msgspec

from collectionstore_node.backup.archive_lag import Lag
from collectionstore_node.backup.errors import InvalidUse
from collectionstore_telemetry.listening import bind_host

CLIENT_S: Final = 2.0
CLIENTS_MAX: Final = 32
HEAD_BYTES_MAX: Final = 8 << 10
_HEAD: Final = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
    "Connection: close\r\nContent-Length: {size}\r\n\r\n"
)


class ArchiveStatus:
    """The last lag that was told, and when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is the one of the lags."""
        self._clock = clock
        self._told: tuple[Lag, float] | None = None
        self.port = 0
        """Where it is served; 0 before."""

    def tell(self, lag: Lag) -> None:
        """Keep a lag; from any thread."""
        self._told = (lag, self._clock())

    def described(self) -> dict[str, object]:
        """Return the fields of the answer; without any lag before the first was told."""
        told = self._told
        if told is None:
            return {"started": False}
        lag, at = told
        now = self._clock()
        return {"started": True, **lag.described(now), "age_seconds": round(now - at, 3)}


@contextmanager
def served(address: str) -> Iterator[ArchiveStatus]:
    """Serve a status at `host:port` until the context ends, from a thread of its own. Raises `InvalidUse`.

    `0.0.0.0` and `[::]` are all addresses, IPv4 and IPv6, as they are for nodes.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise InvalidUse(f"--status-address is {address!r}; allowed: HOST:PORT, such as 0.0.0.0:7403")
    status, opened, ended = ArchiveStatus(), Future[tuple[asyncio.AbstractEventLoop, int]](), asyncio.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_Server(status).run(host.strip("[]"), int(port), opened, ended)),
        name="status",
        daemon=True,
    )
    thread.start()
    try:
        loop, status.port = opened.result()
    except OSError as error:
        thread.join()
        raise InvalidUse(f"--status-address {address}: {error.strerror or error}") from None
    except UnicodeError as error:
        thread.join()
        raise InvalidUse(f"--status-address {address}: {host!r} is no name of a host: {error}") from None
    try:
        yield status
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


class _Server:
    """The port; belongs to the loop of its thread."""

    def __init__(self, status: ArchiveStatus) -> None:
        self._status = status
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def run(
        self,
        host: str,
        port: int,
        opened: Future[tuple[asyncio.AbstractEventLoop, int]],
        ended: asyncio.Event,
    ) -> None:
        """Serve until `ended`; tell `opened` of the loop and the port, or why there is none."""
        try:
            server = await asyncio.start_server(self._connected, bind_host(host), port, limit=HEAD_BYTES_MAX)
        except BaseException as error:  # whatever it is: the other thread waits for it
            opened.set_exception(error)
            return
        opened.set_result((asyncio.get_running_loop(), server.sockets[0].getsockname()[1]))
        async with server:
            await ended.wait()
            for writer in self._clients.values():
                writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # a coroutine of a server runs in a task
        if len(self._clients) >= CLIENTS_MAX:
            self._clients.pop(next(iter(self._clients))).transport.abort()
        self._clients[task] = writer
        try:
            async with asyncio.timeout(CLIENT_S):
                await reader.readuntil(b"\r\n\r\n")
                body = msgspec.json.encode(self._status.described())
                writer.write(_HEAD.format(size=len(body)).encode() + body)
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()  # it is slow, has gone, or speaks no HTTP: nothing of it matters to the archive
        finally:
            self._clients.pop(task, None)
