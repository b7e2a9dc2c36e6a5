"""`Pipeline`: the requests of one connection that the hot path serves, from their bytes to the bytes of their answers.

It is in use only while the general path is between two requests, and the general path gets bytes only while nothing is
pending here: what must wait for an answer is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any, Final

import structlog
from aiohttp import hdrs

from collectionstore_node.access.callers import Caller
from collectionstore_node.api.hot.driving import Drive
from collectionstore_node.api.hot.heads import Head, Headers
from collectionstore_node.api.hot.request import NO_BODY, Body, DirectRequest, HotRequest
from collectionstore_node.api.hot.surroundings import HotSurroundings, Wire
from collectionstore_node.api.http.answers import PIECE_BYTES, Answer
from collectionstore_node.api.http.direct import BODY_BYTES_MAX, Place
from collectionstore_node.errors import Overloaded
from collectionstore_node.lifecycle import NO_MEMORY, end_without_memory

log = structlog.get_logger()

PARALLEL_MAX: Final = 16
"""Reads of one connection that run beside one another: one at first, and twice as many behind each small answer."""
PARALLEL_BYTES: Final = 64 << 10
"""What their answers may have together, as far as the last one tells: a client pays for large ones one by one."""
STARTED_MAX: Final = 32
"""Requests of one connection that are started in one turn of the loop."""
HELD_BYTES_MAX: Final = 64 << 10
"""While this much is held, nothing more is read."""

_SAFE: Final = frozenset(("GET", "HEAD"))
_WITH_BODY: Final = frozenset(("PUT", "POST"))
_SMALL: Final = PARALLEL_BYTES // PARALLEL_MAX
"""Of smaller answers any number may be made at once."""


class Pipeline:
    """The pending requests of one connection, in order. Belongs to the event loop."""

    __slots__ = (
        "_around",
        "_drained",
        "_held",
        "_later",
        "_parallel",
        "_queue",
        "_ready",
        "_ready_bytes",
        "_sending",
        "_stopped",
        "_taking",
        "_wire",
        "_writing",
    )

    def __init__(self, wire: Wire, around: HotSurroundings) -> None:
        self._wire = wire
        self._around = around
        self._queue: list[HotRequest] = []
        self._held = b""
        """Bytes that wait for the requests before them."""
        self._stopped = False
        """Whether reading is stopped, because too much is held."""
        self._taking = False
        self._parallel = 1
        """Requests that may run beside one another now."""
        self._later = False
        """Whether `_go_on` is scheduled for the next turn of the loop."""
        self._sending: Drive[None, bool] | None = None
        """What waits until the client has taken an answer."""
        self._ready: list[HotRequest] = []
        """Requests before which nothing is pending, with answers that are not written yet."""
        self._ready_bytes = 0
        self._writing = False
        """Whether `_write_ready` is scheduled for the next turn of the loop."""
        self._drained: asyncio.Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether something is pending here, so that the general path must wait."""
        return bool(self._queue or self._ready or self._held) or self._later or self._sending is not None

    # Requests

    def take(self, data: bytes) -> bytes:
        """Start the requests at the beginning of `data`, and return what the general path serves now.

        Raises nothing that a client can cause.
        """
        if self._held:
            data = self._held + data
            self._held = b""
        at = started = 0
        size = len(data)
        heads, traced, queue = self._around.heads, self._around.exchange.traced, self._queue
        read, read_direct = heads.read, heads.read_direct
        guard, caller = self._around.exchange.guard, None
        guarded = guard is not None and guard.on()
        self._taking = True
        try:
            while at < size:
                direct = None if traced else read_direct(data, at)
                if direct is not None and guarded:
                    # One that is not known is found by the other way, which may have to wait for it.
                    caller = guard.known_now(self._wire, direct[2].fields.get(hdrs.AUTHORIZATION))  # type: ignore[union-attr]
                    if caller is None:
                        direct = None
                if direct is not None:
                    place, last, headers, key, begin = direct
                    alone = place.bytes_max > 0
                else:
                    head = read(data, at)
                    if head is None:
                        break
                    headers, begin = head.headers, head.end
                    if headers.body_bytes and (head.method not in _WITH_BODY or headers.body_bytes > BODY_BYTES_MAX):
                        break
                    alone = "?" in head.target or head.method not in _SAFE
                end = begin + headers.body_bytes
                if end > size:
                    break  # not complete
                if (queue or self._later or self._sending is not None) and not self._may_join(alone=alone):
                    break
                if started == STARTED_MAX or self._ready_bytes > PIECE_BYTES:
                    self._go_on_later()
                    break
                started += 1
                body = data[begin:end]
                if direct is not None:
                    self._begin(place, last, headers, key, body, caller)
                else:
                    self._start(head, body, alone=alone)  # type: ignore[arg-type]  # it was read
                if queue and queue[0].answer is not None:
                    self._collect()
                at = end
            self._held = data[at:] if at else data
            if self._ready:
                self._write_ready()
        finally:
            self._taking = False
        if queue or self._later or self._sending is not None:
            if self._held or self._stopped:
                self._limit_held()
            return b""
        rest, self._held = self._held, b""
        if self._stopped:
            self._limit_held()
        return rest

    def _may_join(self, *, alone: bool) -> bool:
        """Return whether a request may run beside those that are pending.

        Only reads do (RFC 9112 9.3.2), with the default timeout: an answer behind a request that waits for a minute
        would wait so long, too. What would be refused for the load of its own connection waits as well.
        """
        queue = self._queue
        return (
            not alone
            and self._sending is None
            and not self._later
            and len(queue) < self._parallel
            and not queue[-1].alone
            and self._around.exchange.has_room(self._wire.client)
        )

    def _begin(
        self, place: Place, last: str, headers: Headers, key: str | None, body: bytes, caller: Caller | None
    ) -> None:
        exchange = self._around.exchange
        refusal = exchange.refusal_at(self._wire, place)
        if refusal is not None:
            self._refuse(refusal, place.method, headers, alone=body != b"")
            return
        request = DirectRequest(self._wire, place, last, headers.fields, key, body, self, exchange)
        request.caller = caller
        self._queue.append(request)
        exchange.begin(request)

    def _start(self, head: Head, body: bytes, *, alone: bool) -> None:
        around, wire, headers = self._around, self._wire, head.headers
        refusal = around.exchange.refusal(wire, head.method, head.target, headers.fields)
        if refusal is not None:
            self._refuse(refusal, head.method, headers, alone=alone)
            return
        content = Body(body) if body else NO_BODY
        request = HotRequest(wire, head.method, head.target, headers.fields, content, alone=alone)
        self._queue.append(request)
        # A span is active in the context of its request, as on the general path in that of its task; so is a caller.
        guard = around.exchange.guard
        guarded = guard is not None and not guard.off
        context = copy_context() if guarded or around.exchange.traced else None
        # What the dispatcher and the handlers of these routes use of a request is what this one has.
        handling: Coroutine[Any, Any, Answer] = around.exchange.handle(request)  # type: ignore[arg-type]
        request.drive = drive = Drive(handling, self.ended, request, around.loop, context)
        drive.start()

    def _refuse(self, answer: Answer, method: str, headers: Headers, *, alone: bool) -> None:
        """Answer a request that is not begun, and keep nothing of it if it is the next one: under overload most are."""
        wire = self._wire
        if self._queue or self._ready or not wire.staying:
            request = HotRequest(wire, method, "", headers.fields, NO_BODY, alone=alone)
            request.answer = answer  # `take` sends it, in order
            self._queue.append(request)
            return
        wire.reply(answer.encode(method, keep_open=True))
        if wire.writing_paused:
            self._send(wire.drain(0))

    def _limit_held(self) -> None:
        """Read nothing while much is held."""
        much = len(self._held) >= HELD_BYTES_MAX
        if much is not self._stopped:
            self._stopped = much
            if much:
                self._wire.hold_reading()
            else:
                self._wire.release_reading()

    def _go_on_later(self) -> None:
        self._later = True
        self._around.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Serve what was held."""
        self._later = False
        try:
            if self._wire.gone:
                self._held = b""
            rest = self.take(b"")
            if rest:
                self._wire.receive(rest)
            self._rest()
        except NO_MEMORY as error:
            end_without_memory("connection", error)
        except Exception as error:  # the boundary: nothing above would notice
            self._failed(error)

    # Answers

    def ended(self, request: HotRequest, result: Answer | BaseException) -> None:
        """Take the answer of a request; the callback in which its handler has ended."""
        try:
            request.drive = None
            if isinstance(result, BaseException):
                # Cancelled: the node stops. What was behind it cannot be answered in order.
                self._queue.remove(request)
                if not isinstance(result, asyncio.CancelledError):
                    log.error("connection.failed", exc_info=result)
                self._wire.abort()
            else:
                size = len(result.content)
                if size >= _SMALL or self._parallel < PARALLEL_MAX:
                    self._parallel = min(PARALLEL_MAX, 2 * self._parallel, PARALLEL_BYTES // (size + 1)) or 1
                queue = self._queue
                waits = self._taking or self._ready or self._held or self._sending is not None
                if len(queue) == 1 and size <= PIECE_BYTES and not waits:
                    self._answer_alone(request, result)
                    return
                request.answer = result
                if queue[0] is not request or self._sending is not None:
                    self._charge(request, result)
            if not self._taking:
                self._collect()
                self._proceed()
        except NO_MEMORY as error:
            end_without_memory("connection", error)
        except Exception as error:  # the boundary: nothing above would notice
            self._failed(error)

    def _answer_alone(self, request: HotRequest, answer: Answer) -> None:
        """Write a small answer with nothing before it and nothing behind it, as most are."""
        self._queue.clear()
        wire = self._wire
        if wire.staying:
            wire.reply(answer.encode(request.method, keep_open=True))
            if wire.writing_paused:
                self._send(wire.drain(0))
            return
        last = self._ends_here()
        try:
            self._put(answer.encode(request.method, keep_open=not last), last=last)
        except ConnectionError:
            pass  # the client has gone; what was done for it has been counted
        self._rest()

    def _charge(self, request: HotRequest, answer: Answer) -> None:
        """Count an answer that waits for those before it."""
        try:
            self._around.sending.take(request, len(answer.content))
            request.charged = True
        except Overloaded:
            self._wire.cut("evicted_read")

    def _collect(self) -> None:
        """Move the answers to `_ready` that nothing before them holds up."""
        queue = self._queue
        while queue and (answer := queue[0].answer) is not None:
            self._ready.append(queue.pop(0))
            self._ready_bytes += len(answer.content)

    def _proceed(self) -> None:
        """Write what is ready, and serve what is held."""
        if self._ready:
            if not self._queue or self._ready_bytes > PIECE_BYTES:
                self._write_ready()
            elif not self._writing:
                # Those behind them may be answered in this turn of the loop, too: then all leave in one write.
                self._writing = True
                self._around.loop.call_soon(self._write_later)
        if self._held and not self._later and self._sending is None:
            self._go_on()
        else:
            self._rest()

    def _write_later(self) -> None:
        self._writing = False
        try:
            if self._ready:
                self._write_ready()
            self._rest()
        except NO_MEMORY as error:
            end_without_memory("connection", error)
        except Exception as error:  # the boundary: nothing above would notice
            self._failed(error)

    def _write_ready(self) -> None:
        """Write what is ready; what comes behind an answer that its client does not take waits for `_sent`."""
        while self._ready and self._sending is None:
            try:
                self._write_some()
            except ConnectionError:
                # The client has gone; what was done for it has been counted.
                for request in self._ready:
                    self._around.sending.release(request)
                self._ready.clear()
                self._ready_bytes = 0

    def _write_some(self) -> None:
        """Write one large answer, or all small ones before it in one piece. Raises `ConnectionError`."""
        wire, ready, sending = self._wire, self._ready, self._around.sending
        pieces: list[bytes] = []
        last = False
        while ready:
            request = ready[0]
            answer: Answer = request.answer  # type: ignore[assignment]  # it has one when it is ready
            size = len(answer.content)
            if size > PIECE_BYTES and pieces:
                break
            del ready[0]
            self._ready_bytes -= size
            last = not ready and not self._queue and self._ends_here()
            if last:
                self._held = b""  # nor is a write among it done: its answer could not be sent
            if request.charged or size > PIECE_BYTES:
                sending.release(request)
            if size > PIECE_BYTES:
                # Its room is that of the connection now, which knows what is left of it.
                try:
                    sending.take(wire, size)
                except Overloaded:
                    # Its room went to other answers, and with it the connection.
                    wire.abort()
                    raise ConnectionResetError("no room for an answer that is not read") from None
                self._send(answer.send(request.method, wire, keep_open=not last), last=last)
                return
            pieces.append(answer.encode(request.method, keep_open=not last))
        self._put(pieces[0] if len(pieces) == 1 else b"".join(pieces), last=last)

    def _put(self, data: bytes, *, last: bool) -> None:
        """Write answers, and wait when the client does not take them. Raises `ConnectionError`."""
        wire = self._wire
        wire.write(data)
        paused = wire.writing_paused
        wire.answered(last=last and not paused)
        # BEFORE the next request is served: its answer would wait behind these.
        if paused:
            self._send(wire.drain(0), last=last)

    def _send(self, sending: Coroutine[Any, Any, None], *, last: bool = False) -> None:
        self._sending = Drive(sending, self._sent, last, self._around.loop)
        self._sending.start()

    def _sent(self, last: bool, result: BaseException | None) -> None:  # noqa: FBT001 - a callback
        """Go on behind an answer that the client has taken, or that was dropped with its connection."""
        try:
            self._sending = None
            if result is None:
                self._wire.answered(last=last)
            elif not isinstance(result, (ConnectionError, asyncio.CancelledError)):
                raise result
            if not self._taking:
                self._proceed()
        except NO_MEMORY as error:
            end_without_memory("connection", error)
        except Exception as error:  # the boundary: nothing above would notice
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        log.error("connection.failed", exc_info=error)
        self._wire.abort()

    # The end

    def _ends_here(self) -> bool:
        """Return whether the connection ends after the last answer in the queue."""
        wire = self._wire
        if not wire.half_closed:
            return wire.ending
        return not self._held or not self._around.heads.answered_without_more(self._held)

    def _rest(self) -> None:
        if self.busy:
            return
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._wire.at_rest()

    def lost(self) -> None:
        """Forget what the connection will not answer; requests that are being served go on, and are counted."""
        self._held = b""
        for request in (*self._queue, *self._ready):
            self._around.sending.release(request)

    async def drain(self, timeout_s: float | None) -> None:
        """Return when nothing is pending; what is pending after `timeout_s` is cancelled."""
        if not self.busy:
            return
        self._drained = self._around.loop.create_future()
        await asyncio.wait((self._drained,), timeout=timeout_s)
        for request in tuple(self._queue):
            request.cancel()
        if self._sending is not None:
            self._sending.cancel()
