"""Two keywords of our own, in place of the validator's: a client can make values for which those take far too long.

`uniqueItems` of the validator hashes nested arrays without their brackets, so that thousands of elements can be made
which it compares with each other. `multipleOf` computes with fractions of a thousand bits.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from jsonschema_rs import KeywordValidator

_INTEGERS: Final = -float(1 << 63), float(1 << 64)
"""From where on, and below what, whole numbers are written as integers."""
_DIGITS_MAX: Final = 32
"""More than a number has."""


def own_keywords(faults: list[Exception]) -> dict[str, type[KeywordValidator]]:
    """Return the keywords, as jsonschema-rs makes one for each place in a schema.

    It takes every exception as a violation, so `faults` gets those that are none.
    """

    class _Keyword:
        def __init__(self, parent: dict[str, Any], value: Any, path: list[str | int]) -> None:
            del parent, path
            self._prepare(value)

        def _prepare(self, value: Any) -> None:
            raise NotImplementedError

        def _allows(self, instance: Any) -> bool:
            raise NotImplementedError

        def validate(self, instance: Any) -> None:
            """Raise `ValueError` for a value that is not allowed."""
            try:
                allowed = self._allows(instance)
            except Exception as error:
                faults.append(error)
                raise
            if not allowed:
                raise ValueError("not allowed")

    class UniqueItems(_Keyword):
        def _prepare(self, value: Any) -> None:
            self._wanted = value is True

        def _allows(self, instance: Any) -> bool:
            return not self._wanted or type(instance) is not list or all_different(instance)

    class MultipleOf(_Keyword):
        def _prepare(self, value: Any) -> None:
            self._divisor = _decimal(value)

        def _allows(self, instance: Any) -> bool:
            if type(instance) is not int and type(instance) is not float:
                return True
            return is_multiple(_decimal(instance), self._divisor)

    return {"uniqueItems": UniqueItems, "multipleOf": MultipleOf}


def all_different(elements: list[Any]) -> bool:
    """Whether no two elements are equal, by JSON Schema: order of members is nothing, and 1 is 1.0 but not true."""
    # Equal numbers have equal hashes, and at most 33 others have the same one. Texts are hashed with a secret of the
    # process; those of equal arrays and objects are equal.
    seen: set[Any] = set()
    for element in elements:
        kind = type(element)
        if kind is dict or kind is list:
            seen.add(orjson.dumps(_plain(element), option=orjson.OPT_SORT_KEYS))
        elif kind is bool:
            seen.add((element,))  # not 1 or 0
        else:
            seen.add(element)
    return len(seen) == len(elements)


def is_multiple(value: tuple[int, int], divisor: tuple[int, int]) -> bool:
    """Whether a decimal number, digits and exponent, is a multiple of another one, which is not 0."""
    (digits, exponent), (unit, scale) = value, divisor
    if exponent >= scale:
        return digits * pow(10, exponent - scale, unit) % unit == 0
    # The divisor has more zeros than any number has digits, or is a small number.
    return digits == 0 if scale - exponent > _DIGITS_MAX else digits % (unit * 10 ** (scale - exponent)) == 0


def _decimal(number: int | float) -> tuple[int, int]:
    """Return the digits and the exponent of a number, as it is written in JSON: 0.07 is 7 hundredths."""
    if type(number) is int:
        return number, 0
    written = Decimal(repr(number))
    exponent = written.as_tuple().exponent
    if type(exponent) is not int:
        raise ValueError("no number of JSON")
    return int(written.scaleb(-exponent)), exponent


def _plain(value: Any) -> Any:
    """Return `value` with integers in place of whole numbers that are written as fractions."""
    kind = type(value)
    if kind is float:
        least, above = _INTEGERS
        return int(value) if least <= value < above and value.is_integer() else value
    if kind is dict:
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if kind is list else value
