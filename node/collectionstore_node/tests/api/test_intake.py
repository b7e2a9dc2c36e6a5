"""What is taken in during one turn of the event loop."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable

import orjson
import pytest

from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.budgets.overdue import Overdue
from collectionstore_node.api.connections.connection import Connection as ApiConnection
from collectionstore_node.api.connections.intake import (
    BURST_S,
    HELD_BYTES_MAX,
    HELD_TOTAL_BYTES_MAX,
    PIPELINE_BYTES_MAX,
    REFUSALS_MIN,
    TARGET_S,
    TURN_READS_MAX,
    TURN_REFUSALS_MAX,
    TURN_S_MAX,
    Intake,
)
from collectionstore_node.service import StoreLimits
from collectionstore_node.tests.api.http_clients import RawClient
from collectionstore_node.tests.api.in_memory_connection import MemoryPort, MemoryTransport, turns

BURST_TURNS = round(BURST_S / TURN_S_MAX)
"""Turns of the longest that is counted after which a queue stands."""


class Connection:
    """Takes in bytes, and keeps them with its number."""

    refusable = True

    def __init__(self, taken: list[tuple[int, bytes]], number: int, client: Client | None = None) -> None:
        self.taken, self.number, self.client = taken, number, client

    def take_in(self, data: bytes) -> None:
        self.taken.append((self.number, data))


async def turn() -> None:
    await asyncio.sleep(0)


def offer(intake: Intake, connections: list[Connection], data: bytes = b"x") -> None:
    for one in connections:
        if got := intake.offer(one, data):
            one.take_in(got)


async def test_a_turn_takes_in_so_many_reads_and_the_next_ones_the_rest_in_order() -> None:
    taken = list[tuple[int, bytes]]()
    intake = Intake(asyncio.get_running_loop(), Overdue())
    connections = [Connection(taken, number) for number in range(3 * TURN_READS_MAX)]

    offer(intake, connections)
    assert len(taken) == TURN_READS_MAX
    assert intake.held == 2 * TURN_READS_MAX
    await turn()
    assert len(taken) == 2 * TURN_READS_MAX
    await turn()

    assert [number for number, _ in taken] == list(range(3 * TURN_READS_MAX))
    assert intake.held == 0


async def test_what_comes_while_something_is_held_waits_behind_it() -> None:
    taken = list[tuple[int, bytes]]()
    intake = Intake(asyncio.get_running_loop(), Overdue())
    connections = [Connection(taken, number) for number in range(TURN_READS_MAX + 1)]
    offer(intake, connections)
    late = Connection(taken, 1000)

    offer(intake, [late], b"late")
    offer(intake, [connections[-1]], b"y")
    await turn()

    assert taken[TURN_READS_MAX:] == [(TURN_READS_MAX, b"xy"), (1000, b"late")]


async def test_the_next_turn_begins_anew() -> None:
    taken = list[tuple[int, bytes]]()
    intake = Intake(asyncio.get_running_loop(), Overdue())
    connections = [Connection(taken, number) for number in range(TURN_READS_MAX)]
    for _ in range(3):
        offer(intake, connections)
        assert intake.held == 0
        await turn()

    assert len(taken) == 3 * TURN_READS_MAX


async def test_large_reads_wait_for_their_turn_too() -> None:
    taken = list[tuple[int, bytes]]()
    intake = Intake(asyncio.get_running_loop(), Overdue())
    connections = [Connection(taken, number) for number in range(2 * TURN_READS_MAX)]

    offer(intake, connections, b"x" * 10_000)

    assert len(taken) == TURN_READS_MAX
    await turn()
    assert [number for number, _ in taken] == list(range(2 * TURN_READS_MAX))


async def test_a_connection_that_sends_more_than_is_held_of_one_keeps_its_order() -> None:
    taken = list[tuple[int, bytes]]()
    intake = Intake(asyncio.get_running_loop(), Overdue())
    connections = [Connection(taken, number) for number in range(TURN_READS_MAX + 1)]
    offer(intake, connections)

    offer(intake, [connections[-1]], b"y" * HELD_BYTES_MAX)

    assert taken[-2:] == [(TURN_READS_MAX, b"x"), (TURN_READS_MAX, b"y" * HELD_BYTES_MAX)]
    assert intake.held == 0


async def test_what_is_held_is_bounded_in_total_and_what_goes_beyond_it_costs_the_next_turn() -> None:
    taken = list[tuple[int, bytes]]()
    intake = Intake(asyncio.get_running_loop(), Overdue())
    offer(intake, [Connection(taken, number) for number in range(TURN_READS_MAX)])
    fits = HELD_TOTAL_BYTES_MAX // HELD_BYTES_MAX
    offer(intake, [Connection(taken, 1_000 + number) for number in range(fits)], b"y" * HELD_BYTES_MAX)
    assert (len(taken), intake.held) == (TURN_READS_MAX, fits)

    offer(intake, [Connection(taken, 2_000 + number) for number in range(TURN_READS_MAX - 5)])

    assert [number for number, _ in taken[TURN_READS_MAX:]] == [2_000 + number for number in range(TURN_READS_MAX - 5)]
    taken.clear()
    await turn()
    assert [number for number, _ in taken] == [1_000 + number for number in range(fits)]
    await turn()
    assert (len(taken), intake.held) == (fits, 0)


async def test_each_address_has_its_turn_whatever_another_one_sends() -> None:
    taken = list[tuple[int, bytes]]()
    intake = Intake(asyncio.get_running_loop(), Overdue())
    flood, other = Client("192.0.2.1", 1), Client("192.0.2.2", 1)
    offer(intake, [Connection(taken, number, flood) for number in range(3 * TURN_READS_MAX)])
    taken.clear()

    offer(intake, [Connection(taken, number, other) for number in (-1, -2)])
    await turn()

    assert [number for number, _ in taken[:4]] == [TURN_READS_MAX, -1, TURN_READS_MAX + 1, -2]


class Overload:
    """An intake whose turns last as long as a test says, and connections that refuse what is overdue."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.now = 100.0
        self.turns: list[Callable[[], None]] = []
        self.overdue = Overdue()
        self.intake = Intake(self, self.overdue)  # type: ignore[arg-type]  # the two methods of a loop that it uses
        self.served, self.refused = list[int](), list[int]()
        self.at_once = at_once

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.turns.append(callback)

    def turn(self, seconds: float) -> None:
        """End a turn of the loop that lasted so long."""
        self.now += seconds
        due, self.turns = self.turns, []
        for callback in due:
            callback()

    def send(self, numbers: Iterable[int], client: Client | None = None) -> None:
        for number in numbers:
            one = Caller(self, number, client)
            if got := self.intake.offer(one, b"x"):
                one.take_in(got)


