"""A queued command, as consensus, forwarding and observers see it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from collectionstore_node.statemachine.commands import Outcome

if TYPE_CHECKING:
    from collectionstore_node.tracing.spans import Span


T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class Waiter(Protocol[T_contra]):
    """Who waits for a result: an `asyncio.Future`, or what needs none, as nothing awaits it.

    It is told once, unless it is done already: its caller has gone.
    """

    def done(self) -> bool:
        """Whether it needs no result any more."""

    def set_result(self, result: T_contra, /) -> None:
        """Take the result."""

    def set_exception(self, exception: BaseException, /) -> None:
        """Take the error that came in its place."""


class EarlyWaiter:
    """A `Waiter` for the outcome whose caller goes on once the leader has the command on its own disk.

    It is told the outcome only if that is known before. The command is not dropped when the caller was told: an entry
    may have no room for it, and then it is proposed again.
    """

    __slots__ = ("_ended", "future")

    def __init__(self, future: asyncio.Future[Outcome | None]) -> None:
        """`future` is told the outcome, or None for a command that is durable on the leader."""
        self.future = future
        self._ended = False

    def done(self) -> bool:
        """Whether its outcome is of no use any more, or known."""
        return self._ended or self.future.cancelled()

    def durable(self) -> None:
        """Take that the command is on the leader's own disk, in the log of its term."""
        if not self.future.done():
            self.future.set_result(None)

    def set_result(self, result: Outcome, /) -> None:
        """Take the outcome."""
        self._ended = True
        if not self.future.done():
            self.future.set_result(result)

    def set_exception(self, exception: BaseException, /) -> None:
        """Take the error that came in its place."""
        self._ended = True
        if not self.future.done():
            self.future.set_exception(exception)


class QueuedCommand(msgspec.Struct, eq=False):
    """An encoded command and its caller. In seconds: `deadline` in loop time, `since` its arrival by `perf_counter`.

    The loop counts whole milliseconds only: enough for deadlines, useless for durations. `span` is there when the
    command is sampled.
    """

    command: bytes
    deadline: float
    future: Waiter[Outcome]
    since: float = 0.0
    span: Span | None = None
    early: EarlyWaiter | None = None
    """`future`, if its caller is to be told as soon as the command is durable on the leader."""


def tell(waiter: Waiter[T], future: asyncio.Future[T]) -> None:
    """Tell `waiter` what `future` will be told; a waiter that has given up meanwhile is told nothing."""

    def ended(done: asyncio.Future[T]) -> None:
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if waiter.done():
            return
        if error is None:
            waiter.set_result(done.result())
        else:
            waiter.set_exception(error)

    future.add_done_callback(ended)
