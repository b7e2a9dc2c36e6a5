"""Values of the specification tests as JSON of the store, and what an expected value matches. Pure.

IDs of the store are texts: a whole number becomes eight digits, so that the order of IDs is that of the numbers, and is
turned back in what is compared. Extended JSON becomes JSON where JSON has such a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

IDS: Final = frozenset(("_id", "insertedId", "upsertedId", "insertedIds", "upsertedIds"))
_ID: Final = re.compile(r"[0-9]{8}")


class NotInJson(Exception):
    """A value that JSON, and so the store, does not have; the text names its type."""


def to_store(value: Any, *, is_id: bool = False) -> Any:
    """Return a value of a test as the store takes it. Raises NotInJson."""
    if isinstance(value, Mapping):
        if len(value) == 1:
            ((name, inner),) = value.items()
            if name in ("$numberInt", "$numberLong"):
                return to_store(int(inner), is_id=is_id)
            if name == "$numberDouble":
                return float(inner)
            if name in ("$oid", "$uuid"):
                return str(inner)
            if name in ("$binary", "$numberDecimal", "$timestamp", "$date", "$minKey", "$maxKey", "$code"):
                raise NotInJson(f"the type {name[1:]}")
        return {
            name: one
            if name in ("sort", "projection")
            else to_store(one, is_id=name == "_id" or (is_id and name.startswith("$")))
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [to_store(one, is_id=is_id) for one in value]
    if is_id and isinstance(value, int) and not isinstance(value, bool):
        return f"{value:08}"
    return value


def from_store(value: Any, *, is_id: bool = False) -> Any:
    """Return a value of the store as the tests have it."""
    if isinstance(value, Mapping):
        return {name: from_store(one, is_id=is_id or name in IDS) for name, one in value.items() if name != "_revision"}
    if isinstance(value, list):
        return [from_store(one) for one in value]
    if is_id and isinstance(value, str) and _ID.fullmatch(value):
        return int(value)
    return value


def difference(expected: Any, actual: Any, *, root: bool = True, there: bool = True) -> str | None:
    """Return how `actual` does not match, None if it does: objects at the root may have more members."""
    if isinstance(expected, Mapping):
        special = next((name for name in expected if name.startswith("$$")), None)
        if special is not None:
            return _special(special, expected[special], actual, root=root, there=there)
        if not isinstance(actual, Mapping):
            return f"no object but {type(actual).__name__}"
        for name, wanted in expected.items():
            found = difference(wanted, actual.get(name), root=False, there=name in actual)
            if found is not None:
                return f"{name}: {found}"
        if not root and (more := set(actual) - set(expected)):
            return f"also {', '.join(sorted(more))}"
        return None
    if not there:
        return "missing"
    if isinstance(expected, list):
        if not isinstance(actual, list) or len(expected) != len(actual):
            return f"{len(actual) if isinstance(actual, list) else 'no'} elements, not {len(expected)}"
        for wanted, one in zip(expected, actual, strict=True):
            if (found := difference(wanted, one, root=root)) is not None:
                return found
        return None
    if isinstance(expected, bool) != isinstance(actual, bool) or expected != actual:
        return "another value"
    return None


def _special(name: str, inner: Any, actual: Any, *, root: bool, there: bool) -> str | None:
    match name:
        case "$$unsetOrMatches":
            return None if not there or actual is None else difference(inner, actual, root=root)
        case "$$exists":
            return None if there == bool(inner) else ("missing" if inner else "there")
        case "$$type":
            return None if there else "missing"
    raise NotInJson(f"the matcher {name}")
