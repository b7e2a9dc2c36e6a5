"""`Session`: one stream. aiohttp's connection hands it bytes; it takes operations from them and sends answers.

Everything runs in callbacks of the loop: bytes that arrive, outcomes, and one turn for what is left of both. Answers of
one turn leave in one message.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WebSocketError, WSMsgType

from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.budgets.uploads import TooSlow, Upload
from collectionstore_node.api.http.call import ApiContext
from collectionstore_node.api.http.instruments import RouteMetrics, TraceOperation
from collectionstore_node.api.http.overload_answers import OverloadAnswers
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.api.http.refusals import refusal_of, release_frames
from collectionstore_node.api.http.request_ids import RequestIds
from collectionstore_node.api.stream import settings
from collectionstore_node.api.stream.admission import Admission
from collectionstore_node.api.stream.codec import Codec, MessageRejected, Received, TooManyOperations
from collectionstore_node.api.stream.execution import Executor
from collectionstore_node.api.stream.flight import Flight
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
from collectionstore_node.api.stream.rendering import overload_answer, problem_answer
from collectionstore_node.api.stream.websocket import Close, Sink, close_frame, frame, reader_of, wire_bytes
from collectionstore_node.errors import Overloaded
from collectionstore_node.lifecycle import NO_MEMORY, end_without_memory
from collectionstore_telemetry.tracing.active import ActiveSpan, active

if TYPE_CHECKING:
    from collectionstore_node.api.connections.connection import Connection

PATH: Final = "/api/v1/stream"

_DATA: Final = (WSMsgType.TEXT, WSMsgType.BINARY)


@dataclass(frozen=True, slots=True)
class Streams:
    """What all streams of a port share."""

    api: ApiContext
    executor: Executor
    trace: TraceOperation | None
    counters: dict[str, RouteMetrics]
    """By kind of operation."""
    slow_s: float
    loop: asyncio.AbstractEventLoop
    admission: Admission = field(default_factory=Admission)
    request_ids: RequestIds = field(default_factory=RequestIds)
    overload_answers: OverloadAnswers = field(default_factory=OverloadAnswers)
    sessions: dict[Session, None] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    """Work that outlives its stream: an operation that changes something runs to its end."""


class Session:
    """One stream, from its handshake to the end of its connection. Implements `execution.Stream`, and `Reader`."""

    def __init__(self, streams: Streams, connection: Connection, client: Client, codec: Codec) -> None:
        self.codec = codec
        self.ended = False
        self.finished: asyncio.Future[None] = streams.loop.create_future()
        """Done when the connection has ended."""
        self.client = client
        self.heard_at = streams.loop.time()
        self.pinged = False
        self._streams = streams
        self._api = streams.api
        self._loop = streams.loop
        self._connection = connection
        self._transport = connection.transport
        # In
        self._sink = Sink(connection, streams.loop)
        self._reader = reader_of(self._sink)
        self._inbox: deque[bytes] = deque()
        self._pending: deque[Received] = deque()
        self._inflight: dict[int, Flight] = {}
        self._inflight_bytes = 0
        self._reads: list[Flight] = []
        self._accepted = 0
        self._turn_due = False
        self._reading_paused = False
        self._upload: Upload | None = None
        self._partial_bytes = 0
        # Out
        self._out: list[Item] = []
        self._held_bytes = 0
        self._pong: bytes | None = None
        self._flush_due = False
        self._writing_paused = False
        self._waiters: deque[asyncio.Future[None]] = deque()
        # Its end
        self._draining = False
        self._closing_at: float | None = None

    # What aiohttp's connection calls

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes of the client."""
        self.heard_at = self._loop.time()
        self.pinged = False
        self._inbox.append(data)
        self._advance()
        return False, b""

    def feed_eof(self) -> None:
        """The connection has ended. Operations in flight run to their end, unanswered."""
        self.ended = True
        self._streams.sessions.pop(self, None)
        if self._closing_at is None:
            self._api.metrics.stream_closed("lost")
        self._end_upload()
        self._api.budgets.sending.release(self)
        self._pending.clear()
        self._inbox.clear()
        self._sink.messages.clear()
        self._out.clear()
        self._wake_waiters()
        if not self.finished.done():
            self.finished.set_result(None)

    def drain(self) -> None:
        """The node stops: take no more operations, answer those that were taken, then close."""
        if self._draining or self.ended or self._closing_at is not None:
            return
        self._draining = True
        self._sink.messages.clear()
        self._send(Draining(self._accepted))
        self._close_if_drained()

    # Called by the endpoint

    @property
    def waiting(self) -> bool:
        """Whether something that has arrived is not taken, or an answer is not sent."""
        return bool(self._inbox or self._pending or self._sink.messages or self._out)

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
        self._send(hello)

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
            self._write(frame(WSMsgType.PING, b""))

    def close(self, code: Close, reason: str) -> None:
        """Send what the client takes now and a close frame; it has `CLOSE_S` to answer that."""
        if self.ended or self._closing_at is not None:
            return
        self._closing_at = self._loop.time()
        self._api.metrics.stream_closed(code.name.lower())
        self._end_upload()
        self._pending.clear()
        self._sink.messages.clear()
        self._flush()
        # What is still left would come behind the close frame, where no data may be (RFC 6455 5.5.1).
        self._out.clear()
        self._held_bytes, self._pong = 0, None
        self._api.budgets.sending.release(self)
        self._write(close_frame(code, reason))
        self._wake_waiters()
        self._balance()

    # Budget of unsent bytes: implements `Reader`

    def unsent(self) -> int:
        """Return the size of the answers that wait here; what the transport holds is counted by the connection."""
        return self._held_bytes

    def cut(self, reason: str) -> None:
        """Close the connection at once, because its client is too slow."""
        # What the transport holds is charged to the connection, so both may be told.
        if self._transport is not None and not self._transport.is_closing():
            self._connection.cut(reason)

    # In

    def _advance(self) -> None:
        """Take what has arrived, as much as fits into a turn of the loop."""
        if self._turn_due or self.ended:
            return
        steps = size = 0
        pending, messages, inbox = self._pending, self._sink.messages, self._inbox
        while not self._writing_paused:
            if steps >= settings.TURN_STEPS_MAX or size >= settings.TURN_BYTES_MAX:
                self._turn_due = True
                self._loop.call_soon(self._next_turn)
                break
            if pending:
                size += self._take(pending.popleft())
            elif messages:
                self._receive(messages.popleft())
            elif inbox:
                self._feed()
                continue
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

    def _feed(self) -> None:
        """Parse a piece of what has arrived."""
        data = self._inbox.popleft()
        if len(data) > settings.FEED_BYTES:
            self._inbox.appendleft(data[settings.FEED_BYTES :])
            data = data[: settings.FEED_BYTES]
        sink = self._sink
        self._reader.feed_data(data)
        self._measure(len(data), sink.messages)
        if self._closing_at is not None or self._draining:
            self._only_close_frames()
        if sink.error is not None:
            self._break(sink.error)

    def _measure(self, size: int, messages: deque[Any]) -> None:
        """Count the bytes of a message that is not complete: they are an upload, as slow and as large as it may be."""
        complete = [one for one in messages if one.type in _DATA]
        if complete:
            self._end_upload()
            used = sum(wire_bytes(len(one.data)) for one in complete)
            self._partial_bytes = min(size, max(0, self._partial_bytes + size - used))
        else:
            self._partial_bytes += size
        if self._closing_at is not None:
            return
        if self._partial_bytes > 2 * settings.MESSAGE_BYTES_MAX:
            self.close(Close.MESSAGE_TOO_BIG, "more framing than message")
        elif self._partial_bytes >= settings.PARTIAL_BYTES_MIN:
            self._grow_upload()

    def _grow_upload(self) -> None:
        uploads = self._api.budgets.uploads
        try:
            if self._upload is None:
                self._upload = uploads.open(self.client, self._upload_ended)
            uploads.grow(self._upload, self._partial_bytes - self._upload.size)
        except Overloaded as error:
            self.close(Close.TRY_AGAIN_LATER, str(error))

    def _upload_ended(self, reason: Exception) -> None:
        self._upload = None
        self.close(Close.POLICY if isinstance(reason, TooSlow) else Close.TRY_AGAIN_LATER, str(reason))

    def _end_upload(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            self._api.budgets.uploads.close(upload)

    def _break(self, error: BaseException) -> None:
        """End a stream whose bytes are no WebSocket frames, or too large a message."""
        self._inbox.clear()
        if self._closing_at is not None:
            self._hang_up()
        elif isinstance(error, WebSocketError) and error.code == Close.MESSAGE_TOO_BIG:
            self.close(Close.MESSAGE_TOO_BIG, f"a message may have at most {settings.MESSAGE_BYTES_MAX} bytes")
        else:
            self.close(Close.PROTOCOL_ERROR, "not a sequence of WebSocket frames")

    def _only_close_frames(self) -> None:
        messages = self._sink.messages
        closed = any(one.type is WSMsgType.CLOSE for one in messages)
        messages.clear()
        if closed:
            self._client_closed()

    def _client_closed(self) -> None:
        if self._closing_at is None:
            self._closing_at = self._loop.time()
            self._api.metrics.stream_closed(Close.NORMAL.name.lower())
            self._write(close_frame(Close.NORMAL, ""))
        self._pending.clear()
        self._hang_up()

    def _receive(self, message: Any) -> None:
        """Take a message from the WebSocket."""
        match message.type:
            case WSMsgType.TEXT | WSMsgType.BINARY:
                self._decode(message)
            case WSMsgType.PING:
                # RFC 6455 5.5.3: of several pings that are not answered, the newest answers all.
                self._pong = bytes(message.data)
                self._flush_soon()
            case WSMsgType.CLOSE:
                self._client_closed()

    def _decode(self, message: Any) -> None:
        codec = self.codec
        if (message.type is WSMsgType.TEXT) is not codec.text:
            self.close(Close.UNSUPPORTED_DATA, f"{codec.name} takes {'text' if codec.text else 'binary'} messages")
            return
        left = settings.OPERATIONS_MAX - len(self._inflight) - len(self._pending)
        try:
            received = codec.decode(message.data, left)
        except TooManyOperations:
            self.close(Close.CREDITS_EXCEEDED, f"at most {settings.OPERATIONS_MAX} operations may be in flight")
        except MessageRejected as error:
            self.close(Close.INVALID_PAYLOAD, str(error))
        else:
            self._accepted += len(received)
            self._pending.extend(received)

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
            if not 0 <= tag <= settings.TAG_MAX:
                raise Problem("invalid_body", f"a tag is 0 to {settings.TAG_MAX}")
            if isinstance(operation, Write):
                # BEFORE its document is checked: refusing must cost far less than serving.
                self._api.store.stream_writes.check()
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
        size = settings.ANSWER_BYTES + _body_bytes(answer)
        if self._held_bytes + size > settings.HELD_BYTES_MIN and self._writing_paused and not self.ended:
            try:
                self._api.budgets.sending.take(self, self._held_bytes + size)
            except Overloaded as error:
                answer = self._unsendable(flight, error)
                size = settings.ANSWER_BYTES + _body_bytes(answer)
        self._complete(flight, answer.status)
        if self.ended or self._closing_at is not None:
            return
        self._held_bytes += size
        self._send(answer)
        self._close_if_drained()

    def fail(self, flight: Flight, error: Exception) -> None:
        """Send the problem of an operation."""
        self.answer(flight, self._problem(flight, error))
        release_frames(error)

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
        return not self.ended and self._held_bytes >= settings.AHEAD_BYTES_MAX

    async def room(self) -> None:
        """Return when that may have changed."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

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

    def _complete(self, flight: Flight, status: int) -> None:
        operation, streams = flight.operation, self._streams
        if self._inflight.pop(operation.tag, None) is not flight:
            raise RuntimeError("an operation is answered once")
        self._inflight_bytes -= flight.size_bytes
        if flight.entered:
            streams.admission.leave(self.client)
        seconds, trace = flight.age_s, flight.trace
        kind = KINDS[type(operation)]
        if trace is None:
            streams.counters[kind].finished(status, seconds)
        else:
            trace.answered(status)
            streams.counters[kind].finished(status, seconds, trace.trace_id)
        if seconds >= streams.slow_s:
            self._api.diagnostics.slow.http(
                seconds,
                {"answer": seconds},
                route=PATH,
                method=kind,
                code=status,
                request_id=streams.request_ids.kept(operation.request_id),
            )

    # Out

    def _send(self, item: Item) -> None:
        self._out.append(item)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_due and not self._writing_paused:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send what waits: the answers of this turn, in one message unless they are large."""
        self._flush_due = False
        if self._writing_paused or self.ended:
            return
        self._api.budgets.sending.release(self)
        if self._pong is not None:
            pong, self._pong = self._pong, None
            self._write(frame(WSMsgType.PONG, pong))
        while self._out and not self._writing_paused:
            if self._held_bytes <= settings.FLUSH_BYTES:
                items, self._out, self._held_bytes = self._out, [], 0
            else:
                items = self._first_items()
            self._write(frame(WSMsgType.TEXT if self.codec.text else WSMsgType.BINARY, self.codec.encode(items)))
        if not self.crowded:
            self._wake_waiters()

    def _first_items(self) -> list[Item]:
        """Take the first answers, up to `FLUSH_BYTES` or one."""
        size = count = 0
        for item in self._out:
            size += settings.ANSWER_BYTES + _body_bytes(item) if isinstance(item, Answer) else 0
            count += 1
            if size >= settings.FLUSH_BYTES:
                break
        items, self._out = self._out[:count], self._out[count:]
        self._held_bytes -= size
        return items

    def _write(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if self._connection.writing_paused and not self._writing_paused:
            self._writing_paused = True
            task = self._loop.create_task(self._resume_writing(), name="stream-drain")
            self._streams.tasks.add(task)
            task.add_done_callback(self._streams.tasks.discard)

    async def _resume_writing(self) -> None:
        """Wait until the client has taken what was written: within the budget of all connections, or it is cut."""
        try:
            await self._connection.drain(0)
        except ConnectionError:
            return  # it has gone, or was cut: `feed_eof` follows
        self._writing_paused = False
        self._flush()
        self._advance()
        self._close_if_drained()

    def _balance(self) -> None:
        """Read from the client exactly when what has arrived is taken, and answers can leave."""
        transport = self._transport
        paused = (self._turn_due or self._writing_paused) and not self.ended
        if paused is self._reading_paused or transport is None or transport.is_closing():
            return
        self._reading_paused = paused
        if paused:
            transport.pause_reading()
        else:
            self.heard_at = self._loop.time()
            transport.resume_reading()

    def _wake_waiters(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    # Its end

    def _close_if_drained(self) -> None:
        if self._draining and not self._inflight and not self._pending:
            self._flush()
            # A client that is slow to take its answers gets them before the close frame, or is cut.
            if not self._out and not self._writing_paused:
                self.close(Close.GOING_AWAY, "the node is stopping")

    def _hang_up(self) -> None:
        """Close the connection behind what was written."""
        if self._transport is not None:
            self._transport.close()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _body_bytes(answer: Answer) -> int:
    body, value = answer.body, answer.value
    return (0 if body is None else len(body)) + (0 if value is None else len(value))
