"""A watch that goes on: over lost connections and stopping members, from the place of the last event that was taken."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from collectionstore.errors import ClientClosed, CollectionStoreError, ConnectionFailure, HistoryLost, problem_error
from collectionstore.runtime.authorization import Authorization
from collectionstore.runtime.backoff import failover_pause_s
from collectionstore.runtime.members import Member, Members
from collectionstore.transport.failures import AttemptFailed, StreamRefused
from collectionstore.transport.stream import Stream
from collectionstore.wire.answers import Answer, answer_error
from collectionstore.wire.operations import GrantWatch, Unwatch, Watch
from collectionstore.wire.requests import json_request

CREDIT: Final = 1_000
RESUME_S: Final = 60.0
"""For so long it is tried to go on; then the error is the user's, who may go on from the token."""
PAGE_WAIT: Final = "20s"
PAGE_S: Final = 25.0

OnGap: TypeAlias = Literal["raise", "resync"]


class WatchItem(msgspec.Struct, gc=False):
    """One event, as docs/reference/watch.md has it; documents are JSON text."""

    event: str
    token: str | None = None
    revision: int = 0
    position: int = 0
    time_ms: int = 0
    op: str = ""
    collection: str | None = None
    id: str | None = None
    document: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    before: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    bucket: str | None = None
    key: str | None = None
    value: str | None = None
    content_type: str | None = None
    index: str | None = None
    last: bool = False
    left: bool = False
    reason: str = ""
    code: str = ""
    detail: str = ""
    kept_after: int = 0
    restart: str | None = None


class _PageOfEvents(msgspec.Struct):
    events: list[WatchItem]
    token: str


_decode_item: Final = msgspec.json.Decoder(WatchItem).decode
_decode_page: Final = msgspec.json.Decoder(_PageOfEvents).decode


