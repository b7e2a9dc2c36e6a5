"""One stream to a member: many operations in flight, sent in as few messages as there are turns of the loop.

Operations that are given within one turn of the event loop are sent in one message; while a message is being sent,
what is given meanwhile makes the next one. Answers come in any order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp
import msgspec

from collectionstore.errors import IncompatibleServer
from collectionstore.transport.credit import Credit
from collectionstore.transport.failures import AttemptFailed, AttemptTimedOut, Backlogged, StreamRefused
from collectionstore.wire.answers import Answer, Hello, decode_answers, decode_hello
from collectionstore.wire.operations import Operation, payload_bytes

PATH: Final = "/api/v1/stream"
SUBPROTOCOL: Final = "collectionstore.v1.msgpack"
PROTOCOL: Final = 1
HEARTBEAT_S: Final = 4.0
"""A member that answers no ping within half of it is taken for lost."""
CLOSE_S: Final = 0.5
"""For the member to answer a close frame."""
SWEEP_S: Final = 0.1
GRACE_S: Final = 0.25
"""The member's own deadline ends first, unless it is the member that hangs."""
HUNG_S: Final = 0.5
MESSAGE_OPERATIONS_MAX: Final = 256
BESIDE_BYTES: Final = 10 << 10
"""What an operation may have besides its payload: names, a key, a filter."""

Events = Callable[[Answer], None]


class _Pending:
    __slots__ = ("deadline", "future", "ordinal", "size")

    def __init__(self, future: asyncio.Future[Answer], deadline: float, size: int) -> None:
        self.future = future
        self.deadline = deadline
        self.size = size
        self.ordinal = 0
        """The how-manieth operation that was sent; 0: it was not sent yet."""


