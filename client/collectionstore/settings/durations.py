"""Durations, as connection strings and the API write them."""

from __future__ import annotations

import re
from typing import Final

from collectionstore.errors import ConfigurationError

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_PATTERN: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)")


def seconds_of(name: str, value: object, lo: float, hi: float) -> float:
    """Return seconds of a number, or of a text such as `2s` or `500ms`. Raises ConfigurationError."""
    if isinstance(value, str) and (match := _PATTERN.fullmatch(value)):
        found = float(match[1]) * _UNITS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value)
    else:
        raise ConfigurationError(f"{name} must be seconds, or a text such as 2s or 500ms, not a {kind(value)}")
    if not lo <= found <= hi:
        raise ConfigurationError(f"{name} must be from {lo:g} to {hi:g} seconds")
    return found


def ttl_text(value: object) -> str:
    """Return a time to live as the API writes it: of seconds, or of a text such as `30m` or `none`."""
    if value == "none" or (isinstance(value, str) and _PATTERN.fullmatch(value)):
        return str(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
        return f"{round(value * 1000)}ms"
    raise ConfigurationError(f"ttl must be seconds, none, or a text such as 90s, not a {kind(value)}")


def kind(value: object) -> str:
    """Return the type of a value, for an error: never the value, which may be a secret."""
    return type(value).__name__
