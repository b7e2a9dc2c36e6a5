"""What connections of the hot path do when clients are slow, leave, pipeline, or when the server stops."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random

import pytest
import structlog

from collectionstore_node.api.budgets.sending import WINDOW_S, Reader, Sending
from collectionstore_node.api.connections.connection import Connection
from collectionstore_node.api.connections.intake import PIPELINE_BYTES_MAX
from collectionstore_node.api.connections.outgoing import KEEPALIVE_S
from collectionstore_node.api.hot.heads import REMEMBERED_MAX
from collectionstore_node.api.hot.pipeline import HELD_BYTES_MAX, PARALLEL_MAX
from collectionstore_node.errors import OutcomeUnknown, Overloaded
from collectionstore_node.service import StoreLimits
from collectionstore_node.statemachine.commands import Command, KeyRef, Outcome, Put
from collectionstore_node.tests.api.in_memory_connection import MemoryPort, MemoryTransport, turns
from collectionstore_node.tests.api.test_hot_differential import DOCUMENT, get, put
from collectionstore_node.tests.tracing.recorded import Recorded
from collectionstore_node.tracing.requests import serve
from collectionstore_telemetry.tracing.active import trace_id

GET = get(DOCUMENT + b"a")
PUT = put(DOCUMENT + b"a", b'{"n":2}')
PROBE = get(b"/livez")


async def opened(**options: object) -> MemoryPort:
    limits = options.pop("store_limits", StoreLimits(inflight_requests_max=64))
    port = MemoryPort(hot=True, store_limits=limits, **options)  # type: ignore[arg-type]
    await port.seed()
    port.replica.proposed.clear()
    return port


async def warmed(port: MemoryPort) -> MemoryTransport:
    """Return a connection on which so many small answers were sent that reads run beside one another."""
    transport = await port.connect()
    for _ in range(5):
        await port.send(transport, [GET])
    transport.writes.clear()
    port.metrics.finished.clear()
    port.metrics.trace_ids.clear()
    return transport


def hot_pending(transport: MemoryTransport) -> int:
    return len(transport.protocol._pipeline._queue)  # type: ignore[attr-defined]


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


async def settled(port: MemoryPort) -> None:
    """Nothing is counted any more that a request or an answer held."""
    await turns(20)
    metrics = port.metrics
    assert (metrics.read_inflight(), port.store.inflight) == (0, 0)
    assert (metrics.read_unsent(), metrics.read_connections(), metrics.read_uploads()) == (0, 0, 0)


class Gate:
    """Lets writes and read barriers of a replica through one by one."""

    def __init__(self, port: MemoryPort) -> None:
        self.waiting: list[asyncio.Future[None]] = []
        self._propose = port.replica.propose
        port.replica.propose = self.propose  # type: ignore[method-assign]
        port.replica.read_barrier = self.read_barrier  # type: ignore[method-assign]

    async def _wait(self) -> None:
        self.waiting.append(asyncio.get_running_loop().create_future())
        await self.waiting[-1]

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        await self._wait()
        return await self._propose(command, timeout_s=timeout_s)

    async def read_barrier(self, *, timeout_s: float) -> None:
        await self._wait()

    def open(self, *positions: int) -> None:
        for position in positions or range(len(self.waiting)):
            if not self.waiting[position].done():
                self.waiting[position].set_result(None)


async def test_reads_run_beside_one_another_and_are_answered_in_order() -> None:
    port = await opened()
    transport = await warmed(port)
    gate = Gate(port)
    await port.send(transport, [GET + get(DOCUMENT + b"none") + GET])
    assert len(gate.waiting) == 3
    gate.open(2, 1)
    await turns(5)
    assert transport.writes == []
    gate.open(0)
    await turns(5)
    assert len(transport.writes) == 1
    assert statuses(transport.written) == [200, 404, 200]
    transport.lose()
    await settled(port)
    await port.close()


async def test_a_write_waits_for_what_is_before_it_and_holds_up_what_is_behind_it() -> None:
    """RFC 9112 9.3.2: only safe methods may be processed in parallel."""
    port = await opened()
    gate = Gate(port)
    transport = await port.connect()
    await port.send(transport, [GET + PUT + GET + PUT])
    for count in range(1, 5):
        assert len(gate.waiting) == count
        gate.open()
        await turns(5)
    assert statuses(transport.written) == [200, 200, 200, 200]
    assert b'{"n":1}' in transport.writes[0]
    assert b'{"n":2}' in transport.writes[2]
    transport.lose()
    await port.close()


async def test_a_thousand_requests_at_once_are_answered_in_order_and_start_in_turns() -> None:
    port = await opened()
    transport = await port.connect()
    requests = [get(DOCUMENT + b"a", b"X-Request-Id: n%d\r\n" % number) for number in range(1_000)]
    message = b"".join(requests)
    at = 0
    while at < len(message):
        await port.send(transport, [message[at : at + PIPELINE_BYTES_MAX]])
        at += PIPELINE_BYTES_MAX
    async with asyncio.timeout(20):
        while transport.written.count(b"HTTP/1.1 200 ") < 1_000:  # noqa: ASYNC110 - there is nothing to wait for
            await asyncio.sleep(0)
    found = [int(part.split(b"\r\n")[0]) for part in transport.written.split(b"X-Request-Id: n")[1:]]
    assert found == list(range(1_000))
    assert port.metrics.problems == {}
    transport.lose()
    await settled(port)
    await port.close()


async def test_what_is_held_is_bounded() -> None:
    port = await opened()
    gate = Gate(port)
    transport = await port.connect()
    await port.send(transport, [PUT])
    sent = 0
    while transport.reading:
        transport.protocol.data_received(GET * 100)
        sent += 100
        assert sent < 10_000
    assert sent * len(GET) < HELD_BYTES_MAX + 100 * len(GET)
    async with asyncio.timeout(20):
        while transport.written.count(b"HTTP/1.1 200 ") < sent + 1:
            gate.open()
            await asyncio.sleep(0)
    assert transport.reading
    assert len(gate.waiting) == sent + 1
    transport.lose()
    await settled(port)
    await port.close()


async def test_a_pipeline_takes_no_more_places_than_there_are() -> None:
    """What would be refused for the load of its own connection waits, as on the general path."""
    port = await opened(store_limits=StoreLimits(inflight_requests_max=4))
    transport = await warmed(port)
    gate = Gate(port)
    await port.send(transport, [GET * 20])
    assert (hot_pending(transport), port.store.inflight) == (4, 4)
    other = await port.connect()
    await port.send(other, [GET])
    assert statuses(other.written) == [503]
    async with asyncio.timeout(20):
        while transport.written.count(b"HTTP/1.1 200 ") < 20:
            gate.open()
            await asyncio.sleep(0)
    assert statuses(transport.written) == [200] * 20
    transport.lose()
    other.lose()
    await settled(port)
    await port.close()


@pytest.mark.parametrize("message", [PUT, GET, GET + GET, PUT + GET, GET + PROBE, PUT + PUT[:40]])
async def test_a_client_that_leaves_while_it_is_served_leaves_nothing_behind(message: bytes) -> None:
    """What is in flight is finished and counted; what was behind it is dropped."""
    port = await opened()
    transport = await warmed(port)
    gate = Gate(port)
    await port.send(transport, [message])
    in_flight = len(gate.waiting)
    transport.lose()
    await turns(5)
    assert (port.store.inflight, port.metrics.read_connections()) == (in_flight, 0)
    gate.open()
    await turns(5)
    assert len(port.metrics.finished) == in_flight
    await settled(port)
    await port.close()


async def test_a_client_may_leave_at_any_moment() -> None:
    """Random cuts, random times; in the end every count is zero."""
    random = Random(7)
    for _ in range(150):
        port = await opened(store_limits=StoreLimits(inflight_requests_max=4))
        gate = Gate(port)
        transports = [await port.connect(room=random.choice([None, 100, 10_000])) for _ in range(3)]
        for _ in range(8):
            transport = random.choice(transports)
            if not transport.closing:
                data = b"".join(random.choices([GET, PUT, PROBE, get(b"/api/v1/kv/b/k?consistency=stale")], k=3))
                if transport.reading:
                    transport.protocol.data_received(data[: random.choice([len(data), len(data), 150])])
            match random.randrange(4):
                case 0:
                    gate.open()
                case 1:
                    transport.lose()
                case 2 if not transport.closing and not transport.protocol.eof_received():
                    transport.close()
            await turns(random.choice([0, 1, 3]))
        for transport in transports:
            transport.lose()
        async with asyncio.timeout(20):
            while port.store.inflight or port.metrics.read_connections():
                gate.open()
                await asyncio.sleep(0)
        await settled(port)
        await port.close()


async def test_answers_that_are_not_read_hold_up_the_next_request_and_are_cut() -> None:
    port = await opened()
    await port.replica.propose(Command(Put(KeyRef("b", "k"), b"x" * 30_000)), timeout_s=1)
    transport = await port.connect(room=50_000)
    await port.send(transport, [get(b"/api/v1/kv/b/k?consistency=stale&timeout=9s") * 50])
    made = len(port.metrics.finished)
    assert made < 10
    assert 0 < port.metrics.read_unsent() == transport.buffered
    transport.read(transport.buffered)
    await turns(20)
    assert made < len(port.metrics.finished) < 50
    now = asyncio.get_running_loop().time()
    port.server.sweep(now + 2 * WINDOW_S)
    await transport.ended
    assert port.metrics.cuts == {"slow_read": 1}
    await settled(port)
    await port.close()


async def test_large_answers_are_sent_in_pieces_and_in_order() -> None:
    port = await opened()
    await port.replica.propose(Command(Put(KeyRef("b", "k"), b"x" * 300_000)), timeout_s=1)
    transport = await port.connect(room=100_000)
    await port.send(transport, [get(b"/api/v1/kv/b/k") + GET + get(b"/api/v1/kv/b/k", method=b"HEAD") + GET])
    assert transport.buffered < 100_000
    assert port.metrics.read_unsent() == 300_000
    async with asyncio.timeout(20):
        while transport.written.count(b"HTTP/1.1 200 ") < 4:
            transport.read(50_000)
            await asyncio.sleep(0)
    body = transport.written.split(b"\r\n\r\n")[1]
    assert body[:300_000] == b"x" * 300_000
    assert body[300_000:].startswith(b"HTTP/1.1 200 ")
    transport.lose()
    await settled(port)
    await port.close()


async def test_a_large_answer_whose_room_was_given_away_ends_its_connection_without_a_complaint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What evicted it has been counted; the node has no fault to log."""
    port = await opened()
    await port.replica.propose(Command(Put(KeyRef("b", "k"), b"x" * 300_000)), timeout_s=1)
    transport = await port.connect()
    take = Sending.take

    def given_away(sending: Sending, reader: Reader, size: int) -> None:
        if isinstance(reader, Connection):
            raise Overloaded("other answers wait")
        take(sending, reader, size)

    monkeypatch.setattr(Sending, "take", given_away)
    with structlog.testing.capture_logs() as logs:
        await port.send(transport, [get(b"/api/v1/kv/b/k")])
        await transport.ended
    assert transport.written == b""
    assert [line for line in logs if line["log_level"] == "error"] == []
    await settled(port)
    await port.close()


