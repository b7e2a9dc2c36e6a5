"""The bodies of queries, from PyMongo's ways to say sorts and projections."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from collectionstore.errors import InvalidArgument

Sort: TypeAlias = str | Iterable[tuple[str, int]] | Mapping[str, int] | None
Projection: TypeAlias = Mapping[str, int] | Iterable[str] | None

ASCENDING = 1
DESCENDING = -1


def sort_body(sort: Sort, direction: int = ASCENDING) -> dict[str, int] | None:
    """Return a sort as the API has it; None for none. Raises InvalidArgument."""
    if sort is None:
        return None
    if isinstance(sort, str):
        pairs: list[tuple[Any, Any]] = [(sort, direction)]
    elif isinstance(sort, Mapping):
        pairs = list(sort.items())
    else:
        pairs = []
        for one in sort:
            if isinstance(one, str):
                pairs.append((one, ASCENDING))
            elif isinstance(one, tuple | list) and len(one) == 2:
                pairs.append((one[0], one[1]))
            else:
                raise InvalidArgument("a sort is a field, or pairs of a field with 1 or -1")
    for name, way in pairs:
        if not isinstance(name, str) or way not in (1, -1) or isinstance(way, bool):
            raise InvalidArgument("a sort is a field, or pairs of a field with 1 or -1")
    return dict(pairs)


def projection_body(projection: Projection) -> dict[str, Any] | None:
    """Return a projection as the API has it; the fields of a list are shown. Raises InvalidArgument."""
    if projection is None:
        return None
    if isinstance(projection, Mapping):
        found = dict(projection)
    elif isinstance(projection, str):
        raise InvalidArgument("a projection is a list of fields, or a mapping of them")
    else:
        found = dict.fromkeys(projection, 1)
    # The ID is always answered, beside the document.
    return {name: one for name, one in found.items() if name != "_id"} or None


def without_none(**members: Any) -> dict[str, Any]:
    """Return the members that are something."""
    return {name: one for name, one in members.items() if one is not None}


def bounded(name: str, value: int | None, lo: int, hi: int) -> int | None:
    """Return a whole number, checked. Raises InvalidArgument."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not lo <= value <= hi:
        raise InvalidArgument(f"{name} must be a whole number from {lo} to {hi}")
    return value


def text(name: str, value: object) -> str:
    """Return a name, checked to be a text that is not empty. Raises InvalidArgument."""
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"{name} must be a text that is not empty, not a {type(value).__name__}")
    return value
