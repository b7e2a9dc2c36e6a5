"""`Dispatcher`: the one function around every handler. It finds the handler, counts the request and answers it.

What goes wrong, anywhere, becomes problem details here; nothing but cancellation leaves it.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter
from typing import Final, cast

from aiohttp import web
from multidict import CIMultiDictProxy

from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.budgets.sending import Reader
from collectionstore_node.api.http.answers import PIECE_BYTES, Answer
from collectionstore_node.api.http.call import ApiContext, Call
from collectionstore_node.api.http.idempotency import IDEMPOTENCY_KEY
from collectionstore_node.api.http.instruments import TraceRequest
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.options import default_options, parse_options
from collectionstore_node.api.http.overload_answers import OverloadAnswers
from collectionstore_node.api.http.problems import Problem, render
from collectionstore_node.api.http.refusals import refusal_of, release_frames
from collectionstore_node.api.http.request_ids import REQUEST_ID, RequestIds
from collectionstore_node.api.http.router import Entry, Route, Router
from collectionstore_node.errors import NotLeader, Overloaded
from collectionstore_node.lifecycle import NO_MEMORY, end_without_memory

_SAFE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
"""RFC 9110 9.2.1: repeating these cannot do anything twice."""
_OVERDUE: Final = "the request waited too long before the member could look at it"


class Dispatcher:
    """Serves the requests of one port. Belongs to one event loop."""

    def __init__(self, api: ApiContext, routes: Iterable[Route], trace: TraceRequest | None = None) -> None:
        """`trace` is None when tracing is disabled."""
        self._api = api
        self._store = api.store
        self._trace = trace
        self.traced = trace is not None
        """Whether spans are made, each in the context of its request."""
        self._metrics = api.metrics
        self._router = Router(routes, api.metrics)
        self._unrouted = api.metrics.route("unmatched", "any")
        self._defaults = default_options(api.limits)
        self._slow_s = api.diagnostics.slow.thresholds.http_s
        self._inflight = 0
        self._request_ids = RequestIds()
        self._overdue = api.budgets.overdue
        self._overload_answers = OverloadAnswers()
        api.metrics.inflight(lambda: self._inflight)
        api.metrics.arriving(lambda: api.budgets.uploads.size_bytes)
        api.metrics.uploads(lambda: api.budgets.uploads.count)
        api.metrics.unsent(lambda: api.budgets.sending.size_bytes)

    def has_room(self, client: Client | None) -> bool:
        """Return whether one more request of this client would be admitted now."""
        store = self._store
        return store.inflight < store.limits.inflight_requests_max and (
            client is None or client.inflight < client.inflight_max
        )

    def refusal(self, connection: object, method: str, target: str, headers: CIMultiDictProxy[str]) -> Answer | None:
        """Return the answer of a request that is refused for overload before it is looked at; None if it is not.

        Under overload most requests end here, so it does for one of them only what differs between them.
        """
        overdue = connection in self._overdue
        if self.traced or (not overdue and (not self._store.writes.full or method in _SAFE_METHODS)):
            return None  # with a span it is refused in `handle`
        started = perf_counter()
        try:
            entry, _ = self._router.find(method, target.partition("?")[0])
        except Problem:
            return None
        if entry.probe or not (overdue or entry.write):
            return None
        if overdue:
            self._overdue.count()
        error = self._overload_of(entry, overdue=overdue)
        request_id = self._request_ids.kept(headers.get(REQUEST_ID))
        answer = self._overload_answers.answer(error, request_id, self._store.revision)
        self._metrics.problem("overloaded")
        entry.metrics.finished(answer.code, perf_counter() - started)
        return answer

    def _overload_of(self, entry: Entry, *, overdue: bool) -> Overloaded:
        writes = self._store.writes
        if not overdue:
            return writes.refusal()
        return writes.overdue() if entry.write else Overloaded(_OVERDUE)

    def cut(self, reason: str) -> None:
        """Count a connection that was closed because its client is too slow."""
        self._metrics.cut(reason)

    async def handle(self, request: web.BaseRequest) -> Answer:
        """Answer `request`; raises nothing but cancellation."""
        started = perf_counter()
        counters, entry, call, traced, client = self._unrouted, None, None, None, None
        self._inflight += 1
        try:
            target = request.raw_path
            if not target.startswith("/"):
                # Absolute form (RFC 9112 3.2.2): what clients send to a proxy, and servers must accept.
                target = request.rel_url.raw_path_qs
            path, _, query = target.partition("?")
            entry, arguments = self._router.find(request.method, path)
            counters = entry.metrics
            if not entry.probe:
                # The span first, so that a request refused for overload is traced too.
                if self._trace is not None:
                    traced = self._trace(request, request.method, entry.pattern)
                # BEFORE the body is read: see `Store.enter`.
                connected: Client = request.protocol.client  # type: ignore[attr-defined]
                if (connection := getattr(request, "line", request.protocol)) in self._overdue:
                    self._overdue.forget(connection)
                    self._overdue.count()
                    raise self._overload_of(entry, overdue=True)
                self._api.enter(connected, write=entry.write)
                client = connected
            if len(target) > self._api.limits.target_bytes_max:
                raise target_too_long(self._api.limits)
            options = parse_options(query, entry.parameters, self._api.limits) if query else self._defaults
            if (options.redirect or entry.leader_only) and not self._store.is_leader:
                answer = self._redirect(target)
            else:
                call = Call(self._api, request, arguments, options, client)
                answer = await entry.handler(call)
            if len(answer.content) > PIECE_BYTES:
                self._reserve(request, answer)
            if REQUEST_ID in request.headers:
                answer.header_lines += b"X-Request-Id: %s\r\n" % self._request_ids.of(request).encode()
        except NO_MEMORY as error:
            end_without_memory("request", error)
        except Exception as error:  # the boundary: everything becomes an answer
            answer = self.refuse(request, error)
            release_frames(error)
        except BaseException:
            # Cancelled: the client disconnected, or the node stops; no answer can be sent.
            if traced is not None:
                traced.abandoned()
            raise
        finally:
            self._inflight -= 1
            if call is not None:
                call.leave()
            elif client is not None:
                self._api.leave(client)
        seconds = perf_counter() - started
        if traced is None:
            counters.finished(answer.code, seconds)
        else:
            traced.answered(answer.code)
            counters.finished(answer.code, seconds, traced.trace_id)
        if seconds >= self._slow_s and entry is not None and not entry.probe:
            self._log_slow(request, entry, call, answer.code, seconds)
        return answer

    def refuse(self, request: web.BaseRequest, error: Exception) -> Answer:
        """Return the problem details of `error`; the node's own faults are logged."""
        request_id = self._request_ids.of(request)
        problem = refusal_of(
            error,
            self._store,
            method=request.method,
            request_id=request_id,
            safe=request.method in _SAFE_METHODS,
            keyed=IDEMPOTENCY_KEY in request.headers,
        )
        self._metrics.problem(problem.code)
        # A command that was applied and failed has its own revision, which this node may not have applied yet.
        revision = problem.members.get("revision")
        known = revision if isinstance(revision, int) else self._store.revision
        return render(problem, request_id=request_id, revision=known)

    def _reserve(self, request: web.BaseRequest, answer: Answer) -> None:
        """Take room for a large answer, which its client may not read. Raises `Problem` when there is none."""
        try:
            self._api.budgets.sending.take(cast(Reader, request.protocol), len(answer.content))
        except Overloaded as error:
            if request.method in _SAFE_METHODS:
                raise
            # Not "overloaded", which says that nothing happened.
            raise Problem(
                "outcome_unknown", f"it was applied, but its answer cannot be sent now: {error}", outcome="applied"
            ) from None

    def _redirect(self, target: str) -> Answer:
        leader = self._store.leader()
        if leader is None:
            raise NotLeader
        base = leader.http_address
        if "://" not in base:
            base = f"{'https' if self._api.tls else 'http'}://{base}"
        if not base.isprintable():
            # Stored by a version that did not check addresses: a line break in it would begin a header of its own.
            raise NotLeader
        location = (base.rstrip("/") + target).encode(errors="surrogateescape")
        # 307 and not 302: the method and body must stay as they are (RFC 9110 15.4.8). no-store: the leader changes.
        return Answer(307, b"Location: %s\r\nCache-Control: no-store\r\n" % location)

    def _log_slow(self, request: web.BaseRequest, entry: Entry, call: Call | None, code: int, seconds: float) -> None:
        body_s = 0.0 if call is None else call.body_s
        self._api.diagnostics.slow.http(
            seconds,
            {"body": body_s, "answer": seconds - body_s},
            route=entry.pattern,
            method=request.method,
            code=code,
            request_id=self._request_ids.of(request),
        )


def target_too_long(limits: HttpLimits) -> Problem:
    """Return the problem of a request whose path and query are over the limit."""
    return Problem("target_too_long", f"path and query may have at most {limits.target_bytes_max} bytes together")
