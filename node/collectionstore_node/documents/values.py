"""JSON values compared: equality, and one order across all types.

Both are MongoDB's ("Comparison/Sort Order" of its manual), restricted to what JSON has: null, numbers, strings,
objects, arrays, booleans. Numbers compare by value, integers and floats alike and exactly; strings by code point;
objects field by field in their stored order; arrays element by element.

A value is what `orjson.loads` returns: None, bool, int (64 bits), float, str, list or dict.
"""

from __future__ import annotations

import struct
from typing import Any, Final

Value = Any


class _Missing:
    """The type of `MISSING`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""Stands for a field that a document does not have; never part of a document."""

NULL, NUMBER, STRING, OBJECT, ARRAY, BOOLEAN = 1, 2, 3, 4, 5, 6
RANKS: Final[dict[type, int]] = {
    _Missing: NULL,
    type(None): NULL,
    int: NUMBER,
    float: NUMBER,
    str: STRING,
    dict: OBJECT,
    list: ARRAY,
    bool: BOOLEAN,
}
"""The rank of each type in the order; values of different ranks are never equal."""

NOTHING: Final = b"\x08"
"""The key of an array without elements, below that of every value: as in MongoDB, it sorts before null."""

_END: Final = b"\x00"
"""Ends objects and arrays; below every tag, so that a prefix sorts before what continues it."""
_TAGS: Final = {NULL: b"\x10", NUMBER: b"\x20", STRING: b"\x30", OBJECT: b"\x40", ARRAY: b"\x50", BOOLEAN: b"\x60"}
_NULL_KEY: Final = _TAGS[NULL]
_EXACT: Final = 0x8000
_DOUBLE: Final = struct.Struct(">d")
_BITS: Final = struct.Struct(">Q")
_NUMBER: Final = struct.Struct(">cQH")
_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1


def equal(left: Value, right: Value) -> bool:
    """Return whether two values are the same: 1 and 1.0 are, 1 and true are not, nor objects in another field order."""
    kind = type(left)
    if kind is dict:
        return (
            type(right) is dict
            and len(left) == len(right)
            and all(
                name == other and equal(value, given)
                for (name, value), (other, given) in zip(left.items(), right.items(), strict=True)
            )
        )
    if kind is list:
        return type(right) is list and len(left) == len(right) and all(map(equal, left, right))
    return RANKS[kind] == RANKS[type(right)] and left == right


def sort_key(value: Value) -> bytes:
    """Return the bytes that sort as `value` does, among the keys of all values; `MISSING` is as null.

    No key is a prefix of another one, so keys may be joined, and inverted bit by bit for the descending order.
    """
    kind = type(value)
    if kind is str:
        return _TAGS[STRING] + _escaped(value)
    if kind is int or kind is float:
        return _number_key(value)
    if value is None or value is MISSING:
        return _NULL_KEY
    if kind is bool:
        return b"\x60\x01" if value else b"\x60\x00"
    if kind is list:
        return _TAGS[ARRAY] + b"".join(map(sort_key, value)) + _END
    # As MongoDB: first by the type of the field's value, then by name, then by the value.
    pieces = [_TAGS[RANKS[type(child)]] + _escaped(name) + sort_key(child) for name, child in value.items()]
    return _TAGS[OBJECT] + b"".join(pieces) + _END


def inverted(key: bytes) -> bytes:
    """Return `key` for the descending order: a greater one sorts first."""
    return (int.from_bytes(key) ^ ((1 << 8 * len(key)) - 1)).to_bytes(len(key))


def _escaped(text: str) -> bytes:
    data = text.encode()
    if b"\x00" in data:
        data = data.replace(b"\x00", b"\x00\xff")
    return data + b"\x00\x01"


def _number_key(value: int | float) -> bytes:
    nearest = float(value)
    if nearest == 0.0:
        nearest = 0.0  # one key for both zeros
    (bits,) = _BITS.unpack(_DOUBLE.pack(nearest))
    bits = bits ^ _ALL if bits & _SIGN else bits | _SIGN
    # An integer beyond 2**53 may lie between two doubles: what is left of it, at most 1,024 in 64 bits.
    rest = value - int(nearest) if type(value) is int else 0
    return _NUMBER.pack(b"\x20", bits, _EXACT + rest)
