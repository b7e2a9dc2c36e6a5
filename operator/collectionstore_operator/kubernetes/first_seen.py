"""For how long something has been as it is, on this process's own monotonic clock.

Timestamps of Kubernetes objects are by the clocks of other machines: to subtract one from ours would make a pod look
unready for hours as soon as one of the two is wrong, and get its volume replaced. What another operator had seen before
does not count, so every time measured here is too short rather than too long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping


class FirstSeen:
    """When each of some states was first observed. Belongs to the loop of one cluster."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def lasted(self, states: Mapping[int, str]) -> dict[int, float]:
        """Return for how many seconds each state has been observed, by ordinal; states that are gone are forgotten.

        A state is a word that no other one has, also not the same one after it was left: it has the time at which its
        object says that it began.
        """
        now = self._clock()
        self._since = {state: self._since.get(state, now) for state in states.values()}
        return {ordinal: now - self._since[state] for ordinal, state in states.items()}
