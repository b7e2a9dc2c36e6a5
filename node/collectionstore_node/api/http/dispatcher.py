"""`Dispatcher`: the one function around every handler. It finds the handler, counts the request and answers it.

What goes wrong, anywhere, becomes problem details here; nothing but cancellation leaves it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import Final, TypeAlias, cast

from aiohttp import web
from multidict import CIMultiDictProxy

from collectionstore_node.access.current import CALLER
from collectionstore_node.access.verbs import Kind, Verb
from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.budgets.sending import Reader
from collectionstore_node.api.http.accounting import Account, Accounting, Ended, request_id_in, revision_in, trace_id_in
from collectionstore_node.api.http.answers import PIECE_BYTES, Answer, staleness_lines
from collectionstore_node.api.http.call import ApiContext, Call
from collectionstore_node.api.http.direct import DirectCall, Place
from collectionstore_node.api.http.guard import Guard, Line
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
from collectionstore_node.service import OVERDUE, Consistency

_SAFE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
"""RFC 9110 9.2.1: repeating these cannot do anything twice."""

_ANY_LAST: Final = "-"
"""Stands for the last part of paths that differ in it only."""

Request: TypeAlias = web.BaseRequest | DirectCall


class Dispatcher:
    """Serves the requests of one port. Belongs to one event loop."""

    def __init__(self, api: ApiContext, routes: Iterable[Route], trace: TraceRequest | None = None) -> None:
        """`trace` is None when tracing is disabled."""
        self._api = api
        self._store = api.store
        self._trace = trace
        self.guard: Guard | None = api.guard
        """Finds callers; None where nobody asks for them."""
        self.traced = trace is not None
        """Whether spans are made, each in the context of its request."""
        self._metrics = api.metrics
        self._accounting = api.accounting
        self._router = Router(routes, api.metrics)
        self._unrouted = api.metrics.route("unmatched", "any")
        self._defaults = default_options(api.limits)
        self._slow_s = api.diagnostics.slow.thresholds.http_s
        self._inflight = 0
        self._request_ids = RequestIds()
        self._overdue = api.budgets.overdue
        self._overload_answers = OverloadAnswers()
        self._settled: list[DirectCall] = []
        """Calls whose operations have results, since the last turn of the loop."""
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
        writes = self._store.writes
        # Nearly always: nothing is overdue, and there is room. To ask for it by `full` would cost more than this.
        if not self._overdue.marked and (writes.inflight < writes.limit or method in _SAFE_METHODS):
            return None
        overdue = connection in self._overdue
        if self.traced or (not overdue and (not writes.full or method in _SAFE_METHODS)):
            return None  # with a span it is refused in `handle`
        started = perf_counter()
        try:
            entry, _ = self._router.find(method, target.partition("?")[0])
        except Problem:
            return None
        if entry.patient or not (overdue or entry.write):
            return None
        return self._refusal(entry, headers.get(REQUEST_ID), started, overdue=overdue)

    def refusal_at(self, connection: object, place: Place) -> Answer | None:
        """Do as `refusal`, for a direct request, which has no request ID and is none of a probe."""
        writes, entry = self._store.writes, place.entry
        if not self._overdue.marked and (writes.inflight < writes.limit or not entry.write):
            return None
        overdue = connection in self._overdue
        if not overdue and not (entry.write and writes.full):
            return None
        return self._refusal(entry, None, perf_counter(), overdue=overdue)

    def pressed(self, connection: object) -> bool:
        """Return whether `refused_at_once` may have an answer; nearly always there is room, and nothing overdue."""
        writes, overdue = self._store.writes, self._overdue.marked
        return (writes.inflight >= writes.limit or (bool(overdue) and connection in overdue)) and not self.traced

    def refused_at_once(self, connection: object, place: Place) -> bytes | None:
        """Do as `refusal_at`, and return the whole message: a refusal must cost far less than what it refuses."""
        writes, entry, overdue = self._store.writes, place.entry, self._overdue
        is_overdue = connection in overdue.marked
        if not is_overdue and not (entry.write and writes.full):
            return None
        overdue.refused += 1
        if not is_overdue:
            detail, retry_after_s = writes.full_detail(), writes.count("queue")
        else:
            detail, retry_after_s = OVERDUE, writes.count("overdue") if entry.write else writes.retry_after_s()
        self._metrics.problem("overloaded")
        entry.metrics.finished(503, 0.0)
        return self._overload_answers.encode(detail, retry_after_s, self._request_ids.new(), self._store.revision)

    def _refusal(self, entry: Entry, given_id: str | None, started: float, *, overdue: bool) -> Answer:
        self._overdue.count()
        error = self._overload_of(entry, overdue=overdue)
        answer = self._overload_answers.answer(error, self._request_ids.kept(given_id), self._store.revision)
        self._metrics.problem("overloaded")
        entry.metrics.finished(answer.code, perf_counter() - started)
        return answer

    def _overload_of(self, entry: Entry, *, overdue: bool) -> Overloaded:
        writes = self._store.writes
        if not overdue:
            return writes.refusal()
        return writes.overdue() if entry.write else Overloaded(OVERDUE, retry_after_s=writes.retry_after_s())

    def cut(self, reason: str) -> None:
        """Count a connection that was closed because its client is too slow."""
        self._metrics.cut(reason)

    async def handle(self, request: web.BaseRequest) -> Answer:
        """Answer `request`; raises nothing but cancellation."""
        started = perf_counter()
        counters, entry, call, traced, client = self._unrouted, None, None, None, None
        account: Account | None = None
        arguments: Sequence[str] = ()
        options = self._defaults
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
                if self._overdue.marked and (connection := getattr(request, "line", request.protocol)) in self._overdue:
                    self._overdue.forget(connection)
                    if not entry.patient:
                        self._overdue.count()
                        raise self._overload_of(entry, overdue=True)
                self._api.enter(connected, write=entry.write)
                client = connected
            if (guard := self.guard) is not None:
                await self._find_caller(guard, request, entry)
            if len(target) > self._api.limits.target_bytes_max:
                raise target_too_long(self._api.limits)
            options = parse_options(query, entry.parameters, self._api.limits) if query else self._defaults
            # BEHIND what finds the caller, and BEFORE anything has an effect.
            if self._accounting is not None and (not entry.probe or entry.facts.verb is Verb.ADMIN):
                account = self._accounting.begin(entry.facts, arguments, write=entry.write)
            if (options.redirect or entry.leader_only) and not self._store.is_leader:
                answer = self._redirect(target)
            else:
                call = Call(self._api, request, arguments, options, client)
                call.account = account
                answer = await entry.handler(call)
            if len(answer.content) > PIECE_BYTES:
                self._reserve(entry, cast(Reader, request.protocol), answer)
            if REQUEST_ID in request.headers:
                answer.header_lines += b"X-Request-Id: %s\r\n" % self._request_ids.of(request).encode()
        except NO_MEMORY as error:
            end_without_memory("request", error)
        except Exception as error:  # the boundary: everything becomes an answer
            answer = self.refuse(request, error, entry)
            release_frames(error)
        except BaseException:
            # Cancelled: the client disconnected, or the node stops; no answer can be sent.
            if traced is not None:
                traced.abandoned()
            if account is not None and self._accounting is not None:
                self._accounting.cancelled(account, request.remote or "")
            raise
        finally:
            self._inflight -= 1
            if self.guard is not None and request.protocol is not None:
                self.guard.leave(cast(Line, request.protocol))
            if call is not None:
                call.leave()
            elif client is not None:
                self._api.leave(client)
        if options.consistency is not Consistency.LINEARIZABLE:
            # Refusals, too: that there is no such document is what the state says.
            since = answer.stale_since
            staleness_s = self._store.staleness_s() if since is None else perf_counter() - since
            if options.at_revision is not None:
                staleness_s = None  # the state of a revision never changes
            answer.header_lines += staleness_lines(self._store.name, staleness_s)
        seconds = perf_counter() - started
        if traced is None:
            counters.finished(answer.code, seconds)
        else:
            traced.answered(answer.code)
            counters.finished(answer.code, seconds, traced.trace_id)
        if seconds >= self._slow_s and entry is not None and not (entry.probe or entry.lasting):
            self._log_slow(request, entry, call, answer.code, seconds)
        if self._accounting is not None and entry is not None:
            received = 0 if call is None else call.received_bytes
            trace_id = "" if traced is None else traced.trace_id
            self._tell(request, entry, arguments, account, answer, received, trace_id)
        return answer

    async def _find_caller(self, guard: Guard, request: web.BaseRequest, entry: Entry) -> None:
        """Tell what runs now who calls. Raises `Problem` 401, 403 or 429, and `Overloaded`."""
        own = cast(Line, request.protocol)
        line: Line = getattr(request, "line", own)
        if entry.access == "open" or guard.off:
            # Set always: the context is that of the connection, and may hold the caller of the request before.
            CALLER.set(await guard.caller_if_any(line, request) if entry.about_access else None)
        else:
            caller = await guard.caller(line, request)
            CALLER.set(caller)
            if entry.access == "monitor":
                guard.require(caller, Verb.MONITOR, Kind.CLUSTER, "")
        if line is own and entry.access == "caller":
            guard.follow(line)

    # In halves, see `direct`

    def place(self, method: str, before: str) -> Place | None:
        """Return where direct requests go whose paths differ behind `before` and a slash; None if there are none."""
        try:
            entry, arguments = self._router.find(method, f"{before}/{_ANY_LAST}")
            handler = entry.direct
            if handler is None or method == "HEAD" or len(arguments) != 2 or arguments[1] != _ANY_LAST:
                return None
            name = handler.name(arguments[0])
        except Problem:
            return None  # the answer is that of the general path
        bytes_max = handler.bytes_max(self._api.limits, self._store.limits)
        place = Place(method, entry, handler, name, bytes_max, handler.json, keyed=entry.write, stale=None)
        if handler.stale is None:
            return place
        return place._replace(stale=place._replace(handler=handler.stale, reads_stale=True))

    def begin(self, call: DirectCall) -> None:
        """Begin a request; `call.asker` is told the answer, perhaps before this returns. Raises nothing."""
        call.began = perf_counter()
        self._inflight += 1
        if call.caller is None:
            self._begin(call)
            return
        token = CALLER.set(call.caller)
        try:
            self._begin(call)
        finally:
            CALLER.reset(token)

    def _begin(self, call: DirectCall) -> None:
        api, place = self._api, call.place
        try:
            connected: Client = call.client  # type: ignore[assignment]  # its connection was made
            api.enter(connected, write=place.entry.write)
            call.admitted = True
            if self._accounting is not None:
                entry, named = place.entry, (place.name, call.last)
                call.account = self._accounting.begin(entry.facts, named, write=entry.write)
                if call.account is not None:
                    call.account.keep(call.body)
            place.handler.begin(call, api.store, api.limits)
        except NO_MEMORY as error:
            end_without_memory("request", error)
        except Exception as error:  # the boundary: everything becomes an answer
            self._leave(call)
            self._finish(call, self._refuse(call, error, place.entry, keyed=call.key is not None))
            release_frames(error)

    def settled(self, call: DirectCall) -> None:
        """Go on with a request whose operation has a result, together with all others that have one now."""
        if not self._settled:
            self._store.soon(self._settle)
        self._settled.append(call)

    def _settle(self) -> None:
        settled, self._settled = self._settled, []
        for call in settled:
            token = None if call.caller is None else CALLER.set(call.caller)
            try:
                self._end(call)
            except NO_MEMORY as error:
                end_without_memory("request", error)
            except Exception as error:  # the boundary: those behind it have results, too
                call.asker.ended(call, error)
            finally:
                if token is not None:
                    CALLER.reset(token)

    def _end(self, call: DirectCall) -> None:
        api = self._api
        try:
            answer = call.place.handler.end(call, api.store, api.limits)
            if answer is None:
                return
            if len(answer.content) > PIECE_BYTES:
                self._reserve(call.place.entry, call, answer)
        except NO_MEMORY as error:
            end_without_memory("request", error)
        except Exception as error:  # the boundary: everything becomes an answer
            self._leave(call)
            answer = self._refuse(call, error, call.place.entry, keyed=call.key is not None)
            release_frames(error)
        except BaseException as error:  # cancelled: the node stops
            self._leave(call)
            if call.account is not None and self._accounting is not None:
                self._accounting.cancelled(call.account, call.remote or "")
            call.asker.ended(call, error)
            return
        else:
            self._leave(call)
        self._finish(call, answer)

    def _leave(self, call: DirectCall) -> None:
        """Give back the place of a call, once: its operation has ended, or was not begun."""
        self._inflight -= 1
        if call.admitted:
            self._api.leave(call.client)  # type: ignore[arg-type]  # it was entered

    def _finish(self, call: DirectCall, answer: Answer) -> None:
        place = call.place
        if place.reads_stale:
            answer.header_lines += staleness_lines(self._store.name, self._store.staleness_s())
        seconds = perf_counter() - call.began
        entry = place.entry
        entry.metrics.finished(answer.code, seconds)
        if seconds >= self._slow_s:
            self._log_slow(call, entry, None, answer.code, seconds)
        if self._accounting is not None:
            self._tell(call, entry, (place.name, call.last), call.account, answer, len(call.body), "")
        call.asker.ended(call, answer)

    def _tell(
        self,
        request: Request,
        entry: Entry,
        arguments: Sequence[str],
        account: Account | None,
        answer: Answer,
        received_bytes: int,
        trace_id: str,
    ) -> None:
        """Tell how a request has ended, for limits and the audit log."""
        accounting = self._accounting
        if accounting is None or (account is None and (entry.probe or answer.code not in (401, 403))):
            return
        if account is not None:
            self._leave_account(accounting, account, answer, received_bytes)
            if not accounting.records(account, answer.code):
                return
        how = Ended(
            answer.code,
            revision_in(answer.header_lines),
            answer.content if answer.code >= 400 else b"",
            request_id_in(answer.header_lines),
            trace_id or trace_id_in(request.headers),
            received_bytes,
            len(answer.content),
        )
        if account is None:
            accounting.refused(entry.facts, arguments, how, request.remote or "")
        else:
            accounting.record(account, how, request.remote or "")

    def _leave_account(self, accounting: Accounting, account: Account, answer: Answer, received_bytes: int) -> None:
        accounting.leave(account, received_bytes + len(answer.content))
        if not answer.content:
            answer.charge = accounting.charge(account)
        if account.stream is not None and answer.code >= 400:
            account.stream()
        elif account.stream is not None:
            # Also for an answer that is never sent, because its client has gone.
            answer.ended = weakref.finalize(answer, account.stream)

    # Problems

    def refuse(self, request: web.BaseRequest, error: Exception, entry: Entry | None = None) -> Answer:
        """Return the problem details of `error`; the node's own faults are logged. `entry` is None if none is known."""
        return self._refuse(request, error, entry, keyed=IDEMPOTENCY_KEY in request.headers)

    def _refuse(self, request: Request, error: Exception, entry: Entry | None, *, keyed: bool) -> Answer:
        request_id = self._request_ids.of(request)
        problem = refusal_of(
            error,
            self._store,
            method=request.method,
            request_id=request_id,
            safe=request.method in _SAFE_METHODS or (entry is not None and entry.safe),
            keyed=keyed,
        )
        self._metrics.problem(problem.code)
        # A command that was applied and failed has its own revision, which this node may not have applied yet.
        revision = problem.members.get("revision")
        known = revision if isinstance(revision, int) else self._store.revision
        return render(problem, request_id=request_id, revision=known)

    def _reserve(self, entry: Entry, reader: Reader, answer: Answer) -> None:
        """Take room for a large answer, which its client may not read. Raises `Problem` when there is none."""
        try:
            self._api.budgets.sending.take(reader, len(answer.content))
        except Overloaded as error:
            if entry.safe:
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

    def _log_slow(self, request: Request, entry: Entry, call: Call | None, code: int, seconds: float) -> None:
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
