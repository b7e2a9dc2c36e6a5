"""Exponential backoff with jitter between dials. Pure."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Doubling pauses with jitter: `delay` grows from `lo_s` to `hi_s`, each scaled into [1/2, 1).

    The jitter keeps the members of a cluster from dialing a restarted node all at the same moment.
    """

    def __init__(self, lo_s: float, hi_s: float, random: Callable[[], float]) -> None:
        """`random` returns a float in [0, 1)."""
        self._lo_s = lo_s
        self._hi_s = hi_s
        self._random = random
        self._failures = 0

    def next_delay_s(self, hi_s: float | None = None) -> float:
        """Return the pause after one more failure; `hi_s` replaces the upper bound for this one."""
        # The exponent is bounded: 2**1100 is no float.
        full = min(self._lo_s * 2.0 ** min(self._failures, 32), hi_s if hi_s is not None else self._hi_s)
        self._failures += 1
        return full * (0.5 + self._random() / 2)

    def reset(self) -> None:
        """Start over after a success."""
        self._failures = 0
