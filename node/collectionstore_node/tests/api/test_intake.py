"""What is taken in during one turn of the event loop."""

from __future__ import annotations

import asyncio

from collectionstore_node.api.connections.connection import Connection as ApiConnection
from collectionstore_node.api.connections.intake import HELD_BYTES_MAX, HELD_TOTAL_BYTES_MAX, TURN_READS_MAX, Intake
from collectionstore_node.service import StoreLimits
from collectionstore_node.tests.api.http_clients import RawClient
from collectionstore_node.tests.api.in_memory_connection import MemoryPort, MemoryTransport, turns


class Connection:
    """Takes in bytes, and keeps them with its number."""

    def __init__(self, taken: list[tuple[int, bytes]], number: int) -> None:
        self.taken, self.number = taken, number

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
    intake = Intake(asyncio.get_running_loop())
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
    intake = Intake(asyncio.get_running_loop())
    connections = [Connection(taken, number) for number in range(TURN_READS_MAX + 1)]
    offer(intake, connections)
    late = Connection(taken, 1000)

    offer(intake, [late], b"late")
    offer(intake, [connections[-1]], b"y")
    await turn()

    assert taken[TURN_READS_MAX:] == [(TURN_READS_MAX, b"xy"), (1000, b"late")]


async def test_the_next_turn_begins_anew() -> None:
    taken = list[tuple[int, bytes]]()
    intake = Intake(asyncio.get_running_loop())
    connections = [Connection(taken, number) for number in range(TURN_READS_MAX)]
    for _ in range(3):
        offer(intake, connections)
        assert intake.held == 0
        await turn()

    assert len(taken) == 3 * TURN_READS_MAX


async def test_large_reads_wait_for_their_turn_too() -> None:
    taken = list[tuple[int, bytes]]()
    intake = Intake(asyncio.get_running_loop())
    connections = [Connection(taken, number) for number in range(2 * TURN_READS_MAX)]

    offer(intake, connections, b"x" * 10_000)

    assert len(taken) == TURN_READS_MAX
    await turn()
    assert [number for number, _ in taken] == list(range(2 * TURN_READS_MAX))


async def test_a_connection_that_sends_more_than_is_held_of_one_keeps_its_order() -> None:
    taken = list[tuple[int, bytes]]()
    intake = Intake(asyncio.get_running_loop())
    connections = [Connection(taken, number) for number in range(TURN_READS_MAX + 1)]
    offer(intake, connections)

    offer(intake, [connections[-1]], b"y" * HELD_BYTES_MAX)

    assert taken[-1] == (TURN_READS_MAX, b"x" + b"y" * HELD_BYTES_MAX)
    assert intake.held == 0


async def test_what_is_held_is_bounded_in_total_and_what_goes_beyond_it_costs_the_next_turn() -> None:
    taken = list[tuple[int, bytes]]()
    intake = Intake(asyncio.get_running_loop())
    offer(intake, [Connection(taken, number) for number in range(TURN_READS_MAX)])
    fits = HELD_TOTAL_BYTES_MAX // HELD_BYTES_MAX
    offer(intake, [Connection(taken, 1_000 + number) for number in range(fits)], b"y" * HELD_BYTES_MAX)
    assert (len(taken), intake.held) == (TURN_READS_MAX, fits)

    offer(intake, [Connection(taken, 2_000 + number) for number in range(TURN_READS_MAX - 5)])

    assert [number for number, _ in taken[TURN_READS_MAX:]] == [2_000 + number for number in range(TURN_READS_MAX - 5)]
    taken.clear()
    await turn()
    assert [number for number, _ in taken] == [1_000 + number for number in range(5)]
    await turn()
    assert (len(taken), intake.held) == (fits, 0)


async def test_what_a_lost_connection_sent_is_dropped() -> None:
    taken = list[tuple[int, bytes]]()
    intake = Intake(asyncio.get_running_loop())
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


async def _held() -> tuple[MemoryPort, MemoryTransport]:
    """Return a connection that has sent a request, in a turn that takes in no more."""
    port = MemoryPort(hot=True, store_limits=StoreLimits())
    transport = await port.connect()
    connection = transport.protocol
    assert isinstance(connection, ApiConnection)
    intake = connection._around.intake
    offer(intake, [Connection([], number) for number in range(TURN_READS_MAX)])
    connection.data_received(b"GET /api/v1/kv/b/missing HTTP/1.1\r\nHost: x\r\n\r\n")
    assert intake.held == 1
    return port, transport


async def test_more_requests_than_a_turn_takes_in_are_all_answered(raw: RawClient) -> None:
    """Also those of clients that close their side at once."""
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    answers = await asyncio.gather(*(raw.exchange(request) for _ in range(2 * TURN_READS_MAX)))

    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
