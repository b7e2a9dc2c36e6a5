"""The offsets of the time zones that a resource names, around now: data for the planner, which knows no dates.

Source: the IANA database of the machine, or of the package tzdata.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from collectionstore_operator.model.timestamps import DAY_S
from collectionstore_operator.model.update_windows import LOOK_AHEAD_DAYS, Offsets
from collectionstore_operator.resource.desired import Desired

_STEP_S: Final = 3_600
"""No zone has changed its offset twice within an hour."""
_BEFORE_DAYS: Final = 3
_AFTER_DAYS: Final = LOOK_AHEAD_DAYS + 3
_KEPT: Final = 512


def of_windows(desired: Desired, now: float) -> dict[str, Offsets]:
    """Return the offsets of every zone that the windows name; a name that is not known is missing."""
    updates = desired.spec.updates
    windows = (updates.windows if updates is not None else None) or ()
    named = {one.time_zone for one in windows if one.is_named and one.time_zone is not None}
    found = {name: offsets(name, int(now) // _STEP_S) for name in sorted(named)}
    return {name: one for name, one in found.items() if one}


@lru_cache(maxsize=_KEPT)
def offsets(name: str, hour: int) -> Offsets:
    """Return when which offset begins, some days around an hour of Unix time; empty if the name is not known."""
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ()
    first = max(0, hour * _STEP_S - _BEFORE_DAYS * DAY_S)
    found = [(float(first), _offset(zone, first))]
    for moment in range(first + _STEP_S, (hour * _STEP_S) + _AFTER_DAYS * DAY_S, _STEP_S):
        if _offset(zone, moment) != found[-1][1]:
            found.append((float(_change(zone, moment - _STEP_S, moment)), _offset(zone, moment)))
    return tuple(found)


def _offset(zone: ZoneInfo, moment: int) -> int:
    told = datetime.fromtimestamp(moment, zone).utcoffset()
    return 0 if told is None else int(told.total_seconds())


def _change(zone: ZoneInfo, before: int, after: int) -> int:
    """Return the first second with the offset of `after`."""
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == _offset(zone, after):
            after = middle
        else:
            before = middle
    return after
