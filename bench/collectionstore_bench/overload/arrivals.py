"""When the requests of an open loop are due, and quantiles of what they took. Pure.

In an open loop requests come when they come, whether or not earlier ones were answered, and what a request took counts
from the moment at which it was due. A loop that waits for answers, or counts from when it got round to sending, does
not ask while the server is slow, and so leaves out what the slowness cost (coordinated omission, Tene).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence


def poisson(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """Yield arrival times in `[0, seconds)`, ascending: independent clients, `rate` per second together.

    The same ones for the same seed.
    """
    chance = random.Random(seed)
    at = chance.expovariate(rate)
    while at < seconds:
        yield at
        at += chance.expovariate(rate)


def quantile(ascending: Sequence[float], fraction: float) -> float | None:
    """Return the least value that at least `fraction` of all do not exceed (nearest rank); None without values."""
    if not ascending:
        return None
    return ascending[max(0, math.ceil(fraction * len(ascending)) - 1)]
