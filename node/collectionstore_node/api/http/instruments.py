"""The instruments of the HTTP layer: where its measurements, spans and slow requests go, as interfaces."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from aiohttp import web

from collectionstore_node.logs import SlowLog, Thresholds
from collectionstore_telemetry.logs import LogLevels
from collectionstore_telemetry.profiling import Profiler


class RouteMetrics(Protocol):
    """Counts the requests of one route and method; its series are resolved once, at the start."""

    def finished(self, status: int, seconds: float, trace_id: str | None = None) -> None:
        """Count a request that was answered with `status` after `seconds`; `trace_id` when it is traced."""

    def finished_all(self, status: int, seconds: list[float]) -> None:
        """Count untraced requests that were answered with `status`; sorts `seconds` in place."""


class HttpMetrics(Protocol):
    """Counts requests, problems and transactions, and shows what is in progress."""

    def route(self, route: str, method: str) -> RouteMetrics:
        """Return the counters of a route, named by its pattern. Called at the start only."""

    def inflight(self, read: Callable[[], int]) -> None:
        """Take the function that returns how many requests are being served."""

    def connections(self, read: Callable[[], int]) -> None:
        """Take the function that returns how many connections are open."""

    def arriving(self, read: Callable[[], int]) -> None:
        """Take the function that returns how many bytes of bodies are still arriving."""

    def uploads(self, read: Callable[[], int]) -> None:
        """Take the function that returns how many bodies are still arriving."""

    def unsent(self, read: Callable[[], int]) -> None:
        """Take the function that returns how many bytes of answers their clients have not taken."""

    def cut(self, reason: str) -> None:
        """Count a connection closed for a slow client: slow_head, slow_read or evicted_read."""

    def long_requests(self, read: Callable[[], int]) -> None:
        """Take the function that returns how many requests take turns on the event loop, or wait for theirs."""

    def problem(self, code: str) -> None:
        """Count a request that ended in the problem of this code."""

    def streams(self, connections: Callable[[], int], operations: Callable[[], int]) -> None:
        """Take the functions that return how many streams are open, and how many of their operations are in flight."""

    def stream_closed(self, reason: str) -> None:
        """Count a stream that has ended, by the name of its close code."""

    def transaction(self, result: str) -> None:
        """Count a transaction: then or else for the branch that ran; conflict or refused when none did."""

    def queued(self, result: str) -> None:
        """Count a queued write that has ended: applied, refused, not_applied or unknown."""


class RequestTrace(Protocol):
    """The span of a sampled request; exactly one of its methods is called, once."""

    @property
    def trace_id(self) -> str:
        """32 hex digits."""

    def answered(self, status: int) -> None:
        """End the span of a request that was answered."""

    def abandoned(self) -> None:
        """End the span of a request that was cancelled before its answer."""


class OperationTrace(RequestTrace, Protocol):
    """The span of a sampled operation of a stream."""

    @property
    def carried(self) -> bytes:
        """What makes another span its child."""


TraceOperation: TypeAlias = Callable[[str, str | None], OperationTrace | None]
"""Starts the span of an operation of this kind, in the given W3C trace context; returns None unless it is sampled."""

TraceRequest: TypeAlias = Callable[[web.BaseRequest, str, str], RequestTrace | None]
"""Starts the span of a request with this method to this route pattern; returns None unless it is sampled."""

RenderMetrics: TypeAlias = Callable[[str], Awaitable[tuple[bytes, str]]]
"""Returns all metrics in a format that the Accept header allows, and its content type."""


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What an operator can inspect or change in this process: log levels, the slow log, the profiler."""

    levels: LogLevels = field(default_factory=LogLevels)
    slow: SlowLog = field(default_factory=lambda: SlowLog(Thresholds(), time.monotonic))
    profiler: Profiler | None = None
    """None when profiling is disabled."""