class Caller:
    """A connection with one request."""

    refusable = True

    def __init__(self, overload: Overload, number: int, client: Client | None) -> None:
        self.overload, self.number, self.client = overload, number, client

    def take_in(self, data: bytes) -> None:
        overload = self.overload
        overdue = self in overload.overdue
        (overload.refused if overdue else overload.served).append(self.number)
        if overdue and overload.at_once:
            overload.overdue.count()


def test_a_burst_is_served_although_it_takes_longer_than_a_standing_queue_may() -> None:
    overload = Overload()
    turns = int(BURST_S / 0.02)
    overload.send(range(turns * TURN_READS_MAX))

    for _ in range(turns):
        overload.turn(0.02)

    assert overload.refused == []
    assert overload.served == list(range(turns * TURN_READS_MAX))


def test_what_waits_in_a_standing_queue_for_too_long_is_refused_the_oldest_first() -> None:
    """Twice as much as is served, for eight seconds: half is served, none after more than the target and a turn."""
    overload = Overload()
    sent: dict[int, float] = {}
    waited: list[float] = []
    for _ in range(400):
        fresh = range(len(sent), len(sent) + 2 * TURN_READS_MAX)
        sent.update(dict.fromkeys(fresh, overload.now))
        before = len(overload.served)
        overload.send(fresh)
        overload.turn(0.02)
        waited += [overload.now - sent[number] for number in overload.served[before:]]

    assert overload.refused == sorted(overload.refused)
    assert 0.4 <= len(overload.refused) / len(sent) <= 0.5
    assert max(waited[len(waited) // 4 :]) <= TARGET_S + 0.04
    assert overload.intake.held <= (TARGET_S / 0.02 + 1) * 2 * TURN_READS_MAX


def test_a_turn_refuses_so_many_and_serves_as_many_as_ever() -> None:
    overload = Overload()
    overload.send(range(60 * TURN_READS_MAX))
    overload.served.clear()
    for _ in range(BURST_TURNS + 1):
        overload.turn(TURN_S_MAX)  # 128 each
    overload.refused.clear()
    overload.served.clear()

    overload.turn(TURN_S_MAX)

    assert len(overload.refused) == TURN_REFUSALS_MAX
    assert len(overload.served) == TURN_READS_MAX


def test_what_is_not_refused_at_once_is_counted_as_taken_in_and_marked_for_two_turns() -> None:
    """The general path begins its requests in a later turn; and bytes that are no request refuse no later one."""
    overload = Overload(at_once=False)
    overload.send(range(60 * TURN_READS_MAX))
    for _ in range(BURST_TURNS):
        overload.turn(TURN_S_MAX)
    overload.served.clear()
    marked = set[object](overload.overdue.marked)
    assert not marked

    overload.turn(TURN_S_MAX)
    assert len(overload.refused) == TURN_READS_MAX // 2
    assert len(overload.served) == TURN_READS_MAX - TURN_READS_MAX // 2
    marked = set(overload.overdue.marked)
    assert len(marked) == TURN_READS_MAX // 2
    overload.turn(0.0)
    assert marked <= overload.overdue.marked
    while overload.intake.held:
        overload.turn(0.0)
    overload.turn(0.0)
    overload.turn(0.0)
    assert not overload.overdue.marked
    assert not overload.turns


def test_what_did_not_fit_costs_the_next_turn_no_more_than_half() -> None:
    """Whatever was taken in since the last turn because there was no room to hold it, and however it was sent."""
    overload = Overload(at_once=False)
    overload.send(range(60 * TURN_READS_MAX))
    for _ in range(BURST_TURNS):
        overload.turn(TURN_S_MAX)
    bulk = [Caller(overload, -1 - number, Client("192.0.2.9", 1)) for number in range(2 * TURN_READS_MAX)]
    for one in bulk:
        assert overload.intake.offer(one, b"y" * (HELD_BYTES_MAX + 1))
    overload.refused.clear()
    overload.served.clear()

    overload.turn(TURN_S_MAX)

    assert (len(overload.refused), len(overload.served)) == (TURN_READS_MAX // 4, TURN_READS_MAX // 4)
    assert overload.intake._bytes == overload.intake.held


def test_bytes_that_cannot_be_refused_are_not_marked() -> None:
    """Those of a stream: its operations have bounds of their own."""
    overload = Overload(at_once=False)
    overload.send(range(60 * TURN_READS_MAX))
    for one in overload.intake._held:
        one.refusable = False  # type: ignore[misc]
    for _ in range(BURST_TURNS + 5):
        overload.turn(TURN_S_MAX)

    assert overload.refused == []
    assert not overload.overdue.marked


def test_a_connection_that_fails_while_it_is_refused_is_marked_no_longer() -> None:
    overload = Overload()
    overload.send(range(60 * TURN_READS_MAX))
    for _ in range(BURST_TURNS):
        overload.turn(TURN_S_MAX)
    oldest = next(iter(overload.intake._held))

    def fails(data: bytes) -> None:
        raise RuntimeError("as a connection must not")

    oldest.take_in = fails  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        overload.turn(TURN_S_MAX)
    assert oldest in overload.overdue
    overload.turn(0.0)
    overload.turn(0.0)
    overload.turn(0.0)

    assert oldest not in overload.overdue


class Full(Caller):
    """One whose request is refused at once: there is no place for it."""

    def take_in(self, data: bytes) -> None:
        self.overload.overdue.count()
        self.overload.refused.append(self.number)


def offer_to_full(overload: Overload, count: int) -> None:
    for number in range(count):
        one = Full(overload, number, None)
        if got := overload.intake.offer(one, b"x"):
            one.take_in(got)


def test_what_is_refused_at_once_is_not_counted_as_taken_in() -> None:
    """It costs a fraction: or else more would wait, and be refused for that, than the node has to refuse."""
    overload = Overload()
    offer_to_full(overload, TURN_REFUSALS_MAX)
    assert len(overload.refused) == TURN_REFUSALS_MAX
    assert overload.intake.held == 0


def test_while_something_waits_refusals_are_bounded_by_what_was_served() -> None:
    """So that refusing does not keep the node from serving, whatever is sent."""
    overload = Overload()
    offer_to_full(overload, 2 * TURN_REFUSALS_MAX)
    refused = len(overload.refused)
    assert refused == TURN_REFUSALS_MAX

    overload.turn(0.001)
    assert len(overload.refused) == refused + 2 * REFUSALS_MIN  # nothing was served
    while overload.intake.held:
        overload.turn(0.001)
    assert len(overload.refused) == 2 * TURN_REFUSALS_MAX

    overload.turn(0.001)
    offer_to_full(overload, TURN_REFUSALS_MAX)
    assert overload.intake.held == 0, "as many again where nothing waited"


def test_bytes_that_are_refused_or_dropped_are_held_no_longer() -> None:
    overload = Overload()
    overload.send(range(60 * TURN_READS_MAX))
    late = Caller(overload, -1, Client("192.0.2.1", 1))
    assert overload.intake.offer(late, b"y" * HELD_BYTES_MAX) == b""
    assert overload.intake._bytes == HELD_BYTES_MAX + 59 * TURN_READS_MAX
    assert overload.intake.offer(late, b"z") == b"z"
    assert overload.served[-1] == -1
    assert overload.intake._bytes == 59 * TURN_READS_MAX
    while overload.intake.held:
        overload.turn(TURN_S_MAX)

    assert overload.refused
    assert (overload.intake._bytes, overload.intake._queues, overload.intake._held) == (0, {}, {})


def test_turns_are_counted_once_although_bytes_come_while_nothing_but_marks_is_left() -> None:
    overload = Overload(at_once=False)
    overload.send(range((BURST_TURNS + 6) * TURN_READS_MAX))
    while overload.intake.held:
        overload.turn(TURN_S_MAX)
    overload.turn(0.0)
    assert overload.overdue.marked
    assert len(overload.turns) == 1

    overload.send([-1])

    assert len(overload.turns) == 1


def test_a_pause_of_the_process_is_no_queue() -> None:
    overload = Overload()
    overload.send(range(2 * TURN_READS_MAX))

    overload.turn(30.0)

    assert overload.refused == []
    assert len(overload.served) == 2 * TURN_READS_MAX


def test_a_turn_without_the_processor_refuses_nothing_of_a_queue_that_stands_and_is_served() -> None:
    overload = Overload()
    for number in range(200):
        overload.send(range(200 * number, 200 * (number + 1)))
        while overload.intake.held > TURN_READS_MAX:
            overload.turn(0.01)
        overload.turn(30.0 if number % 20 == 19 else 0.01)

    assert overload.refused == []


def test_idle_time_is_no_waiting() -> None:
    overload = Overload()
    overload.send([0])
    overload.turn(0.01)
    overload.now += 60.0
    overload.send(range(1, 2 * TURN_READS_MAX))
    overload.turn(0.02)

    assert overload.refused == []


def test_a_flood_of_one_address_has_no_request_of_another_refused() -> None:
    overload = Overload()
    flood, other = Client("192.0.2.1", 1), Client("192.0.2.2", 1)
    for number in range(100):
        overload.send(range(1000 * (number + 1), 1000 * (number + 1) + 300), flood)
        overload.send([number], other)
        overload.turn(0.02)
    overload.turn(0.02)

    assert len(overload.refused) > 1000
    assert min(overload.refused) >= 1000
    assert set(range(100)) <= set(overload.served)


@pytest.mark.parametrize("request_id", ["", "mine.7", 'a"b'])
async def test_an_overdue_request_is_refused_and_the_next_one_served(request_id: str) -> None:
    """The answer is that of every other problem, whatever the client calls its request."""
    port, transport = await _held(b"PUT /api/v1/kv/b/k", request_id, body=b"1")
    connection = transport.protocol
    overdue = port.server._around.budgets.overdue
    overdue.mark(connection)
    await turns(5)
    overdue.forget(connection)

    head, _, body = transport.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 2" in head
    problem = orjson.loads(body)
    assert (problem["code"], problem["outcome"], problem["retryable"]) == ("overloaded", "not_applied", True)
    assert problem["request_id"] == request_id or not request_id
    assert f"X-Request-Id: {problem['request_id']}\r\n".encode() in head
    assert problem["instance"].endswith(problem["request_id"])
    assert port.store.writes.refused["overdue"] == 1
    assert port.store.writes.inflight == 0
    transport.writes.clear()
    connection.data_received(b"GET /api/v1/kv/b/missing HTTP/1.1\r\nHost: x\r\n\r\n")
    await turns(5)
    assert transport.written.startswith(b"HTTP/1.1 404 ")
    transport.lose()
    await port.close()


async def test_overdue_reads_are_not_told_to_return_together() -> None:
    port = MemoryPort(hot=True, store_limits=StoreLimits())
    transport = await port.connect()
    get = b"GET /api/v1/kv/b/k HTTP/1.1\r\nHost: x\r\n\r\n"
    transport.protocol.data_received(get)
    await turns(5)
    transport.writes.clear()
    for _ in range(8):
        port.server._around.budgets.overdue.mark(transport.protocol)
        transport.protocol.data_received(get)
        await turns(5)

    told = re.findall(rb'"retry_after_ms":(\d+)', transport.written)
    assert len(told) == 8
    assert len(set(told)) == 8
    assert all(500 <= int(ms) <= 1500 for ms in told)
    transport.lose()
    await port.close()


async def test_an_overdue_request_of_the_general_path_is_refused_before_its_body_is_read() -> None:
    port, transport = await _held(
        b"POST /api/v1/collections/people/documents", body=b"{}", more=b"Connection: close\r\n"
    )
    port.server._around.budgets.overdue.mark(transport.protocol)
    await turns(20)

    assert transport.written.startswith(b"HTTP/1.1 503 ")
    assert transport.protocol not in port.server._around.budgets.overdue
    assert port.store.writes.refused["overdue"] == 1
    transport.lose()
    await port.close()


async def test_a_probe_is_answered_although_it_waited() -> None:
    port, transport = await _held(b"GET /livez", "")
    port.server._around.budgets.overdue.mark(transport.protocol)
    await turns(20)

    assert transport.written.startswith(b"HTTP/1.1 200 ")
    transport.lose()
    await port.close()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET /api/v1/cluster", b"HTTP/1.1 200 "),
        (b"POST /api/v1/cluster/bootstrap", b"HTTP/1.1 400 "),
        (b"POST /api/v1/cluster/members", b"HTTP/1.1 400 "),
        (b"POST /api/v1/cluster/transfer-leadership", b"HTTP/1.1 400 "),
    ],
)
async def test_the_operator_is_served_although_it_waited_and_whatever_writes_are_in_flight(
    line: bytes, expected: bytes
) -> None:
    port, transport = await _held(line, "")
    port.store.writes.limit = 0
    port.server._around.budgets.overdue.mark(transport.protocol)
    await turns(20)

    assert b" 503 " not in transport.written
    assert transport.written.startswith(expected[:9])
    transport.lose()
    await port.close()


async def test_refusals_of_the_bound_are_answered_in_order_with_pipelined_requests() -> None:
    port = MemoryPort(hot=True, store_limits=StoreLimits())
    await port.seed()
    transport = await port.connect()
    port.store.writes.limit = 0
    put = b"PUT /api/v1/kv/b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1"
    get = b"GET /api/v1/kv/b/k HTTP/1.1\r\nHost: x\r\n\r\n"

    transport.protocol.data_received(put + put + get + put)
    await turns(20)

    statuses = re.findall(rb"HTTP/1.1 (\d+) ", transport.written)
    assert statuses == [b"503", b"503", b"200", b"503"]
    assert port.store.writes.refused["queue"] == 3
    transport.lose()
    await port.close()


async def test_pipelined_writes_that_wait_are_all_served_however_large() -> None:
    """Joined, they would be more than a connection keeps ahead of its answers: the second one would be lost."""
    port = MemoryPort(hot=True, store_limits=StoreLimits())
    await port.seed()
    transport = await port.connect()
    connection = transport.protocol
    assert isinstance(connection, ApiConnection)
    intake = connection._around.intake
    offer(intake, [Connection([], number) for number in range(TURN_READS_MAX)])
    size = PIPELINE_BYTES_MAX * 5 // 8
    put = b"PUT /api/v1/kv/b/k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (size, bytes(size))

    connection.data_received(put)
    connection.data_received(put)
    await turns(40)

    assert re.findall(rb"HTTP/1.1 (\d+) ", transport.written) == [b"200", b"200"]
    transport.lose()
    await port.close()


async def test_what_a_lost_connection_sent_is_dropped() -> None:
    taken = list[tuple[int, bytes]]()
    intake = Intake(asyncio.get_running_loop(), Overdue())
    connections = [Connection(taken, number) for number in range(TURN_READS_MAX + 1)]
    offer(intake, connections)

    assert intake.take_back(connections[-1]) == b"x"
    await turn()

    assert len(taken) == TURN_READS_MAX
    assert intake.take_back(connections[-1]) == b""


async def test_a_connection_whose_request_waits_is_not_idle() -> None:
    """So it is neither evicted for another one, nor closed because nothing came."""
    port, transport = await _held()
    connection = transport.protocol
    assert isinstance(connection, ApiConnection)

    assert connection.idle_since() is None
    connection._next_keepalive_close_time = 0.0
    connection._process_keepalive()
    assert not transport.closing
    await turns(5)

    assert transport.written.startswith(b"HTTP/1.1 404 ")
    assert connection.idle_since() is not None
    transport.lose()
    await port.close()


async def test_a_stopping_node_serves_a_request_that_waits() -> None:
    port, transport = await _held()

    await port.close()

    assert transport.written.startswith(b"HTTP/1.1 404 ")
    assert transport.closing


async def _held(
    line: bytes = b"GET /api/v1/kv/b/missing", request_id: str = "", body: bytes = b"", more: bytes = b""
) -> tuple[MemoryPort, MemoryTransport]:
    """Return a connection that has sent a request, in a turn that takes in no more."""
    port = MemoryPort(hot=True, store_limits=StoreLimits())
    transport = await port.connect()
    connection = transport.protocol
    assert isinstance(connection, ApiConnection)
    intake = connection._around.intake
    offer(intake, [Connection([], number) for number in range(TURN_READS_MAX)])
    identified = f"X-Request-Id: {request_id}\r\n".encode() if request_id else b""
    length = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body) if body else b""
    connection.data_received(b"%s HTTP/1.1\r\nHost: x\r\n%s%s%s\r\n%s" % (line, identified, length, more, body))
    assert intake.held == 1
    return port, transport


async def test_more_requests_than_a_turn_takes_in_are_all_answered(raw: RawClient) -> None:
    """Also those of clients that close their side at once."""
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    answers = await asyncio.gather(*(raw.exchange(request) for _ in range(2 * TURN_READS_MAX)))

    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
