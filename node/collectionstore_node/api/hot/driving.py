"""Runs a coroutine without a task: each of its steps runs in the callback of the future that it waits for.

A task costs an object, a turn of the loop before its first step and another one at its end, where a small request needs
neither: many end in their first step, and the others wait for one future.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Owner = TypeVar("Owner")


class Drive(Generic[T, Owner]):
    """One coroutine. Belongs to the event loop.

    It may await futures and coroutines, as in a task; `asyncio.timeout` and what else asks for the current task do not
    work.
    """

    __slots__ = ("_context", "_ended", "_loop", "_owner", "_send", "_waits_for")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T],
        ended: Callable[[Owner, T | BaseException], None],
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
        context: Context | None = None,
    ) -> None:
        """`ended` takes `owner` and the result or the exception; the steps run in `context`, None for the caller's."""
        self._send = coroutine.send
        self._ended = ended
        self._owner = owner
        self._loop = loop
        self._context = context
        self._waits_for: asyncio.Future[Any] | None = None

    def start(self) -> None:
        """Run the first step; `ended` may be called before this returns."""
        if self._context is None:
            self._step(None)
        else:
            self._context.run(self._step, None)

    def cancel(self) -> None:
        """Cancel what it waits for, as the cancellation of a task does."""
        if self._waits_for is not None:
            self._waits_for.cancel()

    def _step(self, _future: asyncio.Future[Any] | None = None) -> None:
        # A future that has failed raises its error in the coroutine, which fetches the result.
        self._waits_for = None
        try:
            waits_for = self._send(None)
        except StopIteration as end:
            self._ended(self._owner, end.value)
        except (Exception, asyncio.CancelledError) as error:
            self._ended(self._owner, error)
        else:
            if waits_for is None:  # a bare yield: in the next turn of the loop
                self._loop.call_soon(self._step, None, context=self._context)
                return
            # What tells a task that the future is awaited, and not just yielded (asyncio.futures).
            waits_for._asyncio_future_blocking = False
            self._waits_for = waits_for
            waits_for.add_done_callback(self._step, context=self._context)
