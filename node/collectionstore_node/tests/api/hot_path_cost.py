"""Processor time of the client port per request: `python -m collectionstore_node.tests.api.hot_path_cost [--turns N]`.

Bytes go into a connection and come out of it in this process, without sockets, and the replica is one in memory whose
writes and reads are answered together in a later turn of the loop, as those of a leader are. So it is the cost of HTTP
that is measured: parsing, dispatch, handler, service and answer, for one request on a connection at a time and for 64
connections in one turn of the loop. The rows with the hot path and without it are measured in turns; each figure is the
least of all turns.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from typing import Any, Final

import uvloop

from collectionstore_node.api.connections.hosts import Hosts
from collectionstore_node.replica.observation.command import Waiter
from collectionstore_node.service import StoreLimits
from collectionstore_node.statemachine.commands import Code, Command, Outcome
from collectionstore_node.tests.api.in_memory_connection import MemoryPort, MemoryTransport

CONNECTIONS: Final = 64
ROUNDS: Final = 40
_HEAD: Final = b" HTTP/1.1\r\nHost: 127.0.0.1:7400\r\nUser-Agent: load\r\nAccept: */*\r\n"
_BODY: Final = b'{"a":"' + b"x" * 247 + b'"}'
_DOCUMENT: Final = b"/api/v1/collections/people/documents/a"

REFUSED: Final = "put, refused"
"""A write for which there is no place."""

REQUESTS: Final = {
    "get": b"GET %s%s\r\n" % (_DOCUMENT, _HEAD),
    "get, stale": b"GET %s?consistency=stale%s\r\n" % (_DOCUMENT, _HEAD),
    "put": b"PUT %s%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    % (_DOCUMENT, _HEAD, len(_BODY), _BODY),
    REFUSED: b"PUT %s%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    % (_DOCUMENT, _HEAD, len(_BODY), _BODY),
    "put, key": b"PUT %s%sContent-Type: application/json\r\nIdempotency-Key: k\r\nContent-Length: %d\r\n\r\n%s"
    % (_DOCUMENT, _HEAD, len(_BODY), _BODY),
    "put, raw": b"PUT /api/v1/kv/b/k%sContent-Length: %d\r\n\r\n%s" % (_HEAD, len(_BODY), _BODY),
    "get, absent": b"GET %snone%s\r\n" % (_DOCUMENT, _HEAD),
    "list": b"GET /api/v1/collections?limit=1%s\r\n" % _HEAD,
}


class WaitingReplica:
    """What a leader does with a write and a read barrier, as seen by the service: who waits is told in bulk."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: list[tuple[Waiter[Any], object]] = []
        self._outcome = Outcome(code=Code.OK, revision=7, created=False)

    def _wait(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        self._enqueue(future, None)
        return future

    def _enqueue(self, waiter: Waiter[Any], result: object) -> None:
        if not self._waiting:
            self._loop.call_soon(self._resolve)
        self._waiting.append((waiter, result))

    def _resolve(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter, result in waiting:
            waiter.set_result(result)

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        await self._wait()
        return self._outcome

    async def read_barrier(self, *, timeout_s: float) -> None:
        await self._wait()

    def begin(self, command: Command, waiter: Waiter[Outcome], *, timeout_s: float) -> None:
        self._enqueue(waiter, self._outcome)

    def begin_read(self, waiter: Waiter[None], *, timeout_s: float) -> None:
        self._enqueue(waiter, None)


async def _port(*, hot: bool) -> tuple[MemoryPort, list[MemoryTransport]]:
    port = MemoryPort(hot=hot, store_limits=StoreLimits(), is_ours=Hosts([]).is_ours)
    await port.seed()
    waiting = WaitingReplica(asyncio.get_running_loop())
    port.replica.propose = waiting.propose  # type: ignore[method-assign]
    port.replica.read_barrier = waiting.read_barrier  # type: ignore[method-assign]
    port.replica.begin = waiting.begin  # type: ignore[method-assign]
    port.replica.begin_read = waiting.begin_read  # type: ignore[method-assign]
    port.replica.fresh = True
    return port, [await port.connect() for _ in range(CONNECTIONS)]


async def _microseconds(transports: list[MemoryTransport], request: bytes) -> float:
    """Return the processor time of one request."""
    gc.collect()
    gc.disable()
    for transport in transports:
        transport.writes.clear()
    began = time.process_time()
    for number in range(1, ROUNDS + 1):
        for transport in transports:
            transport.protocol.data_received(request)
        while any(len(transport.writes) < number for transport in transports):  # noqa: ASYNC110 - turns of the loop are what is measured
            await asyncio.sleep(0)
    spent = time.process_time() - began
    gc.enable()
    if any(len(transport.writes) != ROUNDS for transport in transports):
        raise SystemExit("a request was not answered, or not in one write")
    return spent / ROUNDS / len(transports) * 1e6


async def _measure(count: int) -> None:
    ports = {hot: await _port(hot=hot) for hot in (False, True)}
    best: dict[tuple[str, bool, int], float] = {}
    for _ in range(count):
        for name, request in REQUESTS.items():
            for hot, (port, transports) in ports.items():
                port.store.writes.limit = 0 if name == REFUSED else StoreLimits().inflight_writes_max
                for some in (1, CONNECTIONS):
                    spent = await _microseconds(transports[:some], request)
                    key = (name, hot, some)
                    best[key] = min(spent, best.get(key, spent))
    sys.stdout.write(f"{'us per request':<14} {'general, 1':>12} {'hot, 1':>8} {'general, 64':>12} {'hot, 64':>8}\n")
    for name in REQUESTS:
        row = [best[name, hot, some] for some in (1, CONNECTIONS) for hot in (False, True)]
        sys.stdout.write(f"{name:<14} {row[0]:>12.1f} {row[1]:>8.1f} {row[2]:>12.1f} {row[3]:>8.1f}\n")
    for port, _ in ports.values():
        await port.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--turns", type=int, default=7, help="times that every row is measured")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_measure(options.turns))


if __name__ == "__main__":
    main()
