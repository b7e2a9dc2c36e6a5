"""A network in memory: hosts, directed links between them, connections, and everything that can befall these.

Bytes of a connection arrive whole and in order, or the connection ends: that is what TCP and TLS leave of loss,
duplication, reordering and corruption on the wire. So a lost packet is a delay, a partition is silence in which both
sides' bytes pile up, to arrive late when it heals, and a flipped bit is a connection that ends with an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final

from collectionstore_node.tests.simulation.events import Trace
from collectionstore_node.tests.simulation.loop import SimulatedLoop
from collectionstore_node.tests.simulation.process import Process
from collectionstore_node.tests.simulation.stream import FIN, Pipe, Stream

SYN_RETRY_S: Final = 1.0
RETRANSMIT_S: Final = (0.0, 0.4)
"""How long after the end of a partition what was held back is sent again."""
KERNEL_BYTES: Final = 256 << 10


@dataclass(slots=True)
class Link:
    """The way from one host to another; the way back is another link."""

    latency_s: tuple[float, float]
    bytes_per_s: float = float("inf")
    loss: float = 0.0
    """Share of segments that are sent again, after a retransmission timeout."""
    blocked: bool = False
    held: list[Pipe] = field(default_factory=list)
    """Pipes whose next segment waits for the end of the partition."""
    uncredited: list[Callable[[], None]] = field(default_factory=list)
    """Acknowledgements that wait for it."""


@dataclass(slots=True)
class Listener:
    """A port that is listened on."""

    process: Process | None
    make_protocol: Callable[[], asyncio.BaseProtocol]


class _BoundSocket:
    """As much of a socket as a server shows."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    def getsockname(self) -> tuple[str, int]:
        """Return the address."""
        return self._address


