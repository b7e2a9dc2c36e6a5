"""Probes of the operator: whether its loops make progress and its Lease is renewed, not just whether it responds.

/metrics is served beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry

from collectionstore_operator.observability.metrics import add_metrics

STUCK_S: Final = 300.0
"""Longer than a round takes: a request to the API server times out after 20 s, one to a node after 10 s. The wait for
a turn is no part of it, see `kubernetes.turns`."""


class Health:
    """Sources of the probes; loops and Lease report the seconds since they last made progress."""

    def __init__(self) -> None:
        self.slowest_loop_s: Callable[[], float] = lambda: 0.0
        self.listing_s: Callable[[], float] = lambda: 0.0
        """Since the resources were last listed, successfully or not."""
        self.watch_behind_s: Callable[[], float] = lambda: 0.0
        """For how long the watch of the resources has not delivered what a list shows."""
        self.lease_s: Callable[[], float] | None = None
        """None while another operator holds the Lease."""
        self.ready: Callable[[], bool] = lambda: False

    def report(self) -> dict[str, object]:
        """Return the state as JSON values; the liveness probe fails while `stuck`."""
        loop_s, lease_s = self.slowest_loop_s(), self.lease_s() if self.lease_s is not None else None
        listing_s, behind_s = self.listing_s(), self.watch_behind_s()
        slowest_s = max(loop_s, lease_s or 0.0, listing_s, behind_s)
        return {
            "leading": lease_s is not None,
            "ready": self.ready(),
            "slowestLoopSeconds": round(loop_s, 1),
            "leaseSeconds": round(lease_s, 1) if lease_s is not None else None,
            "listingSeconds": round(listing_s, 1),
            "watchBehindSeconds": round(behind_s, 1),
            "stuck": slowest_s > STUCK_S,
        }


def application(health: Health, registry: CollectorRegistry | None = None) -> web.Application:
    """Return the routes: /livez fails while a loop or the watch is stuck, /readyz before the first watch works."""

    async def livez(_request: web.Request) -> web.Response:
        found = health.report()
        return web.json_response(found, status=503 if found["stuck"] else 200)

    async def readyz(_request: web.Request) -> web.Response:
        found = health.report()
        return web.json_response(found, status=200 if found["ready"] or not found["leading"] else 503)

    app = web.Application()
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    add_metrics(app, registry or CollectorRegistry())
    return app
