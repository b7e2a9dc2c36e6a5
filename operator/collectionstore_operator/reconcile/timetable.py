"""When a cron expression is due, before and after a moment, across daylight saving time.

Outside of the pure rooms because time zones need the standard library's dates; the planner gets the times as data.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

FIELDS: Final = 5


class InvalidTimetable(ValueError):
    """An expression or a time zone that cannot be read; the text says which, and what is allowed."""


class Due(NamedTuple):
    """The last time at or before a moment and the next one after it, in Unix seconds; None where there is none."""

    last: float | None
    next: float | None


def due(expression: str, zone: str, now: float) -> Due:
    """Return when `expression` was and will be due. Raises InvalidTimetable."""
    if len(expression.split()) != FIELDS:
        raise InvalidTimetable(f"{expression!r} has not {FIELDS} fields; allowed: such as 0 3 * * *")
    # The last one may be now: a search backwards begins a minute later.
    moment = datetime.fromtimestamp(now // 60 * 60, _zone(zone))
    try:
        forward = CronSim(expression, moment)
        backward = CronSim(expression, datetime.fromtimestamp(now // 60 * 60 + 60, moment.tzinfo), reverse=True)
    except CronSimError as error:
        raise InvalidTimetable(f"{expression!r}: {error}; allowed: a cron expression such as 0 3 * * *") from None
    return Due(_first(backward), _first(forward))


def _first(times: CronSim) -> float | None:
    found = next(times, None)  # it ends by itself, 50 years away
    return None if found is None else found.timestamp()


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidTimetable(f"{name!r} is no time zone; allowed: one such as Europe/Berlin") from None
