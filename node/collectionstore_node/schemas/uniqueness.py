"""`uniqueItems` in linear time, by the texts of the elements.

In place of the validator's own: that hashes nested arrays without their brackets, so that a client can make thousands
of elements that it compares with each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from jsonschema_rs import KeywordValidator

_INTEGERS: Final = -float(1 << 63), float(1 << 64)
"""From where on, and below what, whole numbers are written as integers."""


def unique_items(faults: list[Exception]) -> type[KeywordValidator]:
    """Return the keyword, as jsonschema-rs makes one for each place in a schema.

    It takes every exception as a violation, so `faults` gets those that are none.
    """

    class UniqueItems:
        def __init__(self, parent: dict[str, Any], value: Any, path: list[str | int]) -> None:
            del parent, path
            self._wanted = value is True

        def validate(self, instance: Any) -> None:
            """Raise `ValueError` for an array with equal elements."""
            if not self._wanted or type(instance) is not list or len(instance) < 2:
                return
            try:
                unique = all_different(instance)
            except Exception as error:
                faults.append(error)
                raise
            if not unique:
                raise ValueError("not unique")

    return UniqueItems


def all_different(elements: list[Any]) -> bool:
    """Whether no two elements are equal, by JSON Schema: order of members is nothing, and 1 is 1.0 but not true."""
    # The texts of equal values are equal, and Python hashes texts with a secret of the process.
    return len({orjson.dumps(_plain(one), option=orjson.OPT_SORT_KEYS) for one in elements}) == len(elements)


def _plain(value: Any) -> Any:
    """Return `value` with integers in place of whole numbers that are written as fractions."""
    kind = type(value)
    if kind is float:
        least, above = _INTEGERS
        return int(value) if least <= value < above and value.is_integer() else value
    if kind is dict:
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if kind is list else value
