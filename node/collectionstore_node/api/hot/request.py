"""`HotRequest`: a request that has arrived completely, and its answer until it is sent."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

from aiohttp import HttpVersion11
from multidict import CIMultiDictProxy

from collectionstore_node.access.callers import Caller
from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.hot.driving import Drive
from collectionstore_node.api.http.answers import Answer
from collectionstore_node.api.http.direct import Asker, DirectCall, Place
from collectionstore_node.service.operations import Ref, Write


class Body:
    """A body at hand, with what handlers use of a stream."""

    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        self._content = content

    def is_eof(self) -> bool:
        """Return that all of it has arrived."""
        return True

    def read_nowait(self) -> bytes:
        """Return all of it."""
        return self._content


NO_BODY: Final = Body(b"")


class Line(Protocol):
    """The connection as its requests need it."""

    client: Client | None

    @property
    def scheme(self) -> str:
        """`http` or `https`."""

    @property
    def remote(self) -> str | None:
        """The client's address."""

    def unsent(self) -> int:
        """Return how many bytes of answers wait in this process."""

    def cut(self, reason: str) -> None:
        """Close the connection at once, because its client is too slow."""


class Halves(Protocol):
    """What serves requests in halves."""

    def begin(self, call: DirectCall) -> None:
        """Begin a request; `call.asker` is told the answer, perhaps before this returns. Raises nothing."""

    def settled(self, call: DirectCall) -> None:
        """Go on with a request whose operation has a result: later, but perhaps in this turn of the loop."""


class HotRequest:
    """What the dispatcher and the handlers of the hot routes use of `aiohttp.web.BaseRequest`, and the answer.

    It is its own `protocol`: a `budgets.sending.Reader`, so that each of several answers that wait is counted.
    """

    __slots__ = ("alone", "answer", "charged", "content", "drive", "headers", "line", "method", "raw_path")

    version: Final = HttpVersion11

    def __init__(
        self, line: Line, method: str, target: str, headers: CIMultiDictProxy[str], content: Body, *, alone: bool
    ) -> None:
        """`alone` says that it runs beside no other request of the connection."""
        self.line = line
        self.method = method
        self.raw_path = target
        self.headers = headers
        self.content = content
        self.alone = alone
        self.drive: Drive[Answer, HotRequest] | None = None
        self.answer: Answer | None = None
        """None until it was made."""
        self.charged = False
        """Whether the answer is counted as waiting for the client."""

    @property
    def protocol(self) -> HotRequest:
        """The reader of the answer, and the client it is counted for."""
        return self

    @property
    def client(self) -> Client | None:
        """All connections from the client's address."""
        return self.line.client

    @property
    def scheme(self) -> str:
        """`http` or `https`."""
        return self.line.scheme

    @property
    def remote(self) -> str | None:
        """The client's address."""
        return self.line.remote

    def cancel(self) -> None:
        """End what it waits for, as the cancellation of a task does."""
        if self.drive is not None:
            self.drive.cancel()

    def unsent(self) -> int:
        """Return how many bytes wait in this process."""
        own = 0 if self.answer is None else len(self.answer.content)
        return own + self.line.unsent()

    def cut(self, reason: str) -> None:
        """Close the connection at once."""
        self.line.cut(reason)


class DirectRequest(HotRequest):
    """A request that is served in halves. Implements `DirectCall`: its operation tells it the result, and no future."""

    __slots__ = (
        "_done",
        "_halves",
        "admitted",
        "again",
        "asker",
        "began",
        "body",
        "caller",
        "entered",
        "error",
        "key",
        "last",
        "place",
        "result",
        "target",
        "task",
    )
    began: float
    entered: float
    result: Any
    target: Ref | Write

    def __init__(
        self,
        line: Line,
        place: Place,
        last: str,
        headers: CIMultiDictProxy[str],
        key: str | None,
        body: bytes,
        asker: Asker,
        halves: Halves,
    ) -> None:
        # Not the constructor of the base: nothing here asks for the target or a stream.
        self.line = line
        self.method = place.method
        self.headers = headers
        self.alone = body != b""
        self.drive = self.answer = None
        self.error: BaseException | None = None
        self.caller: Caller | None = None
        self.task: asyncio.Task[Any] | None = None
        self.charged = self.admitted = self.again = self._done = False
        self.place = place
        self.last = last
        self.key = key
        self.body = body
        self.asker = asker
        self._halves = halves

    def done(self) -> bool:
        """Whether a result is there, or nothing waits for one."""
        return self._done

    def set_result(self, result: Any) -> None:
        """Take the result of the operation."""
        self.result = result
        self._done = True
        self._halves.settled(self)

    def set_exception(self, exception: BaseException) -> None:
        """Take the error in place of the result."""
        self.error = exception
        self._done = True
        self._halves.settled(self)

    def wait_again(self) -> None:
        """Take another result."""
        self.error = None
        self._done = False
        self.again = True

    def cancel(self) -> None:
        """End what it waits for; nothing if it waits for its turn to be sent."""
        if self.answer is not None:
            return  # its operation has ended, or was refused and never began
        if self.task is not None:
            self.task.cancel()
        elif not self._done:
            self.set_exception(asyncio.CancelledError())