class Server(asyncio.AbstractServer):
    """A listening port; closing it leaves its connections alone, as asyncio's does."""

    def __init__(self, network: Network, address: tuple[str, int], listener: Listener) -> None:
        self._network = network
        self._address = address
        self._listener = listener
        self.sockets = (_BoundSocket(address),)

    def close(self) -> None:
        """Stop listening."""
        if self.is_serving():
            del self._network.listeners[self._address]

    def is_serving(self) -> bool:
        """Whether the port is listened on."""
        return self._network.listeners.get(self._address) is self._listener

    async def wait_closed(self) -> None:
        """Return; nothing is left to wait for."""

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the world."""
        return self._network.loop

    async def start_serving(self) -> None:
        """Return; it serves from its making on."""

    async def serve_forever(self) -> None:
        """Wait until cancelled."""
        await self._network.loop.create_future()


class Network:
    """All hosts and connections. Addresses are (host, port); a host is up as soon as a listener exists on it."""

    def __init__(self, loop: SimulatedLoop, random: Random, trace: Trace, latency_s: tuple[float, float]) -> None:
        self.loop = loop
        self.context = Context()
        self.listeners: dict[tuple[str, int], Listener] = {}
        self.dark: set[str] = set()
        """Hosts without power: a connection attempt gets no answer."""
        self.kernel_bytes = KERNEL_BYTES
        self.split = 0.0
        """Share of segments that arrive in two parts."""
        self._random = random
        self._trace = trace
        self._latency_s = latency_s
        self._links: dict[tuple[str, str], Link] = {}
        self._streams: dict[tuple[int, bool], Stream] = {}
        self._made = 0

    # OpenMode

    def listen(
        self, server: Process | None, make_protocol: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> Server:
        """Accept connections from now on. Raises `OSError` when the address is taken."""
        _check_alive(server)
        if (host, port) in self.listeners:
            raise OSError(98, "Address already in use")
        listener = self.listeners[host, port] = Listener(server, make_protocol)
        return Server(self, (host, port), listener)

    async def connect(
        self, client: Process | None, make_protocol: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Shake hands and return the client's end. Raises `ConnectionRefusedError` if there is no listener."""
        source = _host(client)
        there, back = self.link(source, host), self.link(host, source)
        while there.blocked or back.blocked or host in self.dark:  # noqa: ASYNC110 - this is how TCP does it
            await asyncio.sleep(SYN_RETRY_S)
        _check_alive(client)
        await asyncio.sleep(self._latency(there))
        listener = self.listeners.get((host, port))
        if listener is None:
            await asyncio.sleep(self._latency(back))
            raise ConnectionRefusedError(111, f"Connect call failed ('{host}', {port})")
        _check_alive(client)
        ours, theirs = self._pair(client, listener.process, source, (host, port))
        self.loop.call_soon(_accept, theirs, listener, context=theirs.context)
        await asyncio.sleep(self._latency(back))
        protocol = make_protocol()
        ours.begin(protocol)
        return ours, protocol

    def link(self, source: str, to: str) -> Link:
        """Return the link from one host to another."""
        link = self._links.get((source, to))
        if link is None:
            link = self._links[source, to] = Link(self._latency_s)
        return link

    def _pair(
        self, client: Process | None, server: Process | None, source: str, address: tuple[str, int]
    ) -> tuple[Stream, Stream]:
        self._made += 1
        number = self._made
        name = (source, 40_000 + number)
        ours = Stream(self, number, source, client, _facts(name, address, server))
        theirs = Stream(self, number, address[0], server, _facts(address, name, client))
        ours.other, theirs.other = theirs, ours
        ours.outgoing = Pipe(self.link(source, address[0]), ours, theirs, self.kernel_bytes)
        theirs.outgoing = Pipe(self.link(address[0], source), theirs, ours, self.kernel_bytes)
        self._streams[number, False] = ours
        self._streams[number, True] = theirs
        self._trace.note(b"connect", number)
        return ours, theirs

    # Bytes

    def transmit(self, pipe: Pipe, data: bytes) -> None:
        """Put a segment on its way."""
        link, random = pipe.link, self._random
        delay_s = self._latency(link) + len(data) / link.bytes_per_s
        if link.loss and random.random() < link.loss:
            delay_s += random.uniform(*RETRANSMIT_S)
        pipe.last_at = max(pipe.last_at, self.loop.now + delay_s)
        if data and self.split and len(data) > 1 and random.random() < self.split:
            cut = random.randrange(1, len(data))
            pipe.segments.append((pipe.last_at, data[:cut]))
            data = data[cut:]
        pipe.segments.append((pipe.last_at, data))
        self._await_next(pipe)

    def taken(self, pipe: Pipe, size: int) -> None:
        """The reader took `size` bytes: the writer's kernel learns of it and has room again."""
        credit = partial(self._credit, pipe, size)
        back = pipe.into.outgoing.link
        if back.blocked:
            back.uncredited.append(credit)
        else:
            credit()

    def _credit(self, pipe: Pipe, size: int) -> None:
        full = pipe.size >= pipe.room
        pipe.size -= size
        if full or pipe.out_of.get_write_buffer_size():
            self.loop.call_soon(pipe.out_of.drained, context=pipe.out_of.context)

    def _await_next(self, pipe: Pipe) -> None:
        if pipe.arriving is None and pipe.segments:
            # The kernel takes segments whether or not the process runs; only reading them is the process's.
            pipe.arriving = self.loop.call_at_moment(pipe.segments[0][0], self._arrive, pipe, context=self.context)

    def _arrive(self, pipe: Pipe) -> None:
        pipe.arriving = None
        if pipe.link.blocked:
            pipe.link.held.append(pipe)
            return
        _, data = pipe.segments.popleft()
        reader = pipe.into
        self._trace.note(b"arrive", reader.number, len(data))
        if not reader.dead:
            self.loop.call_soon(reader.arrive, data, context=reader.context)
        elif data is not FIN and not (pipe.out_of.dead or reader.outgoing.link.blocked or reader.host in self.dark):
            # There is no such connection any more.
            self._reset_soon(pipe.out_of)
        self._await_next(pipe)

    def _latency(self, link: Link) -> float:
        return self._random.uniform(*link.latency_s)

    # Ends

    def send_reset(self, end: Stream) -> None:
        """Tell the other end that this one is gone, if the link lets it through."""
        end.outgoing.clear()
        if not end.outgoing.link.blocked:
            self._reset_soon(end.other)

    def _reset_soon(self, end: Stream) -> None:
        delay_s = self._latency(end.other.outgoing.link)
        self.loop.call_at_moment(self.loop.now + delay_s, self._reset, end, context=self.context)

    def _reset(self, end: Stream) -> None:
        if not end.dead:
            self._trace.note(b"reset", end.number)
            end.outgoing.clear()
            end.lost(ConnectionResetError(104, "Connection reset by peer"))

    def forget(self, end: Stream) -> None:
        """An end is closed for good."""
        if self._streams.get((end.number, False)) is end:
            del self._streams[end.number, False]
        elif self._streams.get((end.number, True)) is end:
            del self._streams[end.number, True]

    def streams(self, process: Process | None = None) -> list[Stream]:
        """Return the open ends of a process, or all, in order of making."""
        return [one for one in self._streams.values() if process is None or one.process is process]

    # Faults

    def block(self, source: str, to: str) -> None:
        """Let nothing through from one host to another."""
        self.link(source, to).blocked = True

    def unblock(self, source: str, to: str) -> None:
        """Let everything through again; what was held back comes after a while."""
        link = self.link(source, to)
        if not link.blocked:
            return
        link.blocked = False
        held, link.held = link.held, []
        for pipe in held:
            at = self.loop.now + self._random.uniform(*RETRANSMIT_S)
            pipe.segments = type(pipe.segments)((max(at, due), data) for due, data in pipe.segments)
            pipe.last_at = max(pipe.last_at, at)
            self._await_next(pipe)
        late, link.uncredited = link.uncredited, []
        for credit in late:
            credit()

    def heal(self) -> None:
        """Let everything through everywhere, at the usual speed."""
        for (source, to), link in self._links.items():
            link.latency_s, link.bytes_per_s, link.loss = self._latency_s, float("inf"), 0.0
            self.unblock(source, to)

    def break_connection(self, end: Stream, *, both: bool) -> None:
        """End a connection as a reset or a flipped bit does. Without `both` one side does not know: half-open."""
        self._reset(end)
        if both:
            self._reset_soon(end.other)

    def cut_off(self, process: Process, *, silent: bool) -> None:
        """A process is gone: nothing it does reaches anybody. Unless `silent`, its kernel resets its connections."""
        for address, listener in tuple(self.listeners.items()):
            if listener.process is process:
                del self.listeners[address]
        for end in self.streams(process):
            if silent:
                end.outgoing.clear()
            elif self._random.random() < 0.5:
                # The kernel sends what it has, and the end of the stream.
                self.transmit(end.outgoing, FIN)
            else:
                self.send_reset(end)
            end.lost(ConnectionAbortedError("the process is gone"))


def _accept(end: Stream, listener: Listener) -> None:
    if not end.dead:
        end.begin(listener.make_protocol())


def _host(process: Process | None) -> str:
    return process.host if process is not None else "world"


def _check_alive(process: Process | None) -> None:
    if process is not None and not process.alive:
        raise OSError(100, "Network is down")


def _facts(own: tuple[str, int], other: tuple[str, int], process: Process | None) -> dict[str, object]:
    """Return the extra info of a transport: addresses, and the name in the certificate of the other side."""
    identity = process.peer_identity if process is not None else None
    certificate = {"subjectAltName": (("URI", identity),)} if identity else None
    return {"sockname": own, "peername": other, "peercert": certificate}
