"""The network itself: order, flow control, partitions, and the ways in which connections end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from random import Random

import aiohttp
import pytest
from aiohttp import web

from collectionstore_node.tests.simulation.connector import MemoryConnector
from collectionstore_node.tests.simulation.events import Trace
from collectionstore_node.tests.simulation.loop import SimulatedLoop
from collectionstore_node.tests.simulation.network import Network
from collectionstore_node.tests.simulation.process import Process


class End(asyncio.Protocol):
    """One end of a connection, with all that happened to it."""

    def __init__(self) -> None:
        self.received = b""
        self.events: list[str] = []
        self.error: Exception | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.events.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool | None:
        self.events.append("eof")
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")
        self.error = exc

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")


class Pair:
    """Two hosts, `a` that dialed and `b` that listened, and the connection between them."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.client, self.server = Process("a", "a"), Process("b", "b")
        self.ends: list[End] = []

    def accept(self) -> End:
        """Make the protocol of a listening side."""
        self.ends.append(End())
        return self.ends[-1]

    async def listen(self) -> asyncio.AbstractServer:
        """Listen at `b`."""
        loop = self.network.loop

        async def make() -> asyncio.AbstractServer:
            return await loop.create_server(self.accept, "b", 1)

        return await loop.create_task(make(), context=self.server.context)

    async def dial(self) -> tuple[End, End]:
        """Return both ends of a new connection."""
        loop = self.network.loop

        async def make() -> End:
            _, end = await loop.create_connection(End, "b", 1)
            assert isinstance(end, End)
            return end

        ours = await loop.create_task(make(), context=self.client.context)
        await asyncio.sleep(1)
        return ours, self.ends[-1]


@asynccontextmanager
async def connected(network: Network) -> AsyncIterator[tuple[Pair, End, End]]:
    """Yield a pair that is connected."""
    pair = Pair(network)
    await pair.listen()
    ours, theirs = await pair.dial()
    yield pair, ours, theirs


def run(main: Callable[[Network], Coroutine[None, None, None]], seed: int = 1) -> None:
    """Run `main` on a network of its own, whose links take 10 to 20 ms."""
    random, trace = Random(seed), Trace()
    loop = SimulatedLoop(random, trace, callbacks_max=100_000)
    loop.network = network = Network(loop, random, trace, (0.01, 0.02))
    try:
        loop.run_until_complete(main(network))
    finally:
        loop.close()


def test_bytes_arrive_in_order_whatever_the_segments() -> None:
    """Segments are delayed and cut in two; the stream is what was written."""

    async def main(network: Network) -> None:
        network.split = 0.5
        async with connected(network) as (_, ours, theirs):
            for number in range(100):
                ours.transport.write(b"%d," % number)
            assert not theirs.received
            await asyncio.sleep(1)
            assert theirs.received == b"".join(b"%d," % number for number in range(100))

    run(main)


def test_close_flushes_and_ends_both_sides() -> None:
    """The other side reads everything, then the end, and both protocols are notified."""

    async def main(network: Network) -> None:
        async with connected(network) as (_, ours, theirs):
            ours.transport.write(b"all")
            ours.transport.close()
            await asyncio.sleep(1)
            assert (theirs.received, theirs.events, theirs.error) == (b"all", ["made", "eof", "lost"], None)
            assert (ours.events, ours.error) == (["made", "lost"], None)

    run(main)


def test_a_reader_that_stops_pauses_the_writer() -> None:
    """Kernel buffers are finite: the writer is paused, and resumed when the reader reads."""

    async def main(network: Network) -> None:
        async with connected(network) as (_, ours, theirs):
            theirs.transport.pause_reading()
            data = bytes(2 * network.kernel_bytes)
            ours.transport.write(data)
            await asyncio.sleep(5)
            assert ours.events == ["made", "pause"]
            assert not theirs.received
            theirs.transport.resume_reading()
            await asyncio.sleep(5)
            assert ours.events == ["made", "pause", "resume"]
            assert theirs.received == data

    run(main)


def test_partition_is_silence_and_then_everything_comes_late() -> None:
    """Neither side learns of it; what was sent meanwhile arrives after it heals."""

    async def main(network: Network) -> None:
        async with connected(network) as (_, ours, theirs):
            network.block("a", "b")
            ours.transport.write(b"late")
            theirs.transport.write(b"through")
            await asyncio.sleep(60)
            assert (theirs.received, ours.received) == (b"", b"through")
            assert ours.events == theirs.events == ["made"]
            network.unblock("a", "b")
            await asyncio.sleep(1)
            assert theirs.received == b"late"

    run(main)


