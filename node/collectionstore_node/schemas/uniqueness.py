"""`uniqueItems` in linear time, by the texts of the elements.

In place of the validator's own: that hashes nested arrays without their brackets, so that a client can make thousands
of elements that it compares with each other.
"""

from __future__ import annotations

from typing import Any

import orjson

_INTEGER_LIMIT = float(1 << 64)


class UniqueItems:
    """The keyword, as jsonschema-rs calls it: one object for each place in a schema."""

    def __init__(self, parent: dict[str, Any], value: Any, path: list[str | int]) -> None:
        del parent, path
        self._wanted = value is True

    def validate(self, instance: Any) -> None:
        """Raise `ValueError` for an array with equal elements; numbers are equal by their value, as 1 and 1.0."""
        if self._wanted and type(instance) is list and len(instance) > 1 and not all_different(instance):
            raise ValueError("not unique")


def all_different(elements: list[Any]) -> bool:
    """Whether no two elements are equal, by JSON Schema: order of members is nothing, and 1 is 1.0 but not true."""
    # The texts of equal values are equal, and Python hashes texts with a secret of the process.
    return len({orjson.dumps(_plain(one), option=orjson.OPT_SORT_KEYS) for one in elements}) == len(elements)


def _plain(value: Any) -> Any:
    """Return `value` with integers in place of whole numbers that are written as fractions."""
    kind = type(value)
    if kind is float:
        return int(value) if value.is_integer() and abs(value) < _INTEGER_LIMIT else value
    if kind is dict:
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if kind is list else value
