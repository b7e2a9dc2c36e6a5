"""The servers of a node: the client port, the metrics port, and the metrics port of a node that is no member yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from aiohttp import web

from collectionstore_node.api.budgets.budgets import Budgets
from collectionstore_node.api.budgets.clients import Clients
from collectionstore_node.api.budgets.sending import Sending
from collectionstore_node.api.budgets.uploads import Uploads
from collectionstore_node.api.connections.checks import IsOurs
from collectionstore_node.api.connections.server import ApiServer
from collectionstore_node.api.console import CONSOLE
from collectionstore_node.api.http.accounting import Accounting
from collectionstore_node.api.http.answers import Answer, json_answer
from collectionstore_node.api.http.call import ApiContext, AuthorizeAdmin
from collectionstore_node.api.http.dispatcher import Dispatcher
from collectionstore_node.api.http.guard import Guard
from collectionstore_node.api.http.instruments import (
    Diagnostics,
    HttpMetrics,
    RenderMetrics,
    TraceOperation,
    TraceRequest,
)
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.problems import Problem, render
from collectionstore_node.api.http.router import Route
from collectionstore_node.api.openapi import described
from collectionstore_node.api.stream.endpoint import StreamEndpoint
from collectionstore_node.api.url_table import CLIENT, DEBUG, PAGES, PROBES, streams
from collectionstore_node.service import Store

PROBE_UNSENT_BYTES_MAX: Final = 16 << 20
"""On the metrics port: the exposition has a few hundred KiB."""

_NO_REQUEST_ID: Final = "waiting"


def make_client_server(
    store: Store,
    limits: HttpLimits,
    metrics: HttpMetrics,
    *,
    render_metrics: RenderMetrics,
    authorize_admin: AuthorizeAdmin,
    tls: bool,
    admin_token: bool = False,
    trace: TraceRequest | None = None,
    trace_operation: TraceOperation | None = None,
    diagnostics: Diagnostics | None = None,
    is_ours: IsOurs | None = None,
    hot: bool = True,
    guard: Guard | None = None,
    accounting: Accounting | None = None,
) -> ApiServer:
    """Return the server of the client port: the API, the probes and the debug pages.

    `tls` says whether clients reach the leader by https, `admin_token` whether a token authorizes admins; `trace` and
    `trace_operation` are None when tracing is disabled; `is_ours` is None when requests for every host are served.
    `guard` finds callers, None where nobody asks for them; `accounting` has limits and the audit log. Without `hot`
    every request takes the general path, as tests compare the two.
    """
    clock = asyncio.get_running_loop().time
    api = ApiContext(
        store=store,
        limits=limits,
        metrics=metrics,
        render_metrics=render_metrics,
        authorize_admin=authorize_admin,
        tls=tls,
        admin_token=admin_token,
        budgets=Budgets(
            Sending(limits.unsent_bytes_max, clock),
            Uploads(limits.receiving_bytes_max, limits.uploads_max, clock),
            Clients(max(1, int(store.limits.inflight_requests_max * limits.address_inflight_share))),
        ),
        diagnostics=diagnostics or Diagnostics(),
        guard=guard,
        accounting=accounting,
    )
    metrics.long_requests(lambda: store.long_requests)
    endpoint = StreamEndpoint(api, trace_operation)
    return _server(
        api,
        described((*CLIENT, *streams(endpoint), *CONSOLE, *PROBES, *DEBUG)),
        is_ours,
        trace,
        hot=hot,
        stopping=store.watches.stop,
    )


def make_probe_server(
    store: Store,
    limits: HttpLimits,
    metrics: HttpMetrics,
    *,
    render_metrics: RenderMetrics,
    is_ours: IsOurs | None = None,
    guard: Guard | None = None,
) -> ApiServer:
    """Return the server of the metrics port: the probes, and the debug pages that are read-only.

    `guard` is None where everybody who reaches the port may read all of that.
    """
    api = ApiContext(
        store=store,
        limits=limits,
        metrics=metrics,
        render_metrics=render_metrics,
        authorize_admin=lambda request: False,
        tls=False,
        budgets=_probe_budgets(),
        diagnostics=Diagnostics(),
        guard=guard,
    )
    return _server(api, (*PROBES, *PAGES), is_ours)


def make_waiting_server(reason: Callable[[], str], *, is_ours: IsOurs | None = None) -> ApiServer:
    """Return the metrics port's server until the node has a certificate: alive, not ready, and `reason()` says why."""
    return ApiServer(_Waiting(reason), HttpLimits(), _probe_budgets(), is_ours=is_ours)


class _Waiting:
    """Implements `Exchange` for a node that is no member yet, and counts nothing."""

    def __init__(self, reason: Callable[[], str]) -> None:
        self._reason = reason

    async def handle(self, request: web.BaseRequest) -> Answer:
        """Answer a request."""
        if request.rel_url.raw_path == "/livez":
            return json_answer({"alive": True}, headers=b"Cache-Control: no-store\r\n")
        return self.refuse(request, Problem("not_ready", self._reason()))

    def refuse(self, request: web.BaseRequest, error: Exception) -> Answer:
        """Return the problem details of `error`."""
        problem = error if isinstance(error, Problem) else Problem("internal_error", "see the node's log")
        return render(problem, request_id=_NO_REQUEST_ID, revision=0)

    def cut(self, reason: str) -> None:
        """Do nothing."""


def _probe_budgets() -> Budgets:
    clock = asyncio.get_running_loop().time
    # Probes take no body, and no place among the requests in flight.
    return Budgets(Sending(PROBE_UNSENT_BYTES_MAX, clock), Uploads(0, 0, clock), Clients(0))


def _server(
    api: ApiContext,
    routes: Iterable[Route],
    is_ours: IsOurs | None,
    trace: TraceRequest | None = None,
    *,
    hot: bool = False,
    stopping: Callable[[], None] | None = None,
) -> ApiServer:
    dispatcher = Dispatcher(api, routes, trace)
    server = ApiServer(
        dispatcher,
        api.limits,
        api.budgets,
        is_ours=is_ours,
        hot=dispatcher if hot else None,
        stopping=stopping,
        guard=api.guard,
    )
    api.metrics.connections(lambda: len(server.connections))
    return server
