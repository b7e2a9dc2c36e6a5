"""Dates as JSON has them: RFC 3339 texts, and milliseconds since 1970 UTC; of the years 1 to 9999.

By arithmetic on the Gregorian calendar, because what is computed must not depend on a clock, nor on a library that has
one, nor on a database of time zones, whose versions differ between machines: offsets are fixed.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

TIME_MS_MIN: Final = -62_135_596_800_000
"""The beginning of the year 1."""
TIME_MS_MAX: Final = 253_402_300_799_999
"""The end of the year 9999."""

DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000
OFFSET_MINUTES_MAX: Final = 18 * 60 + 1
"""Offsets are below this, as those that are or were in use."""

_CYCLE_DAYS: Final = 146_097
"""400 years of the Gregorian calendar."""
_TEXT: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?)?"
    r"\s?([Zz]|[+-][0-9]{2}:?[0-9]{2})?"
)
_OFFSET: Final = re.compile(r"([+-])([0-9]{2}):?([0-9]{2})?")
_MONTH_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Moment(NamedTuple):
    """A date with its time of day, as a calendar and a clock at some offset show it."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    millisecond: int
    days: int
    """Since 1970-01-01."""

    @property
    def weekday(self) -> int:
        """The day of the week, Monday as 0."""
        return (self.days + 3) % 7

    @property
    def day_of_year(self) -> int:
        """From 1."""
        return self.days - days_of(self.year, 1, 1) + 1

    @property
    def iso_week(self) -> tuple[int, int]:
        """The year and the number of the week of ISO 8601: that of its Thursday."""
        thursday = self.days - self.weekday + 3
        year, _, _ = date_of(thursday)
        return year, (thursday - days_of(year, 1, 1)) // 7 + 1


def rfc3339(time_ms: int) -> str:
    """Return milliseconds since 1970 UTC, of the years 1 to 9999, as in `2026-11-30T19:51:23.250Z` (RFC 3339)."""
    one = moment_of(time_ms)
    return (
        f"{one.year:04}-{one.month:02}-{one.day:02}T{one.hour:02}:{one.minute:02}:{one.second:02}.{one.millisecond:03}Z"
    )


def moment_of(time_ms: int) -> Moment:
    """Return what milliseconds since 1970 are on the calendar and the clock."""
    days, rest = divmod(time_ms, DAY_MS)
    seconds, millisecond = divmod(rest, 1_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return Moment(*date_of(days), hour, minute, second, millisecond, days)


def time_of(days: int, hour: int = 0, minute: int = 0, second: int = 0, millisecond: int = 0) -> int:
    """Return the milliseconds since 1970 of a day and a time of day."""
    return days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1_000 + millisecond


def date_of(days: int) -> tuple[int, int, int]:
    """Return year, month and day of a day since 1970."""
    # Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days: years begin in March.
    cycle, day_of_cycle = divmod(days + 719_468, _CYCLE_DAYS)
    year = (day_of_cycle - day_of_cycle // 1_460 + day_of_cycle // 36_524 - day_of_cycle // 146_096) // 365
    day_of_year = day_of_cycle - (365 * year + year // 4 - year // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return cycle * 400 + year + (month <= 2), month, day


def days_of(year: int, month: int, day: int) -> int:
    """Return the day since 1970 of a date; the inverse of `date_of`."""
    year -= month <= 2
    cycle, year_of_cycle = divmod(year, 400)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return cycle * _CYCLE_DAYS + year_of_cycle * 365 + year_of_cycle // 4 - year_of_cycle // 100 + day_of_year - 719_468


def month_days(year: int, month: int) -> int:
    """Return how many days a month has."""
    leap = month == 2 and (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))
    return _MONTH_DAYS[month - 1] + leap


def checked_time(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, millisecond: int = 0
) -> int | None:
    """Return the milliseconds since 1970 of a date and a time; None if there is no such one."""
    if not (1 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= month_days(year, month)):
        return None
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60 and 0 <= millisecond < 1_000):
        return None
    return time_of(days_of(year, month, day), hour, minute, second, millisecond)


def in_range(time_ms: int) -> bool:
    """Whether it is of the years 1 to 9999."""
    return TIME_MS_MIN <= time_ms <= TIME_MS_MAX


def parse_date(text: str, offset_minutes: int | None = None) -> int | None:
    """Return the milliseconds since 1970 of an RFC 3339 text, which may lack seconds, time or offset; None for others.

    `offset_minutes` is that of a text without one, None for UTC. Digits behind milliseconds are cut off.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(found[at] or 0) for at in range(1, 7))
    millisecond = int((found[7] or "").ljust(3, "0")[:3])
    time_ms = checked_time(year, month, day, hour, minute, second, millisecond)
    offset = offset_minutes if found[8] is None else parse_offset(found[8])
    if time_ms is None or (found[8] is not None and offset is None):
        return None
    time_ms -= (offset or 0) * MINUTE_MS
    return time_ms if in_range(time_ms) else None


def parse_offset(text: str) -> int | None:
    """Return the minutes of an offset from UTC: `Z`, `UTC`, `GMT`, `+02:00`, `+0200`, `+02`; None for others."""
    if text in ("Z", "z", "UTC", "GMT"):
        return 0
    found = _OFFSET.fullmatch(text)
    if found is None:
        return None
    hours, minutes = int(found[2]), int(found[3] or 0)
    total = hours * 60 + minutes
    if minutes >= 60 or total >= OFFSET_MINUTES_MAX:
        return None
    return -total if found[1] == "-" else total
