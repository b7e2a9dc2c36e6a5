"""`Port`: accepts the connections of one port, within its bounds.

`loop.create_server` would count a connection only after its TLS handshake, and ends when the process has no descriptor
left. Here a connection is admitted right after `accept`, which costs a refused one nothing but that call, and a lack of
descriptors is a pause.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from collectionstore_node.ports.admission import Admission, PortLimits, Slot, network_of
from collectionstore_node.ports.protocol import PortProtocol
from collectionstore_telemetry.listening import bind_host

log = structlog.get_logger()

BACKLOG: Final = 1_024
HANDSHAKE_S: Final = 10.0
"""For TLS; the port counts the connection meanwhile."""
TLS_CLOSE_S: Final = 1.0
ACCEPT_PAUSE_S: Final = 0.1
"""After `accept` failed for want of a descriptor; waiting clients stay in the kernel's queue."""

_NO_SUCH_ADDRESS: Final = frozenset((errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))
_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class PortMetrics(Protocol):
    """Counts the connections of ports."""

    def port(self, port: str, read: Callable[[], int], limit: int) -> None:
        """Take the function that returns the number of connections, and their bound."""

    def refused(self, port: str, reason: str) -> None:
        """Count a connection that was not admitted: full, address_full, descriptors or handshake."""


class Uncounted:
    """Implements `PortMetrics` by doing nothing."""

    def port(self, port: str, read: Callable[[], int], limit: int) -> None:
        """Do nothing."""

    def refused(self, port: str, reason: str) -> None:
        """Do nothing."""


class Listening(Protocol):
    """A port as its user sees it."""

    @property
    def serving(self) -> bool:
        """Whether the port accepts connections."""

    async def open(self, host: str, port: int) -> int:
        """Listen on all addresses of `host`; return the port. Raises `OSError`."""

    async def close(self) -> None:
        """Stop listening, and end the handshakes; admitted connections stay."""


class MakePort(Protocol):
    """Makes a port; a simulation has no sockets to accept."""

    def __call__(
        self,
        purpose: str,
        make: Callable[[], PortProtocol],
        limits: PortLimits,
        metrics: PortMetrics,
        *,
        tls: ssl.SSLContext | None,
        handshake_s: float = HANDSHAKE_S,
    ) -> Listening:
        """Do as the constructor of `Port`."""


class _Arrival:
    """A connection between `accept` and its protocol: in its TLS handshake."""

    __slots__ = ("protocol", "since", "task")

    def __init__(self, since: float) -> None:
        self.since = since
        self.task: asyncio.Task[bool] | None = None
        self.protocol: PortProtocol | None = None

    def idle_since(self) -> float | None:
        """Return since when it has been waiting: a handshake counts as idle."""
        if self.protocol is not None and self.protocol.transport is not None:
            return self.protocol.idle_since()
        return self.since

    def evict(self) -> None:
        """Close it."""
        if self.protocol is not None and self.protocol.transport is not None:
            self.protocol.evict()
        elif self.task is not None:
            self.task.cancel()


