"""`Session`: one stream. aiohttp's connection hands it bytes; it takes operations and sees that each is answered.

Everything runs in callbacks of the loop: bytes that arrive, outcomes, and one turn for what is left of both. How bytes
become operations is in `incoming.py`, how answers become messages in `outgoing.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import structlog
from aiohttp import WSMsgType

from collectionstore_node.access.callers import Caller
from collectionstore_node.access.current import CALLER
from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.http.call import ApiContext
from collectionstore_node.api.http.instruments import TraceOperation
from collectionstore_node.api.http.overload_answers import OverloadAnswers
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.api.http.refusals import refusal_of, release_frames
from collectionstore_node.api.http.request_ids import RequestIds
from collectionstore_node.api.stream import accounts, settings
from collectionstore_node.api.stream.admission import Admission
from collectionstore_node.api.stream.codec import Codec, Received
from collectionstore_node.api.stream.execution import Executor
from collectionstore_node.api.stream.finished import Finished
from collectionstore_node.api.stream.flight import Flight
from collectionstore_node.api.stream.incoming import Incoming
from collectionstore_node.api.stream.operations import (
    KINDS,
    Answer,
    Draining,
    Item,
    Malformed,
    Read,
    Write,
    payload_bytes,
)
from collectionstore_node.api.stream.outgoing import Outgoing
from collectionstore_node.api.stream.rendering import overload_answer, problem_answer
from collectionstore_node.api.stream.websocket import Close, close_frame, frame
from collectionstore_node.errors import Overloaded
from collectionstore_node.lifecycle import NO_MEMORY, end_without_memory
from collectionstore_telemetry.tracing.active import ActiveSpan, active

if TYPE_CHECKING:
    from collectionstore_node.api.connections.connection import Connection
    from collectionstore_node.api.stream.watching import StreamWatch

PATH: Final = "/api/v1/stream"

log = structlog.get_logger(__name__)


def _nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Streams:
    """What all streams of a port share."""

    api: ApiContext
    executor: Executor
    trace: TraceOperation | None
    finished: Finished
    slow_s: float
    loop: asyncio.AbstractEventLoop
    admission: Admission = field(default_factory=Admission)
    request_ids: RequestIds = field(default_factory=RequestIds)
    overload_answers: OverloadAnswers = field(default_factory=OverloadAnswers)
    sessions: dict[Session, None] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    """Work that outlives its stream: an operation that changes something runs to its end."""


class Session:
    """One stream, from its handshake to the end of its connection: `execution.Stream`, and `incoming.Owner`."""

    def __init__(self, streams: Streams, connection: Connection, client: Client, codec: Codec) -> None:
        self.codec = codec
        self.ended = False
        self.finished: asyncio.Future[None] = streams.loop.create_future()
        """Done when the connection has ended."""
        self.client = client
        self.caller: Caller | None = CALLER.get()
        """Who has opened it, as of its last operations."""
        self._connection = connection
        self._guard = streams.api.guard
        self.heard_at = streams.loop.time()
        self.pinged = False
        self._streams = streams
        self._api = streams.api
        self._loop = streams.loop
        self._transport = connection.transport
        self._incoming = Incoming(self, connection, codec, client, self._api.budgets.uploads, streams.loop)
        self._outgoing = Outgoing(
            connection, codec, self._api.budgets.sending, streams.tasks, streams.loop, self._resumed
        )
        self._inflight: dict[int, Flight] = {}
        self._inflight_bytes = 0
        self._reads: list[Flight] = []
        self.watches: dict[int, StreamWatch] = {}
        self.released: Callable[[], object] = _nothing
        """Counts it out of the streams of its user; a second time is nothing."""
        self._turn_due = False
        self._reading_paused = False
        # Its end
        self.draining = False
        """Whether the node stops, and takes no more operations."""
        self._closing_at: float | None = None

    # What aiohttp's connection calls

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes of the client."""
        self.heard_at = self._loop.time()
        self.pinged = False
        self._incoming.add(data)
        self._advance()
        return False, b""

    def feed_eof(self) -> None:
        """The connection has ended. Operations in flight run to their end, unanswered."""
        self.ended = True
        self.released()
        self._streams.sessions.pop(self, None)
        if self._closing_at is None:
            self._api.metrics.stream_closed("lost")
        self._incoming.end()
        self._outgoing.end()
        self._end_watches()
        if not self.finished.done():
            self.finished.set_result(None)

    def drain(self) -> None:
        """The node stops: take no more operations, answer those that were taken, then close."""
        if self.draining or self.ended or self._closing_at is not None:
            return
        self.draining = True
        self._incoming.refuse_messages()
        self._outgoing.send(Draining(self._incoming.accepted))
        for watch in self.watches.values():
            watch.drain()
        self._close_if_drained()

    # Called by the endpoint

    @property
    def waiting(self) -> bool:
        """Whether something that has arrived is not taken, or an answer is not sent."""
        return self._incoming.waits or self._outgoing.waits

    @property
    def closing(self) -> bool:
        """Whether a close frame was sent, or answered."""
        return self._closing_at is not None

    @property
    def operations(self) -> int:
        """Number of operations in flight."""
        return len(self._inflight)

    def open(self, response: bytes, hello: Item) -> None:
        """Send the handshake's response and the first message."""
        if self._transport is None:
            raise ConnectionResetError("the client has gone")
        self._transport.write(response)
        self._streams.sessions[self] = None
        self._outgoing.send(hello)

    def beat(self, now: float) -> None:
        """Ping a silent client, and end one that stays silent or does not close; `now` is loop time."""
        silent_s = now - self.heard_at
        if self._closing_at is not None:
            if now - self._closing_at >= settings.CLOSE_S:
                self._abort()
        elif self._reading_paused:
            pass  # nothing can be heard; a client that does not read is cut by the budget of unsent bytes
        elif silent_s >= settings.SILENCE_S:
            self.close(Close.POLICY, f"nothing was received for {settings.SILENCE_S:g} s")
        elif silent_s >= settings.PING_S and not self.pinged:
            self.pinged = True
            self._outgoing.write(frame(WSMsgType.PING, b""))

    def expel(self) -> None:
        """Close it: its credential has ended."""
        self.close(Close.UNAUTHORIZED, "the credential of the stream has ended")

    def close(self, code: Close, reason: str) -> None:
        """Send what the client takes now and a close frame; it has `CLOSE_S` to answer that."""
        if self.ended or self._closing_at is not None:
            return
        self._closing_at = self._loop.time()
        self._api.metrics.stream_closed(code.name.lower())
        self._incoming.stop()
        self._end_watches()
        self._outgoing.flush()
        # What is still left would come behind the close frame, where no data may be (RFC 6455 5.5.1).
        self._outgoing.drop()
        self._outgoing.write(close_frame(code, reason))
        self._outgoing.wake()
        self._balance()

    # In

    def _advance(self) -> None:
        """Take what has arrived, as much as fits into a turn of the loop, for the caller of now."""
        if self._turn_due or self.ended:
            return
        guard, self.caller = self._guard, None
        if guard is not None and not guard.off:
            self.caller = guard.current(self._connection)
            if self.caller is None:
                self.expel()
                return
        token = CALLER.set(self.caller)
        try:
            self._take_what_fits()
        finally:
            CALLER.reset(token)

    def _take_what_fits(self) -> None:
        steps = size = 0
        incoming, outgoing = self._incoming, self._outgoing
        while not outgoing.paused:
            if steps >= settings.TURN_STEPS_MAX or size >= settings.TURN_BYTES_MAX:
                self._turn_due = True
                self._loop.call_soon(self._next_turn)
                break
            if incoming.pending:
                size += self._take(incoming.pending.popleft())
            elif (worked := incoming.work()) is not None:
                size += worked
            else:
                break
            steps += 1
        if self._reads:
            reads, self._reads = self._reads, []
            self._streams.executor.read(self, reads)
        self._balance()

    def _next_turn(self) -> None:
        self._turn_due = False
        self._advance()

    # Called by what arrives

    def ping(self, payload: bytes) -> None:
        """Answer a ping."""
        self._outgoing.pong(payload)

    def client_closed(self) -> None:
        """Answer a close frame, and hang up."""
        if self._closing_at is None:
            self._closing_at = self._loop.time()
            self._api.metrics.stream_closed(Close.NORMAL.name.lower())
            self._outgoing.write(close_frame(Close.NORMAL, ""))
        self._incoming.pending.clear()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connection behind what was written."""
        if self._transport is not None:
            self._transport.close()

    # Operations

    def _take(self, operation: Received) -> int:
        """Begin an operation and return its size in bytes."""
        tag, size = operation.tag, payload_bytes(operation)
        if tag in self._inflight:
            self.close(Close.DUPLICATE_TAG, f"the operation with tag {tag} is not answered yet")
            return size
        if self._inflight_bytes and self._inflight_bytes + size > settings.OPERATION_BYTES_MAX:
            self.close(Close.CREDITS_EXCEEDED, f"at most {settings.OPERATION_BYTES_MAX} bytes may be in flight")
            return size
        flight = Flight(operation, size, self._api.limits.timeout_default_s)
        self._inflight[tag] = flight
        self._inflight_bytes += size
        streams = self._streams
        try:
            if streams.trace is not None:
                flight.trace = streams.trace(KINDS[type(operation)], operation.traceparent)
            streams.admission.enter(self.client)
            flight.entered = True
            if self._api.accounting is not None:
                accounts.begin(self._api.accounting, flight)
            if not 0 <= tag <= settings.TAG_MAX:
                raise Problem("invalid_body", f"a tag is 0 to {settings.TAG_MAX}")
            if isinstance(operation, Write):
                # BEFORE its document is checked: refusing must cost far less than serving.
                writes = self._api.store.stream_writes
                if writes.inflight >= writes.limit:
                    writes.check()
            streams.executor.begin(self, flight)
            if flight.target is not None:
                self._reads.append(flight)
        except NO_MEMORY as error:
            end_without_memory("operation", error)
        except Exception as error:  # the boundary: everything becomes an answer
            self.fail(flight, error)
        return size

    # Answers

    def answer(self, flight: Flight, answer: Answer) -> None:
        """Send the answer of an operation, and give back what it took of the stream's credits."""
        try:
            self._outgoing.reserve(answer)
        except Overloaded as error:
            answer = self._unsendable(flight, error)
        self._complete(flight, answer)
        if self.ended or self._closing_at is not None:
            return
        self._outgoing.send(answer)
        self._close_if_drained()

    def fail(self, flight: Flight, error: Exception) -> None:
        """Send the problem of an operation."""
        self.answer(flight, self._problem(flight, error))
        release_frames(error)

    def broke(self, flight: Flight, error: Exception) -> None:
        """End the stream: an operation can be given no answer, not even its problem, because of a bug."""
        log.error("connection.failed", exc_info=error)
        if self._inflight.get(flight.operation.tag) is flight:
            self._leave(flight)
            if flight.account is not None and self._api.accounting is not None:
                self._api.accounting.cancelled(flight.account, self.client.network)
        self._abort()

    def _leave(self, flight: Flight) -> None:
        """Give back what an operation took of the stream's credits."""
        del self._inflight[flight.operation.tag]
        self._inflight_bytes -= flight.size_bytes
        if flight.entered:
            self._streams.admission.leave(self.client)

    def spawn(self, flights: Sequence[Flight], work: Coroutine[Any, Any, None]) -> None:
        """Run work in a task; what it raises is the problem of those operations that are not answered yet."""
        task = self._loop.create_task(self._run(flights, work), name="operation")
        self._streams.tasks.add(task)
        task.add_done_callback(self._streams.tasks.discard)

    async def _run(self, flights: Sequence[Flight], work: Coroutine[Any, Any, None]) -> None:
        parent = next((one.parent for one in flights if one.parent is not None), None)
        if parent is not None:
            active.set(ActiveSpan(parent))
        try:
            await work
        except NO_MEMORY as error:
            end_without_memory("operation", error)
        except Exception as error:  # the boundary: everything becomes an answer
            for flight in flights:
                if self._inflight.get(flight.operation.tag) is flight:
                    self.fail(flight, error)

    @property
    def crowded(self) -> bool:
        """Whether so many answers wait that reads must wait, too."""
        return self._outgoing.crowded

    async def room(self) -> None:
        """Return when that may have changed."""
        await self._outgoing.room()

    # Watches

    def tell(self, item: Item) -> None:
        """Send what is no answer."""
        if not self.ended and self._closing_at is None:
            self._outgoing.send(item)

    def watch_ended(self, tag: int) -> None:
        """Note that a watch has ended."""
        self.watches.pop(tag, None)
        self._close_if_drained()

    def _end_watches(self) -> None:
        for watch in tuple(self.watches.values()):
            watch.end()

    def _problem(self, flight: Flight, error: Exception) -> Answer:
        operation, streams = flight.operation, self._streams
        request_id = streams.request_ids.kept(operation.request_id)
        if type(error) is Overloaded:
            # Under overload most operations end here.
            self._api.metrics.problem("overloaded")
            return overload_answer(
                operation.tag,
                error,
                streams.overload_answers,
                self.codec,
                request_id=request_id,
                revision=self._api.store.revision,
            )
        problem = refusal_of(
            error,
            self._api.store,
            method=KINDS[type(operation)],
            request_id=request_id,
            safe=isinstance(operation, Read | Malformed),
            keyed=isinstance(operation, Write) and operation.idempotency_key is not None,
        )
        self._api.metrics.problem(problem.code)
        return problem_answer(
            operation.tag, problem, self.codec, request_id=request_id, revision=self._api.store.revision
        )

    def _unsendable(self, flight: Flight, error: Overloaded) -> Answer:
        if isinstance(flight.operation, Write):
            # Not "overloaded", which says that nothing happened.
            return self._problem(
                flight,
                Problem(
                    "outcome_unknown", f"it was applied, but its answer cannot be sent now: {error}", outcome="applied"
                ),
            )
        return self._problem(flight, error)

    def _complete(self, flight: Flight, answer: Answer) -> None:
        operation, streams, status = flight.operation, self._streams, answer.status
        if self._inflight.get(operation.tag) is not flight:
            raise RuntimeError("an operation is answered once")
        self._leave(flight)
        if self._api.accounting is not None:
            accounts.ended(self._api.accounting, flight, answer, self.client.network)
        seconds, trace = perf_counter() - flight.started, flight.trace
        kind = KINDS[type(operation)]
        if trace is None:
            streams.finished.count(kind, status, seconds)
        else:
            trace.answered(status)
            streams.finished.count(kind, status, seconds, trace.trace_id)
        if seconds >= streams.slow_s:
            self._api.diagnostics.slow.http(
                seconds,
                {"answer": seconds},
                route=PATH,
                method=kind,
                code=status,
                request_id=streams.request_ids.kept(operation.request_id),
            )

    # Its pace

    def _resumed(self) -> None:
        """Go on: the client has taken what was written."""
        self._advance()
        self._close_if_drained()

    def _balance(self) -> None:
        """Read from the client exactly when what has arrived is taken, and answers can leave."""
        transport = self._transport
        paused = (self._turn_due or self._outgoing.paused) and not self.ended
        if paused is self._reading_paused or transport is None or transport.is_closing():
            return
        self._reading_paused = paused
        if paused:
            transport.pause_reading()
        else:
            self.heard_at = self._loop.time()
            transport.resume_reading()

    # Its end

    def _close_if_drained(self) -> None:
        if self.draining and not self._inflight and not self._incoming.pending and not self.watches:
            self._outgoing.flush()
            # A client that is slow to take its answers gets them before the close frame, or is cut.
            if not self._outgoing.waits and not self._outgoing.paused:
                self.close(Close.GOING_AWAY, "the node is stopping")

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
