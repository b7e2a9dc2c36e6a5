"""`Bucket`: a token bucket. Pure, with the time handed in: seconds of a monotonic clock."""

from __future__ import annotations

from typing import Final

BURST_S: Final = 2.0
"""A bucket holds what comes in so long: a client that was idle may send so much at once."""


class Bucket:
    """Tokens that come in at a rate, up to a bound, and are taken by requests."""

    __slots__ = ("_at", "_most", "_rate", "_tokens")

    def __init__(self, rate: float, now: float) -> None:
        """`rate` is tokens per second, above 0; the bucket begins full."""
        self._rate = rate
        self._most = max(1.0, rate * BURST_S)
        self._tokens = self._most
        self._at = now

    def wait_s(self, now: float) -> float:
        """Return after how many seconds there is a token; 0.0 if there is one."""
        self._fill(now)
        # One whole token, whatever the next request is charged: what it costs is known only at its end.
        return 0.0 if self._tokens >= 1.0 else (1.0 - self._tokens) / self._rate

    def take(self, count: float, now: float) -> None:
        """Take tokens; what is taken beyond what is there comes in before anything else is let in."""
        self._fill(now)
        self._tokens -= count

    def _fill(self, now: float) -> None:
        # A clock that goes back adds nothing, and takes nothing.
        if now > self._at:
            self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate)
            self._at = now
