"""Dates by arithmetic, against the standard library."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.documents.dates import (
    TIME_MS_MAX,
    TIME_MS_MIN,
    date_of,
    days_of,
    moment_of,
    parse_date,
    parse_offset,
    rfc3339,
)
from collectionstore_node.errors import InvalidPart
from collectionstore_node.tests.documents.test_expressions import computed

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = st.integers(TIME_MS_MIN, TIME_MS_MAX)
NEAR = st.integers(TIME_MS_MIN + (1 << 40), TIME_MS_MAX - (1 << 40))
MIDDLE = st.integers(TIME_MS_MIN + (1 << 45), TIME_MS_MAX - (1 << 45))
OFFSETS = st.integers(-18 * 60, 18 * 60)


def of(time_ms: int, offset: int = 0) -> datetime:
    return (EPOCH + timedelta(milliseconds=time_ms)).astimezone(timezone(timedelta(minutes=offset)))


def shown(offset: int) -> str:
    return f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"


@given(TIMES)
def test_a_date_is_written_and_read_as_the_library_does(time_ms: int) -> None:
    expected = of(time_ms)
    text = rfc3339(time_ms)

    assert text == expected.strftime("%Y").rjust(4, "0") + expected.strftime("-%m-%dT%H:%M:%S.") + (
        f"{expected.microsecond // 1_000:03}Z"
    )
    assert parse_date(text) == time_ms
    days = time_ms // 86_400_000
    assert days_of(*date_of(days)) == days


@given(NEAR, OFFSETS)
def test_parts_are_those_of_the_library(time_ms: int, offset: int) -> None:
    local = of(time_ms, offset)
    moment = moment_of(time_ms + offset * 60_000)

    assert moment[:6] == (local.year, local.month, local.day, local.hour, local.minute, local.second)
    assert moment.weekday == local.weekday()
    assert moment.day_of_year == local.timetuple().tm_yday
    assert moment.iso_week == local.isocalendar()[:2]
    assert parse_date(local.isoformat(timespec="milliseconds")) == time_ms
    text = {"date": rfc3339(time_ms), "timezone": shown(offset)}
    parts = ("$year", "$month", "$dayOfMonth", "$hour", "$minute", "$second", "$millisecond", "$week", "$isoDayOfWeek")
    assert [computed({part: text}, {}) for part in parts] == [
        *moment[:7],
        int(local.strftime("%U")),
        local.isoweekday(),
    ]
    assert computed({"$dateToString": {**text, "format": "%Y-%m-%d %H:%M:%S.%L %j %u %w %U %G %V %z %Z %%"}}, {}) == (
        f"{local.year:04}-{local:%m-%d %H:%M:%S}.{local.microsecond // 1_000:03} {local:%j} {local:%u} "
        f"{local.isoweekday() % 7 + 1} {local:%U} {local.isocalendar()[0]:04} {local:%V} {local:%z} {offset:+} %"
    )


UNITS = st.sampled_from(["millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year"])


@given(MIDDLE, UNITS, st.integers(-1_000, 1_000), OFFSETS)
def test_a_date_is_within_the_unit_that_it_is_cut_to(time_ms: int, unit: str, amount: int, offset: int) -> None:
    """What `$dateTrunc` makes is at most the date, less than a unit before it, and stays when it is cut again."""
    zone = shown(offset)
    cut = computed({"$dateTrunc": {"date": time_ms, "unit": unit, "timezone": zone}}, {})
    begin = parse_date(cut)
    assert begin is not None
    later = computed({"$dateAdd": {"startDate": cut, "unit": unit, "amount": 1, "timezone": zone}}, {})
    end = parse_date(later)
    assert end is not None

    assert begin <= time_ms < end
    assert computed({"$dateTrunc": {"date": cut, "unit": unit, "timezone": zone}}, {}) == cut
    moved = computed({"$dateAdd": {"startDate": cut, "unit": unit, "amount": amount, "timezone": zone}}, {})
    between = {"startDate": cut, "endDate": moved, "unit": unit, "timezone": zone}
    assert computed({"$dateDiff": between}, {}) == amount
    back = {"startDate": moved, "unit": unit, "amount": amount, "timezone": zone}
    assert computed({"$dateSubtract": back}, {}) == cut


DAY = "2026-11-30T19:51:23.250Z"
CASES: list[tuple[Any, Any]] = [
    ({"$toDate": DAY}, DAY),
    ({"$toDate": "2026-11-30"}, "2026-11-30T00:00:00.000Z"),
    ({"$toDate": "2026-11-30T19:51"}, "2026-11-30T19:51:00.000Z"),
    ({"$toDate": "2026-11-30t19:51:23,2509999+02:00"}, "2026-11-30T17:51:23.250Z"),
    ({"$toDate": "2026-11-30 19:51:23 -0130"}, "2026-11-30T21:21:23.000Z"),
    ({"$toDate": 0}, "1970-01-01T00:00:00.000Z"),
    ({"$toDate": -1}, "1969-12-31T23:59:59.999Z"),
    ({"$toDate": 1.9}, "1970-01-01T00:00:00.001Z"),
    ({"$toDate": None}, None),
    ({"$toDate": "$nothing"}, None),
    ({"$year": DAY}, 2026),
    ({"$year": [DAY]}, 2026),
    ({"$year": "$nothing"}, None),
    ({"$hour": {"date": DAY, "timezone": "-05:30"}}, 14),
    ({"$hour": {"date": DAY, "timezone": None}}, None),
    ({"$hour": {"date": DAY, "timezone": "UTC"}}, 19),
    ({"$dayOfWeek": DAY}, 2),
    ({"$dayOfYear": "2024-12-31"}, 366),
    ({"$week": "2026-01-03"}, 0),
    ({"$week": "2026-01-04"}, 1),
    ({"$isoWeek": "2027-01-01"}, 53),
    ({"$isoWeekYear": "2027-01-01"}, 2026),
    ({"$dateToString": {"date": DAY}}, DAY),
    ({"$dateToString": {"date": DAY, "timezone": "+01"}}, "2026-11-30T20:51:23.250"),
    ({"$dateToString": {"date": None, "onNull": "never"}}, "never"),
    ({"$dateToString": {"date": None}}, None),
    ({"$dateFromString": {"dateString": "2026-11-30 19:51", "timezone": "+02:00"}}, "2026-11-30T17:51:00.000Z"),
    ({"$dateFromString": {"dateString": "30/11/2026", "format": "%d/%m/%Y"}}, "2026-11-30T00:00:00.000Z"),
    ({"$dateFromString": {"dateString": "2024-366", "format": "%Y-%j"}}, "2024-12-31T00:00:00.000Z"),
    ({"$dateFromString": {"dateString": "5.12.99 +0200", "format": "%d.%m.%y", "onError": "?"}}, "?"),
    (
        {"$dateFromString": {"dateString": "5.12.1999 7:05 +0200", "format": "%d.%m.%Y %H:%M %z"}},
        "1999-12-05T05:05:00.000Z",
    ),
    ({"$dateFromString": {"dateString": "nonsense", "onError": None}}, None),
    ({"$dateFromString": {"dateString": None, "onNull": "none"}}, "none"),
    ({"$dateAdd": {"startDate": "2024-01-31", "unit": "month", "amount": 1}}, "2024-02-29T00:00:00.000Z"),
    ({"$dateAdd": {"startDate": "2024-02-29", "unit": "year", "amount": 1}}, "2025-02-28T00:00:00.000Z"),
    ({"$dateAdd": {"startDate": "2024-11-30", "unit": "quarter", "amount": 1}}, "2025-02-28T00:00:00.000Z"),
    ({"$dateAdd": {"startDate": DAY, "unit": "week", "amount": 2.0}}, "2026-12-14T19:51:23.250Z"),
    ({"$dateSubtract": {"startDate": DAY, "unit": "millisecond", "amount": 250}}, "2026-11-30T19:51:23.000Z"),
    (
        {"$dateAdd": {"startDate": "2024-01-30T23:00:00Z", "unit": "month", "amount": 1, "timezone": "+02:00"}},
        "2024-02-28T23:00:00.000Z",
    ),
    ({"$dateDiff": {"startDate": "2025-12-31", "endDate": "2026-01-01", "unit": "year"}}, 1),
    ({"$dateDiff": {"startDate": "2026-01-31", "endDate": "2026-02-01", "unit": "month"}}, 1),
    ({"$dateDiff": {"startDate": "2026-11-29", "endDate": "2026-11-28", "unit": "week"}}, -1),
    (
        {"$dateDiff": {"startDate": "2026-11-29", "endDate": "2026-11-30", "unit": "week", "startOfWeek": "Mon"}},
        1,
    ),
    ({"$dateDiff": {"startDate": "2026-11-30", "endDate": None, "unit": "day"}}, None),
    ({"$dateTrunc": {"date": DAY, "unit": "week"}}, "2026-11-29T00:00:00.000Z"),
    ({"$dateTrunc": {"date": DAY, "unit": "week", "startOfWeek": "monday"}}, "2026-11-30T00:00:00.000Z"),
    ({"$dateTrunc": {"date": DAY, "unit": "minute", "binSize": 15}}, "2026-11-30T19:45:00.000Z"),
    ({"$dateTrunc": {"date": DAY, "unit": "month", "binSize": 6}}, "2026-07-01T00:00:00.000Z"),
    ({"$dateTrunc": {"date": "1999-12-31", "unit": "year", "binSize": 10}}, "1990-01-01T00:00:00.000Z"),
]


@pytest.mark.parametrize(("given_expression", "expected"), CASES, ids=lambda value: str(value)[:60])
def test_an_expression_of_dates(given_expression: Any, expected: Any) -> None:
    assert computed(given_expression, {}) == expected


FAILING: list[tuple[Any, str]] = [
    ({"$toDate": "2026-02-29"}, "RFC 3339"),
    ({"$toDate": "2026-11-30T24:00:00Z"}, "RFC 3339"),
    ({"$toDate": "2026-11-30T23:59:60Z"}, "RFC 3339"),
    ({"$toDate": "0000-01-01"}, "RFC 3339"),
    ({"$toDate": "2026-11-30T00:00:00+19:00"}, "RFC 3339"),
    ({"$toDate": 1e300}, "years 1 to 9999"),
    ({"$toDate": True}, "this is bool"),
    ({"$year": {"date": DAY, "timezone": "Europe/Paris"}}, "a fixed offset"),
    ({"$year": {"date": DAY, "timezone": "+25:00"}}, "a fixed offset"),
    ({"$year": {"date": DAY, "timezone": 2}}, "a time zone as a text"),
    ({"$dateAdd": {"startDate": DAY, "unit": "decade", "amount": 1}}, "takes a unit"),
    ({"$dateAdd": {"startDate": DAY, "unit": "day", "amount": 1.5}}, "a whole number"),
    ({"$dateAdd": {"startDate": DAY, "unit": "year", "amount": 1 << 53}}, "beyond the years"),
    ({"$dateAdd": {"startDate": DAY, "unit": "day", "amount": 1 << 52}}, "beyond the years"),
    ({"$dateSubtract": {"startDate": "0001-01-01", "unit": "month", "amount": 1}}, "beyond the years"),
    ({"$dateTrunc": {"date": DAY, "unit": "day", "binSize": 0}}, "at least 1"),
    ({"$dateDiff": {"startDate": DAY, "endDate": DAY, "unit": "week", "startOfWeek": "x"}}, "startOfWeek"),
    ({"$dateToString": {"date": DAY, "format": "%q"}}, "% is followed by"),
    ({"$dateToString": {"date": DAY, "format": "%"}}, "% is followed by"),
    ({"$dateToString": {"date": DAY, "format": "x" * 257}}, "at most 256"),
    ({"$dateFromString": {"dateString": "x", "format": "%m"}}, "written by the format"),
    ({"$dateFromString": {"dateString": "1", "format": "%m"}}, "with %Y"),
    ({"$dateFromString": {"dateString": "2026 2026", "format": "%Y %Y"}}, "each once"),
    ({"$dateFromString": {"dateString": "2026-13", "format": "%Y-%m"}}, "on the calendar"),
    ({"$dateFromString": {"dateString": "2026-1-1", "format": "%Y-%m-%j"}}, "with %j, or with"),
    ({"$dateFromString": {"dateString": "2026 +9999", "format": "%Y %Z"}}, "at most 18 hours"),
]


@pytest.mark.parametrize(("given_expression", "detail"), FAILING, ids=lambda value: str(value)[:60])
def test_what_is_no_date_fails_with_a_reason(given_expression: Any, detail: str) -> None:
    with pytest.raises(InvalidPart) as failed:
        computed(given_expression, {})

    assert failed.value.code == "expression_failed"
    assert detail in failed.value.detail


@given(st.text(max_size=40))
def test_no_text_is_misread(text: str) -> None:
    found = parse_date(text)
    assert found is None or TIME_MS_MIN <= found <= TIME_MS_MAX
    offset = parse_offset(text)
    assert offset is None or abs(offset) <= 18 * 60
