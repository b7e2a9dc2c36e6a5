"""`Accounting`: what is asked before a request is carried out, and told behind it, for limits and the audit log.

In this order: the rates of its user and its collection (429), the fair share of its user while the member is under
pressure (503), and whether it can be audited (503). Each refuses BEFORE the request has any effect. A request that was
let in is told with its answer, once: on the general path, on the hot path, and for every operation of a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Final, NamedTuple
from urllib.parse import unquote

import msgspec

from collectionstore_node.access.builtin import OPERATOR
from collectionstore_node.access.callers import Caller
from collectionstore_node.access.current import CALLER
from collectionstore_node.access.verbs import Kind
from collectionstore_node.api.http.facts import Facts
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.api.http.touched import touched
from collectionstore_node.audit import CONTENT_MAX, REFUSED, UNRECORDED, Auditor, Event, Taken, Unavailable, cut
from collectionstore_node.errors import Overloaded
from collectionstore_node.quotas import FREE, Admitted, Limiter, Limits, Refusal, Shares

_REVISION: Final = b"X-Revision: "
_REQUEST_ID: Final = b"X-Request-Id: "
_TRACE_DIGITS: Final = 32
UNAUTHENTICATED: Final = 401


class _Refused(msgspec.Struct):
    """What is read of the problem that a request ended in."""

    code: str = ""
    outcome: str = ""
    request_id: str = ""


_decoder: Final = msgspec.json.Decoder(_Refused)


class Target(NamedTuple):
    """What a request is about."""

    resource: str = ""
    id: str = ""


class Account:
    """A request that was let in, until it is told."""

    __slots__ = (
        "action",
        "admitted",
        "arguments",
        "began",
        "caller",
        "content",
        "facts",
        "shares",
        "stream",
        "taken",
        "user",
    )

    def __init__(self, facts: Facts, arguments: Sequence[str], caller: Caller | None, user: str) -> None:
        self.facts = facts
        self.arguments = arguments
        self.caller = caller
        self.user = user
        """Whom limits and shares know: empty for nobody, and for the operator."""
        self.began = perf_counter()
        self.admitted: Admitted = FREE
        self.shares: tuple[Shares, ...] = ()
        """Where it has a place."""
        self.stream: Callable[[], None] | None = None
        """Counts a watch out, which is counted as a stream of its user."""
        self.taken: Taken = UNRECORDED
        self.content: bytes | None = None
        """The body, if a rule asks for it."""
        self.action: object = None
        """The transaction that it became."""

    def keep(self, body: bytes) -> None:
        """Take the body of the request, if a rule asks for it."""
        if self.taken.content:
            self.content = body


class Places(NamedTuple):
    """The shares of users in what a member does at a time."""

    requests: Shares
    writes: Shares
    """Those of requests that write, beside the former."""
    operations: Shares
    """Of operations of streams, which have places of their own, and of the writes among them."""
    stream_writes: Shares

    def of(self, facts: Facts, *, write: bool) -> tuple[Shares, ...]:
        """Return where a request takes a place."""
        one, two = (self.operations, self.stream_writes) if facts.streamed else (self.requests, self.writes)
        return (one, two) if write else (one,)


class Ended(NamedTuple):
    """How a request has ended."""

    status: int
    revision: int = 0
    problem: bytes = b""
    """The body of the answer, if it is a problem."""
    request_id: str = ""
    trace_id: str = ""
    received_bytes: int = 0
    sent_bytes: int = 0


class Accounting:
    """The limits and the audit log of one port. Belongs to one event loop."""

    def __init__(
        self,
        auditor: Auditor | None,
        limiter: Limiter,
        limits: Callable[[], Limits | None],
        places: Places,
        wall_ms: Callable[[], int],
        clock: Callable[[], float],
        caller: Callable[[], Caller | None] = CALLER.get,
    ) -> None:
        """`limits` returns those in force now, None if there are none; `caller` who makes the request at hand.

        `clock` is monotonic, in seconds.
        """
        self._auditor = auditor
        self._limiter = limiter
        self._limits = limits
        self._places = places
        self._wall_ms = wall_ms
        self._clock = clock
        self._caller = caller

    def begin(self, facts: Facts, arguments: Sequence[str], *, write: bool) -> Account | None:
        """Let a request in; None if there is nothing to tell behind it. Raises `Problem` or `Overloaded`.

        `arguments` are those of the path.
        """
        caller = self._caller()
        limits, auditor = self._limits(), self._auditor
        if caller is None and limits is None and auditor is None:
            return None
        user = "" if caller is None or OPERATOR in caller.roles else caller.user
        account = Account(facts, arguments, caller, user)
        resource = "" if auditor is None and limits is None else target_of(facts, arguments).resource
        if limits is not None:
            collection = resource if facts.kind is Kind.COLLECTION else ""
            admitted = self._limiter.enter(limits, user, collection)
            if isinstance(admitted, Refusal):
                raise limited(admitted)
            account.admitted = admitted
        if user:
            self._take_places(account, user, write=write)
        try:
            if facts.lasting:
                account.stream = self.open_stream()
            if auditor is not None:
                name = "" if caller is None else caller.user
                # What mends a cluster is served whatever its audit log does, and so is the operator.
                free = facts.mending or (caller is not None and not user)
                account.taken = auditor.begin(name, facts.verb, resource, may_refuse=not free)
        except BaseException as error:
            self._give_back(account)
            if account.stream is not None:
                account.stream()
            if isinstance(error, Unavailable):
                raise Problem("audit_unavailable", f"{error}; it was not applied") from None
            raise
        return account

    def leave(self, account: Account, size_bytes: int) -> None:
        """Count a request out that was let in, once; `size_bytes` are those of its body and its answer."""
        self._give_back(account)
        if account.admitted is not FREE:
            self._limiter.charge(account.admitted, size_bytes)
        if self._auditor is not None:
            self._auditor.release(account.taken)

    def records(self, account: Account, status: int) -> bool:
        """Return whether a request that has left is recorded: `record` it then."""
        return self._auditor is not None and self._auditor.wants(account.taken, status)

    def record(self, account: Account, how: Ended, address: str) -> None:
        """Record a request."""
        if self._auditor is not None:
            self._record(self._auditor, account, how, address)

    def cancelled(self, account: Account, address: str) -> None:
        """Tell the end of a request whose client went, or whose node stopped, before there was an answer."""
        if account.stream is not None:
            account.stream()
        self.leave(account, 0)
        if self.records(account, _CANCELLED.status):
            self.record(account, _CANCELLED, address)

    def refused(self, facts: Facts, arguments: Sequence[str], how: Ended, address: str) -> None:
        """Tell a request that ended before it was let in: it is recorded if credentials or rights were missing."""
        auditor = self._auditor
        if auditor is None or how.status not in REFUSED:
            return
        # Without valid credentials nobody is known: what the context holds is of the request before.
        caller = None if how.status == UNAUTHENTICATED else self._caller()
        user, target = "" if caller is None else caller.user, target_of(facts, arguments)
        if auditor.wants_refused(user, facts.verb, target.resource):
            self._record(auditor, Account(facts, arguments, caller, user), how, address)

    def charge(self, account: Account) -> Callable[[int], None] | None:
        """Return what charges a request for bytes that it sends behind its answer's head; None if nothing does."""
        if account.admitted is FREE:
            return None
        return lambda size: self._limiter.charge(account.admitted, size)

    def open_stream(self) -> Callable[[], None] | None:
        """Count a stream of the caller in; return what counts it out, None if nobody is known. Raises `Problem`."""
        caller = self._caller()
        if caller is None or OPERATOR in caller.roles:
            return None
        user = caller.user
        refusal = self._limiter.open_stream(self._limits(), user)
        if refusal is not None:
            raise limited(refusal)
        return lambda: self._limiter.close_stream(user)

    def _take_places(self, account: Account, user: str, *, write: bool) -> None:
        places = self._places.of(account.facts, write=write)
        now = self._clock()
        for at, shares in enumerate(places):
            if not shares.enter(user, now):
                account.shares = places[:at]
                self._give_back(account)
                raise Overloaded("your user has its fair share of what this member does at a time")
        account.shares = places

    def _give_back(self, account: Account) -> None:
        for shares in account.shares:
            shares.leave(account.user)
        account.shares = ()

    def _record(self, auditor: Auditor, account: Account, how: Ended, address: str) -> None:
        caller, facts, target = account.caller, account.facts, target_of(account.facts, account.arguments)
        problem = _problem(how.problem) if how.status >= 400 else None
        content = account.content
        auditor.record(
            Event(
                at_ms=self._wall_ms(),
                user="" if caller is None else cut(caller.user),
                method="" if caller is None else str(caller.method),
                credential="" if caller is None else cut(caller.credential),
                address=(caller.address if caller is not None and caller.address else address),
                verb=str(facts.verb),
                operation=facts.operation,
                kind=str(facts.kind),
                resource=cut(target.resource),
                id=cut(target.id),
                touched=tuple(map(cut, touched(account.action))),
                outcome="ok" if problem is None else problem.outcome or "unknown",
                status=how.status,
                code="" if problem is None else problem.code,
                revision=how.revision,
                latency_us=max(0, round((perf_counter() - account.began) * 1e6)),
                request_id=cut(how.request_id or ("" if problem is None else problem.request_id)),
                trace_id=how.trace_id,
                received_bytes=how.received_bytes,
                sent_bytes=how.sent_bytes,
                content=""
                if content is None
                else cut(content[: 4 * CONTENT_MAX].decode(errors="replace"), CONTENT_MAX),
            ),
            begun=account.taken.record,
        )