class Port:
    """A listening port. Belongs to one event loop."""

    def __init__(
        self,
        purpose: str,
        make: Callable[[], PortProtocol],
        limits: PortLimits,
        metrics: PortMetrics,
        *,
        tls: ssl.SSLContext | None,
        handshake_s: float = HANDSHAKE_S,
    ) -> None:
        """`make` returns the protocol of a new connection; `purpose` names the port in metrics and logs."""
        self._purpose = purpose
        self._make = make
        self._metrics = metrics
        self._tls = tls
        self._handshake_s = handshake_s
        self._admission = Admission(limits)
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        self._arriving: set[asyncio.Task[bool]] = set()
        self._exhausted = False
        metrics.port(purpose, lambda: self._admission.connections, limits.connections_max)

    @property
    def connections(self) -> int:
        """Number of admitted connections."""
        return self._admission.connections

    @property
    def serving(self) -> bool:
        """Whether the port accepts connections."""
        return bool(self._sockets)

    async def open(self, host: str, port: int) -> int:
        """Listen on all addresses of `host`; return the port, which differs from `port` when that is 0.

        Raises `OSError`.
        """
        found = await self._loop.getaddrinfo(bind_host(host), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        missing: OSError | None = None
        for family, address in dict.fromkeys((one[0], one[4]) for one in found):
            # With port 0 every address takes the port that the first one was given.
            bound = self._sockets[0].getsockname()[1] if self._sockets else port
            try:
                self._sockets.append(_listening(family, (address[0], bound, *address[2:])))
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS:
                    self._close_sockets()
                    raise
                # "localhost" means ::1 as well, which a machine without IPv6 does not have.
                missing = error
        if not self._sockets:
            raise missing or OSError(f"{host} has no address")
        for one in self._sockets:
            self._listen(one)
        number: int = self._sockets[0].getsockname()[1]
        return number

    async def close(self) -> None:
        """Stop listening, and end the handshakes; admitted connections stay."""
        for pause in self._pauses.values():
            pause.cancel()
        self._pauses = {}
        for one in self._sockets:
            self._loop.remove_reader(one)
        self._close_sockets()
        arriving = tuple(self._arriving)
        for task in arriving:
            task.cancel()
        await asyncio.gather(*arriving, return_exceptions=True)

    def _close_sockets(self) -> None:
        for one in self._sockets:
            one.close()
        self._sockets = []

    def _listen(self, listening: socket.socket) -> None:
        # A reader, and not `sock_accept`: a coroutine that is cancelled just then loses what it has accepted.
        self._pauses.pop(listening, None)
        self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        # One connection in a turn of the loop, which comes back while others wait: a flood of them must not keep it.
        try:
            accepted, address = self._accept_once(listening)
        except (BlockingIOError, InterruptedError):
            return  # it has gone
        except OSError as error:
            self._accept_failed(listening, error)
            return
        self._exhausted = False
        self._arrived(accepted, address)

    def _accept_once(self, listening: socket.socket) -> tuple[socket.socket, object]:
        accepted, address = listening.accept()
        accepted.setblocking(False)  # noqa: FBT003 - positional in the standard library
        return accepted, address

    def _accept_failed(self, listening: socket.socket, error: OSError) -> None:
        if error.errno not in _EXHAUSTED:
            # accept(2): errors of the connection that was about to be accepted. Linux hands them on.
            self._metrics.refused(self._purpose, "network")
            return
        self._metrics.refused(self._purpose, "descriptors")
        evicted = self._admission.evict_idle()
        if not self._exhausted:
            self._exhausted = True
            log.warning("port.exhausted", port=self._purpose, reason=str(error), evicted=evicted)
        self._loop.remove_reader(listening)
        self._pauses[listening] = self._loop.call_later(ACCEPT_PAUSE_S, self._listen, listening)

    def _arrived(self, accepted: socket.socket, address: object) -> None:
        arrival = _Arrival(self._loop.time())
        name = str(address[0]) if isinstance(address, tuple) else ""
        slot = self._admission.admit(network_of(name), arrival)
        if isinstance(slot, str):
            self._metrics.refused(self._purpose, slot)
            accepted.close()
            return
        task = arrival.task = self._loop.create_task(self._connect(accepted, arrival, slot), name="connection")
        self._arriving.add(task)
        task.add_done_callback(lambda done: self._settled(done, accepted, slot))

    def _settled(self, task: asyncio.Task[bool], accepted: socket.socket, slot: Slot) -> None:
        # A callback and not `finally`: a task that is cancelled before its first step runs no code of its own.
        self._arriving.discard(task)
        if task.cancelled() or task.exception() is not None or not task.result():
            self._admission.release(slot)
            accepted.close()
            error = None if task.cancelled() else task.exception()
            if error is not None:
                log.error("port.connection_failed", port=self._purpose, exc_info=error)

    async def _connect(self, accepted: socket.socket, arrival: _Arrival, slot: Slot) -> bool:
        """Hand the socket to a protocol, after the handshake; return whether it came to that."""

        def make() -> PortProtocol:
            protocol = arrival.protocol = self._make()
            protocol.on_end(lambda: self._admission.release(slot))
            return protocol

        tls = self._tls
        try:
            await self._loop.connect_accepted_socket(
                make,
                accepted,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else self._handshake_s,
                ssl_shutdown_timeout=None if tls is None else TLS_CLOSE_S,
            )
        except (OSError, TimeoutError) as error:
            # A client that speaks no TLS, has no certificate, or has gone.
            self._metrics.refused(self._purpose, "handshake")
            log.debug("port.handshake_failed", port=self._purpose, reason=str(error))
            return False
        return True


def _listening(family: int, address: tuple[object, ...]) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setblocking(False)  # noqa: FBT003 - positional in the standard library
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # The wildcard of IPv4 has a socket of its own: `bind_host`.
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        one.listen(BACKLOG)
    except BaseException:
        one.close()
        raise
    return one
