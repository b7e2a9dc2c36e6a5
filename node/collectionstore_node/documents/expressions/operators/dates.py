"""Dates. JSON has none: a date is an RFC 3339 text, or milliseconds since 1970 UTC; results are texts in UTC.

Offsets are fixed (`+02:00`): a database of time zones differs between machines, and an answer must not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from collectionstore_node.documents import dates
from collectionstore_node.documents.dates import MINUTE_MS, Moment, in_range, moment_of, rfc3339
from collectionstore_node.documents.expressions.operators.date_formats import parsed_by, written_by
from collectionstore_node.documents.expressions.operators.forms import NOT_GIVEN, Operator, named, text, whole
from collectionstore_node.documents.expressions.scope import Scope, Unfit, absent, type_name
from collectionstore_node.documents.values import Value

AMOUNT_MAX: Final = 1 << 53

_FIXED_MS: Final = {
    "millisecond": 1,
    "second": 1_000,
    "minute": MINUTE_MS,
    "hour": 3_600_000,
    "day": dates.DAY_MS,
    "week": 7 * dates.DAY_MS,
}
_MONTHS: Final = {"month": 1, "quarter": 3, "year": 12}
UNITS: Final = (*_FIXED_MS, *_MONTHS)
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_REFERENCE: Final = dates.days_of(2000, 1, 1)
"""Bins of a size other than 1 are counted from the year 2000, as in MongoDB; a Saturday."""
_DEFAULT: Final = "%Y-%m-%dT%H:%M:%S.%L"


def _time(value: Value) -> int:
    """Return the milliseconds since 1970 of a date. Raises `Unfit`."""
    kind = type(value)
    found: int | None = None
    if kind is str:
        found = dates.parse_date(value)
        if found is None:
            raise Unfit("takes a date as an RFC 3339 text, such as 2026-11-30T19:51:23.250Z, of the years 1 to 9999")
    elif kind is int or kind is float:
        found = int(value)
    else:
        raise Unfit(f"takes a date, as an RFC 3339 text or in milliseconds since 1970, and this is {type_name(value)}")
    if not in_range(found):
        raise Unfit("takes dates of the years 1 to 9999")
    return found


def _dated(time_ms: int) -> str:
    if not in_range(time_ms):
        raise Unfit("has a result beyond the years 1 to 9999")
    return rfc3339(time_ms)


def _offset(zone: Value) -> int:
    """Return the minutes of a time zone. Raises `Unfit`."""
    if zone is NOT_GIVEN:
        return 0
    found = dates.parse_offset(text(zone, "a time zone as a text"))
    if found is None:
        raise Unfit(
            "takes a time zone as a fixed offset, such as +02:00, or UTC; names such as Europe/Paris are not known"
        )
    return found


def _unit(unit: Value) -> str:
    if type(unit) is str and unit in UNITS:
        return unit
    raise Unfit(f"takes a unit: one of {', '.join(UNITS)}")


def _week_start(unit: str, given: Value) -> int:
    """Return the day that weeks begin with, Monday as 0."""
    if given is NOT_GIVEN or unit != "week":
        return 6
    name = text(given, "a day of the week").lower()
    found = [at for at, one in enumerate(_WEEKDAYS) if name in (one, one[:3])]
    if not found:
        raise Unfit("takes startOfWeek as a day of the week, such as monday or mon")
    return found[0]


# Parts


def _part(part: Callable[[Moment], int]) -> Operator:
    def run(scope: Scope, date: Value, zone: Value) -> Value:
        if absent(date) or absent(zone):
            return None
        return part(moment_of(_time(date) + _offset(zone) * MINUTE_MS))

    return named(run, 'a date, or {"date": date, "timezone": offset}', "date", "timezone", required=1)._replace(
        alone="date"
    )


def week_of(moment: Moment) -> int:
    """Return the week of the year, from 0: weeks begin with a Sunday, and the first one with the first of them."""
    return (moment.day_of_year + 6 - (moment.weekday + 1) % 7) // 7


# Texts


def _to_string(scope: Scope, date: Value, form: Value, zone: Value, on_null: Value) -> Value:
    if absent(date):
        return None if on_null is NOT_GIVEN else on_null
    if absent(form) or absent(zone):
        return None
    given = _DEFAULT + ("Z" if zone is NOT_GIVEN else "") if form is NOT_GIVEN else text(form, "a format")
    offset = _offset(zone)
    found = written_by(given, moment_of(_time(date) + offset * MINUTE_MS), offset, week_of)
    scope.built(len(found))
    return found


def _from_string(scope: Scope, given: Value, form: Value, zone: Value, on_error: Value, on_null: Value) -> Value:
    if absent(given):
        return None if on_null is NOT_GIVEN else on_null
    if absent(form) or absent(zone):
        return None
    offset = None if zone is NOT_GIVEN else _offset(zone)
    try:
        shown = text(given, "a date as a text")
        scope.visited(shown)
        if form is NOT_GIVEN:
            found = dates.parse_date(shown, offset)
            if found is None:
                raise Unfit("takes an RFC 3339 text, or a format that says how it is written")
        else:
            found = parsed_by(text(form, "a format"), shown, offset)
        return _dated(found)
    except Unfit:
        if on_error is NOT_GIVEN:
            raise
        return on_error


def _to_date(scope: Scope, value: Value) -> Value:
    return None if absent(value) else rfc3339(_time(value))


# Computing


def _added(time_ms: int, unit: str, amount: int, offset: int) -> int:
    """Return a date so many units later; of a month that has no such day, the last one."""
    if unit in _FIXED_MS:
        return time_ms + amount * _FIXED_MS[unit]
    local = moment_of(time_ms + offset * MINUTE_MS)
    year, month = divmod(local.year * 12 + local.month - 1 + amount * _MONTHS[unit], 12)
    if not 0 <= year <= 10_000:
        raise Unfit("has a result beyond the years 1 to 9999")
    day = min(local.day, dates.month_days(year, month + 1))
    days = dates.days_of(year, month + 1, day)
    return dates.time_of(days, local.hour, local.minute, local.second, local.millisecond) - offset * MINUTE_MS


def _adding(sign: int) -> Callable[..., Value]:
    def run(scope: Scope, date: Value, unit: Value, amount: Value, zone: Value) -> Value:
        if any(absent(one) for one in (date, unit, amount, zone)):
            return None
        if type(amount) is float and amount.is_integer():
            amount = int(amount)
        if type(amount) is not int or abs(amount) > AMOUNT_MAX:
            raise Unfit("takes an amount as a whole number")
        return _dated(_added(_time(date), _unit(unit), sign * amount, _offset(zone)))

    return run


def _bin(local_ms: int, unit: str, size: int, first: int) -> int:
    """Return the number of the bin of `size` units that a local time is in; `first` is the first day of a week."""
    if unit in _MONTHS:
        local = moment_of(local_ms)
        return ((local.year - 2000) * 12 + local.month - 1) // (_MONTHS[unit] * size)
    return (local_ms - _bin_start(unit, first)) // (_FIXED_MS[unit] * size)


def _bin_start(unit: str, first: int) -> int:
    # The year 2000 begins with a Saturday, 5.
    return dates.time_of(_REFERENCE + ((first - 5) % 7 if unit == "week" else 0))


def _difference(scope: Scope, start: Value, end: Value, unit: Value, zone: Value, week: Value) -> Value:
    if any(absent(one) for one in (start, end, unit, zone, week)):
        return None
    name, offset = _unit(unit), _offset(zone) * MINUTE_MS
    first = _week_start(name, week)
    return _bin(_time(end) + offset, name, 1, first) - _bin(_time(start) + offset, name, 1, first)


def _truncated(scope: Scope, date: Value, unit: Value, size: Value, zone: Value, week: Value) -> Value:
    if any(absent(one) for one in (date, unit, size, zone, week)):
        return None
    name, offset = _unit(unit), _offset(zone) * MINUTE_MS
    count = 1 if size is NOT_GIVEN else whole(size, "a binSize")
    if count < 1:
        raise Unfit("takes a binSize of at least 1")
    first = _week_start(name, week)
    number = _bin(_time(date) + offset, name, count, first)
    if name in _FIXED_MS:
        return _dated(_bin_start(name, first) + number * count * _FIXED_MS[name] - offset)
    year, month = divmod(2000 * 12 + number * count * _MONTHS[name], 12)
    if not 0 <= year <= 10_000:
        raise Unfit("has a result beyond the years 1 to 9999")
    return _dated(dates.time_of(dates.days_of(year, month + 1, 1)) - offset)


_ADD: Final = '{"startDate": date, "unit": unit, "amount": number, "timezone": offset}'

DATES: Final[dict[str, Operator]] = {
    "$dateAdd": named(_adding(1), _ADD, "startDate", "unit", "amount", "timezone", required=3),
    "$dateDiff": named(
        _difference,
        '{"startDate": date, "endDate": date, "unit": unit, "timezone": offset, "startOfWeek": day}',
        "startDate",
        "endDate",
        "unit",
        "timezone",
        "startOfWeek",
        required=3,
    ),
    "$dateFromString": named(
        _from_string,
        '{"dateString": text, "format": text, "timezone": offset, "onError": value, "onNull": value}',
        "dateString",
        "format",
        "timezone",
        "onError",
        "onNull",
        required=1,
    ),
    "$dateSubtract": named(_adding(-1), _ADD, "startDate", "unit", "amount", "timezone", required=3),
    "$dateToString": named(
        _to_string,
        '{"date": date, "format": text, "timezone": offset, "onNull": value}',
        "date",
        "format",
        "timezone",
        "onNull",
        required=1,
    ),
    "$dateTrunc": named(
        _truncated,
        '{"date": date, "unit": unit, "binSize": number, "timezone": offset, "startOfWeek": day}',
        "date",
        "unit",
        "binSize",
        "timezone",
        "startOfWeek",
        required=2,
    ),
    "$dayOfMonth": _part(lambda one: one.day),
    "$dayOfWeek": _part(lambda one: (one.weekday + 1) % 7 + 1),
    "$dayOfYear": _part(lambda one: one.day_of_year),
    "$hour": _part(lambda one: one.hour),
    "$isoDayOfWeek": _part(lambda one: one.weekday + 1),
    "$isoWeek": _part(lambda one: one.iso_week[1]),
    "$isoWeekYear": _part(lambda one: one.iso_week[0]),
    "$millisecond": _part(lambda one: one.millisecond),
    "$minute": _part(lambda one: one.minute),
    "$month": _part(lambda one: one.month),
    "$second": _part(lambda one: one.second),
    "$toDate": Operator(_to_date, "a date, as an RFC 3339 text or in milliseconds since 1970"),
    "$week": _part(week_of),
    "$year": _part(lambda one: one.year),
}
