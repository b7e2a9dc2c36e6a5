"""The HTTP server of a port.

Built on `aiohttp.web.Server`, the layer below `web.Application`: measured on one core, a small PUT through an
application with aiohttp's router and `Response` costs 121 us, the same through this server 41 us plus the handler.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from aiohttp import web

from collectionstore_node.api.budgets.budgets import Budgets
from collectionstore_node.api.connections.checks import HEAD_BYTES_MAX, IsOurs, check_message
from collectionstore_node.api.connections.connection import (
    FIELD_BYTES_MAX,
    HEADERS_MAX,
    Connection,
)
from collectionstore_node.api.connections.intake import Intake
from collectionstore_node.api.connections.surroundings import Arriving, Exchange, Surroundings
from collectionstore_node.api.hot.heads import HeadBounds, Heads
from collectionstore_node.api.hot.surroundings import HotExchange, HotSurroundings
from collectionstore_node.api.http.guard import Guard
from collectionstore_node.api.http.limits import HttpLimits

SWEEP_S: Final = 1.0
"""How often slow clients are looked for."""


class ApiServer(web.Server):
    """Makes the connections of a port and looks after them; make it inside the event loop."""

    def __init__(
        self,
        exchange: Exchange,
        limits: HttpLimits,
        budgets: Budgets,
        *,
        is_ours: IsOurs | None = None,
        hot: HotExchange | None = None,
        stopping: Callable[[], None] | None = None,
        guard: Guard | None = None,
    ) -> None:
        """`is_ours` is None when requests for every host are served; `hot` answers those of the hot path, if any.

        `stopping` ends what would not end by itself, when the node stops.
        """
        super().__init__(exchange.handle)
        self._stopping = stopping
        self._event_loop = asyncio.get_running_loop()
        self._budgets = budgets
        self._heads: dict[Arriving, float] = {}
        surroundings = None
        if hot is not None:
            bounds = HeadBounds(HEAD_BYTES_MAX, limits.target_bytes_max, FIELD_BYTES_MAX, HEADERS_MAX)
            heads = Heads(bounds, partial(check_message, is_ours=is_ours), hot.place)
            surroundings = HotSurroundings(hot, heads, budgets.sending, self._event_loop)
        self._around = Surroundings(
            self,
            exchange,
            limits,
            budgets,
            self._heads,
            is_ours,
            self._event_loop,
            Intake(self._event_loop, budgets.overdue),
            surroundings,
            guard,
        )
        self._sweeping = self._event_loop.call_later(SWEEP_S, self._sweep)

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self._around)

    def sweep(self, now: float) -> None:
        """End what is too slow; `now` is loop time."""
        for connection, since in tuple(self._heads.items()):
            connection.check_head(now - since)
        self._budgets.sweep(now)

    def pre_shutdown(self) -> None:
        """End answers that have no end, and close idle connections."""
        if self._stopping is not None:
            self._stopping()
        super().pre_shutdown()

    async def shutdown(self, timeout: float | None = None) -> None:
        """Let requests finish, then close all connections."""
        self._sweeping.cancel()
        await super().shutdown(timeout)

    def _sweep(self) -> None:
        self._sweeping = self._event_loop.call_later(SWEEP_S, self._sweep)
        self.sweep(self._event_loop.time())
