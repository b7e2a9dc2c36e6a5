"""What a pipeline needs of its connection and of its server, as interfaces."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web
from multidict import CIMultiDictProxy

from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.budgets.sending import Reader, Sending
from collectionstore_node.api.hot.heads import Heads
from collectionstore_node.api.hot.request import Halves, Line
from collectionstore_node.api.http.answers import Answer, Outlet
from collectionstore_node.api.http.direct import Place
from collectionstore_node.api.http.guard import Guard
from collectionstore_node.api.http.guard import Line as GuardedLine


class HotExchange(Halves, Protocol):
    """What answers the requests."""

    @property
    def traced(self) -> bool:
        """Whether spans are made, each in the context of its request."""

    @property
    def guard(self) -> Guard | None:
        """What finds callers; None where nobody asks for them."""

    def has_room(self, client: Client | None) -> bool:
        """Return whether one more request of this client would be admitted now."""

    def place(self, method: str, before: str) -> Place | None:
        """Return where requests in halves go whose paths differ behind `before` and a slash; None for nowhere."""

    def refusal(self, connection: object, method: str, target: str, headers: CIMultiDictProxy[str]) -> Answer | None:
        """Return the answer of a request that is refused before it is looked at; None if it is not."""

    def refusal_at(self, connection: object, place: Place) -> Answer | None:
        """Do as `refusal`, for a request in halves."""

    def pressed(self, connection: object) -> bool:
        """Return whether `refused_at_once` may have an answer."""

    def refused_at_once(self, connection: object, place: Place) -> bytes | None:
        """Do as `refusal_at`, and return the whole message."""

    def handle(self, request: web.BaseRequest) -> Coroutine[Any, Any, Answer]:
        """Answer a request; raises nothing but cancellation."""


@dataclass(frozen=True, slots=True)
class HotSurroundings:
    """What the pipelines of all connections of a server share."""

    exchange: HotExchange
    heads: Heads
    sending: Sending
    loop: asyncio.AbstractEventLoop


class Wire(Line, Outlet, Reader, GuardedLine, Protocol):
    """The connection as its pipeline needs it."""

    @property
    def half_closed(self) -> bool:
        """Whether the client sends nothing more."""

    def write(self, data: bytes | memoryview) -> None:
        """Hand bytes to the transport. Raises `ConnectionError` when it is closed."""

    def receive(self, data: bytes) -> None:
        """Take bytes that the general path serves."""

    def hold_reading(self) -> None:
        """Read nothing until `release_reading`."""

    def release_reading(self) -> None:
        """Read on."""

    def answered(self, *, last: bool) -> None:
        """Note that answers were written; the connection ends after the `last` one."""

    def at_rest(self) -> None:
        """Note that nothing is pending here any more."""

    @property
    def staying(self) -> bool:
        """Whether the connection goes on behind the answer that is made now."""

    def reply(self, data: bytes) -> None:
        """Write an answer while it does."""

    @property
    def gone(self) -> bool:
        """Whether the connection is closed, or is closing."""

    def abort(self) -> None:
        """Close the connection at once."""