class WatchFeed:
    """Belongs to one event loop. `next` gives events in order, each once."""

    def __init__(
        self,
        members: Members,
        authorization: Authorization,
        body: Mapping[str, Any],
        *,
        stream: bool,
        on_gap: OnGap,
        timeout_s: float,
        chance: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`body` is that of `POST /api/v1/:watch`."""
        self._members = members
        self._authorization = authorization
        self._body = dict(body)
        self._streaming = stream
        self._on_gap = on_gap
        self._timeout_s = timeout_s
        self._chance = chance
        self._sleep = sleep
        self._items: deque[WatchItem] = deque()
        self._wake = asyncio.Event()
        self._stream: Stream | None = None
        self._member: Member | None = None
        self._tag = -1
        self._ungranted = 0
        self._last = (-1, -1)
        """Revision and position of the last change that was taken: nothing up to it is told again."""
        self.token: str | None = None
        """Behind the event that `next` gave last: where to go on."""
        self._ended = False
        self._closed = False
        self._began = False
        self._snapshot = body.get("from") == "snapshot"
        """Whether the initial documents are not complete yet."""
        self._showing = False
        """Whether some of them may have been told."""

    async def begin(self) -> None:
        """Open the watch, so that everything behind it is told. Raises CollectionStoreError."""
        if not self._began:
            await self._open(self._timeout_s)
            self._began = True

    async def next(self) -> WatchItem | None:
        """Return the next event; None at the end, which is when the collection was dropped.

        Raises HistoryLost when there is a gap, and CollectionStoreError when it cannot go on.
        """
        await self.begin()
        while not self._ended:
            if self._closed:
                raise ClientClosed("the watch was closed")
            if self._items:
                item = self._items.popleft()
                self._grant()
                if (told := self._taken(item)) is not None:
                    return told
                continue
            if self._stream is None:
                await self._go_on()
                continue
            self._wake.clear()
            await self._wake.wait()
        return None

    async def close(self) -> None:
        """End the watch."""
        self._closed = True
        self._wake.set()
        if self._stream is not None and self._tag >= 0:
            self._stream.end_watch(self._tag, Unwatch(watch=self._tag))
        self._stream = None

    def _taken(self, item: WatchItem) -> WatchItem | None:
        """Return the item if it is to be told."""
        kind = item.event
        if kind == "change":
            place = (item.revision, item.position)
            if place <= self._last:
                return None
            self._last = place
            self.token = item.token or self.token
            return item
        if kind == "progress":
            self.token = item.token or self.token
            return None
        if kind in ("document", "ready", "resync"):
            if kind == "ready":
                self._snapshot = False
                self.token = item.token
                self._last = max(self._last, (item.revision, 1 << 30))
            return item
        self._drop()
        if kind == "invalidate":
            self.token = item.token or self.token
            self._ended = True
            return item
        if kind == "gone":
            self._lost_history(HistoryLost(_gone(item)))
        elif kind == "failed":
            problem = {"code": item.code, "status": 422, "detail": item.detail, "outcome": "not_applied"}
            raise problem_error(problem)
        return None  # slow, moved, lost: it goes on

    def _lost_history(self, error: HistoryLost) -> None:
        if self._on_gap == "raise":
            raise error
        self.token = None
        self._body.pop("consumer", None)
        self._body["from"] = "snapshot"
        self._snapshot, self._showing = True, False
        self._items.append(WatchItem(event="resync"))

    def _drop(self) -> None:
        self._stream = None
        self._tag = -1
        self._wake.set()

    def _told(self, answer: Answer) -> None:
        if answer.event == "lost":
            self._items.append(WatchItem(event="lost"))
            if self._member is not None:
                self._members.failed(self._member)
        for text in answer.events:
            self._items.append(_decode_item(text))
        self._wake.set()

    def _grant(self) -> None:
        self._ungranted += 1
        if self._ungranted >= CREDIT // 2 and self._stream is not None:
            self._stream.send(GrantWatch(watch=self._tag, credit=self._ungranted))
            self._ungranted = 0

    async def _go_on(self) -> None:
        """Open it again, or get the next page where there are no streams."""
        if self._snapshot and self._showing:
            # What was told of the snapshot is not known to be of one state: all of it comes again.
            self._items.append(WatchItem(event="resync"))
            self._showing = False
        await self._open(RESUME_S)

    async def _open(self, patience_s: float) -> None:
        deadline = asyncio.get_running_loop().time() + patience_s
        attempt = 0
        avoid: tuple[Member, ...] = ()
        while True:
            member = self._members.pick(leader=False, stale=True, avoid=avoid)
            error: CollectionStoreError
            try:
                await self._open_at(member, patience_s)
                return
            except AttemptFailed as failure:
                self._members.failed(member)
                avoid = (member,)
                error = ConnectionFailure(f"{member.url}: {failure}", retryable=True)
            except HistoryLost as lost:
                self._lost_history(lost)
                return
            except CollectionStoreError as refused:
                if not refused.retryable:
                    raise
                avoid = (member,)
                error = refused
            attempt += 1
            pause_s = max(failover_pause_s(attempt, self._chance), getattr(error, "retry_after_s", None) or 0.005)
            if asyncio.get_running_loop().time() + pause_s >= deadline:
                raise error
            await self._sleep(pause_s)

    async def _open_at(self, member: Member, timeout_s: float) -> None:
        body = dict(self._body)
        if self.token is not None:
            body["from"] = self.token
            # From a token of its own a watch goes on where it was, whatever was acknowledged meanwhile.
        if self._streaming and member.streams_work:
            try:
                stream = await member.stream(self._authorization)
            except StreamRefused as refused:
                if (code := _REFUSALS.get(refused.status)) is not None:
                    detail = "the credentials of the watch were refused"
                    problem = {"code": code, "status": refused.status, "detail": detail, "outcome": "not_applied"}
                    raise problem_error(problem) from None
                if member.streams_work:
                    raise
            else:
                await self._open_stream(stream, member, body, timeout_s)
                return
        await self._page(member, body)

    async def _open_stream(self, stream: Stream, member: Member, body: dict[str, Any], timeout_s: float) -> None:
        if self.token is not None:
            body.pop("consumer", None)
            body |= self._consumed
        operation = Watch(watch=msgspec.json.encode(body), credit=CREDIT)
        answer = await stream.call(operation, min(timeout_s, 10.0), self._told)
        if answer.status >= 400:
            raise answer_error(answer)
        self._stream, self._member, self._tag, self._ungranted = stream, member, operation.tag, 0
        self._showing = self._snapshot
        if self.token is None and not self._snapshot and answer.body is not None:
            self.token = msgspec.json.decode(answer.body).get("token")
        if self._closed:
            await self.close()

    _consumed: Mapping[str, Any] = {}
    """What the consumer asks for, when it goes on by a token of its own."""

    def of_consumer(self, wanted: Mapping[str, Any]) -> None:
        """Say what the consumer in the body asks for: behind a lost connection it is asked for directly."""
        self._consumed = dict(wanted)

    async def _page(self, member: Member, body: dict[str, Any]) -> None:
        if body.get("from") == "snapshot":
            raise CollectionStoreError("a watch from a snapshot needs streams, which do not work here")
        first = not self._began and self.token is None
        collection, bucket = body.pop("collection", None), body.pop("bucket", None)
        path = f"/collections/{collection}:watch" if collection else f"/kv/{bucket}:watch" if bucket else "/:watch"
        consumer = body.pop("consumer", None)
        request = json_request("POST", path, msgspec.json.encode(body), timed=False)
        request.parameters["wait"] = "0s" if first else PAGE_WAIT
        if consumer is not None and self.token is None:
            request = json_request("GET", f"{path}", timed=False)
            request.parameters |= {"wait": PAGE_WAIT, "consumer": consumer}
        answer = await member.request(request, await self._authorization.headers(), PAGE_S)
        if answer.status >= 400:
            raise answer_error(answer)
        page = _decode_page(answer.body)
        self._items.extend(page.events)
        if not page.events:
            self.token = page.token


_REFUSALS: Final = {401: "unauthorized", 403: "forbidden"}


def _gone(item: WatchItem) -> dict[str, Any]:
    return {
        "code": "history_gone",
        "status": 410,
        "detail": "the changes behind the watch's place are not kept any more",
        "outcome": "not_applied",
        "kept_after": item.kept_after,
        "restart": item.restart,
    }
