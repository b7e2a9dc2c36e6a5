"""Whether members that work may be restarted now, by spec.updates. Pure: the time is an argument, in Unix seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from collectionstore_operator.model.timestamps import DAY_S, rfc3339
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.resource.updates import DAYS, Window

_FIRST_DAY: Final = DAYS.index("Thursday")
"""Of the Unix epoch."""
_LOOK_AHEAD_DAYS: Final = 8
"""A window that begins on one day of the week begins again within this time."""


def update_held(desired: Desired, revision: str, now: float) -> str:
    """Return why members that work must not be restarted for `revision` now; empty if they may."""
    updates = desired.spec.updates
    if updates is None:
        return ""
    if updates.mode == "Supervised" and desired.annotations.get(labels.APPROVE_UPDATE, "") != revision:
        return f"spec.updates.mode is Supervised: annotate the resource with {labels.APPROVE_UPDATE}={revision}"
    if not updates.windows or is_open(updates.windows, now):
        return ""
    return f"the next of spec.updates.windows opens at {rfc3339(next_opening(updates.windows, now))}"


def is_open(windows: Sequence[Window], now: float) -> bool:
    """Return whether one of the windows is open."""
    return any(
        begin <= now < begin + 60 * window.duration_minutes
        for window in windows
        # Of yesterday, too: a window may end after midnight. Not longer: it lasts for a day at most.
        for begin in _beginnings(window, now, range(-1, 1))
    )


def next_opening(windows: Sequence[Window], now: float) -> float:
    """Return when the next window begins; there is at least one window."""
    return min(
        begin for window in windows for begin in _beginnings(window, now, range(_LOOK_AHEAD_DAYS + 1)) if begin > now
    )


def _beginnings(window: Window, now: float, days: range) -> list[float]:
    """Return when a window begins on these days, counted from today in its zone."""
    today = int((now + window.offset_s) // DAY_S)
    return [
        float(day * DAY_S + 60 * window.start_minute - window.offset_s)
        for day in (today + one for one in days)
        if window.days is None or DAYS[(day + _FIRST_DAY) % len(DAYS)] in window.days
    ]
