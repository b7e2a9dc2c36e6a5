"""The HTTP server: one thin function around every handler, and problem details for everything that goes wrong.

Built on `aiohttp.web.Server`, the layer below `web.Application`: measured on one core, a small PUT through an
application with aiohttp's router and `Response` costs 121 us, the same through this server 41 us plus the handler.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable
from itertools import count
from time import perf_counter
from typing import Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from multidict import istr

from collectionstore_node.api.answers import Answer
from collectionstore_node.api.bodies import Arrivals
from collectionstore_node.api.idempotency import IDEMPOTENCY_KEY
from collectionstore_node.api.limits import Limits
from collectionstore_node.api.options import default_options, parse_options
from collectionstore_node.api.ports import (
    Api,
    AuthorizeAdmin,
    Call,
    Diagnostics,
    HttpMetrics,
    RenderMetrics,
    ReplicaPort,
    TraceRequest,
)
from collectionstore_node.api.problems import Problem, problem_of, render
from collectionstore_node.api.routes import CLIENT, DEBUG, PAGES, PROBES, Entry, Route, Router
from collectionstore_node.errors import Fatal, NodeError, NotLeader
from collectionstore_node.replica.node_ids import show_id

log = structlog.get_logger()

FIELD_BYTES_MAX: Final = 8190
"""Name and value of one header."""
KEEPALIVE_S: Final = 75.0

_REQUEST_ID_HEADER: Final = istr("X-Request-Id")
_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_SAFE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))


class Dispatcher:
    """Finds the handler of a request, counts it, and turns whatever is raised into an answer."""

    def __init__(
        self, api: Api, routes: Iterable[Route], metrics: HttpMetrics, trace: TraceRequest | None = None
    ) -> None:
        self._api = api
        self._trace = trace
        self._router = Router(routes, metrics)
        self._metrics = metrics
        self._unrouted = metrics.route("unmatched", "any")
        self._defaults = default_options(api.limits)
        self._slow_s = api.diagnostics.slow.thresholds.http_s
        self._inflight = 0
        self._request_ids = count(1)
        self._process = os.urandom(4).hex()
        metrics.inflight(lambda: self._inflight)
        metrics.arriving(lambda: api.arrivals.size_bytes)

    async def handle(self, request: web.BaseRequest) -> Answer:
        """Answer `request`; raises nothing but cancellation."""
        started = perf_counter()
        counters, entry, call, traced = self._unrouted, None, None, None
        self._inflight += 1
        try:
            target = request.raw_path
            if not target.startswith("/"):
                target = request.rel_url.raw_path_qs  # absolute form, as sent to proxies
            path, _, query = target.partition("?")
            entry, arguments = self._router.find(request.method, path)
            counters = entry.metrics
            if self._trace is not None and not entry.probe:
                traced = self._trace(request, request.method, entry.pattern)
            self._check_bounds(target, entry)
            options = parse_options(query, entry.parameters, self._api.limits) if query else self._defaults
            if options.redirect and not self._api.replica.is_leader:
                answer = self._redirect(target)
            else:
                call = Call(self._api, request, arguments, options)
                answer = await entry.handler(call)
            if _REQUEST_ID_HEADER in request.headers:
                answer.header_lines += b"X-Request-Id: %s\r\n" % self._request_id(request).encode()
        except Exception as error:  # the boundary: everything becomes an answer
            answer = self.refuse(request, error)
        except BaseException:
            if traced is not None:
                traced.abandoned()
            raise
        finally:
            self._inflight -= 1
        seconds = perf_counter() - started
        if traced is None:
            counters.finished(answer.code, seconds)
        else:
            traced.answered(answer.code)
            counters.finished(answer.code, seconds, traced.trace_id)
        if seconds >= self._slow_s and entry is not None and not entry.probe:
            self._tell_slow(request, entry, call, answer.code, seconds)
        return answer

    def _tell_slow(self, request: web.BaseRequest, entry: Entry, call: Call | None, code: int, seconds: float) -> None:
        body_s = 0.0 if call is None else call.body_s
        self._api.diagnostics.slow.http(
            seconds,
            {"body": body_s, "answer": seconds - body_s},
            route=entry.pattern,
            method=request.method,
            code=code,
            request_id=self._request_id(request),
        )

    def refuse(self, request: web.BaseRequest, error: Exception) -> Answer:
        """Return the problem that `error` stands for; what is our own fault is logged."""
        request_id = self._request_id(request)
        safe = request.method in _SAFE_METHODS
        if isinstance(error, Problem):
            problem = error
        elif isinstance(error, NodeError):
            problem = problem_of(error, safe_to_repeat=safe or IDEMPOTENCY_KEY in request.headers)
        else:
            problem = Problem("internal_error", "see the node's log")
        if isinstance(error, NotLeader):
            problem.members["leader"] = self._leader()
        if isinstance(error, Fatal) or problem.code == "internal_error":
            log.error("request.failed", request_id=request_id, method=request.method, exc_info=error)
            problem.outcome = "not_applied" if safe else "unknown"
        self._metrics.problem(problem.code)
        # A command that was applied and refused has a revision of its own; this node may not be that far yet.
        revision = problem.members.get("revision")
        known = revision if isinstance(revision, int) else self._api.replica.revision
        return render(problem, request_id=request_id, revision=known)

    def _check_bounds(self, target: str, entry: Entry) -> None:
        limits = self._api.limits
        if self._inflight > limits.inflight_requests_max and not entry.probe:
            raise Problem("overloaded", f"{limits.inflight_requests_max} requests are being served already")
        if len(target) > limits.target_bytes_max:
            raise target_too_long(limits)

    def _redirect(self, target: str) -> Answer:
        leader = self._api.replica.leader()
        if leader is None:
            raise NotLeader
        base = leader.http_address
        if "://" not in base:
            base = f"{'https' if self._api.tls else 'http'}://{base}"
        location = (base.rstrip("/") + target).encode(errors="surrogateescape")
        return Answer(307, b"Location: %s\r\nCache-Control: no-store\r\n" % location)

    def _leader(self) -> dict[str, str] | None:
        leader = self._api.replica.leader()
        if leader is None:
            return None
        return {"node_id": show_id(leader.node_id), "name": leader.name, "http_address": leader.http_address}

    def _request_id(self, request: web.BaseRequest) -> str:
        """Return the client's id for this request, or one made here that is unique within the cluster's logs."""
        given = request.headers.get(_REQUEST_ID_HEADER)
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return f"{self._process}-{next(self._request_ids):x}"


class _Connection(web.RequestHandler):
    """A client's connection, whose protocol errors are problem details like all others."""

    __slots__ = ("_dispatcher", "_limits")

    def __init__(
        self, server: ApiServer, dispatcher: Dispatcher, limits: Limits, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # None turns it off, which the annotation leaves out
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=limits.lingering_s,
            auto_decompress=False,
            max_line_size=2 * limits.target_bytes_max,
            max_field_size=FIELD_BYTES_MAX,
        )
        self._dispatcher = dispatcher
        self._limits = limits

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that could not be parsed, or whose answer could not be made."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already")
        return self._dispatcher.refuse(request, _protocol_problem(self._limits, exc))


