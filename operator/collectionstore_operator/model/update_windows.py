"""Whether members that work may be restarted now, by spec.updates. Pure: the time is an argument, in Unix seconds.

The offsets of named time zones are data that was observed (`reconcile.zones`). A start that daylight saving time skips
is as long after midnight as on other days; one that comes twice is the first. Lengths are elapsed time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from collectionstore_operator.model.timestamps import DAY_S, rfc3339
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.resource.updates import DAYS, Window

Offsets: TypeAlias = tuple[tuple[float, int], ...]
"""When an offset begins, in Unix seconds, and the seconds by which the zone is ahead of UTC then; ascending."""
Zones: TypeAlias = Mapping[str, Offsets]

_FIRST_DAY: Final = DAYS.index("Thursday")
"""Of the Unix epoch."""
LOOK_AHEAD_DAYS: Final = 8
"""A window that begins on one day of the week begins again within this time."""
_ALWAYS: Final = float("inf")


def update_held(desired: Desired, revision: str, now: float, zones: Zones | None = None) -> str:
    """Return why members that work must not be restarted for `revision` now; empty if they may."""
    updates, zones = desired.spec.updates, zones or {}
    if updates is None:
        return ""
    if updates.mode == "Supervised" and desired.annotations.get(labels.APPROVE_UPDATE, "") != revision:
        return f"spec.updates.mode is Supervised: annotate the resource with {labels.APPROVE_UPDATE}={revision}"
    if not updates.windows or is_open(updates.windows, now, zones):
        return ""
    opening = next_opening(updates.windows, now, zones)
    told = f"the next of spec.updates.windows opens at {rfc3339(opening)}" if opening is not None else ""
    unknown = sorted({one.time_zone for one in updates.windows if one.time_zone and _offsets(one, zones) is None})
    strange = f"the operator knows no time zone {', '.join(unknown)} of spec.updates.windows" if unknown else ""
    return "; ".join(one for one in (told, strange) if one)


def is_open(windows: Sequence[Window], now: float, zones: Zones | None = None) -> bool:
    """Return whether one of the windows is open; one in a zone that is not known never is."""
    return any(
        begin <= now < begin + 60 * window.duration_minutes
        for window in windows
        # Of yesterday, too: a window may end after midnight. Not longer: it lasts for a day at most. And one day more:
        # a day may have 25 hours.
        for begin in _beginnings(window, now, range(-2, 1), zones or {})
    )


def next_opening(windows: Sequence[Window], now: float, zones: Zones | None = None) -> float | None:
    """Return when the next window begins; None if no zone of the windows is known."""
    days = range(LOOK_AHEAD_DAYS + 1)
    found = (begin for window in windows for begin in _beginnings(window, now, days, zones or {}) if begin > now)
    return min(found, default=None)


def _beginnings(window: Window, now: float, days: range, zones: Zones) -> Iterator[float]:
    """Yield when a window begins on these days, counted from today in its zone."""
    offsets = _offsets(window, zones)
    if offsets is None:
        return
    today = int((now + _offset_at(now, offsets)) // DAY_S)
    for day in (today + one for one in days):
        if window.days is None or DAYS[(day + _FIRST_DAY) % len(DAYS)] in window.days:
            yield _moment(float(day * DAY_S + 60 * window.start_minute), offsets)


def _offsets(window: Window, zones: Zones) -> Offsets | None:
    if window.is_named:
        return zones.get(window.time_zone or "")
    return ((0.0, window.offset_s),)


def _offset_at(now: float, offsets: Offsets) -> int:
    return next((offset for since, offset in reversed(offsets) if since <= now), offsets[0][1])


def _moment(local: float, offsets: Offsets) -> float:
    """Return the Unix time of a time of a zone, given as if it were UTC."""
    for position, (since, offset) in enumerate(offsets):
        until = offsets[position + 1][0] if position + 1 < len(offsets) else _ALWAYS
        if local - offset < until:
            skipped = position > 0 and local - offset < since
            return local - (offsets[position - 1][1] if skipped else offset)
    raise AssertionError("the last offset holds for ever")
