"""Formats of dates: `%Y-%m-%d`, as MongoDB has them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from collectionstore_node.documents import dates
from collectionstore_node.documents.dates import MINUTE_MS, Moment
from collectionstore_node.documents.expressions.scope import Unfit

FORMAT_CHARACTERS_MAX: Final = 256

_SPECIFIERS: Final = re.compile(r"%(.?)", re.DOTALL)
_WRITTEN: Final = "YmdHMSLjuwUGVzZ%"
_PARSED: Final[dict[str, str]] = {
    "Y": "([0-9]{4})",
    "m": "([0-9]{1,2})",
    "d": "([0-9]{1,2})",
    "H": "([0-9]{1,2})",
    "M": "([0-9]{1,2})",
    "S": "([0-9]{1,2})",
    "L": "([0-9]{1,3})",
    "j": "([0-9]{1,3})",
    "z": "([Zz]|[+-][0-9]{2}:?[0-9]{2})",
    "Z": "([+-][0-9]{1,4})",
}


def written_by(form: str, moment: Moment, offset: int, week_of: Callable[[Moment], int]) -> str:
    """Return a date at an offset, in minutes, by a format. Raises `Unfit`."""
    _check(form)

    def one(found: re.Match[str]) -> str:
        match found[1]:
            case "Y":
                return f"{moment.year:04}"
            case "m":
                return f"{moment.month:02}"
            case "d":
                return f"{moment.day:02}"
            case "H":
                return f"{moment.hour:02}"
            case "M":
                return f"{moment.minute:02}"
            case "S":
                return f"{moment.second:02}"
            case "L":
                return f"{moment.millisecond:03}"
            case "j":
                return f"{moment.day_of_year:03}"
            case "u":
                return str(moment.weekday + 1)
            case "w":
                return str((moment.weekday + 1) % 7 + 1)
            case "U":
                return f"{week_of(moment):02}"
            case "G":
                return f"{moment.iso_week[0]:04}"
            case "V":
                return f"{moment.iso_week[1]:02}"
            case "z":
                hours, minutes = divmod(abs(offset), 60)
                return f"{'-' if offset < 0 else '+'}{hours:02}{minutes:02}"
            case "Z":
                return f"{offset:+}"
            case "%":
                return "%"
        raise Unfit(f"takes a format in which % is followed by one of {_WRITTEN}")

    return _SPECIFIERS.sub(one, form)


def parsed_by(form: str, text: str, offset: int | None) -> int:
    """Return the milliseconds since 1970 of a text that is written by a format. Raises `Unfit`.

    `offset`, in minutes, is that of a text without one, None for UTC.
    """
    _check(form)
    names, pattern = _compiled(form)
    found = pattern.fullmatch(text)
    if found is None:
        raise Unfit("takes a text that is written by the format")
    given = dict(zip(names, found.groups(), strict=True))
    if "Y" not in given:
        raise Unfit("takes a format with %Y")
    year = int(given["Y"])
    time_ms = dates.checked_time(
        year,
        int(given.get("m", "1")),
        int(given.get("d", "1")),
        int(given.get("H", "0")),
        int(given.get("M", "0")),
        int(given.get("S", "0")),
        int(given.get("L", "0").ljust(3, "0")),
    )
    if time_ms is not None and "j" in given:
        day = int(given["j"])
        if not 1 <= day <= dates.days_of(year + 1, 1, 1) - dates.days_of(year, 1, 1):
            time_ms = None
        else:
            time_ms += (day - 1) * dates.DAY_MS
    if time_ms is None:
        raise Unfit("takes a date that is on the calendar")
    if "z" in given:
        offset = dates.parse_offset(given["z"])
    elif "Z" in given:
        minutes = int(given["Z"])
        offset = minutes if abs(minutes) < dates.OFFSET_MINUTES_MAX else None
    elif offset is None:
        offset = 0
    if offset is None:
        raise Unfit("takes an offset of at most 18 hours")
    return time_ms - offset * MINUTE_MS


@lru_cache(64)
def _compiled(form: str) -> tuple[tuple[str, ...], re.Pattern[str]]:
    names: list[str] = []
    pattern = ""
    at = 0
    for found in _SPECIFIERS.finditer(form):
        pattern += re.escape(form[at : found.start()])
        at = found.end()
        name = found[1]
        if name == "%":
            pattern += "%"
            continue
        if name not in _PARSED or name in names:
            raise Unfit(f"takes a format in which % is followed by one of {''.join(_PARSED)}%, each once")
        names.append(name)
        pattern += _PARSED[name]
    if "j" in names and ("m" in names or "d" in names):
        raise Unfit("takes a format with %j, or with %m and %d")
    return tuple(names), re.compile(pattern + re.escape(form[at:]))


def _check(form: str) -> None:
    if len(form) > FORMAT_CHARACTERS_MAX:
        raise Unfit(f"takes a format of at most {FORMAT_CHARACTERS_MAX} characters")
