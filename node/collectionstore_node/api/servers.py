"""The servers of a node: the client port, the metrics port, and the metrics port of a node that is no member yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web

from collectionstore_node.api.http.answers import Answer, json_answer
from collectionstore_node.api.http.bodies import Arrivals
from collectionstore_node.api.http.call import ApiContext, AuthorizeAdmin
from collectionstore_node.api.http.dispatcher import Dispatcher
from collectionstore_node.api.http.instruments import Diagnostics, HttpMetrics, RenderMetrics, TraceRequest
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.problems import Problem, render
from collectionstore_node.api.http.server import ApiServer
from collectionstore_node.api.url_table import CLIENT, DEBUG, PAGES, PROBES
from collectionstore_node.service import Store

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
    diagnostics: Diagnostics | None = None,
) -> ApiServer:
    """Return the server of the client port: the API, the probes and the debug pages.

    `tls` says whether clients reach the leader by https, `admin_token` whether a token authorizes admins; `trace` is
    None when tracing is disabled.
    """
    api = ApiContext(
        store=store,
        limits=limits,
        metrics=metrics,
        render_metrics=render_metrics,
        authorize_admin=authorize_admin,
        tls=tls,
        admin_token=admin_token,
        arrivals=Arrivals(limits.receiving_bytes_max),
        diagnostics=diagnostics or Diagnostics(),
    )
    metrics.long_requests(lambda: store.long_requests)
    return _counted(ApiServer(Dispatcher(api, (*CLIENT, *PROBES, *DEBUG), trace), limits), metrics)


def make_probe_server(
    store: Store, limits: HttpLimits, metrics: HttpMetrics, *, render_metrics: RenderMetrics
) -> ApiServer:
    """Return the server of the metrics port: the probes, and the debug pages that are read-only."""
    api = ApiContext(
        store=store,
        limits=limits,
        metrics=metrics,
        render_metrics=render_metrics,
        authorize_admin=lambda request: False,
        tls=False,
        arrivals=Arrivals(limits.receiving_bytes_max),
        diagnostics=Diagnostics(),
    )
    return _counted(ApiServer(Dispatcher(api, (*PROBES, *PAGES)), limits), metrics)


def make_waiting_server(reason: Callable[[], str]) -> web.Server:
    """Return the metrics port's server until the node has a certificate: alive, not ready, and `reason()` says why."""

    async def answer(request: web.BaseRequest) -> Answer:
        if request.path == "/livez":
            return json_answer({"alive": True}, headers=b"Cache-Control: no-store\r\n")
        return render(Problem("not_ready", reason()), request_id=_NO_REQUEST_ID, revision=0)

    return web.Server(answer, access_log=None)


def _counted(server: ApiServer, metrics: HttpMetrics) -> ApiServer:
    metrics.connections(lambda: len(server.connections))
    return server
