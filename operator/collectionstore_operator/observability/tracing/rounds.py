"""The spans of a reconcile round: observation, plan and actions.

Most rounds find nothing to do, two a second while a step is blocked. They leave no trace: a round is recorded if it
acts, or if its plan or its result differs from those of the round recorded last. Until that is known its steps are
buffered; from the first action on its spans are live, so that requests to nodes become their children.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from collectionstore_operator.model.plan import Plan, Step
from collectionstore_telemetry.tracing.active import ActiveSpan, active, carry

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

STEPS_MAX: Final = 32
"""Steps of a plan in the attributes of a span; `status.plan` has them all."""


class RoundTrace(Protocol):
    """Receives the progress of rounds. Belongs to one loop."""

    def begin(self) -> None:
        """Start a round."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """Record the duration of a step of the round, and whether it raised."""

    def planned(self, generation: int, plan: Plan) -> None:
        """Record the plan of the round."""

    def action(self, name: str, subject: str, reason: str) -> AbstractContextManager[None]:
        """Record the action performed within this context; its requests become children of it."""

    def failed(self, trouble: str) -> None:
        """Mark the running action as failed."""

    def end(self, result: str, trouble: str) -> None:
        """End the round."""


class NoTrace:
    """The `RoundTrace` of a loop without traces."""

    def begin(self) -> None:
        """Do nothing."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()

    def planned(self, generation: int, plan: Plan) -> None:
        """Do nothing."""

    def action(self, name: str, subject: str, reason: str) -> AbstractContextManager[None]:
        """Do nothing."""
        return nullcontext()

    def failed(self, trouble: str) -> None:
        """Do nothing."""

    def end(self, result: str, trouble: str) -> None:
        """Do nothing."""


class _Buffered(NamedTuple):
    name: str
    began: int
    ended: int
    error: str


class TracedRounds:
    """A `RoundTrace` that makes spans for the named cluster; `namespace` is empty for a local cluster."""

    def __init__(self, tracer: Tracer, *, namespace: str, name: str) -> None:
        self._tracer = tracer
        self._cluster = {"collectionstore.cluster.name": name}
        if namespace:
            self._cluster["k8s.namespace.name"] = namespace
        self._plan: tuple[str, ...] = ()
        self._last: tuple[str, tuple[str, ...]] | None = None
        self._generation = 0
        self.begin()

    def begin(self) -> None:
        """Start a round."""
        self._began = time.time_ns()
        self._buffered: list[_Buffered] = []
        self._root: Span | None = None
        self._acting: Span | None = None
        self._plan, self._generation = (), 0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Record the duration of a step of the round, and whether it raised."""
        began, error = time.time_ns(), ""
        try:
            yield
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            self._buffered.append(_Buffered(name, began, time.time_ns(), error))

    def planned(self, generation: int, plan: Plan) -> None:
        """Record the plan of the round."""
        self._generation = generation
        self._plan = tuple(map(_step_text, plan.steps))

    @contextmanager
    def action(self, name: str, subject: str, reason: str) -> Iterator[None]:
        """Record the action performed within this context; its requests become children of it."""
        facts = {"collectionstore.action.subject": subject, "collectionstore.action.reason": reason}
        span = self._child(name, facts)
        self._acting = span
        token = active.set(_active(span))
        try:
            yield
        except BaseException as raised:
            _fail(span, type(raised).__name__)
            raise
        finally:
            active.reset(token)
            self._acting = None
            span.end()

    def failed(self, trouble: str) -> None:
        """Mark the running action as failed."""
        if self._acting is not None:
            _fail(self._acting, trouble)

    def end(self, result: str, trouble: str) -> None:
        """Record the round if it acted, or if its plan or result differs from the round recorded last."""
        if self._root is None and (trouble, self._plan) == self._last:
            return
        self._last = (trouble, self._plan)
        root = self._started()
        for step in self._buffered:
            span = self._child(step.name, {}, began=step.began)
            if step.error:
                _fail(span, step.error)
            span.end(step.ended)
        plan: Sequence[str] = self._plan[:STEPS_MAX]
        root.set_attribute("collectionstore.reconcile.result", result)
        root.set_attribute("collectionstore.generation", self._generation)
        root.set_attribute("collectionstore.plan", plan)
        root.set_attribute("collectionstore.plan.steps", len(self._plan))
        if trouble:
            _fail(root, trouble)
        root.end()

    def _started(self) -> Span:
        from opentelemetry.context import Context

        if self._root is None:
            self._root = self._tracer.start_span(
                "reconcile", Context(), attributes=self._cluster, start_time=self._began
            )
        return self._root

    def _child(self, name: str, facts: dict[str, str], began: int | None = None) -> Span:
        from opentelemetry.trace import set_span_in_context

        return self._tracer.start_span(name, set_span_in_context(self._started()), attributes=facts, start_time=began)


def _step_text(step: Step) -> str:
    waits = f" (waits for {step.blocked_by})" if step.blocked_by else ""
    return f"{f'{step.name} {step.subject}'.strip()}: {step.reason}{waits}"


def _active(span: Span) -> ActiveSpan | None:
    context = span.get_span_context()
    return ActiveSpan(carry(context.trace_id, context.span_id)) if context.trace_flags.sampled else None


def _fail(span: Span, error: str) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR))
