"""One generator process: reads a `Plan` from stdin, loads the cluster, and writes a `Report` to stdout.

Raw protocols and encoded requests, as in `load.http_load`: the generator shares the machine with what it measures. It
honours no Retry-After: it stands for clients that come anew, each with one request.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import msgspec
import uvloop

from collectionstore_bench.load.documents import make_documents, make_requests
from collectionstore_bench.load.http_load import Target, content_length, describe_answer, run_round
from collectionstore_bench.overload.arrivals import poisson
from collectionstore_bench.overload.plan import Plan, Report, Told

REQUEST_TIMEOUT_S: Final = 10.0
"""Longer than the nodes' own, so that their answer to a late request is seen."""
PACE_S: Final = 0.001
CONNECT_AT_ONCE: Final = 128
"""Connections that are being opened at the same time: the listen queue of a port is short."""
BEGIN_S: Final = 0.2


@dataclass(slots=True)
class _Outcomes:
    """What became of requests that were due at or after `opens_at`, loop time."""

    opens_at: float
    told: Told = field(default_factory=Told)
    errors: Counter[str] = field(default_factory=Counter)

    def answered(self, due_at: float, now: float, data: bytes, head_end: int) -> None:
        if due_at < self.opens_at:
            return
        if data[9:10] == b"2":
            self.told.latencies.append(now - due_at)
            return
        if data[9:12] == b"503" and b"\r\nRetry-After: " in data[:head_end]:
            self.told.refusals.append(now - due_at)
            return
        self.failed(due_at, describe_answer(data, head_end))

    def failed(self, due_at: float, cause: str) -> None:
        if due_at >= self.opens_at:
            self.errors[cause] += 1


