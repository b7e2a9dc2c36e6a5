"""The fault proxy's links, over real sockets: what arrives, what does not, and how connections end."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
import trustme

from collectionstore_local.faults.link_faults import LinkFault, Mode
from collectionstore_local.faults.links import FLIP_EVERY_BYTES, Corruptor, Link

HOST = "127.0.0.1"
DEADLINE_S = 10.0
"""Bound of every wait; reached only on failure."""


def fault(mode: Mode, *, delay_s: float = 0.0, bytes_per_s: int = 0) -> LinkFault:
    return LinkFault(member="demo-0", peer="demo-1", mode=mode, delay_s=delay_s, bytes_per_s=bytes_per_s)


class Echo:
    """A server that echoes everything, and records what it received."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.connections = 0
        self.ended = 0
        self.address = (HOST, 0)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, tls: ssl.SSLContext | None = None) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, HOST, 0, ssl=tls)
        self.address = server.sockets[0].getsockname()[:2]
        return server

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while data := await reader.read(1 << 16):
                self.received += data
                writer.write(data)
                await writer.drain()
            writer.write(b"bye")
            await writer.drain()
        except OSError:
            pass  # what the link under test did to it
        finally:
            self.ended += 1
            writer.close()


class Bench:
    """A link before an echo server."""

    def __init__(self, link: Link, echo: Echo, stack: AsyncExitStack) -> None:
        self.link = link
        self.echo = echo
        self._stack = stack

    async def dial(self, **options: object) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(HOST, self.link.port, **options)  # type: ignore[arg-type]
        self._stack.callback(writer.close)
        return reader, writer


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with asyncio.timeout(DEADLINE_S), AsyncExitStack() as stack:
        echo = Echo()
        server = await echo.start()
        stack.callback(server.close)
        link = Link(echo.address, random.Random(1))
        await link.start(HOST)
        stack.callback(link.close)
        yield Bench(link, echo, stack)