class Stream:
    """Belongs to one event loop. Made by `open_stream`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, hello: Hello) -> None:
        self.hello = hello
        limits = hello.limits
        self.payload_max = limits.get("message_bytes", 0) - BESIDE_BYTES
        """A larger payload goes by a request."""
        self._message_max = limits.get("message_bytes", 0)
        self._credit = Credit(limits.get("operations", 1), limits.get("operation_bytes", 1 << 20))
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._encode = msgspec.msgpack.Encoder().encode
        self._pending: dict[int, _Pending] = {}
        self._watches: dict[int, Events] = {}
        self._out: deque[tuple[bytes, _Pending | None]] = deque()
        self._wake = asyncio.Event()
        self._tag = 0
        self._sent = 0
        self._draining: int | None = None
        self._heard = self._loop.time()
        self.closed = asyncio.Event()
        """Set when it is over, for whatever reason."""
        self.leaving = False
        """Whether no new operations are to be given: the member stops."""
        self._reason = "the stream was closed"
        self._tasks = (
            asyncio.create_task(self._read(), name="collectionstore stream reader"),
            asyncio.create_task(self._write(), name="collectionstore stream writer"),
        )
        self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)

    @property
    def inflight(self) -> int:
        """Operations that are not answered, or wait for credit."""
        return self._credit.taken + self._credit.waiting

    async def call(self, operation: Operation, timeout_s: float, events: Events | None = None) -> Answer:
        """Send an operation and return its answer, whatever its status.

        `events` is told those of a watch. Raises AttemptFailed. One that is cancelled meanwhile may be executed.
        """
        size = payload_bytes(operation)
        if self.closed.is_set() or self.leaving:
            raise AttemptFailed(self._reason, sent=False)
        deadline = self._loop.time() + timeout_s
        if not self._credit.take(size):
            try:
                async with asyncio.timeout(timeout_s):
                    await self._credit.wait(size)
            except TimeoutError:
                raise Backlogged("too many operations are under way", sent=False) from None
            if self.closed.is_set():
                self._credit.give(size)
                raise AttemptFailed(self._reason, sent=False)
        self._tag = tag = self._tag + 1
        operation.tag = tag
        operation.timeout_ms = max(1, min(60_000, int((deadline - self._loop.time()) * 1_000)))
        pending = _Pending(self._loop.create_future(), deadline + GRACE_S, size)
        self._pending[tag] = pending
        if events is not None:
            self._watches[tag] = events
        self._out.append((self._encode(operation), pending))
        self._wake.set()
        try:
            answer = await pending.future
        except BaseException:
            if events is not None:
                self._watches.pop(tag, None)
            raise
        return answer

    def end_watch(self, tag: int, operation: Operation) -> None:
        """Send an `unwatch`; its events are not told any more, nor its answer."""
        self._watches.pop(tag, None)
        self.send(operation)

    def send(self, operation: Operation) -> None:
        """Send an operation whose answer nobody waits for."""
        if self.closed.is_set():
            return
        self._tag = operation.tag = self._tag + 1
        operation.timeout_ms = 5_000
        self._out.append((self._encode(operation), None))
        self._wake.set()

    async def close(self) -> None:
        """Close; what is under way fails."""
        self._lose("the client was closed")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self) -> None:
        reason = "the connection was lost"
        try:
            while True:
                message = await self._socket.receive()
                if message.type is not aiohttp.WSMsgType.BINARY:
                    if self._socket.close_code is not None:
                        reason = f"the stream was closed with {self._socket.close_code}"
                    break
                self._heard = self._loop.time()
                for answer in decode_answers(message.data):
                    self._take(answer)
        except (aiohttp.ClientError, OSError, msgspec.DecodeError) as error:
            reason = f"the stream was lost: {type(error).__name__}"
        finally:
            self._lose(reason)
            await self._socket.close()

    def _take(self, answer: Answer) -> None:
        if answer.tag >= 0:
            pending = self._pending.pop(answer.tag, None)
            if pending is not None:
                self._credit.give(pending.size)
                if not pending.future.done():
                    pending.future.set_result(answer)
        elif answer.event == "changes":
            told = self._watches.get(answer.watch)
            if told is not None:
                if answer.ended:
                    del self._watches[answer.watch]
                told(answer)
        elif answer.event == "draining":
            self.leaving = True
            self._draining = answer.accepted
            self._reason = "the member is stopping"

    async def _write(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._out:
                    await self._socket.send_bytes(self._next_message())
        except (aiohttp.ClientError, OSError) as error:
            self._lose(f"the stream was lost: {type(error).__name__}")

    def _next_message(self) -> bytes:
        parts: list[bytes] = []
        size = 3
        while self._out and len(parts) < MESSAGE_OPERATIONS_MAX:
            encoded, pending = self._out[0]
            if parts and size + len(encoded) > self._message_max:
                break
            self._out.popleft()
            size += len(encoded)
            parts.append(encoded)
            self._sent += 1
            if pending is not None:
                pending.ordinal = self._sent
        return b"\xdc" + len(parts).to_bytes(2, "big") + b"".join(parts)

    def _sweep(self) -> None:
        """End what has no answer in time. The oldest may still be answered: its tag stays taken until then."""
        now = self._loop.time()
        self._sweeping = self._loop.call_later(SWEEP_S, self._sweep)
        late = [one for one in self._pending.values() if one.deadline < now and not one.future.done()]
        for one in late:
            one.future.set_exception(AttemptTimedOut("no answer in time", sent=one.ordinal > 0))
        # Nothing at all was heard meanwhile: the member hangs, or the network drops what is sent.
        if late and now - self._heard > HUNG_S:
            self.leaving = True
            self._reason = "the member does not answer"

    def _lose(self, reason: str) -> None:
        if self.closed.is_set():
            return
        self._reason = reason
        self.closed.set()
        self._sweeping.cancel()
        accepted = self._draining
        for pending in self._pending.values():
            if not pending.future.done():
                # What is behind the accepted ones was not executed, as the member has said.
                sent = pending.ordinal > 0 and (accepted is None or pending.ordinal <= accepted)
                pending.future.set_exception(AttemptFailed(reason, sent=sent))
        self._pending.clear()
        self._out.clear()
        self._credit.fail(AttemptFailed(reason, sent=False))
        for told in tuple(self._watches.values()):
            told(Answer(event="lost"))
        self._watches.clear()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()


async def open_stream(session: aiohttp.ClientSession, url: str, headers: Mapping[str, str], timeout_s: float) -> Stream:
    """Open a stream to the member at `url`. Raises AttemptFailed, StreamRefused, IncompatibleServer."""
    try:
        async with asyncio.timeout(timeout_s):
            socket = await session.ws_connect(
                url + PATH,
                protocols=(SUBPROTOCOL,),
                headers=headers,
                heartbeat=HEARTBEAT_S,
                max_msg_size=0,
                compress=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
            )
            try:
                hello = await _hello(socket, url)
            except BaseException:
                await socket.close()
                raise
    except aiohttp.WSServerHandshakeError as error:
        raise StreamRefused(error.status, b"") from None
    except TimeoutError:
        raise AttemptTimedOut("no connection in time", sent=False) from None
    except (aiohttp.ClientError, OSError) as error:
        raise AttemptFailed(f"no connection: {type(error).__name__}", sent=False) from None
    return Stream(socket, hello)


async def _hello(socket: aiohttp.ClientWebSocketResponse, url: str) -> Hello:
    message = await socket.receive()
    if message.type is not aiohttp.WSMsgType.BINARY:
        raise AttemptFailed("the stream ended before it began", sent=False)
    try:
        (hello,) = decode_hello(message.data)
    except (msgspec.DecodeError, ValueError):
        raise IncompatibleServer(f"{url} does not begin its stream as a Collection Store does") from None
    if hello.protocol != PROTOCOL:
        raise IncompatibleServer(
            f"{url} (version {hello.version}) speaks protocol {hello.protocol} of streams, "
            f"this client protocol {PROTOCOL}"
        )
    return hello