class _Pool:
    """Connections of one kind of request, those that are free, and the requests that wait for one."""

    def __init__(self, requests: Sequence[Sequence[bytes]], outcomes: _Outcomes) -> None:
        """`requests[i]` are those for target i."""
        self.requests = requests
        self.outcomes = outcomes
        self.free: deque[_Connection] = deque()
        self.waiting: deque[float] = deque()
        self.waited = 0
        self.next = 0
        self.ended = False

    def send(self, due_at: float) -> None:
        """Send a request that was due at `due_at`, now or as soon as a connection is free."""
        if self.free:
            self.free.popleft().send(due_at)
        else:
            if due_at >= self.outcomes.opens_at:
                self.waited += 1
            self.waiting.append(due_at)

    def freed(self, connection: _Connection) -> None:
        """Take back a connection whose request was answered."""
        if self.waiting and not self.ended:
            connection.send(self.waiting.popleft())
        else:
            self.free.append(connection)


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight; replaced by another when it is lost."""

    def __init__(self, pool: _Pool, place: int, target: Target) -> None:
        self._pool = pool
        self._place = place
        self._target = target
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self.due_at: float | None = None
        """When the request in flight was due."""

    async def connect(self) -> None:
        """Open the connection. Raises OSError or TimeoutError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            await loop.create_connection(lambda: self, self._target.host, self._target.port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are none by inheritance
        self._pool.freed(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.due_at is not None:
            self._pool.outcomes.failed(self.due_at, "connection lost")
            self.due_at = None
        elif self in self._pool.free:
            self._pool.free.remove(self)
        if not self._pool.ended:
            again = _Connection(self._pool, self._place, self._target)
            self._task = asyncio.get_running_loop().create_task(again.reconnect())

    async def reconnect(self) -> None:
        """Open a connection in place of a lost one, again and again until it works or the round has ended."""
        while not self._pool.ended:
            try:
                await self.connect()
            except (OSError, TimeoutError):
                await asyncio.sleep(0.05)
            else:
                return

    def send(self, due_at: float) -> None:
        """Send the next request."""
        pool, transport = self._pool, self._transport
        if transport is None:
            pool.waiting.appendleft(due_at)
            return
        requests = pool.requests[self._place]
        pool.next = (pool.next + 1) % len(requests)
        self.due_at = due_at
        transport.write(requests[pool.next])

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        head_end = data.find(b"\r\n\r\n")
        length = content_length(data, head_end) if head_end >= 0 else None
        if head_end < 0 or (length is not None and len(data) < head_end + 4 + length):
            self._buffer = data
            return
        self._buffer = b""
        due_at, self.due_at = self.due_at, None
        if due_at is None or length is None:
            self.close()
            return
        self._pool.outcomes.answered(due_at, asyncio.get_running_loop().time(), data, head_end)
        self._pool.freed(self)

    def time_out(self, now: float) -> None:
        """Drop the connection when its request has been in flight for too long."""
        if self.due_at is not None and now - self.due_at > REQUEST_TIMEOUT_S:
            self._pool.outcomes.failed(self.due_at, f"no answer within {REQUEST_TIMEOUT_S:g} s")
            self.due_at = None
            self.close()

    def close(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


class _Pacer:
    """Sends what is due, every `PACE_S`."""

    def __init__(self, pool: _Pool, arrivals: Iterator[float], begin_at: float) -> None:
        self._pool = pool
        self._arrivals = arrivals
        self._begin_at = begin_at
        self._next = next(arrivals, None)
        self._loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.late_s = 0.0
        self._loop.call_at(begin_at, self._send_due)

    def _send_due(self) -> None:
        now = self._loop.time()
        opens_at, told = self._pool.outcomes.opens_at, self._pool.outcomes.told
        while self._next is not None and (due_at := self._begin_at + self._next) <= now:
            if due_at >= opens_at:
                told.due += 1
                if self._pool.free:
                    self.late_s = max(self.late_s, now - due_at)
            self._pool.send(due_at)
            self._next = next(self._arrivals, None)
        if self._next is None:
            self.done.set_result(None)
        else:
            self._loop.call_later(PACE_S, self._send_due)


async def open_loop(plan: Plan) -> Report:
    """Offer what the plan says, and wait for the answers. Raises OSError when a node cannot be reached."""
    targets = [Target.parse(url) for url in plan.urls]
    requests = make_requests(targets, make_documents(plan.keys, plan.payload_bytes))
    loop = asyncio.get_running_loop()
    kinds = [("write", plan.write_rate, plan.connections), ("read", plan.read_rate, plan.read_connections)]
    pools: dict[str, _Pool] = {}
    connections: list[_Connection] = []
    for kind, _, count in kinds:
        pool = pools[kind] = _Pool([requests[kind][target] for target in targets], _Outcomes(float("inf")))
        connections += [_Connection(pool, n % len(targets), targets[n % len(targets)]) for n in range(count)]
    for at in range(0, len(connections), CONNECT_AT_ONCE):
        await asyncio.gather(*(one.connect() for one in connections[at : at + CONNECT_AT_ONCE]))
    gc.collect()
    gc.freeze()
    gc.disable()
    begin_at = loop.time() + BEGIN_S
    pacers = []
    for number, (kind, rate, _) in enumerate(kinds):
        pools[kind].outcomes.opens_at = begin_at + plan.warm_up_s
        if rate:
            arrivals = poisson(rate, plan.warm_up_s + plan.seconds, 2 * plan.seed + number)
            pacers.append(_Pacer(pools[kind], arrivals, begin_at))
    await asyncio.sleep(BEGIN_S + plan.warm_up_s)
    cpu = time.process_time()
    await asyncio.wait([pacer.done for pacer in pacers])
    cpu = time.process_time() - cpu
    await _answered(list(pools.values()), connections)
    for pool in pools.values():
        pool.ended = True
        pool.outcomes.told.errors = dict(pool.outcomes.errors)
    for one in connections:
        one.close()
    return Report(
        writes=pools["write"].outcomes.told,
        reads=pools["read"].outcomes.told,
        late_s=max((pacer.late_s for pacer in pacers), default=0.0),
        waited=sum(pool.waited for pool in pools.values()),
        cpu_s=cpu,
    )


async def _answered(pools: Sequence[_Pool], connections: Sequence[_Connection]) -> None:
    """Wait until every request was answered or has timed out."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + REQUEST_TIMEOUT_S
    while any(one.due_at is not None for one in connections) or any(pool.waiting for pool in pools):
        now = loop.time()
        for one in connections:
            one.time_out(now)
        if now >= deadline:
            for pool in pools:
                for due_at in pool.waiting:
                    pool.outcomes.failed(due_at, "never sent")
            return
        await asyncio.sleep(0.05)


async def closed_loop(plan: Plan) -> Report:
    """Send from connections that each wait for their answer: the peak."""
    targets = [Target.parse(url) for url in plan.urls]
    requests = make_requests(targets, make_documents(plan.keys, plan.payload_bytes))["write"]
    measured = await run_round(
        targets,
        requests,
        connections=plan.connections,
        seconds=plan.seconds,
        warm_up_s=plan.warm_up_s,
        probe=lambda: {"cpu": time.process_time()},
    )
    writes = Told(due=len(measured.latencies), latencies=list(measured.latencies), errors=dict(measured.errors))
    return Report(writes=writes, reads=Told(), late_s=0.0, waited=0, cpu_s=measured.spent["cpu"])


def main() -> int:
    """Carry out the plan from stdin; return the exit code: 0 done, 1 a node could not be reached."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            report = runner.run(open_loop(plan) if plan.write_rate else closed_loop(plan))
    except (OSError, TimeoutError) as error:
        print(f"generator: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