def test_dialing_into_a_partition_waits_for_its_end() -> None:
    """SYNs are sent again; no error tells a partition from a slow host."""

    async def main(network: Network) -> None:
        pair = Pair(network)
        await pair.listen()
        network.block("b", "a")
        dialing = asyncio.create_task(pair.dial())
        await asyncio.sleep(10)
        assert not dialing.done()
        network.unblock("b", "a")
        ours, _ = await dialing
        assert ours.events == ["made"]

    run(main)


def test_nobody_listening_is_refused_and_a_dark_host_is_silent() -> None:
    """A running host refuses a connection to a closed port; one without power does not answer."""

    async def main(network: Network) -> None:
        with pytest.raises(ConnectionRefusedError):
            await network.loop.create_connection(End, "b", 1)
        network.dark.add("b")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await network.loop.create_connection(End, "b", 1)

    run(main)


def test_half_open_connection_ends_when_it_is_used() -> None:
    """One side lost it and the other does not know, until what it sends is answered with a reset."""

    async def main(network: Network) -> None:
        async with connected(network) as (pair, ours, theirs):
            (end,) = network.streams(pair.server)
            network.break_connection(end, both=False)
            await asyncio.sleep(10)
            assert isinstance(theirs.error, ConnectionResetError)
            assert ours.events == ["made"]
            ours.transport.write(b"anybody there?")
            await asyncio.sleep(1)
            assert isinstance(ours.error, ConnectionResetError)

    run(main)


@pytest.mark.parametrize("silent", [True, False])
def test_end_of_a_process_is_noticed_only_when_its_kernel_lives(*, silent: bool) -> None:
    """A killed process's kernel ends its connections; a host without power ends nothing."""

    async def main(network: Network) -> None:
        async with connected(network) as (pair, ours, _):
            pair.server.alive = False
            if silent:
                network.dark.add("b")
            network.cut_off(pair.server, silent=silent)
            await asyncio.sleep(5)
            assert ("lost" in ours.events) is not silent
            ours.transport.write(b"hello")
            await asyncio.sleep(5)
            assert ("lost" in ours.events) is not silent
            network.dark.discard("b")
            ours.transport.write(b"hello again")
            await asyncio.sleep(5)
            assert "lost" in ours.events

    run(main)


def test_paused_process_reads_later_what_came_meanwhile() -> None:
    """Its kernel takes the bytes."""

    async def main(network: Network) -> None:
        async with connected(network) as (pair, ours, theirs):
            network.loop.pause(pair.server)
            ours.transport.write(b"wake up")
            ours.transport.close()
            await asyncio.sleep(10)
            assert not theirs.received
            network.loop.resume(pair.server)
            await asyncio.sleep(1)
            assert (theirs.received, theirs.events) == (b"wake up", ["made", "eof", "lost"])

    run(main)


def test_aiohttp_runs_on_it_and_learns_who_dialed() -> None:
    """HTTP requests of a real client reach a real server, which closes down in order."""

    async def main(network: Network) -> None:
        pair = Pair(network)
        pair.client.peer_identity = "collectionstore://demo/a"
        loop = network.loop
        certificates: list[object] = []

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            certificates.append(request.get_extra_info("peercert"))
            return web.Response(body=await request.read())

        async def serve() -> web.ServerRunner:
            runner = web.ServerRunner(web.Server(answer))
            await runner.setup()
            await web.TCPSite(runner, "b", 1).start()
            return runner

        async def ask() -> None:
            async with aiohttp.ClientSession(connector=MemoryConnector()) as session:
                for size in (0, 10, 1_000_000):
                    async with session.post("https://b:1/", data=bytes(size)) as response:
                        assert await response.read() == bytes(size)

        runner = await loop.create_task(serve(), context=pair.server.context)
        await loop.create_task(ask(), context=pair.client.context)
        await loop.create_task(runner.cleanup(), context=pair.server.context)
        assert certificates == 3 * [{"subjectAltName": (("URI", "collectionstore://demo/a"),)}]

    run(main)
