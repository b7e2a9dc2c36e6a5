"""What a watch answers: a response without an end, or a page that waits until there is something."""

from __future__ import annotations

import asyncio
import weakref
from typing import Final, Protocol, cast

import structlog
from aiohttp import HttpVersion10, web
from aiohttp.abc import AbstractStreamWriter

from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.http.answers import JSON, Answer, Outlet, revision_line
from collectionstore_node.changes import Form, event, write
from collectionstore_node.changes.events import PROGRESS, SLOW
from collectionstore_node.service import Store
from collectionstore_node.service.watches import Told, Watch

SLOW_S: Final = 5.0
"""A client that does not take what it was sent within this is cut: it is told so, and goes on from its token."""

_TYPES: Final = {Form.SSE: b"text/event-stream", Form.LINES: b"application/x-ndjson"}
_HEADERS: Final = b"Content-Type: %s\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n"
"""The last for proxies that would hold events back: nginx, and what follows it."""

log = structlog.get_logger()


class Connected(Outlet, Protocol):
    """The connection as a watch needs it."""

    client: Client | None

    @property
    def gone(self) -> bool:
        """Whether it is closed, or is closing."""

    @property
    def half_closed(self) -> bool:
        """Whether the client sends nothing more: one that has hung up looks like this until something is written."""


class WatchedAnswer(Answer):
    """Events, as long as the client stays. The request has left its place among those in flight by then."""

    def __init__(self, store: Store, watch: Watch, form: Form) -> None:
        super().__init__(200, _HEADERS % _TYPES[form] + revision_line(store.revision))
        self._watch = watch
        self._form = form
        # An answer that is never sent, as its client went first, must not stay open.
        weakref.finalize(self, watch.close)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write events until one ends the watch. Raises `ConnectionError` if the client has gone."""
        outlet, watch = cast(Connected, request.protocol), self._watch
        old = request.version == HttpVersion10
        self._open = False
        outlet.begin_lasting(watch)
        try:
            outlet.write(self.head(b"" if old else b"Transfer-Encoding: chunked\r\n", keep_open=False))
            if request.method != "HEAD":
                await self._send(outlet, chunked=not old)
        finally:
            outlet.end_lasting()
            watch.close()
        return None

    async def _send(self, outlet: Connected, *, chunked: bool) -> None:
        watch = self._watch
        while True:
            told = await watch.next()
            outlet.write(_chunk(self._written(told), chunked=chunked))
            last = told.events[-1].kind if told.ended else ""
            if outlet.writing_paused and not await _taken(outlet):
                slow = event(SLOW, watch.token, reason=f"{SLOW_S:g} s were not enough to take what was sent")
                outlet.write(_chunk(write([slow], self._form), chunked=chunked))
                last = SLOW
                log.info("watch.slow", scope=watch.cursor.selection.scope.kind, revision=watch.position.revision)
            if last:
                watch.close(last)
                if chunked:
                    outlet.write(b"0\r\n\r\n")
                if outlet.writing_paused:
                    # Within the budget of all answers, which closes the connection if nothing is taken.
                    await outlet.drain(0)
                return

    def _written(self, told: Told) -> bytes:
        if told.events:
            return write(told.events, self._form)
        watch = self._watch
        if watch.beginning:
            # Its token is of no use yet, so only the connection is kept alive.
            return b": initial documents\n\n" if self._form is Form.SSE else b"\n"
        return write([event(PROGRESS, watch.token, revision=watch.position.revision)], self._form)


class PolledAnswer(Answer):
    """One page of events: at once if there are some, else when there are, or without any when the time is over."""

    def __init__(self, store: Store, watch: Watch, wait_s: float) -> None:
        super().__init__(200)
        self._store = store
        self._watch = watch
        self._wait_s = wait_s
        weakref.finalize(self, watch.close)

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Wait, and write the response. Raises `ConnectionError` if the client has gone."""
        outlet, watch = cast(Connected, request.protocol), self._watch
        outlet.begin_lasting(watch)
        try:
            told = None if request.method == "HEAD" else await self._find()
            events = [] if told is None else told.events
            self.content = b'{"events":[%s],"token":"%s","revision":%d}' % (
                write(events, Form.ITEMS),
                watch.token.encode(),
                watch.position.revision,
            )
        finally:
            outlet.end_lasting()
            watch.close("page")
        self.header_lines += JSON + b"Cache-Control: no-store\r\n" + revision_line(self._store.revision)
        return await super().prepare(request)

    async def _find(self) -> Told | None:
        if not self._wait_s:
            return await self._watch.next()
        try:
            async with asyncio.timeout(self._wait_s):
                while not (told := await self._watch.next()).events:
                    pass
        except TimeoutError:
            return None
        return told


def _chunk(data: bytes, *, chunked: bool) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if chunked else data


async def _taken(outlet: Outlet) -> bool:
    """Return whether the client takes what was written in time. Raises `ConnectionError`."""
    try:
        async with asyncio.timeout(SLOW_S):
            await outlet.drain(0)
    except TimeoutError:
        return False
    return True