async def test_a_client_that_closes_its_side_gets_its_answers_and_the_end() -> None:
    for behind, answers in ((b"", 2), (PROBE, 3), (PUT[:-2], 2), (b"GET /api/v1/kv/b", 2), (b"\0", 3)):
        port = await opened()
        transport = await warmed(port)
        gate = Gate(port)
        await port.send(transport, [GET + GET + behind])
        assert transport.protocol.eof_received()
        assert not transport.closing
        gate.open()
        async with asyncio.timeout(20):
            await transport.ended
        assert len(statuses(transport.written)) == answers, behind
        assert transport.written.count(b"Connection: close") == 1
        await settled(port)
        await port.close()


async def test_a_stopping_server_answers_what_is_pending() -> None:
    port = await opened()
    transport = await warmed(port)
    gate = Gate(port)
    idle = await port.connect()
    await port.send(transport, [GET + GET + PUT])
    port.server.pre_shutdown()
    await turns(3)
    assert not transport.closing
    stopping = asyncio.create_task(port.server.shutdown(5))
    await turns(3)
    gate.open()
    await stopping
    await turns(3)
    assert statuses(transport.written) == [200, 200]
    assert transport.written.count(b"Connection: close") == 1
    assert idle.closing
    assert port.replica.proposed == []
    await settled(port)


