"""Calls: attempts at members until there is an answer that counts, or the time is over.

What is made again, and when:
- an answer that says `retryable` and `not_applied`, such as 503: after a pause; for overload, within the retry budget;
- no answer: a read at once at another member; a write only with its idempotency key, which makes the repetition
  harmless. A write without a key is repeated if it was not sent.
- 401, once, if the credentials may be others by now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from msgspec import UNSET

from collectionstore.errors import (
    CollectionStoreError,
    ConnectionFailure,
    DeadlineExceeded,
    Outcome,
    Overloaded,
    ProblemError,
    Unauthorized,
)
from collectionstore.runtime.authorization import Authorization
from collectionstore.runtime.backoff import RetryBudget, failover_pause_s, overload_pause_s
from collectionstore.runtime.hooks import CallEvent, Hooks
from collectionstore.runtime.keys import Keys
from collectionstore.runtime.members import Member, Members
from collectionstore.settings.options import Options
from collectionstore.transport.failures import AttemptFailed, AttemptTimedOut, Backlogged, StreamRefused
from collectionstore.wire.answers import Answer, answer_error
from collectionstore.wire.operations import (
    Bulk,
    CreateIndex,
    DeleteFound,
    Operation,
    Query,
    Read,
    UpdateFound,
    Write,
    name_of,
    payload_bytes,
)
from collectionstore.wire.requests import Request, as_request

_LONG: Final = (Query, Bulk, CreateIndex, DeleteFound, UpdateFound)
"""Operations that may take all of their time: an attempt is not given up to ask another member."""

Attempt: TypeAlias = Callable[[Member, float], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class _Plan:
    name: str
    timeout_s: float
    limit_s: float
    """For one attempt."""
    writes: bool
    repeatable: bool
    """Whether it may be sent again when it may have been executed."""
    stale: bool
    measured: bool = True
    """Whether its time says something about the member."""


class Calls:
    """Makes calls. Belongs to one event loop."""

    def __init__(
        self,
        options: Options,
        members: Members,
        authorization: Authorization,
        keys: Keys,
        chance: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        hooks: Hooks | None = None,
    ) -> None:
        self._options = options
        self._members = members
        self._authorization = authorization
        self._keys = keys
        self._chance = chance
        self._sleep = sleep
        self._hooks = hooks
        self._budget = RetryBudget()
        self._clock = asyncio.get_running_loop().time

    async def operation(self, operation: Operation, timeout_s: float) -> Answer:
        """Make an operation of a stream; return its answer, whose status is no error. Raises CollectionStoreError."""
        writes = isinstance(operation, Write)
        if writes and self._options.retries == "auto" and operation.idempotency_key is UNSET:  # type: ignore[attr-defined]
            operation.idempotency_key = self._keys.make()  # type: ignore[attr-defined]
        repeatable = not writes or operation.idempotency_key is not UNSET  # type: ignore[attr-defined]
        if self._hooks is not None and (parent := self._hooks.traceparent()) is not None:
            operation.traceparent = parent
        size = payload_bytes(operation)

        async def attempt(member: Member, attempt_s: float) -> Answer:
            if self._options.stream == "auto" and member.streams_work:
                try:
                    stream = await member.stream(self._authorization)
                    if size <= stream.payload_max:
                        return await stream.call(operation, attempt_s)
                except StreamRefused:
                    pass  # by a request the reason is told, or it works where WebSockets do not
            return await self._send(member, as_request(operation), attempt_s)

        stale = isinstance(operation, Read) and operation.consistency == "stale"
        limit_s = timeout_s if isinstance(operation, _LONG) else self._options.attempt_timeout_s
        return await self._run(_Plan(name_of(operation), timeout_s, limit_s, writes, repeatable, stale), attempt)

    async def request(self, request: Request, timeout_s: float) -> Answer:
        """Send a request; return its answer, whose status is no error. Raises CollectionStoreError."""
        if request.writes and request.repeatable and self._options.retries == "auto":
            request.headers.setdefault("Idempotency-Key", self._keys.make())
        repeatable = not request.writes or "Idempotency-Key" in request.headers
        if self._hooks is not None and (parent := self._hooks.traceparent()) is not None:
            request.headers["traceparent"] = parent
        stale = request.parameters.get("consistency") == "stale"
        limit_s = timeout_s if request.long else self._options.attempt_timeout_s

        async def attempt(member: Member, attempt_s: float) -> Answer:
            return await self._send(member, request, attempt_s)

        plan = _Plan(request.name, timeout_s, limit_s, request.writes, repeatable, stale, measured=not request.long)
        return await self._run(plan, attempt)

    async def _send(self, member: Member, request: Request, attempt_s: float) -> Answer:
        answer: Answer = await member.request(request, await self._authorization.headers(), attempt_s)
        return answer

    async def _run(self, plan: _Plan, attempt: Attempt) -> Answer:
        began = self._clock()
        deadline = began + plan.timeout_s
        attempts = refusals = 0
        avoid: tuple[Member, ...] = ()
        renewed = unknown = False
        last: CollectionStoreError | None = None
        member: Member | None = None
        status = 0
        try:
            while True:
                now = self._clock()
                left = deadline - now
                if left <= 0:
                    last = _late(plan.timeout_s, last, unknown=unknown)
                    raise last
                member = self._members.pick(leader=plan.writes, stale=plan.stale, avoid=avoid)
                attempts += 1
                try:
                    answer = await attempt(member, min(left, plan.limit_s))
                except AttemptFailed as failure:
                    if not isinstance(failure, Backlogged):
                        self._members.failed(member)
                    avoid = (member,)
                    unknown = unknown or (failure.sent and plan.writes)
                    last = ConnectionFailure(
                        f"{member.url}: {failure}",
                        outcome="unknown" if unknown else "not_applied",
                        retryable=not unknown,
                    )
                    over = isinstance(failure, AttemptTimedOut) and self._clock() >= deadline
                    if (failure.sent and not plan.repeatable) or self._options.retries == "off":
                        raise (_late(plan.timeout_s, last, unknown=unknown) if over else last) from None
                    await self._pause(failover_pause_s(attempts - 1, self._chance), deadline)
                    continue
                status = answer.status
                if status < 400:
                    if plan.measured:
                        member.load.answered(self._clock() - now, self._clock())
                    self._budget.succeeded()
                    return answer
                problem = answer_error(answer)
                if isinstance(problem, Unauthorized) and not renewed and self._authorization.renewable:
                    renewed = True
                    self._authorization.refused(await self._authorization.headers())
                    continue
                last = problem
                unknown = unknown or (plan.writes and problem.outcome == "unknown")
                pause_s = self._retry_pause_s(problem, refusals, repeatable=plan.repeatable)
                if pause_s is None:
                    if unknown and problem.outcome == "not_applied" and not plan.repeatable:
                        problem.outcome = "unknown"
                    raise problem
                refusals += 1
                # The member answers, and cannot do it: another one may, and may know more of who leads.
                avoid = (member,)
                if not isinstance(problem, Overloaded):
                    self._members.look()
                if self._clock() + pause_s >= deadline:
                    raise problem
                await self._pause(pause_s, deadline)
        except CollectionStoreError as error:
            last = error
            raise
        finally:
            if self._hooks is not None:
                said = last if isinstance(last, ProblemError) and status >= 400 else None
                failed = said.code if said is not None else type(last).__name__ if last is not None else ""
                if 0 < status < 400:
                    failed = ""
                self._hooks.ended(
                    CallEvent(plan.name, self._clock() - began, attempts, member.url if member else "", status, failed)
                )

    def _retry_pause_s(self, problem: ProblemError, refusals: int, *, repeatable: bool) -> float | None:
        """Return how long to wait before the next attempt; None: there is none."""
        if not problem.retryable or self._options.retries == "off" or problem.status in _FINAL:
            return None
        if problem.outcome == "unknown" and not repeatable:
            return None
        if isinstance(problem, Overloaded):
            if not self._budget.take():
                return None
            return overload_pause_s(refusals, problem.retry_after_s, self._chance)
        return min(max(failover_pause_s(refusals + 1, self._chance), 0.005), problem.retry_after_s or 1.0)

    async def _pause(self, seconds: float, deadline: float) -> None:
        if seconds > 0:
            await self._sleep(min(seconds, max(0.0, deadline - self._clock())))


_FINAL: Final = frozenset((409, 424))
"""Retryable by the user alone, who must do something before: read again, wait for a lock."""


def _late(timeout_s: float, last: CollectionStoreError | None, *, unknown: bool) -> DeadlineExceeded:
    outcome: Outcome = "unknown" if unknown else "not_applied"
    behind = f"; the last attempt: {last}" if last is not None else ""
    return DeadlineExceeded(f"no answer within {timeout_s:g} s{behind}", outcome=outcome, last_error=last)
