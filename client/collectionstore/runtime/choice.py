"""Which member is asked: of two at random the one that is less busy and faster. Pure.

Source: "The Power of Two Choices in Randomized Load Balancing" (Mitzenmacher, 2001), with latency as the peak-sensitive
average of Finagle's balancer: a slow answer counts at once, and is forgotten over `DECAY_S`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

DECAY_S: Final = 5.0
LATENCY_MIN_S: Final = 0.015
"""Below this members are equal, and have equal shares; the latency window of MongoDB's server selection."""
FAILED_S: Final = 1.0
"""For how long a member is left alone after it failed, if there are others; it doubles with each failure up to"""
FAILED_MAX_S: Final = 10.0


class Load:
    """What a client knows of the load of one member."""

    def __init__(self) -> None:
        self._latency_s = 0.0
        self._at = 0.0
        self._failures = 0
        self._failed_until = 0.0

    def answered(self, latency_s: float, now: float) -> None:
        """Note an answer."""
        self._failures = 0
        self._failed_until = 0.0
        if latency_s > self._latency_s:
            self._latency_s = latency_s
        else:
            keep = math.exp(-max(0.0, now - self._at) / DECAY_S)
            self._latency_s = self._latency_s * keep + latency_s * (1 - keep)
        self._at = now

    def failed(self, now: float) -> None:
        """Note that the member could not be reached, or did not answer."""
        self._failures += 1
        self._failed_until = now + min(FAILED_S * 2 ** min(self._failures - 1, 6), FAILED_MAX_S)

    def healthy(self, now: float) -> bool:
        """Whether the member has not failed lately."""
        return now >= self._failed_until

    def cost(self, inflight: int, now: float) -> float:
        """Return what asking this member costs: its latency, times what it has to do already."""
        seen = self._latency_s * math.exp(-max(0.0, now - self._at) / DECAY_S)
        return max(seen, LATENCY_MIN_S) * (inflight + 1)


class Candidate(Protocol):
    """A member that may be asked."""

    load: Load

    @property
    def inflight(self) -> int:
        """How many calls of this client it has to answer."""


Chosen = TypeVar("Chosen", bound=Candidate)


def choose(candidates: Sequence[Chosen], now: float, chance: Callable[[], float]) -> Chosen:
    """Return one of the candidates, of which there is at least one: a healthy one if there is."""
    able = [one for one in candidates if one.load.healthy(now)] or list(candidates)
    if len(able) == 1:
        return able[0]
    first = int(chance() * len(able))
    second = int(chance() * (len(able) - 1))
    if second >= first:
        second += 1
    one, other = able[first], able[second]
    return one if one.load.cost(one.inflight, now) <= other.load.cost(other.inflight, now) else other