async def test_a_stopping_server_cancels_what_does_not_end() -> None:
    port = await opened()
    gate = Gate(port)
    transport = await port.connect()
    await port.send(transport, [PUT])
    port.server.pre_shutdown()
    await port.server.shutdown(0.01)
    await turns(3)
    assert gate.waiting[0].cancelled()
    assert transport.closing
    await settled(port)


async def test_a_connection_is_busy_while_a_request_is_pending_and_idle_behind_it() -> None:
    port = await opened()
    gate = Gate(port)
    transport = await port.connect()
    protocol = transport.protocol
    before = protocol.idle_since()  # type: ignore[attr-defined]
    assert before is not None
    await port.send(transport, [GET])
    assert protocol.idle_since() is None  # type: ignore[attr-defined]
    protocol._next_keepalive_close_time = 0.0  # type: ignore[attr-defined]
    protocol._process_keepalive()  # type: ignore[attr-defined]
    await turns(3)
    assert not transport.closing
    gate.open()
    await turns(3)
    now = asyncio.get_running_loop().time()
    assert before <= protocol.idle_since() <= now  # type: ignore[attr-defined]
    assert protocol._next_keepalive_close_time >= now + KEEPALIVE_S - 1  # type: ignore[attr-defined]
    transport.lose()
    await port.close()