def limited(refusal: Refusal) -> Problem:
    """Return the problem of a request, or a stream, that is over a limit."""
    unit = {"requests_per_second": "requests per second", "bytes_per_second": "bytes per second"}
    what = unit.get(refusal.limit, "streams at a time")
    return Problem(
        "rate_limited",
        f"the limit of this {refusal.scope} is {refusal.value} {what} at this member",
        retry_after_s=refusal.retry_after_s,
        scope=refusal.scope,
        limit=refusal.limit,
        value=refusal.value,
    )


_CANCELLED: Final = Ended(499, problem=b'{"code":"client_closed","outcome":"unknown"}')


def target_of(facts: Facts, arguments: Sequence[str]) -> Target:
    """Return what a request is about, by the arguments of its path as they were sent."""
    resource = unquote(arguments[0], errors="replace") if facts.named and arguments else ""
    at = facts.id_at
    return Target(resource, unquote(arguments[at], errors="replace") if at is not None and at < len(arguments) else "")


def revision_in(header_lines: bytes) -> int:
    """Return the revision that an answer names in its header lines, 0 if it names none."""
    digits = _line(header_lines, _REVISION)
    return int(digits) if digits.isdigit() else 0


def request_id_in(header_lines: bytes) -> str:
    """Return the request ID in the header lines of an answer, empty if there is none."""
    return _line(header_lines, _REQUEST_ID).decode(errors="replace")


def trace_id_in(headers: Mapping[str, str]) -> str:
    """Return the trace ID of a request's W3C trace context, empty if there is none."""
    return trace_id_of(headers.get("traceparent"))


def trace_id_of(traceparent: str | None) -> str:
    """Return the trace ID in a W3C trace context, empty if it is none."""
    parts = (traceparent or "").split("-", 2)
    found = parts[1] if len(parts) == 3 else ""
    return found if len(found) == _TRACE_DIGITS and all(digit in "0123456789abcdef" for digit in found) else ""


def _line(header_lines: bytes, name: bytes) -> bytes:
    at = header_lines.find(name)
    if at < 0 or (at and header_lines[at - 1 : at] != b"\n"):
        return b""
    begin = at + len(name)
    return header_lines[begin : header_lines.find(b"\r", begin)]


def _problem(content: bytes) -> _Refused:
    try:
        return _decoder.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Refused()  # an answer that is no problem, such as 412 of a conditional read