class ApiServer(web.Server):
    """What `aiohttp.web.ServerRunner` runs; make it inside the event loop."""

    def __init__(self, dispatcher: Dispatcher, limits: Limits) -> None:
        super().__init__(dispatcher.handle)
        self._dispatcher = dispatcher
        self._limits = limits
        self._event_loop = asyncio.get_running_loop()

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return _Connection(self, self._dispatcher, self._limits, self._event_loop)


def make_client_server(
    replica: ReplicaPort,
    limits: Limits,
    metrics: HttpMetrics,
    *,
    render_metrics: RenderMetrics,
    authorize_admin: AuthorizeAdmin,
    tls: bool,
    trace: TraceRequest | None = None,
    diagnostics: Diagnostics | None = None,
) -> ApiServer:
    """Return the server of the client port: the API and the probes. `tls` tells how clients reach the leader.

    `trace` is None while no request is to be traced.
    """
    api = Api(
        replica=replica,
        limits=limits,
        metrics=metrics,
        render_metrics=render_metrics,
        authorize_admin=authorize_admin,
        tls=tls,
        arrivals=Arrivals(limits.receiving_bytes_max),
        diagnostics=diagnostics or Diagnostics(),
    )
    return _served(ApiServer(Dispatcher(api, (*CLIENT, *PROBES, *DEBUG), metrics, trace), limits), metrics)


def make_probe_server(
    replica: ReplicaPort, limits: Limits, metrics: HttpMetrics, *, render_metrics: RenderMetrics
) -> ApiServer:
    """Return the server of the metrics port: the probes, and the pages that only show."""
    api = Api(
        replica=replica,
        limits=limits,
        metrics=metrics,
        render_metrics=render_metrics,
        authorize_admin=lambda request: False,
        tls=False,
        arrivals=Arrivals(limits.receiving_bytes_max),
        diagnostics=Diagnostics(),
    )
    return _served(ApiServer(Dispatcher(api, (*PROBES, *PAGES), metrics), limits), metrics)


def _served(server: ApiServer, metrics: HttpMetrics) -> ApiServer:
    metrics.connections(lambda: len(server.connections))
    return server


def target_too_long(limits: Limits) -> Problem:
    """Return the problem of a request whose path and query are over the limit."""
    return Problem("target_too_long", f"path and query may have at most {limits.target_bytes_max} bytes together")


def _protocol_problem(limits: Limits, error: BaseException | None) -> Exception:
    match error:
        case LineTooLong(args=(_, limit, _)) if str(limit) == str(FIELD_BYTES_MAX):
            return Problem("header_too_large", f"a header may have at most {FIELD_BYTES_MAX} bytes")
        case LineTooLong():
            return target_too_long(limits)
        case HttpProcessingError():
            return Problem("malformed_request", "the request line or a header is not valid HTTP/1.1")
        case Exception():
            return error
        case _:
            return Problem("internal_error", "see the node's log")
