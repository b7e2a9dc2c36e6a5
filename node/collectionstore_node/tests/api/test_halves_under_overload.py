"""Requests in halves: refused before they begin when they are overdue, and counted out once, whatever ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from random import Random
from typing import Any

import orjson
import pytest

from collectionstore_node.api.connections.connection import Connection
from collectionstore_node.api.http.direct import DirectCall
from collectionstore_node.errors import LeadershipTransferring, NotLeader, NotNow, OutcomeUnknown, Overloaded
from collectionstore_node.replica.observation.command import Waiter
from collectionstore_node.service import StoreLimits
from collectionstore_node.statemachine.commands import Code, Command, Outcome
from collectionstore_node.tests.api.in_memory_connection import MemoryPort, MemoryTransport, turns
from collectionstore_node.tests.api.test_hot_connections import statuses
from collectionstore_node.tests.api.test_hot_differential import DOCUMENT, get, put

PATHS = {"document": (DOCUMENT + b"a", b'{"n":2}'), "value": (b"/api/v1/kv/b/k", b"2")}
PUT = put(*PATHS["document"])
KEYED = put(*PATHS["document"], b"Idempotency-Key: k\r\n")
GET = get(DOCUMENT + b"a")
OUTCOME = Outcome(code=Code.OK, revision=7)


class Halves:
    """A port whose replica tells its results when a test says so, and how many requests it began in halves."""

    def __init__(self, port: MemoryPort) -> None:
        self.port = port
        self.begun = 0
        self.writes: list[Waiter[Outcome]] = []
        self.reads: list[Waiter[None]] = []
        self.fallbacks: list[asyncio.Future[Outcome]] = []
        self.refuses: Exception | None = None
        """What the next operations are refused with, at once."""
        exchange = port.server._around.exchange
        begin = exchange.begin  # type: ignore[attr-defined]

        def counted(call: DirectCall) -> None:
            self.begun += 1
            begin(call)

        exchange.begin = counted  # type: ignore[attr-defined]
        replica: Any = port.replica
        replica.begin = self._begin_write
        replica.begin_read = self._begin_read
        replica.propose = self._propose

    def _begin_write(self, command: Command, waiter: Waiter[Outcome], *, timeout_s: float) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.writes.append(waiter)

    def _begin_read(self, waiter: Waiter[None], *, timeout_s: float) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.reads.append(waiter)

    def _propose(self, command: Command, *, timeout_s: float) -> Awaitable[Outcome]:
        async def wait() -> Outcome:
            self.fallbacks.append(asyncio.get_running_loop().create_future())
            return await self.fallbacks[-1]

        return wait()

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Requests of the dispatcher, of the store, of the address, and writes, in flight."""
        port = self.port
        clients = port.server._around.budgets.clients._by_network.values()
        inflight = sum(client.inflight for client in clients)
        return port.metrics.read_inflight(), port.store.inflight, inflight, port.store.writes.inflight

    def tell_all(self) -> None:
        """Have all operations that wait succeed."""
        for write in self.writes:
            if not write.done():
                write.set_result(OUTCOME)
        for read in self.reads:
            if not read.done():
                read.set_result(None)
        for fallback in self.fallbacks:
            if not fallback.done():
                fallback.set_result(OUTCOME)

    async def closed(self) -> None:
        """Close the port; nothing is counted any more."""
        await self.port.close()
        await turns(20)
        assert self.counts == (0, 0, 0, 0)


async def opened(*warmed: bytes) -> tuple[Halves, MemoryTransport]:
    """Return a port that has seen such requests, and a connection with more than one read beside another."""
    port = MemoryPort(hot=True, store_limits=StoreLimits())
    await port.seed()
    transport = await port.connect()
    for request in (*warmed, *[GET] * 5):
        await port.send(transport, [request])
    transport.writes.clear()
    port.metrics.finished.clear()
    return Halves(port), transport


async def take_in_overdue(port: MemoryPort, transport: MemoryTransport, data: bytes) -> None:
    """Do what the intake does with bytes that have waited for too long."""
    connection = transport.protocol
    assert isinstance(connection, Connection)
    overdue = port.server._around.budgets.overdue
    overdue.mark(connection)
    connection.take_in(data)
    overdue.forget(connection)
    await turns(5)


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_an_overdue_request_in_halves_is_refused_before_it_begins(kind: str, method: str) -> None:
    path, body = PATHS[kind]
    request = get(path) if method == "GET" else put(path, body)
    halves, transport = await opened(request)
    port = halves.port
    transport.protocol.data_received(request)
    assert halves.begun == 1
    halves.tell_all()
    await turns(5)
    transport.writes.clear()
    port.metrics.finished.clear()

    await take_in_overdue(port, transport, request)

    head, _, content = transport.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: " in head
    problem = orjson.loads(content)
    assert (problem["code"], problem["outcome"], problem["retryable"]) == ("overloaded", "not_applied", True)
    assert f"X-Request-Id: {problem['request_id']}\r\n".encode() in head
    assert halves.begun == 1
    assert halves.counts == (0, 0, 0, 0)
    assert [status for _, _, status in port.metrics.finished] == [503]
    assert port.metrics.problems == {"overloaded": 1}
    assert port.store.writes.refused["overdue"] == (1 if method == "PUT" else 0)
    assert port.server._around.budgets.overdue.refused == 1

    transport.writes.clear()
    transport.protocol.data_received(request)
    assert halves.begun == 2
    halves.tell_all()
    await turns(5)
    assert transport.written.startswith(b"HTTP/1.1 20")
    await halves.closed()


