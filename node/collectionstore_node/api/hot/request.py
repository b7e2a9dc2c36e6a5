"""`HotRequest`: a request that has arrived completely, and its answer until it is sent."""

from __future__ import annotations

from typing import Final, Protocol

from aiohttp import HttpVersion11
from multidict import CIMultiDictProxy

from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.hot.driving import Drive
from collectionstore_node.api.http.answers import Answer


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

    def unsent(self) -> int:
        """Return how many bytes wait in this process."""
        own = 0 if self.answer is None else len(self.answer.content)
        return own + self.line.unsent()

    def cut(self, reason: str) -> None:
        """Close the connection at once."""
        self.line.cut(reason)
