"""When a cron expression is due: bounds, daylight saving time, and what cannot be read."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_operator.reconcile.timetable import InvalidTimetable, due

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo | None = None) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone or UTC).timestamp()


def test_a_moment_that_is_due_counts_as_the_last() -> None:
    now = at("2026-03-01T03:00:00")
    assert due("0 3 * * *", "UTC", now).last == now
    assert due("0 3 * * *", "UTC", now + 59).last == now
    assert due("0 3 * * *", "UTC", now).next == at("2026-03-02T03:00:00")
    assert due("0 3 * * *", "UTC", now - 1).last == at("2026-02-28T03:00:00")


def test_the_hour_that_is_left_out_in_spring_is_made_up_for() -> None:
    """29 March 2026, 02:00 becomes 03:00 in Berlin."""
    found = due("30 2 * * *", "Europe/Berlin", at("2026-03-29T12:00:00", BERLIN))
    assert found.last == at("2026-03-29T03:00:00", BERLIN)


def test_the_hour_that_comes_twice_in_autumn_counts_once() -> None:
    """25 October 2026, 03:00 becomes 02:00 in Berlin."""
    after = at("2026-10-25T12:00:00", BERLIN)
    found = due("30 2 * * *", "Europe/Berlin", after)
    assert found.last is not None
    before = due("30 2 * * *", "Europe/Berlin", found.last - 60)
    assert before.last is not None
    assert found.last - before.last >= 23 * 3_600


@pytest.mark.parametrize(
    "expression", ["", "* * * *", "* * * * * *", "61 * * * *", "0 0 31 2 *", "@daily", "a b c d e", "0 0 * * 9"]
)
def test_expression_that_cannot_be_read_is_named(expression: str) -> None:
    with pytest.raises(InvalidTimetable, match="allowed"):
        due(expression, "UTC", 1e9)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "/etc/passwd", "", "Europe"])
def test_zone_that_is_none_is_named(zone: str) -> None:
    with pytest.raises(InvalidTimetable, match="time zone"):
        due("0 3 * * *", zone, 1e9)


@given(
    now=st.floats(1.6e9, 2.0e9),
    expression=st.sampled_from(["* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 1 * *", "5 4 * * sun", "0 0 29 2 *"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_whenever_it_is_asked(now: float, expression: str, zone: str) -> None:
    """The last is not later than now, the next one is, and between the two nothing is due."""
    found = due(expression, zone, now)
    assert found.last is not None
    assert found.next is not None
    assert found.last <= now < found.next
    between = due(expression, zone, (found.last + found.next) / 2)
    assert (between.last, between.next) == (found.last, found.next)
    assert due(expression, zone, found.next).last == found.next
