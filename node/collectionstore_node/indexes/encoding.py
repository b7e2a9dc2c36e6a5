"""Values as bytes that sort as they do, of bounded length; and ranges of such bytes.

A value's key is `documents.values.sort_key`, unless that is longer than KEY_BYTES_MAX: then its first bytes and the
hash of all of it. Equal values have equal keys, others have different ones, and the order of keys is that of values but
for those that are alike in their first LONG_PREFIX_BYTES. No key is a prefix of another one, so the keys of several
fields are joined without anything between them, and inverted bit by bit for the descending order.
"""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Any, Final, NamedTuple

from collectionstore_node.documents.paths import Path
from collectionstore_node.documents.values import (
    ARRAY,
    BOOLEAN,
    NULL,
    NUMBER,
    OBJECT,
    STRING,
    Value,
    inverted,
    sort_key,
)
from collectionstore_node.indexes.folding import fold

KEY_BYTES_MAX: Final = 256
"""Of one field in an entry."""
LONG_PREFIX_BYTES: Final = KEY_BYTES_MAX - sha256().digest_size
DEPTH_MAX: Final = 128
"""How deep an indexed value may be nested. Clients cannot store deeper ones."""

TEXT_CHARACTERS: Final = 64
"""Of names and texts within an indexed object: so many count as one value."""
_POSITION_DIGITS: Final = 10

RANK_TAGS: Final = {NULL: b"\x10", NUMBER: b"\x20", STRING: b"\x30", OBJECT: b"\x40", ARRAY: b"\x50", BOOLEAN: b"\x60"}
"""The first byte of the keys of each rank (`documents.values.RANKS`)."""

_NUMBER: Final = struct.Struct(">cQH")
_DOUBLE: Final = struct.Struct(">d")
_BITS: Final = struct.Struct(">Q")
_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1
_EXACT: Final = 0x8000
_STRING_END: Final = b"\x00\x01"


class TooDeep(Exception):
    """A value is nested deeper than DEPTH_MAX."""


class TooMuch(Exception):
    """There are more values than were allowed."""


def key_of(value: Value, *, folded: bool = False) -> bytes:
    """Return the key of a value; `MISSING` is as null. Raises `TooDeep`."""
    kind = type(value)
    if kind is str:
        key = sort_key(fold(value) if folded else value)
    else:
        if kind is dict or kind is list:
            check_depth(value)
        key = sort_key(value)
    return key if len(key) <= KEY_BYTES_MAX else key[:LONG_PREFIX_BYTES] + sha256(key).digest()


def is_long(key: bytes) -> bool:
    """Whether a key of `sort_key` is stored by its first bytes and its hash."""
    return len(key) > KEY_BYTES_MAX


