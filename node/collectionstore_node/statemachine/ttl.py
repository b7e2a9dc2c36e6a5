"""Times to live as text: a whole number with a unit, such as `90s`."""

from __future__ import annotations

import re
from typing import Final

from collectionstore_node.statemachine.costs import TTL_MAX_MS, TTL_MIN_MS

_UNITS_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
TTL: Final = re.compile(r"([0-9]{1,15})(ms|s|m|h|d)")
TTL_ALLOWED: Final = (
    f"{TTL_MIN_MS // 1_000}s to {TTL_MAX_MS // _UNITS_MS['d']}d: a whole number with ms, s, m, h or d, such as 90s"
)


def parse_ttl(text: str) -> int | None:
    """Return the milliseconds that a text says, None if it is no time or out of range."""
    found = TTL.fullmatch(text)
    if found is None:
        return None
    milliseconds = int(found[1]) * _UNITS_MS[found[2]]
    return milliseconds if TTL_MIN_MS <= milliseconds <= TTL_MAX_MS else None


def shown_ttl(milliseconds: int) -> str:
    """Return the text of a time in its largest whole unit."""
    for unit, size in _UNITS_MS.items():
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    raise ValueError(f"{milliseconds} is no whole number")
