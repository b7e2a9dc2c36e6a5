"""Windows in named time zones: across gaps and folds of daylight saving time, as the standard library has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.model.timestamps import DAY_S, seconds
from collectionstore_operator.model.update_windows import is_open, next_opening, update_held
from collectionstore_operator.reconcile import zones
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired, parse
from collectionstore_operator.resource.updates import DAYS, Updates, Window
from collectionstore_operator.tests.planning.pictures import make_desired


def night(zone: str = "Europe/Berlin", **fields: object) -> Window:
    return Window(**{"start": "02:30", "duration_minutes": 60, "time_zone": zone, **fields})  # type: ignore[arg-type]


def held(now: str, *windows: Window) -> str:
    desired = make_desired(3, updates=Updates(windows=windows))
    return update_held(desired, "r", seconds(now), zones.of_windows(desired, seconds(now)))


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        # Summer and winter: the offset is that of the day, not that of now.
        ("2026-08-29T12:00:00Z", "2026-08-30T00:30:00Z"),
        ("2026-12-01T12:00:00Z", "2026-12-02T01:30:00Z"),
        ("2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
        ("2026-10-25T12:00:00Z", "2026-10-26T01:30:00Z"),
        # 2026-03-29: 02:00 to 03:00 is skipped. As long after midnight as on other days, which is 03:30.
        ("2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"),
        ("2026-03-29T12:00:00Z", "2026-03-30T00:30:00Z"),
    ],
)
def test_window_opens_by_the_clock_of_its_zone(now: str, opens: str) -> None:
    assert held(now, night()) == f"the next of spec.updates.windows opens at {opens}"
    assert held(opens, night()) == ""


def test_hour_that_comes_twice_opens_the_window_once() -> None:
    """On 2026-10-25 it is 02:30 at 00:30 UTC and again at 01:30 UTC; an hour is an hour."""
    assert held("2026-10-25T00:29:59Z", night())
    assert not held("2026-10-25T00:30:00Z", night())
    assert not held("2026-10-25T01:29:59Z", night())
    assert held("2026-10-25T01:30:00Z", night())
    assert held("2026-10-25T02:00:00Z", night())


def test_window_over_the_change_lasts_as_long_as_it_says() -> None:
    long = night(start="23:00", duration_minutes=1_440)
    assert not held("2026-10-25T20:59:59Z", long)
    assert not held("2026-03-29T20:59:59Z", long)


def test_half_hours_and_days_of_far_zones() -> None:
    """Lord Howe shifts by half an hour; Kiritimati is a day ahead."""
    assert held("2026-10-03T12:00:00Z", night("Australia/Lord_Howe", start="02:15")).endswith("2026-10-03T15:45:00Z")
    friday = night("Pacific/Kiritimati", start="01:00", days=("Friday",))
    assert held("2026-08-26T12:00:00Z", friday).endswith("2026-08-27T11:00:00Z")


def test_unknown_zone_opens_nothing_and_is_named() -> None:
    """Members wait rather than restart at a time that nobody meant; other windows still open."""
    told = held("2026-08-29T12:00:00Z", night("Europe/Atlantis"))
    assert told == "the operator knows no time zone Europe/Atlantis of spec.updates.windows"
    both = held("2026-08-29T12:00:00Z", night("Europe/Atlantis"), night())
    assert "opens at 2026-08-30T00:30:00Z" in both
    assert "Europe/Atlantis" in both
    assert held("2026-08-30T00:30:00Z", night("Europe/Atlantis"), night()) == ""


def spec_with(zone: str) -> Desired:
    updates = {"windows": [{"start": "02:30", "durationMinutes": 1, "timeZone": zone}]}
    envelope = {"apiVersion": labels.API_VERSION, "kind": labels.KIND, "metadata": {"name": "demo"}}
    return parse({**envelope, "spec": {"updates": updates}})


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "+02:00", "Etc/GMT+5", "America/Argentina/Buenos_Aires"])
def test_names_and_offsets_are_zones(zone: str) -> None:
    desired = spec_with(zone)
    named = set(zones.of_windows(desired, seconds("2026-08-29T12:00:00Z")))
    assert named == ({zone} if zone[0] not in "+U" else set())


@pytest.mark.parametrize("zone", ["", "../etc/passwd", "/etc/localtime", "+2", "Europe/Berlin\n", "a b", "+15:00"])
def test_other_text_is_refused(zone: str) -> None:
    with pytest.raises(InvalidResource, match="Europe/Berlin"):
        spec_with(zone)


@pytest.mark.parametrize("zone", ["Europe/../../etc/passwd", "Europe", "x" * 64])
def test_name_that_leads_nowhere_is_unknown(zone: str) -> None:
    desired = make_desired(3, updates=Updates(windows=(night(zone),)))
    assert zones.of_windows(desired, seconds("2026-08-29T12:00:00Z")) == {}


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata"]),
    st.integers(1_500_000_000, 2_000_000_000),
    st.integers(0, 1_439),
)
def test_opening_is_the_one_of_the_standard_library(zone: str, now: int, minute: int) -> None:
    """By PEP 495, fold=0: of a skipped time with the offset before, of one that comes twice the first."""
    window = night(zone, start=f"{minute // 60:02}:{minute % 60:02}")
    desired = make_desired(3, updates=Updates(windows=(window,)))
    known = zones.of_windows(desired, float(now))
    today = datetime.fromtimestamp(now, ZoneInfo(zone)).date()
    starts = [
        datetime(one.year, one.month, one.day, minute // 60, minute % 60, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        for one in (today + timedelta(days=ahead) for ahead in range(4))
    ]
    expected = min(start.timestamp() for start in starts if start.timestamp() > now)
    found = next_opening((window,), float(now), known)
    assert found == expected
    assert found is not None
    assert is_open((window,), found, known)
    assert found <= now + 2 * DAY_S


def test_days_are_those_of_the_zone() -> None:
    window = msgspec.structs.replace(night("America/Los_Angeles", start="20:00"), days=("Friday",))
    assert DAYS[4] == "Friday"
    assert held("2026-08-27T12:00:00Z", window).endswith("2026-08-29T03:00:00Z")
