"""`Outgoing`: what a stream sends. Answers of one turn of the loop leave in one message, unless they are large.

What its client does not take waits here, within the budget of unsent bytes of all connections, and stops the stream
from taking operations: `paused`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import WSMsgType

from collectionstore_node.api.budgets.sending import Sending
from collectionstore_node.api.stream import settings
from collectionstore_node.api.stream.codec import Codec
from collectionstore_node.api.stream.operations import Answer, Changes, Item
from collectionstore_node.api.stream.websocket import frame

if TYPE_CHECKING:
    from collectionstore_node.api.connections.connection import Connection


class Outgoing:
    """The answers, events and frames of one stream. Implements `budgets.sending.Reader`."""

    def __init__(
        self,
        connection: Connection,
        codec: Codec,
        sending: Sending,
        tasks: set[asyncio.Task[None]],
        loop: asyncio.AbstractEventLoop,
        resumed: Callable[[], None],
    ) -> None:
        """`resumed` is called when the client has taken what was written; `tasks` keeps what waits for that."""
        self._connection = connection
        self._transport = connection.transport
        self._codec = codec
        self._sending = sending
        self._tasks = tasks
        self._loop = loop
        self._resumed = resumed
        self._items: list[Item] = []
        self._held_bytes = 0
        self._pong: bytes | None = None
        self._flush_due = False
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._ended = False
        self.paused = False
        """Whether the client does not take what was written."""

    @property
    def waits(self) -> bool:
        """Whether something is not sent."""
        return bool(self._items)

    @property
    def crowded(self) -> bool:
        """Whether so many answers wait that reads must wait, too."""
        return not self._ended and self._held_bytes >= settings.AHEAD_BYTES_MAX

    async def room(self) -> None:
        """Return when that may have changed."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    # Implements `Reader`

    def unsent(self) -> int:
        """Return the size of the answers that wait here; what the transport holds is counted by the connection."""
        return self._held_bytes

    def cut(self, reason: str) -> None:
        """Close the connection at once, because its client is too slow."""
        # What the transport holds is charged to the connection, so both may be told.
        if self._transport is not None and not self._transport.is_closing():
            self._connection.cut(reason)

    # To send

    def reserve(self, answer: Answer) -> None:
        """Take room for an answer that its client may not read. Raises `Overloaded`; nothing changed then."""
        if not self.paused or self._ended:
            return  # nearly always
        size = self._held_bytes + _size(answer)
        if size > settings.HELD_BYTES_MIN:
            self._sending.take(self, size)

    def send(self, item: Item) -> None:
        """Send an item with others of this turn."""
        self._held_bytes += _size(item)
        self._items.append(item)
        self._flush_soon()

    def pong(self, payload: bytes) -> None:
        """Answer a ping. RFC 6455 5.5.3: of several that are not answered, the newest answers all."""
        self._pong = payload
        self._flush_soon()

    def flush(self) -> None:
        """Send what waits: the answers of this turn, in one message unless they are large."""
        self._flush_due = False
        if self.paused or self._ended:
            return
        self._sending.release(self)
        if self._pong is not None:
            pong, self._pong = self._pong, None
            self.write(frame(WSMsgType.PONG, pong))
        while self._items and not self.paused:
            if self._held_bytes <= settings.FLUSH_BYTES:
                items, self._items, self._held_bytes = self._items, [], 0
            else:
                items = self._first_items()
            self.write(frame(WSMsgType.TEXT if self._codec.text else WSMsgType.BINARY, self._codec.encode(items)))
        if not self.crowded:
            self.wake()

    def write(self, data: bytes) -> None:
        """Send a frame at once."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if self._connection.writing_paused and not self.paused:
            self.paused = True
            task = self._loop.create_task(self._resume(), name="stream-drain")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def drop(self) -> None:
        """Forget what was not sent."""
        self._items.clear()
        self._held_bytes, self._pong = 0, None
        self._sending.release(self)

    def end(self) -> None:
        """Note that the connection has ended."""
        self._ended = True
        self._sending.release(self)
        self._items.clear()
        self.wake()

    def wake(self) -> None:
        """Have those that wait in `room` look again."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _flush_soon(self) -> None:
        if not self._flush_due and not self.paused:
            self._flush_due = True
            self._loop.call_soon(self.flush)

    def _first_items(self) -> list[Item]:
        """Take the first answers, up to `FLUSH_BYTES` or one."""
        size = count = 0
        for item in self._items:
            size += _size(item)
            count += 1
            if size >= settings.FLUSH_BYTES:
                break
        items, self._items = self._items[:count], self._items[count:]
        self._held_bytes -= size
        return items

    async def _resume(self) -> None:
        """Wait until the client has taken what was written: within the budget of all connections, or it is cut."""
        try:
            await self._connection.drain(0)
        except ConnectionError:
            return  # it has gone, or was cut: the session is told
        self.paused = False
        self.flush()
        self._resumed()


def _size(item: Item) -> int:
    if isinstance(item, Answer):
        body, value = item.body, item.value
        return settings.ANSWER_BYTES + (0 if body is None else len(body)) + (0 if value is None else len(value))
    if isinstance(item, Changes):
        return settings.ANSWER_BYTES + sum(map(len, item.events))
    return 0
