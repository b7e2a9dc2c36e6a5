"""Watches on a stream: many on one connection, each telling as many events as its client has granted."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
import structlog

from collectionstore_node.api.handlers.watch_answers import SLOW_S
from collectionstore_node.api.handlers.watching import ScopedWatching, consumed, open_watch, position_of, selected
from collectionstore_node.api.http.call import ApiContext
from collectionstore_node.api.http.json_bodies import compact_json, decode
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.api.stream import operations, settings
from collectionstore_node.api.stream.conversion import check_size, consistency
from collectionstore_node.api.stream.flight import Flight, Stream
from collectionstore_node.api.stream.operations import Answer, Changes
from collectionstore_node.changes import Event, event
from collectionstore_node.changes.events import PROGRESS, SLOW
from collectionstore_node.lifecycle import NO_MEMORY, end_without_memory
from collectionstore_node.service.operations import WatchChanges
from collectionstore_node.service.watches import Watch

log = structlog.get_logger()

_LEFT: Final = "left"


class StreamWatching(ScopedWatching, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a watch of a stream asks for."""

    consumer: str | None = None


class StreamWatch:
    """One watch of a stream, known by the tag of the operation that opened it."""

    def __init__(self, stream: Stream, tag: int, watch: Watch, credit: int) -> None:
        """`credit` is how many events may be told before more are granted."""
        self._stream = stream
        self._tag = tag
        self._watch = watch
        self._credit = credit
        self._granted = asyncio.Event()
        self._reason = _LEFT
        self._task = asyncio.get_running_loop().create_task(self._run(), name="stream-watch")
        # Not at the end of the task itself: one that is cancelled before its first step has none.
        self._task.add_done_callback(self._ended)

    def grant(self, events: int) -> None:
        """Let more events be told."""
        self._credit = min(self._credit + events, settings.WATCH_CREDIT_MAX)
        self._granted.set()

    def drain(self) -> None:
        """Have it say that the node stops, whatever its credit."""
        self._granted.set()

    def end(self) -> None:
        """End it without another event."""
        self._task.cancel()

    async def _run(self) -> None:
        try:
            self._reason = await self._tell()
        except ConnectionError:
            pass  # the client has gone, which is how most watches end
        except NO_MEMORY as error:
            end_without_memory("watch", error)
        except Exception as error:  # the boundary: its client must not wait for ever
            log.error("connection.failed", exc_info=error)
            self._stream.hang_up()

    def _ended(self, _task: asyncio.Task[None]) -> None:
        self._watch.close(self._reason)
        self._stream.watch_ended(self._tag)

    async def _tell(self) -> str:
        """Return the kind of the last event."""
        stream, watch = self._stream, self._watch
        while True:
            while self._credit <= 0 and not stream.draining:
                self._granted.clear()
                await self._granted.wait()
            told = await watch.next()
            events = told.events
            if not events and not watch.beginning:
                events = [event(PROGRESS, watch.token, revision=watch.position.revision)]
            if events:
                self._send(events, ended=told.ended)
            self._credit -= len(told.events)
            if told.ended:
                return told.events[-1].kind
            if stream.crowded and not await self._room():
                slow = event(SLOW, watch.token, reason=f"{SLOW_S:g} s were not enough to take what was sent")
                self._send([slow], ended=True)
                log.info("watch.slow", scope=watch.cursor.selection.scope.kind, revision=watch.position.revision)
                return SLOW

    async def _room(self) -> bool:
        """Return whether the client takes what was sent in time."""
        try:
            async with asyncio.timeout(SLOW_S):
                while self._stream.crowded:
                    await self._stream.room()
        except TimeoutError:
            return False
        return True

    def _send(self, events: list[Event], *, ended: bool) -> None:
        json = self._stream.codec.json
        told = [json(one.text) for one in events]
        self._stream.tell(Changes(watch=self._tag, events=told, token=self._watch.token, ended=ended))


class Watching:
    """Executes the operations on watches."""

    def __init__(self, api: ApiContext) -> None:
        self._api = api
        self._rules = Rules(api.limits.depth_max, names_depth=0)

    async def open(self, stream: Stream, flight: Flight, operation: operations.Watch) -> None:
        """Open a watch; its events follow the answer."""
        store, text = self._api.store, bytes(operation.watch)
        check_size(len(text), self._api.limits.control_bytes_max)
        _check_place(stream, operation.tag)
        credit = _credit(operation.credit)
        asked, body = consistency(operation), decode(compact_json(text, self._rules), StreamWatching)
        if body.consumer is None:
            selection = await selected(store, body.scope, body, timeout_s=flight.left_s)
            request = WatchChanges(selection, position_of(store.watches.tokens, body.from_))
        else:
            request = WatchChanges(
                *await consumed(store, body.scope, body.consumer, body, consistency=asked, timeout_s=flight.left_s)
            )
        watch = await open_watch(
            store,
            request,
            stream.client,
            lambda: stream.ended,
            consistency=asked,
            timeout_s=flight.left_s,
        )
        # Again: others may have been opened meanwhile, and the client may have left.
        try:
            _check_place(stream, operation.tag)
        except Problem:
            watch.close()
            raise
        told: dict[str, Any] = {"watch": operation.tag, "token": watch.token}
        stream.answer(
            flight,
            Answer(
                tag=operation.tag,
                status=200,
                revision=watch.position.revision,
                body=stream.codec.json(orjson.dumps(told)),
            ),
        )
        stream.watches[operation.tag] = StreamWatch(stream, operation.tag, watch, credit)

    def grant(self, stream: Stream, flight: Flight, operation: operations.GrantWatch) -> None:
        """Let a watch tell more events; nothing if it has ended."""
        events = _credit(operation.credit)
        if (found := stream.watches.get(operation.watch)) is not None:
            found.grant(events)
        self._done(stream, flight)

    def close(self, stream: Stream, flight: Flight, operation: operations.Unwatch) -> None:
        """End a watch; nothing if it has ended."""
        if (found := stream.watches.get(operation.watch)) is not None:
            found.end()
        self._done(stream, flight)

    def _done(self, stream: Stream, flight: Flight) -> None:
        stream.answer(flight, Answer(tag=flight.operation.tag, status=200, revision=self._api.store.revision))


def _check_place(stream: Stream, tag: int) -> None:
    if stream.ended or stream.draining:
        raise Problem("unavailable", "the stream takes no more watches")
    if len(stream.watches) >= settings.STREAM_WATCHES_MAX or tag in stream.watches:
        raise Problem(
            "invalid_body", f"a stream has at most {settings.STREAM_WATCHES_MAX} watches, each with a tag of its own"
        )


def _credit(events: int) -> int:
    if not 0 < events <= settings.WATCH_CREDIT_MAX:
        raise Problem("invalid_body", f"credit is 1 to {settings.WATCH_CREDIT_MAX} events")
    return events
