"""When a loop looks again if nothing wakes it before. Pure."""

from __future__ import annotations

from typing import Final

BUSY_S: Final = 5.0
"""While a Job runs: one or two reads."""
IDLE_S: Final = 60.0
"""While none runs."""
RETRY_S: Final = 300.0
"""A Job that must succeed is started again so long after it has failed."""
EARLIEST_S: Final = 1.0


def until(moment: float | None, now: float, *, at_most_s: float = IDLE_S) -> float:
    """Return the seconds until a moment, within the bounds of a pause."""
    if moment is None:
        return at_most_s
    return min(at_most_s, max(EARLIEST_S, moment - now))
