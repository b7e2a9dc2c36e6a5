"""Which responses are retried, and after which backoff.

Every request is idempotent: objects have names, and changes have preconditions. So a request whose response was lost
is sent again, and the second response shows what happened.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Final

DEADLINE_S: Final = 20.0
"""For one call including its retries; the next round retries anyway."""
FIRST_S: Final = 0.1
LONGEST_S: Final = 5.0
TRANSIENT: Final = frozenset({429, 500, 502, 503, 504})


def is_transient(status: int) -> bool:
    """Return whether a retry may succeed: the server is overloaded, restarting, or was interrupted."""
    return status in TRANSIENT


def backoff(random_source: random.Random) -> Iterator[float]:
    """Yield the delay before each retry in seconds: exponential, with jitter between half and all of it."""
    longest_s = FIRST_S
    while True:
        yield longest_s * (0.5 + random_source.random() / 2)
        longest_s = min(2 * longest_s, LONGEST_S)


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Return the delay of `Retry-After` in seconds; 0 without the header."""
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0
