"""Runs what answers clients as soon as a step of the driver has told all its results.

`loop.call_soon` would run it in the next turn of the loop, behind everything that has arrived meanwhile: the
acknowledgement of the slower follower, the next requests of all other clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from types import TracebackType


class Telling:
    """Within the context results are told, and nothing awaits; at its end the callbacks run. Of one event loop."""

    def __init__(self) -> None:
        """The loop is the running one."""
        self._loop = asyncio.get_running_loop()
        self._telling = False
        self._callbacks: list[tuple[Callable[[], None], Context]] = []

    def soon(self, callback: Callable[[], None]) -> None:
        """Run `callback` at the end of the context; outside of one in the next turn. An error in it is the loop's."""
        if self._telling:
            # As `call_soon` does: what a callback sets for its request is not for the driver.
            self._callbacks.append((callback, copy_context()))
        else:
            self._loop.call_soon(callback)

    def __enter__(self) -> None:
        self._telling = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # BEFORE the callbacks: they may refuse requests that they begin, whose answers are told on their own.
        self._telling = False
        callbacks, self._callbacks = self._callbacks, []
        for callback, context in callbacks:
            if error is None:
                self._run(callback, context)
            else:
                # The driver ends. What was told before is answered nevertheless.
                self._loop.call_soon(callback, context=context)

    def _run(self, callback: Callable[[], None], context: Context) -> None:
        try:
            context.run(callback)
        except Exception as failure:  # the boundary: a bug in answering must not end the driver, and with it the node
            self._loop.call_exception_handler({"message": f"Exception in callback {callback}", "exception": failure})