async def eventually(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - sockets of the kernel announce nothing to wait for
        await asyncio.sleep(0.002)


async def is_reset(reader: asyncio.StreamReader) -> bool:
    """Read to the end; return whether it was a reset."""
    try:
        await reader.read()
    except ConnectionResetError:
        return True
    return False


async def test_without_a_fault_every_byte_and_the_end_arrive(bench: Bench) -> None:
    """Far more than any buffer on the way; the end of one direction leaves the other open."""
    reader, writer = await bench.dial()
    data = random.Random(2).randbytes(5 << 20)
    writer.write(data)
    writer.write_eof()
    assert await reader.read() == data + b"bye"
    assert bench.echo.received == data
    await eventually(lambda: len(bench.link) == 0)


async def test_partition_swallows_bytes_keeps_connections_and_ends_with_a_reset(bench: Bench) -> None:
    """In both directions; a new connection is accepted and never reaches the other side."""
    reader, writer = await bench.dial()
    writer.write(b"before")
    assert await reader.readexactly(6) == b"before"
    bench.link.set_fault(fault(Mode.DROP))
    writer.write(b"lost")
    _, other = await bench.dial()
    other.write(b"lost too")
    idle, _ = await bench.dial()
    (stream,) = [one for one in bench.link._connections if one.established]
    await eventually(lambda: stream.damaged)
    assert bench.echo.received == b"before"
    assert (bench.echo.connections, bench.echo.ended) == (1, 0)
    assert not reader.at_eof()

    bench.link.set_fault(None)
    assert await is_reset(reader)
    # It was never connected, so it cannot be whole either.
    assert await is_reset(idle)
    await eventually(lambda: bench.echo.ended == 1)
    again, writer = await bench.dial()
    writer.write(b"after")
    assert await again.readexactly(5) == b"after"
    assert bench.echo.received == b"beforeafter"


async def test_partition_hides_the_end_of_a_connection_until_it_is_over(bench: Bench) -> None:
    """Neither an orderly end nor a reset of one side is seen by the other."""
    _, orderly = await bench.dial()
    _, broken = await bench.dial()
    await eventually(lambda: len(bench.link) == 2)
    bench.link.set_fault(fault(Mode.DROP))
    orderly.close()
    broken.transport.abort()
    await eventually(lambda: all(one.damaged for one in bench.link._connections))
    assert bench.echo.ended == 0
    bench.link.set_fault(None)
    await eventually(lambda: bench.echo.ended == 2)


async def test_connection_that_lost_nothing_survives_a_partition(bench: Bench) -> None:
    """A short one, during which nothing was sent."""
    reader, writer = await bench.dial()
    await eventually(lambda: len(bench.link) == 1)
    bench.link.set_fault(fault(Mode.DROP))
    bench.link.set_fault(None)
    writer.write(b"still")
    assert await reader.readexactly(5) == b"still"


async def test_reset_ends_connections_and_refuses_new_ones(bench: Bench) -> None:
    reader, _ = await bench.dial()
    await eventually(lambda: len(bench.link) == 1)
    bench.link.set_fault(fault(Mode.RESET))
    assert await is_reset(reader)
    reader, _ = await bench.dial()
    assert await is_reset(reader)
    assert bench.echo.connections == 1


async def test_delayed_bytes_are_held_and_arrive_in_order(bench: Bench) -> None:
    """Held for the delay; forwarded at once when the fault ends."""
    reader, writer = await bench.dial()
    await eventually(lambda: len(bench.link) == 1)
    bench.link.set_fault(fault(Mode.DELAY, delay_s=3600.0))
    for number in range(10):
        writer.write(bytes([number]))
        await writer.drain()
    stream = reader.readexactly(10)
    bench.link.set_fault(None)
    assert await stream == bytes(range(10))


async def test_delay_passes_bytes_on_when_their_time_has_come(bench: Bench) -> None:
    """By the loop's clock: each way once."""
    reader, writer = await bench.dial()
    bench.link.set_fault(fault(Mode.DELAY, delay_s=0.02))
    began = asyncio.get_running_loop().time()
    writer.write(b"late")
    assert await reader.readexactly(4) == b"late"
    assert asyncio.get_running_loop().time() - began >= 0.04


async def test_slow_link_pushes_back_and_loses_nothing(bench: Bench) -> None:
    """Back-pressure reaches the sender, because little is buffered; after heal, all of it arrives."""
    reader, writer = await bench.dial()
    await eventually(lambda: len(bench.link) == 1)
    bench.link.set_fault(fault(Mode.SLOW, bytes_per_s=100))
    data = random.Random(3).randbytes(16 << 20)
    writer.write(data)
    assert await reader.readexactly(5) == data[:5]
    assert len(bench.echo.received) < 1 << 10
    assert writer.transport.get_write_buffer_size() > 0
    bench.link.set_fault(None)
    assert await reader.readexactly(len(data) - 5) == data[5:]


async def test_unreachable_target_looks_like_a_reset(bench: Bench) -> None:
    closed = await asyncio.start_server(lambda _reader, _writer: None, HOST, 0)
    address = closed.sockets[0].getsockname()[:2]
    closed.close()
    await closed.wait_closed()
    link = Link(address, random.Random(1))
    await link.start(HOST)
    reader, _ = await asyncio.open_connection(HOST, link.port)
    assert await is_reset(reader)
    link.close()


async def test_corruption_breaks_tls_and_delivers_nothing_wrong() -> None:
    """What arrives is a prefix of what was sent; the flip ends the connection immediately."""
    authority = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with asyncio.timeout(DEADLINE_S):
        echo = Echo()
        server = await echo.start(serving)
        link = Link(echo.address, random.Random(4))
        await link.start(HOST)
        reader, writer = await asyncio.open_connection(HOST, link.port, ssl=trusting, server_hostname="localhost")
        link.set_fault(fault(Mode.CORRUPT))
        data = random.Random(5).randbytes(64 * FLIP_EVERY_BYTES)
        writer.write(data)
        returned = bytearray()
        try:
            while piece := await reader.read(100):
                returned += piece
        except (ssl.SSLError, ConnectionError):
            pass  # the usual end; one without an error must be early as well
        assert data.startswith(bytes(echo.received))
        assert data.startswith(bytes(returned))
        assert len(returned) < len(data)
        writer.transport.abort()
        link.close()
        server.close()


def test_corruptor_flips_single_bits_at_the_stated_rate() -> None:
    """However the stream is cut; without a flip it is the same object."""
    data = bytes(200 * FLIP_EVERY_BYTES)
    whole = Corruptor(random.Random(6)).apply(data)
    assert len(whole) == len(data)
    flips = [byte for byte in whole if byte]
    assert all(byte.bit_count() == 1 for byte in flips)
    assert 140 <= len(flips) <= 260
    pieces = Corruptor(random.Random(6))
    assert b"".join(pieces.apply(data[start : start + 1000]) for start in range(0, len(data), 1000)) == whole


@pytest.mark.parametrize(
    ("member", "peer", "one_way", "met"),
    [
        pytest.param("a", "*", False, {"ab", "ac", "ba", "ca"}, id="isolated"),
        pytest.param("a", "*", True, {"ab", "ac"}, id="mute"),
        pytest.param("a", "b", False, {"ab", "ba"}, id="pair"),
        pytest.param("a", "b", True, {"ab"}, id="one-way"),
    ],
)
def test_fault_meets_the_links_it_names(member: str, peer: str, *, one_way: bool, met: set[str]) -> None:
    one = LinkFault(member=member, peer=peer, mode=Mode.DROP, one_way=one_way)
    assert {a + b for a in "abc" for b in "abc" if a != b and one.applies_to(a, b)} == met


def test_replaced_faults_are_exactly_those_whose_links_are_all_met() -> None:
    """Against the definition, for every two faults among three members."""
    faults = [
        LinkFault(member=member, peer=peer, mode=Mode.DROP, one_way=one_way)
        for member in "abc"
        for peer in "abc*"
        if member != peer
        for one_way in (False, True)
    ]
    links = [(a, b) for a in "abc" for b in "abc" if a != b]

    def met(one: LinkFault) -> set[tuple[str, str]]:
        return {link for link in links if one.applies_to(*link)}

    for new in faults:
        for old in faults:
            # "All others" includes members that are still to come, which no list of names covers.
            covers = met(new) >= met(old) and (old.peer != "*" or new.peer == "*")
            assert new.supersedes(old) == covers, (new, old)