def check_depth(value: Value) -> None:
    """Raise `TooDeep` for a value that is nested too deep. Without recursion: it comes from a member, perhaps."""
    level: list[Any] = [value]
    for _ in range(DEPTH_MAX):
        level = [
            child
            for one in level
            for child in (one.values() if type(one) is dict else one)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    raise TooDeep


def values_left(document: dict[str, Any], path: Path, left: int) -> int:
    """Return what is left of `left` values when those are taken that looking at `path` meets.

    They are the elements of arrays, all that is within an object or array at the end of the path, and each
    TEXT_CHARACTERS of names and texts there. Raises `TooMuch` below 0, before they are looked at, and `TooDeep`.
    """
    level: list[Any] = [document]
    for part in path:
        found: list[Any] = []
        for one in level:
            if type(one) is dict:
                found.append(one.get(part))
                continue
            left = _less(left, len(one))
            found += [element.get(part) for element in one if type(element) is dict]
            if part.isdecimal() and len(part) < _POSITION_DIGITS and int(part) < len(one):
                found.append(one[int(part)])
        level = [one for one in found if type(one) is dict or type(one) is list]
    for _ in range(DEPTH_MAX):
        if not level:
            return left
        left = _less(left, sum(map(len, level)))
        names = sum(len(name) for one in level if type(one) is dict for name in one)
        children = [child for one in level for child in (one.values() if type(one) is dict else one)]
        left = _less(left, (names + sum(len(one) for one in children if type(one) is str)) // TEXT_CHARACTERS)
        level = [one for one in children if type(one) is dict or type(one) is list]
    raise TooDeep


def _less(left: int, count: int) -> int:
    if count > left:
        raise TooMuch
    return left - count


def scalar_in(key: bytes, start: int, *, descending: bool) -> tuple[Value, int]:
    """Return the null, number, text or boolean whose key begins at `start`, and where it ends.

    A whole number that was written as a float comes back as an integer: who needs the difference keeps it beside the
    key. Raises `ValueError` for a key of another kind.
    """
    mask = 0xFF if descending else 0
    tag = key[start] ^ mask
    if tag == RANK_TAGS[NULL][0]:
        return None, start + 1
    if tag == RANK_TAGS[BOOLEAN][0]:
        return bool(key[start + 1] ^ mask), start + 2
    if tag == RANK_TAGS[NUMBER][0]:
        end = start + _NUMBER.size
        return _number(inverted(key[start:end]) if descending else key[start:end]), end
    if tag == RANK_TAGS[STRING][0]:
        mark = inverted(_STRING_END) if descending else _STRING_END
        end = key.index(mark, start) + len(mark)
        text = inverted(key[start:end]) if descending else key[start:end]
        return text[1:-2].replace(b"\x00\xff", b"\x00").decode(), end
    raise ValueError("not the key of a scalar")


def _number(key: bytes) -> int | float:
    _, bits, rest = _NUMBER.unpack(key)
    bits = bits ^ _SIGN if bits & _SIGN else bits ^ _ALL
    (nearest,) = _DOUBLE.unpack(_BITS.pack(bits))
    number: float = nearest
    if not number.is_integer():
        return number
    beyond: int = rest - _EXACT
    return int(number) + beyond


class Bound(NamedTuple):
    """One end of an interval: all keys that begin with `key` are inside, if `inclusive`, or outside."""

    key: bytes
    inclusive: bool = True


class Interval(NamedTuple):
    """The keys of one field from `low` to `high`, ascending."""

    low: Bound
    high: Bound
    point: bool = False
    """Whether it is one whole key, and so holds a single value."""

    def inverted(self) -> Interval:
        """Return the same interval of inverted keys."""
        low, high = self.low, self.high
        return Interval(Bound(inverted(high.key), high.inclusive), Bound(inverted(low.key), low.inclusive), self.point)

    def span(self, prefix: bytes = b"") -> tuple[bytes, bytes]:
        """Return the range `[lo, hi)` of all bytes that are inside, behind `prefix`."""
        lo = prefix + self.low.key
        hi = prefix + self.high.key
        return (lo if self.low.inclusive else after(lo)), (after(hi) if self.high.inclusive else hi)


def after(prefix: bytes) -> bytes:
    """Return the smallest bytes above all that begin with `prefix`, which holds another byte than FF."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,))


def at(key: bytes) -> Interval:
    """Return the interval of one value, by its whole key."""
    return Interval(Bound(key), Bound(key), point=True)


def beginning_with(prefix: bytes) -> Interval:
    """Return the interval of all keys that begin with `prefix`."""
    return Interval(Bound(prefix), Bound(prefix))


def between(low: Bound, high: Bound) -> Interval | None:
    """Return the interval, None if it is empty."""
    made = Interval(low, high)
    lo, hi = made.span()
    return made if lo < hi else None


def both(one: Interval, other: Interval) -> Interval | None:
    """Return what is in both intervals, None if nothing is."""
    low = max(one.low, other.low, key=lambda bound: bound.key if bound.inclusive else after(bound.key))
    high = min(one.high, other.high, key=lambda bound: after(bound.key) if bound.inclusive else bound.key)
    found = between(low, high)
    # What is left of a point is the point.
    return found and found._replace(point=one.point or other.point)
