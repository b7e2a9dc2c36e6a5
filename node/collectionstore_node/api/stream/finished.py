"""`Finished`: counts answered operations, those of one callback together."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from collectionstore_node.api.http.instruments import RouteMetrics


class Finished:
    """The counters of a port's streams, by kind of operation. Belongs to one event loop.

    Within its context the untraced ones are collected, and counted at its end: nothing awaits in it, so that no scrape
    comes between an answer and its count.
    """

    __slots__ = ("_collecting", "_counters", "_seconds")

    def __init__(self, counters: Mapping[str, RouteMetrics]) -> None:
        self._counters = counters
        self._collecting = False
        self._seconds: dict[tuple[str, int], list[float]] = {}
        """By kind and status, of this context."""

    def count(self, kind: str, status: int, seconds: float, trace_id: str | None = None) -> None:
        """Count an operation that was answered with `status` after `seconds`; `trace_id` when it is traced."""
        if not self._collecting or trace_id is not None:
            self._counters[kind].finished(status, seconds, trace_id)
            return
        collected = self._seconds.get((kind, status))
        if collected is None:
            self._seconds[kind, status] = [seconds]
        else:
            collected.append(seconds)

    def __enter__(self) -> None:
        self._collecting = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._collecting = False
        collected, self._seconds = self._seconds, {}
        for (operation, status), seconds in collected.items():
            self._counters[operation].finished_all(status, seconds)
