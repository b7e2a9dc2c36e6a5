"""The half of a connection that writes: answers on their way out, and the connection's end behind them.

It is the `Wire` of the hot path and the `Outlet` of the general path's answers.
"""

from __future__ import annotations

from typing import Any, Final

from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from collectionstore_node.api.connections.surroundings import Surroundings
from collectionstore_node.api.http.answers import Lasting
from collectionstore_node.authn.identities import Identity
from collectionstore_node.errors import Overloaded
from collectionstore_node.ports import PortProtocol

KEEPALIVE_S: Final = 75.0


class Outgoing(PortProtocol):
    """A connection, as far as it writes; `connection.Connection` reads."""

    __slots__ = ("_around", "_half_closed", "_last", "_rest", "identity")

    def __init__(self, around: Surroundings, **options: Any) -> None:
        super().__init__(around.server, loop=around.loop, **options)
        self._around = around
        self._last: StreamReader = EMPTY_PAYLOAD
        """The body of the newest request."""
        self._half_closed = False
        self.identity: Identity | None = None
        """Who has made the last request, as far as that was asked."""
        self._rest = 0
        """What is left of an answer that waits, beyond the transport's buffer."""

    @property
    def ending(self) -> bool:
        """Whether the connection closes after the answer that is being made."""
        return self._close or (self._half_closed and not self._messages)

    @property
    def half_closed(self) -> bool:
        """Whether the client sends nothing more."""
        return self._half_closed

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return "https" if self.ssl_context is not None else "http"

    @property
    def remote(self) -> str | None:
        """The client's address, as aiohttp gives it for a request."""
        peer = self.peername
        return str(peer[0]) if isinstance(peer, (list, tuple)) else None if peer is None else str(peer)

    @property
    def certificate(self) -> bytes | None:
        """The client's certificate, in DER; None without one. Its key was shown in the handshake."""
        tls = None if self.transport is None else self.transport.get_extra_info("ssl_object")
        return None if tls is None else tls.getpeercert(binary_form=True)

    def begin_lasting(self, lasting: Lasting) -> None:
        """Have an answer ended with the credential of its request."""
        if (guard := self._around.guard) is not None:
            guard.follow(self, lasting)

    def end_lasting(self) -> None:
        """Note that it has ended."""
        if (guard := self._around.guard) is not None:
            guard.leave(self)

    def expel(self) -> None:
        """Close the connection at once: what it answers cannot be ended in any other way."""
        self.abort()

    def write(self, data: bytes | memoryview) -> None:
        """Hand bytes to the transport. Raises `ConnectionError` when it is closed."""
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        transport.write(data)

    @property
    def staying(self) -> bool:
        """Whether the connection goes on behind the answer that is made now: nothing is closed, or about to be."""
        transport = self.transport
        return not (self._close or self._half_closed or transport is None or transport.is_closing())

    def reply(self, data: bytes) -> None:
        """Write an answer while the connection is `staying`."""
        self.transport.write(data)  # type: ignore[union-attr]  # it is there
        self._next_keepalive_close_time = self._loop.time() + KEEPALIVE_S

    @property
    def gone(self) -> bool:
        """Whether the connection is closed, or is closing."""
        return self.transport is None or self.transport.is_closing()

    def abort(self) -> None:
        """Close the connection at once."""
        if self.transport is not None:
            self.transport.abort()

    def hold_reading(self) -> None:
        """Read nothing until `release_reading`: the hot path holds enough."""
        self._pause_transport_reading()

    def release_reading(self) -> None:
        """Read on, unless the general path does not want to."""
        if not self._reading_paused and not self._buffer_paused:
            self._resume_transport_reading()

    def answered(self, *, last: bool) -> None:
        """Note that the hot path has answered; the connection ends after its `last` answer."""
        self._next_keepalive_close_time = self._loop.time() + KEEPALIVE_S
        if last:
            self._end()

    def at_rest(self) -> None:
        """Note that nothing is pending on the hot path; end what was to end behind it."""
        if not (self._half_closed or self._close):
            return
        waiter = self._waiter
        if self._messages:
            # The general path answers what is complete, and a body that is not complete never will be.
            if not self._last.is_eof():
                self._end()
        elif waiter is not None and not waiter.done():
            self._end()

    def _end(self) -> None:
        """Close the connection on which nothing more is served; what was written is still sent."""
        transport = self.transport
        super().close()
        if transport is not None:
            transport.close()

    def unsent(self) -> int:
        """Return how many bytes of the answer wait in this process."""
        transport = self.transport
        return self._rest + (transport.get_write_buffer_size() if transport is not None else 0)

    def cut(self, reason: str) -> None:
        """Close the connection at once, because its client is too slow."""
        self._around.exchange.cut(reason)
        self.abort()

    async def drain(self, rest: int) -> None:
        """Wait until the client has taken what was written; `rest` bytes of the answer come later.

        Raises `ConnectionError` when it has gone or was cut.
        """
        sending = self._around.budgets.sending
        self._rest = rest
        charged = self in sending
        if not charged:
            try:
                sending.take(self, self.unsent())
            except Overloaded:
                self.cut("evicted_read")
                raise ConnectionResetError("no room for an answer that is not read") from None
        try:
            await self._drain_helper()
        finally:
            self._rest = 0
            if not charged:
                sending.release(self)

    def sent(self) -> None:
        """Give back the room that was taken for a large answer, which has been sent or dropped."""
        self._around.budgets.sending.release(self)