async def test_remembered_headers_are_bounded() -> None:
    port = await opened()
    transport = await port.connect()
    connection = transport.protocol
    assert isinstance(connection, Connection)
    for number in range(2 * REMEMBERED_MAX):
        connection.take_in(get(DOCUMENT + b"a?consistency=stale&timeout=9s", b"X-A: %d\r\n" % number))
    connection.take_in(get(DOCUMENT + b"a?consistency=stale&timeout=9s"))
    pipeline = connection._pipeline
    assert pipeline is not None
    heads = pipeline._around.heads
    assert len(heads._remembered) == REMEMBERED_MAX
    assert transport.written.count(b"HTTP/1.1 200 ") == 2 * REMEMBERED_MAX + 1
    before = list(heads._remembered)
    connection.take_in(get(DOCUMENT + b"a?consistency=stale&timeout=9s", b"X-Request-Id: other\r\n"))
    assert list(heads._remembered) == before
    transport.lose()
    await port.close()


async def test_an_error_of_a_write_is_the_problem_of_its_own_request() -> None:
    port = await opened()
    transport = await port.connect()
    port.replica.write_error = OutcomeUnknown("late")
    await port.send(transport, [PUT])
    port.replica.write_error = None
    await port.send(transport, [PUT])
    assert statuses(transport.written) == [504, 200]
    transport.lose()
    await settled(port)
    await port.close()


async def test_spans_of_requests_that_run_at_once_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    recorded = Recorded()
    port = await opened(trace=partial(serve, recorded.tracing("n0")))
    transport = await warmed(port)
    gate = Gate(port)
    seen: list[str | None] = []
    barrier = port.replica.read_barrier

    async def note(*, timeout_s: float) -> None:
        seen.append(trace_id())
        await barrier(timeout_s=timeout_s)
        seen.append(trace_id())

    port.replica.read_barrier = note  # type: ignore[method-assign]
    parents = [b"traceparent: 00-%032x-%016x-01\r\n" % (number, number) for number in (1, 2)]
    await port.send(transport, [b"".join(get(DOCUMENT + b"a", one) for one in parents) + GET])
    assert len(gate.waiting) == 3
    gate.open(1)
    await turns(3)
    gate.open()
    await turns(3)
    one, two = (f"{number:032x}" for number in (1, 2))
    assert seen == [one, two, None, two, one, None]
    assert port.metrics.trace_ids == [two, one, None]
    assert trace_id() is None
    assert len([span for span in recorded.spans("n0") if span.name.startswith("GET ")]) == 2
    transport.lose()
    await port.close()
    recorded.close()


async def test_reads_at_once_are_few() -> None:
    port = await opened()
    transport = await warmed(port)
    gate = Gate(port)
    await port.send(transport, [GET * 100])
    assert len(gate.waiting) == PARALLEL_MAX
    transport.lose()
    gate.open()
    await settled(port)
    await port.close()
