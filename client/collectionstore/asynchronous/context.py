"""How the handles of a client make their calls: with its deadline, its consistency, and the session of the context."""

from __future__ import annotations

from typing import Any

from collectionstore.errors import ConfigurationError, IncompatibleServer
from collectionstore.models.json_text import decode
from collectionstore.models.sessions import CURRENT, Session
from collectionstore.runtime.loop import AsyncRuntime
from collectionstore.settings.durations import seconds_of
from collectionstore.settings.options import TIMEOUT_MAX_S
from collectionstore.wire.answers import Answer
from collectionstore.wire.operations import Consistency, Operation, Read, Write
from collectionstore.wire.requests import Request


class AsyncContext:
    """Immutable; `with_options` makes another one."""

    def __init__(
        self,
        runtime: AsyncRuntime,
        *,
        timeout_s: float | None = None,
        consistency: Consistency | None = None,
        max_staleness_s: float | None = None,
    ) -> None:
        options = runtime.options
        self.runtime = runtime
        self.timeout_s = timeout_s or options.timeout_s
        self.consistency: Consistency = consistency or options.consistency
        self.max_staleness_s = options.max_staleness_s if consistency is None else max_staleness_s

    def with_options(
        self, *, timeout: object = None, consistency: Consistency | None = None, max_staleness: object = None
    ) -> AsyncContext:
        """Return a context with other options. Raises ConfigurationError."""
        if consistency not in (None, "linearizable", "stale"):
            raise ConfigurationError("consistency must be linearizable or stale")
        if max_staleness is not None and (consistency or self.consistency) != "stale":
            raise ConfigurationError("max_staleness needs consistency=stale")
        stale_s = self.max_staleness_s if consistency is None else None
        if max_staleness is not None:
            stale_s = seconds_of("max_staleness", max_staleness, 0.001, 3_600)
        made = AsyncContext(
            self.runtime,
            timeout_s=self.timeout_s if timeout is None else seconds_of("timeout", timeout, 0.001, TIMEOUT_MAX_S),
            consistency=consistency or self.consistency,
            max_staleness_s=stale_s,
        )
        return made

    async def call(self, operation: Operation, timeout: object = None) -> Answer:
        """Make an operation; return its answer. Raises CollectionStoreError."""
        session = CURRENT.get()
        if self.consistency == "stale" and isinstance(operation, Read):
            operation.consistency = "stale"
            if self.max_staleness_s is not None:
                operation.max_staleness_ms = round(self.max_staleness_s * 1_000)
            if session is not None and session.revision:
                operation.min_revision = session.revision
        answer = await self.runtime.call(operation, self._timeout_s(timeout))
        if session is not None:
            _note(session, answer, isinstance(operation, Write))
        return answer

    async def send(self, request: Request, timeout: object = None) -> Answer:
        """Send a request; return its answer. Raises CollectionStoreError."""
        answer = await self.runtime.send(request, self._timeout_s(timeout))
        session = CURRENT.get()
        if session is not None:
            _note(session, answer, request.writes)
        return answer

    def read_parameters(self, request: Request, at_revision: int | None = None) -> Request:
        """Add to a request that reads what says of which state."""
        if at_revision is not None:
            request.parameters["at_revision"] = str(at_revision)
        elif self.consistency == "stale":
            request.parameters["consistency"] = "stale"
            if self.max_staleness_s is not None:
                request.parameters["max_staleness"] = f"{round(self.max_staleness_s * 1_000)}ms"
            session = CURRENT.get()
            if session is not None and session.revision:
                request.parameters["min_revision"] = str(session.revision)
        return request

    def _timeout_s(self, timeout: object) -> float:
        return self.timeout_s if timeout is None else seconds_of("timeout", timeout, 0.001, TIMEOUT_MAX_S)


def _note(session: Session, answer: Answer, writes: bool) -> None:  # noqa: FBT001 - of the two callers above
    # A write that answers an earlier revision, because nothing was changed, was seen at that one.
    if answer.revision:
        session.saw(answer.revision)
    elif writes and answer.body is not None:
        revision = decode(answer.body).get("revision")
        if isinstance(revision, int):
            session.saw(revision)


def body_of(answer: Answer) -> dict[str, Any]:
    """Return the body of an answer, which is an object. Raises IncompatibleServer."""
    found = decode(answer.body) if answer.body is not None else None
    if not isinstance(found, dict):
        raise IncompatibleServer("the server answered what is no JSON object: it is no Collection Store")
    return found
