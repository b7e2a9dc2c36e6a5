"""Which answers are worth another try, and how long to wait before it.

Every call is such that doing it twice is harmless: objects have names, and changes have preconditions. So a lost
answer is asked for again, and what the second try finds is the truth.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Final

DEADLINE_S: Final = 20.0
"""For one call with all its tries; the loop comes again anyway."""
FIRST_S: Final = 0.1
LONGEST_S: Final = 5.0
TRANSIENT: Final = frozenset({429, 500, 502, 503, 504})


def worth_another_try(status: int) -> bool:
    """Whether an answer may be another one soon: the server is overloaded, restarting, or was interrupted."""
    return status in TRANSIENT


def pauses(random_source: random.Random) -> Iterator[float]:
    """Yield how long to wait before each next try: twice as long each time, between half and all of it."""
    longest_s = FIRST_S
    while True:
        yield longest_s * (0.5 + random_source.random() / 2)
        longest_s = min(2 * longest_s, LONGEST_S)


def asked_pause(headers: Mapping[str, str]) -> float:
    """Return for how long the server asks not to be asked, in seconds; 0 when it does not."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0
