"""The limits of users, roles and collections: part of the replicated access configuration, and their JSON.

All are limits of one member: each counts what its own clients ask of it, as no member waits for another one to admit a
request. Three members with a limit of 100 requests per second let a client that uses all of them make 300.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import msgspec

from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.values import Value
from collectionstore_node.errors import InvalidPart

RATE_MAX: Final = 1_000_000_000_000
"""Requests, bytes or streams."""
NAMES_MAX: Final = 1_000
"""Users, roles and collections with limits, each."""
EVERYONE: Final = "*"
_NAME: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,253}")
_RATES: Final = ("requests_per_second", "bytes_per_second", "streams")


class Rates(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one user, or the requests for one collection, may take of a member; 0 for no limit."""

    requests_per_second: int = 0
    """Requests, and operations of streams."""
    bytes_per_second: int = 0
    """Bytes of bodies and answers, together."""
    streams: int = 0
    """Pipelined streams at a time; of users only."""


NO_RATES: Final = Rates()
Named: TypeAlias = tuple[tuple[str, Rates], ...]
"""By name, sorted."""


class Limits(msgspec.Struct, frozen=True, array_like=True):
    """All limits. It is stored, and part of a command: add fields at the end, with a default."""

    users: Named = ()
    """By user; `*` for all that have none of their own, and none by a role."""
    roles: Named = ()
    """A user without limits of its own has the largest ones of its roles."""
    collections: Named = ()
    """By collection or bucket; `*` for each that has none of its own."""


NO_LIMITS: Final = Limits()


def parse_limits(given: Value, pointer: str = "") -> Limits:
    """Return the limits in a request's body. Raises `InvalidPart("invalid_limits")` with a pointer."""
    if type(given) is not dict:
        raise _invalid(pointer, 'limits are an object, such as {"users": {"*": {"requests_per_second": 100}}}')
    known: dict[str, Named] = {}
    for kind, members in given.items():
        if kind not in ("users", "roles", "collections"):
            raise _invalid(child(pointer, kind), "there are limits of users, roles and collections")
        known[kind] = _parse_named(members, child(pointer, kind), streams=kind != "collections")
    return Limits(**known)


def shown_limits(limits: Limits) -> dict[str, Any]:
    """Return limits as `parse_limits` takes them."""
    return {
        kind: {name: _shown(rates) for name, rates in named}
        for kind, named in (("users", limits.users), ("roles", limits.roles), ("collections", limits.collections))
        if named
    }


def limits_violation(limits: Limits) -> str | None:
    """Return what is wrong with limits that a member forwarded or a log entry holds, or None."""
    try:
        if parse_limits(shown_limits(limits)) != limits:
            return "the limits are not in their canonical form"
    except InvalidPart as error:
        return error.detail
    return None


def rates_of(limits: Limits, user: str, roles: Iterable[str]) -> Rates:
    """Return the limits of a user: its own, else the largest of its roles, else those of everyone."""
    named = dict(limits.users)
    own = named.get(user)
    if own is not None:
        return own
    by_role = dict(limits.roles)
    found = [by_role[role] for role in roles if role in by_role]
    if not found:
        return named.get(EVERYONE, NO_RATES)
    return Rates(*(0 if 0 in column else max(column) for column in zip(*map(msgspec.structs.astuple, found), strict=True)))


def rates_of_collection(limits: Limits, name: str) -> Rates:
    """Return the limits of a collection or bucket."""
    named = dict(limits.collections)
    return named.get(name) or named.get(EVERYONE, NO_RATES)


def _parse_named(given: Value, pointer: str, *, streams: bool) -> Named:
    if type(given) is not dict or len(given) > NAMES_MAX:
        raise _invalid(pointer, f"an object of at most {NAMES_MAX} names, each with its limits")
    found = []
    for name, rates in given.items():
        if not _NAME.fullmatch(name):
            raise _invalid(child(pointer, name), "a name has 1 to 253 characters, without white space")
        found.append((name, _parse_rates(rates, child(pointer, name), streams=streams)))
    return tuple(sorted(found))


def _parse_rates(given: Value, pointer: str, *, streams: bool) -> Rates:
    if type(given) is not dict:
        raise _invalid(pointer, f"limits are an object with members of {', '.join(_RATES)}")
    members: dict[str, int] = {}
    for name, value in given.items():
        if name not in _RATES or (name == "streams" and not streams):
            raise _invalid(child(pointer, name), f"allowed are {', '.join(_RATES if streams else _RATES[:2])}")
        if type(value) is not int or not 1 <= value <= RATE_MAX:
            raise _invalid(child(pointer, name), f"a limit is a whole number from 1 to {RATE_MAX}; leave it out for none")
        members[name] = value
    return Rates(**members)


def _shown(rates: Rates) -> dict[str, int]:
    return {name: value for name in _RATES if (value := getattr(rates, name))}


def _invalid(pointer: str, detail: str) -> InvalidPart:
    return InvalidPart("invalid_limits", pointer, detail)
