"""How long something lives, as requests say it: `ttl`, a whole number with a unit, or `lease`, the ID of a lease."""

from __future__ import annotations

import re
from typing import Final

from collectionstore_node.api.http.names import quoted
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.lives import FOR_EVER, TTL_ALLOWED, Life, parse_ttl

NONE: Final = "none"
"""For ever, whatever the collection says."""
LEASE_ID_MAX: Final = 2**53 - 1
"""Exact in every JSON reader."""
_LEASE: Final = re.compile(r"[1-9][0-9]{0,15}")


def ttl_ms(text: str, where: str, code: str) -> int:
    """Return the milliseconds in `text`, which is at `where` in the request; 0 for `none`. Raises `Problem`."""
    if text == NONE:
        return 0
    milliseconds = parse_ttl(text)
    if milliseconds is None:
        raise _invalid(code, where, f"{where.strip('/')} is {quoted(text)}; allowed are none, and {TTL_ALLOWED}")
    return milliseconds


def lease_id(text: str, where: str, code: str) -> int:
    """Return the ID of a lease in `text`. Raises `Problem`."""
    number = int(text) if _LEASE.fullmatch(text) else 0
    if not 0 < number <= LEASE_ID_MAX:
        raise _invalid(code, where, f"{where.strip('/')} is {quoted(text)}; it must be the ID of a lease, such as 17")
    return number


def life_of(ttl: str | None, lease: int | None, pointer: str) -> Life | None:
    """Return what the part of a body at the JSON pointer says of life, None if it says nothing. Raises `Problem`."""
    if ttl is not None and lease is not None:
        raise _invalid("invalid_body", f"{pointer}/ttl", "give a ttl or a lease, not both")
    if lease is not None:
        return Life(lease=lease_id(str(lease), f"{pointer}/lease", "invalid_body"))
    return None if ttl is None else Life(ttl_ms(ttl, f"{pointer}/ttl", "invalid_body"))


def needed_life(ttl: str | None, lease: int | None) -> Life:
    """Return what a body says of the life of something that must expire. Raises `Problem`."""
    life = life_of(ttl, lease, "")
    if life is None or life == FOR_EVER:
        raise _invalid("invalid_body", "/ttl", f"a ttl or a lease is required here; a ttl is {TTL_ALLOWED}")
    return life


def _invalid(code: str, where: str, detail: str) -> Problem:
    if not where.startswith("/"):
        return Problem(code, detail)
    return Problem(code, detail, errors=[{"pointer": where, "detail": detail}])
