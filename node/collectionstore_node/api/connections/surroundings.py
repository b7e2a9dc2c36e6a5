"""What the connections of one server share, and what takes one over."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from aiohttp import web

from collectionstore_node.api.budgets.budgets import Budgets
from collectionstore_node.api.connections.checks import IsOurs
from collectionstore_node.api.connections.intake import Intake
from collectionstore_node.api.hot.surroundings import HotSurroundings
from collectionstore_node.api.http.guard import Guard
from collectionstore_node.api.http.limits import HttpLimits


class Exchange(Protocol):
    """What answers the requests of a server."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; raises nothing but cancellation."""

    def refuse(self, request: web.BaseRequest, error: Exception) -> web.StreamResponse:
        """Return the problem details of `error`."""

    def cut(self, reason: str) -> None:
        """Count a connection that was closed because its client is too slow."""


@runtime_checkable
class Upgraded(Protocol):
    """What has taken over a connection: in place of aiohttp's WebSocket, it is handed the bytes that arrive."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take bytes of the client."""

    def drain(self) -> None:
        """Take no more requests, and close the connection when those in progress are answered."""


class Arriving(Protocol):
    """A connection on which a request arrives."""

    def check_head(self, age_s: float) -> None:
        """Refuse a request whose headers do not arrive; `age_s` is since its first byte."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all connections of one server share."""

    server: web.Server
    exchange: Exchange
    limits: HttpLimits
    budgets: Budgets
    heads: dict[Arriving, float]
    """Connections on which a request has begun whose headers are not complete, and since when."""
    is_ours: IsOurs | None
    loop: asyncio.AbstractEventLoop
    intake: Intake
    hot: HotSurroundings | None = None
    """None where every request takes the general path."""
    guard: Guard | None = None
    """Finds callers; None where nobody asks for them."""
