"""A time of day as text. By arithmetic, because the state machine must not know a clock, nor a library that has one."""

from __future__ import annotations

from typing import Final

TIME_MS_MAX: Final = 253_402_300_799_999
"""The end of the year 9999."""

_DAY_MS: Final = 86_400_000
_CYCLE_DAYS: Final = 146_097
"""400 years of the Gregorian calendar."""


def rfc3339(time_ms: int) -> str:
    """Return milliseconds since 1970 UTC, up to TIME_MS_MAX, as in `2026-11-30T19:51:23.250Z` (RFC 3339)."""
    days, rest = divmod(time_ms, _DAY_MS)
    seconds, milliseconds = divmod(rest, 1_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    year, month, day = _date(days)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z"


def _date(days: int) -> tuple[int, int, int]:
    # Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: years begin in March.
    cycle, day_of_cycle = divmod(days + 719_468, _CYCLE_DAYS)
    year = (day_of_cycle - day_of_cycle // 1_460 + day_of_cycle // 36_524 - day_of_cycle // 146_096) // 365
    day_of_year = day_of_cycle - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return cycle * 400 + year + (month <= 2), month, day