async def test_a_write_in_halves_that_the_bound_has_no_place_for_is_refused_before_it_begins() -> None:
    halves, transport = await opened(PUT)
    halves.port.store.writes.limit = 0

    await halves.port.send(transport, [PUT + PUT])

    assert statuses(transport.written) == [503, 503]
    assert halves.begun == 0
    assert halves.port.store.writes.refused["queue"] == 2
    await halves.closed()


async def test_a_refusal_is_sent_behind_the_answer_of_what_was_before_it() -> None:
    halves, transport = await opened()
    await halves.port.send(transport, [GET])

    await take_in_overdue(halves.port, transport, GET + GET)
    assert transport.written == b""
    halves.tell_all()
    await turns(5)

    assert statuses(transport.written) == [200, 503, 503]
    assert halves.begun == 1
    await halves.closed()


@pytest.mark.parametrize("early", ["refused", "not begun"])
async def test_a_stopping_server_ends_what_waits_and_not_what_was_refused_behind_it(early: str) -> None:
    """An answer that waits for its turn to be sent belongs to no operation any more."""
    halves, transport = await opened()
    await halves.port.send(transport, [GET])
    if early == "refused":
        await take_in_overdue(halves.port, transport, GET)
    else:
        halves.refuses = NotNow("the node is stopping")
        await halves.port.send(transport, [GET])
    assert halves.counts == (1, 1, 1, 0)

    halves.port.server.pre_shutdown()
    await halves.port.server.shutdown(0.0)
    await turns(20)

    assert halves.counts == (0, 0, 0, 0)


@pytest.mark.parametrize("request_", [PUT, KEYED])
async def test_a_client_that_leaves_while_a_write_waits_gives_its_place_back_with_the_outcome(request_: bytes) -> None:
    halves, transport = await opened(request_)
    transport.protocol.data_received(request_)
    assert (halves.begun, halves.counts) == (1, (1, 1, 1, 1))

    transport.lose()
    await turns(5)
    assert halves.counts == (1, 1, 1, 1)
    halves.tell_all()
    await turns(5)

    assert halves.counts == (0, 0, 0, 0)
    assert [status for _, _, status in halves.port.metrics.finished] == [200]
    await halves.closed()


@pytest.mark.parametrize("step_down", [NotLeader(), LeadershipTransferring("to another")])
@pytest.mark.parametrize(
    ("end", "status"),
    [(OUTCOME, 200), (NotLeader(), 503), (OutcomeUnknown("late"), 504), ("leave", 200), ("stop", None)],
)
async def test_a_write_whose_leader_steps_down_gives_its_place_back_once(
    step_down: Exception, end: Outcome | Exception | str, status: int | None
) -> None:
    """It waits for the next leader; then comes an outcome, an error, or the end of its client or of the server."""
    halves, transport = await opened(PUT)
    transport.protocol.data_received(PUT)
    halves.writes[0].set_exception(step_down)
    await turns(5)
    assert (len(halves.fallbacks), halves.counts) == (1, (1, 1, 1, 1))

    match end:
        case "leave":
            transport.lose()
            await turns(5)
            halves.tell_all()
        case "stop":
            halves.port.server.pre_shutdown()
            await halves.port.server.shutdown(0.0)
        case Exception():
            halves.fallbacks[0].set_exception(end)
        case _:
            halves.tell_all()
    await turns(5)

    assert halves.counts == (0, 0, 0, 0)
    assert [code for _, _, code in halves.port.metrics.finished] == ([] if status is None else [status])
    assert statuses(transport.written) == ([] if end in ("leave", "stop") else [status])
    await halves.closed()


async def test_a_write_that_is_refused_at_once_gives_its_place_back() -> None:
    halves, transport = await opened(PUT)
    for error, status in ((Overloaded("full"), 503), (NotNow("stopping"), 503), (RuntimeError("a fault"), 500)):
        halves.refuses = error
        transport.writes.clear()
        await halves.port.send(transport, [PUT])
        assert statuses(transport.written) == [status]
        assert halves.counts == (0, 0, 0, 0)
    assert halves.begun == 3
    await halves.closed()


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_happens_in_whatever_order_every_place_is_given_back(seed: int) -> None:
    random = Random(seed)
    halves, first = await opened(PUT, KEYED)
    port = halves.port
    transports = [first, *[await port.connect() for _ in range(3)]]
    errors = [NotLeader(), LeadershipTransferring("x"), OutcomeUnknown("late"), Overloaded("full"), NotNow("stop")]
    for _ in range(60):
        transport = random.choice(transports)
        data = b"".join(random.choices([PUT, KEYED, GET, GET], k=random.randint(1, 4)))
        match random.randrange(8):
            case 0 | 1 if not transport.closing:
                transport.protocol.data_received(data)
            case 2 if not transport.closing:
                await take_in_overdue(port, transport, data)
            case 3:
                waiting: list[Waiter[Any]] = [*halves.writes, *halves.reads]
                for waiter in random.sample(waiting, min(2, len(waiting))):
                    if not waiter.done():
                        waiter.set_exception(random.choice(errors))
            case 4:
                for fallback in halves.fallbacks:
                    if not fallback.done():
                        fallback.set_exception(random.choice(errors))
            case 5:
                halves.tell_all()
            case 6:
                halves.refuses = random.choice([None, *errors])
                port.store.writes.limit = random.choice([0, 1, 4])
            case _ if random.random() < 0.1:
                transport.lose()
        await turns(random.choice([0, 1, 3]))
        assert min(halves.counts) >= 0
        assert halves.counts[3] <= halves.counts[0] == halves.counts[1] == halves.counts[2]
    assert halves.begun

    if random.random() < 0.5:
        halves.tell_all()
    port.server.pre_shutdown()
    await port.server.shutdown(0.0)
    for _ in range(5):
        halves.tell_all()
        await turns(5)

    assert halves.counts == (0, 0, 0, 0)
