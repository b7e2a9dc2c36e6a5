"""The order of answers: by fields, each ascending or descending, and among equals by ID.

An array sorts by its smallest element ascending and by its greatest one descending, as in MongoDB; a missing field
sorts as null, and an empty array before it. The order is total, so a page can begin behind any document.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec

from collectionstore_node.documents.paths import Path, parse_path, values_at
from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.values import NOTHING, Value, inverted, sort_key
from collectionstore_node.errors import InvalidPart, InvalidRequest

FIELDS_MAX: Final = 16
ELEMENTS_MAX: Final = 10_000
"""Of an array that documents are sorted by."""
KEY_BYTES_MAX: Final = 1_024
"""Of the values that one document is sorted by: a cursor holds them."""

T = TypeVar("T")

Position: TypeAlias = tuple[bytes, str]
"""Where a document is in the order: the key of its fields, and its ID."""


class SortField(msgspec.Struct, frozen=True):
    """One field of an order."""

    path: Path
    descending: bool = False


Order: TypeAlias = tuple[SortField, ...]
"""Fields by importance; without any, the order is that of the IDs."""


def parse_sort(given: Value, pointer: str = "") -> Order:
    """Return the order that `{"age": -1, "name": 1}` describes. Raises `InvalidPart("invalid_sort")`."""
    if type(given) is not dict:
        raise _invalid(pointer, 'an order is an object, such as {"age": -1, "name": 1}')
    if len(given) > FIELDS_MAX:
        raise _invalid(pointer, f"an order has {len(given)} fields; at most {FIELDS_MAX} are allowed")
    fields = []
    for name, direction in given.items():
        at = child(pointer, name)
        path = parse_path(name, "invalid_sort", at)
        if type(direction) not in (int, float) or direction not in (1, -1):
            raise _invalid(at, "the direction is 1 (ascending) or -1 (descending)")
        fields.append(SortField(path, direction == -1))
    return tuple(fields)


def key_of(order: Order) -> Callable[[dict[str, Any]], bytes]:
    """Return the function from a document to the key of its fields: smaller keys come first.

    It raises `InvalidRequest("sort_key_too_long")`.
    """

    def key(document: dict[str, Any]) -> bytes:
        joined = b"".join(_field_key(document, field) for field in order)
        check_key(joined)
        return joined

    return key


def check_key(key: bytes) -> None:
    """Refuse a key that is too long for a cursor. Raises `InvalidRequest("sort_key_too_long")`."""
    if len(key) > KEY_BYTES_MAX:
        raise InvalidRequest(
            "sort_key_too_long",
            f"the fields to sort by have {len(key)} bytes in one document; at most {KEY_BYTES_MAX} are allowed",
        )


def _field_key(document: dict[str, Any], field: SortField) -> bytes:
    keys: list[bytes] = []
    for value in values_at(document, field.path):
        if type(value) is list:
            if len(value) > ELEMENTS_MAX:
                raise InvalidRequest(
                    "sort_key_too_long",
                    f"an array to sort by has {len(value)} elements; at most {ELEMENTS_MAX} are allowed",
                )
            keys.extend(map(sort_key, value) if value else (NOTHING,))
        else:
            keys.append(sort_key(value))
    if not keys:
        keys.append(sort_key(None))  # the path leads through an array without objects
    return inverted(max(keys)) if field.descending else min(keys)


class First(Generic[T]):
    """The first `count` of any number of items, by position; their sizes together stay within `bytes_max`."""

    __slots__ = ("_bytes_max", "_count", "_items", "_positions", "_size", "more")

    def __init__(self, count: int, bytes_max: int) -> None:
        self._count = count
        self._bytes_max = bytes_max
        self._positions: list[Position] = []
        self._items: list[tuple[T, int]] = []
        self._size = 0
        self.more = False
        """Whether items were left out, because they come behind those that are kept."""

    def add(self, position: Position, item: T, size: int) -> None:
        """Keep `item` if it is among the first. Raises `InvalidRequest("query_memory_exceeded")`."""
        positions, items = self._positions, self._items
        if len(positions) == self._count:
            self.more = True
            if position > positions[-1]:
                return
        at = bisect_left(positions, position)
        positions.insert(at, position)
        items.insert(at, (item, size))
        self._size += size + len(position[0])
        if len(positions) > self._count:
            left, (_, freed) = positions.pop(), items.pop()
            self._size -= freed + len(left[0])
        if self._size > self._bytes_max:
            raise InvalidRequest(
                "query_memory_exceeded",
                f"sorting needs more than {self._bytes_max} bytes; ask for fewer documents, or narrow the filter",
            )

    def items(self) -> list[tuple[Position, T]]:
        """Return what is kept, in order."""
        return [(position, item) for position, (item, _) in zip(self._positions, self._items, strict=True)]


def _invalid(pointer: str, detail: str) -> InvalidPart:
    return InvalidPart("invalid_sort", pointer, detail)
