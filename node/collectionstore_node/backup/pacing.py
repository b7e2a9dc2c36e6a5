"""Bounds how fast a stream is read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

RATE_MIN: Final = 2 << 20
"""Bytes per second; a member ends a stream that is read with less than half of it on average."""
CREDIT_S: Final = 1.0
"""What was not read in time may be made up for, up to so much."""


class Pace:
    """Waits so that `bytes_per_second` are not exceeded over more than `CREDIT_S`. For one thread."""

    def __init__(
        self,
        bytes_per_second: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """At least `RATE_MIN`."""
        self._rate = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._due = clock()

    def after(self, size: int) -> None:
        """Wait until `size` bytes, which were read, are within the rate."""
        now = self._clock()
        self._due = max(self._due, now - CREDIT_S) + size / self._rate
        if self._due > now:
            self._sleep(self._due - now)
