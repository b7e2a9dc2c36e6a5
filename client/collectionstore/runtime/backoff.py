"""How long to wait before another attempt, and how many there may be. Pure; MongoDB's numbers for overload.

Source: mongodb/specifications, client-backpressure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

OVERLOAD_BASE_S: Final = 0.1
OVERLOAD_MAX_S: Final = 10.0
FAILOVER_BASE_S: Final = 0.02
FAILOVER_MAX_S: Final = 0.5
TOKENS: Final = 1_000.0
TOKEN_BACK: Final = 0.1


class RetryBudget:
    """How many attempts a client may add to an overloaded store: one for ten calls that succeed, after a thousand."""

    def __init__(self) -> None:
        self._tokens = TOKENS

    @property
    def tokens(self) -> float:
        """What is left."""
        return self._tokens

    def succeeded(self) -> None:
        """Give back a part for a call that succeeded."""
        if self._tokens < TOKENS:
            self._tokens = min(TOKENS, self._tokens + TOKEN_BACK)

    def take(self) -> bool:
        """Take one attempt; False when there is none left."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


def overload_pause_s(attempt: int, retry_after_s: float | None, chance: Callable[[], float]) -> float:
    """Return how long to wait after the `attempt`th (from 0) refusal for overload; never less than the store asks."""
    drawn = chance() * min(OVERLOAD_BASE_S * 2.0 ** min(attempt, 10), OVERLOAD_MAX_S)
    return max(drawn, retry_after_s or 0.0)


def failover_pause_s(attempt: int, chance: Callable[[], float]) -> float:
    """Return how long to wait when no member can answer; the first attempt elsewhere is made at once."""
    if attempt == 0:
        return 0.0
    return chance() * min(FAILOVER_BASE_S * 2.0 ** min(attempt, 10), FAILOVER_MAX_S)
