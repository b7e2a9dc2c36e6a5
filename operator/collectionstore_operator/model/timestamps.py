"""Unix seconds as RFC 3339 timestamps in UTC. Without datetime, which the pure rooms must not import."""

from __future__ import annotations

import re
from typing import Final

DAY_S: Final = 86_400
_ERA_DAYS: Final = 146_097
"""Days in 400 Gregorian years."""
_EPOCH_SHIFT_DAYS: Final = 719_468
"""Days from 0000-03-01 to 1970-01-01; years that begin in March have their leap day last."""


def rfc3339(seconds: float) -> str:
    """Return a timestamp with a resolution of one second: `2026-08-27T12:00:00Z`. Not before 1970."""
    days, of_day = divmod(int(seconds), DAY_S)
    year, month, day = _civil(days)
    hour, minute, second = of_day // 3600, of_day // 60 % 60, of_day % 60
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"


def _civil(days: int) -> tuple[int, int, int]:
    """Return year, month and day of a number of days since 1970-01-01. Source: Howard Hinnant, `civil_from_days`."""
    era, of_era = divmod(days + _EPOCH_SHIFT_DAYS, _ERA_DAYS)
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return era * 400 + year + (month <= 2), month, day


def seconds(timestamp: str) -> float:
    """Return the Unix seconds of a timestamp that `rfc3339` wrote. Raises ValueError for another text."""
    match = re.fullmatch(r"(\d{4,})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", timestamp)
    if match is None:
        raise ValueError(f"{timestamp!r} is not a timestamp such as 2026-08-27T12:00:00Z")
    year, month, day, hour, minute, second = map(int, match.groups())
    return float(_days(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second)


def _days(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01. Source: Howard Hinnant, `days_from_civil`."""
    shifted = year - (month <= 2)
    era, of_era = divmod(shifted, 400)
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * _ERA_DAYS + of_era * 365 + of_era // 4 - of_era // 100 + of_year - _EPOCH_SHIFT_DAYS
