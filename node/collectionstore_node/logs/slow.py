"""The slow log: operations that took longer than their threshold, and the time of each phase.

At most LINES_MAX lines of a kind are written in WINDOW_S, so that a slow disk is not filled with lines about itself;
the next line says how many were omitted. No line names a document, a key or a collection: a route is its pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

log = structlog.get_logger()

LINES_MAX: Final = 5
WINDOW_S: Final = 10.0
OFF: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Seconds from which an operation counts as slow; OFF disables a kind."""

    write_s: float = 0.5
    """An entry on the leader, from the arrival of its first command until it is applied."""
    read_s: float = 0.3
    """The confirmation of a linearizable read."""
    fsync_s: float = 0.1
    """An fsync of the log, including the wait for its thread."""
    apply_s: float = 0.1
    """Applying a batch of committed entries; it occupies the event loop, so clients and peers wait meanwhile."""
    http_s: float = 1.0
    """A client request, from its parsed head to its response, including the arrival of its body."""


class _Budget:
    """Rate limit of the lines of one kind: how many are left in this window, and how many were omitted."""

    __slots__ = ("_began", "_clock", "_left", "_omitted")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = float("-inf")
        self._left = 0
        self._omitted = 0

    def take(self) -> int | None:
        """Return how many lines were omitted since the last one; None if this line must be omitted too."""
        now = self._clock()
        if now - self._began >= WINDOW_S:
            self._began, self._left = now, LINES_MAX
        if not self._left:
            self._omitted += 1
            return None
        self._left -= 1
        omitted, self._omitted = self._omitted, 0
        return omitted


class SlowLog:
    """Logs slow operations. Belongs to the event loop; a call for an operation that is not slow is one comparison."""

    def __init__(self, thresholds: Thresholds, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds; it limits the rate of lines."""
        self.thresholds: Final = thresholds
        self._budgets = {kind: _Budget(clock) for kind in ("write", "read", "fsync", "apply", "http")}

    def write(self, seconds: float, phases: Mapping[str, float], *, index: int, commands: int) -> None:
        """Log an entry that was slow from its first command to its outcome."""
        limit = self.thresholds.write_s
        if seconds >= limit and (omitted := self._budgets["write"].take()) is not None:
            log.warning(
                "operation.slow",
                kind="write",
                seconds=_shown(seconds),
                threshold_s=limit,
                phases=_rounded(phases),
                index=index,
                commands=commands,
                omitted=omitted,
            )

    def read(self, seconds: float, phases: Mapping[str, float]) -> None:
        """Log a linearizable read whose confirmation was slow."""
        limit = self.thresholds.read_s
        if seconds >= limit and (omitted := self._budgets["read"].take()) is not None:
            log.warning(
                "operation.slow",
                kind="read",
                seconds=_shown(seconds),
                threshold_s=limit,
                phases=_rounded(phases),
                omitted=omitted,
            )

    def fsync(self, seconds: float) -> None:
        """Log a slow fsync."""
        limit = self.thresholds.fsync_s
        if seconds >= limit and (omitted := self._budgets["fsync"].take()) is not None:
            log.warning("operation.slow", kind="fsync", seconds=_shown(seconds), threshold_s=limit, omitted=omitted)

    def apply(self, seconds: float, *, entries: int, index: int) -> None:
        """Log entries that were slow to apply, the last of them at `index`."""
        limit = self.thresholds.apply_s
        if seconds >= limit and (omitted := self._budgets["apply"].take()) is not None:
            log.warning(
                "operation.slow",
                kind="apply",
                seconds=_shown(seconds),
                threshold_s=limit,
                entries=entries,
                index=index,
                omitted=omitted,
            )

    def http(
        self, seconds: float, phases: Mapping[str, float], *, route: str, method: str, code: int, request_id: str
    ) -> None:
        """Log a slow request; `route` is the pattern, never the path."""
        limit = self.thresholds.http_s
        if seconds >= limit and (omitted := self._budgets["http"].take()) is not None:
            log.warning(
                "operation.slow",
                kind="http",
                seconds=_shown(seconds),
                threshold_s=limit,
                phases=_rounded(phases),
                route=route,
                method=method,
                code=code,
                request_id=request_id,
                omitted=omitted,
            )


def _shown(seconds: float) -> float:
    return round(seconds, 4)


def _rounded(phases: Mapping[str, float]) -> dict[str, float]:
    return {name: _shown(seconds) for name, seconds in phases.items()}
