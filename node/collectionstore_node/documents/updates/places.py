"""Where an operator works: dotted paths with positions, and the places of a document that they name.

A part of a path is a name; `$` is the element that the filter matched, `$[]` every element, `$[name]` those that the
array filter of this name matches. A name of digits is a position in an array, and a name in an object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import msgspec

from collectionstore_node.documents.paths import PARTS_MAX, PATH_CHARACTERS_MAX
from collectionstore_node.documents.updates.budget import DEPTH_MAX, Budget
from collectionstore_node.documents.updates.failures import Failed, Reason
from collectionstore_node.documents.values import MISSING, Value
from collectionstore_node.errors import InvalidPart

CODE: Final = "invalid_update"

POSITION_MAX: Final = 999_999_999
"""Beyond every array that a document can hold."""
_POSITION: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_FILTERED: Final = re.compile(r"\$\[([a-z][a-zA-Z0-9]{0,63})\]")
_PAD_BYTES: Final = 5
"""`null` and a comma."""


class Matched(msgspec.Struct, frozen=True):
    """The element that the filter matched: `$`."""


class Every(msgspec.Struct, frozen=True):
    """Every element: `$[]`."""


class Filtered(msgspec.Struct, frozen=True):
    """The elements that an array filter matches: `$[name]`."""

    name: str


Part: TypeAlias = str | Matched | Every | Filtered
Place: TypeAlias = tuple[Part, ...]
Concrete: TypeAlias = tuple[str | int, ...]
"""A place in one document: names, and positions in arrays."""
Positions: TypeAlias = Callable[[Place, list[Value]], list[int]]
"""Returns which elements of the array at a place, whose last part is no name, are meant."""


def invalid(pointer: str, detail: str) -> InvalidPart:
    """Return the error of a part of an update that is not allowed."""
    return InvalidPart(CODE, pointer, detail)


def parse_place(text: str, pointer: str) -> Place:
    """Return the place `text`, which stands at `pointer` in a body. Raises `InvalidPart`."""
    if len(text) > PATH_CHARACTERS_MAX:
        raise invalid(pointer, f"a path has at most {PATH_CHARACTERS_MAX} characters")
    parts = text.split(".")
    if len(parts) > PARTS_MAX:
        raise invalid(pointer, f"a path has at most {PARTS_MAX} parts")
    if not all(parts):
        raise invalid(pointer, "a path has no empty part: it neither begins nor ends with a dot, nor has two in a row")
    check_name(parts[0], pointer)
    place = tuple(_part(part, pointer) for part in parts)
    if type(place[0]) is not str:
        raise invalid(pointer, "a path begins with the name of a field")
    if place.count(Matched()) > 1:
        raise invalid(pointer, "a path has $ once; for nested arrays there are $[] and $[name]")
    return place


def check_name(name: str, pointer: str) -> None:
    """Refuse a reserved name at the top of a document. Raises `InvalidPart`."""
    if name[:1] == "_":
        raise InvalidPart(
            "reserved_field",
            pointer,
            "top-level names beginning with '_' are reserved; the ID of a document does not change",
        )


def position_of(part: str) -> int | None:
    """Return the position in an array that a name stands for, None if it is none."""
    return int(part) if _POSITION.fullmatch(part) else None


def _part(text: str, pointer: str) -> Part:
    if text[0] != "$":
        return text
    if text == "$":
        return Matched()
    if text == "$[]":
        return Every()
    found = _FILTERED.fullmatch(text)
    if found is None:
        raise invalid(
            pointer, "a part that begins with a dollar sign is $, $[] or $[name]; a name has letters and digits"
        )
    return Filtered(found[1])


_END: Final = object()


class Touched:
    """The places that an update has changed: no two may be the same, or one within the other."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: dict[Any, Any] = {}

    def add(self, place: tuple[Any, ...]) -> bool:
        """Add a place; return False if it conflicts with an earlier one."""
        node = self._root
        for at, part in enumerate(place):
            inner = node.get(part)
            if inner is None:
                inner = node[part] = {}
                if at + 1 == len(place):
                    inner[_END] = True
                    return True
            elif at + 1 == len(place) or _END in inner:
                return False
            node = inner
        return False

    def covers(self, place: tuple[Any, ...]) -> bool:
        """Whether `place`, or one around it, was added."""
        node = self._root
        for part in place:
            if part not in node:
                return False
            node = node[part]
            if _END in node:
                return True
        return False


class Target:
    """One place of a document that an operator changes."""

    __slots__ = ("_budget", "_holder", "_key", "_touched", "path")

    def __init__(
        self, holder: dict[str, Any] | list[Any], key: Any, path: Concrete, budget: Budget, touched: Touched
    ) -> None:
        self._holder = holder
        self._key = key
        self._budget = budget
        self._touched = touched
        self.path = path

    def get(self) -> Value:
        """Return the value there, or `MISSING`. Raises `Failed` if the update has changed it already."""
        self._budget.step(len(self.path))
        if not self._touched.add(self.path):
            raise Failed(Reason.CONFLICT)
        holder, key = self._holder, self._key
        if type(holder) is dict:
            return holder.get(key, MISSING)
        return holder[key] if key < len(holder) else MISSING

    def set(self, value: Value, *, size_bytes: int, depth: int = 0) -> None:
        """Put `value` there, whose text has `size_bytes` and which is nested so deep. Call `get` BEFORE."""
        if depth and len(self.path) + depth > DEPTH_MAX:
            raise Failed(Reason.SIZE)
        holder, key = self._holder, self._key
        if isinstance(holder, dict):
            self._budget.grow(size_bytes + len(key) + 4)
            holder[key] = value
            return
        self._budget.grow(size_bytes + 1)
        if key < len(holder):
            holder[key] = value
        else:
            pad(holder, key, self._budget)
            holder.append(value)

    def remove(self) -> None:
        """Remove what is there; an element of an array becomes null, so that the others keep their positions."""
        if type(self._holder) is dict:
            self._holder.pop(self._key, None)
        elif self._key < len(self._holder):
            self._holder[self._key] = None


def pad(holder: list[Any], length: int, budget: Budget) -> None:
    """Fill an array with null up to `length`. Raises `Failed` BEFORE it grows beyond what a document may have."""
    missing = length - len(holder)
    if missing > 0:
        budget.grow(missing * _PAD_BYTES)
        holder.extend([None] * missing)


class Places:
    """The places of one document that paths name."""

    __slots__ = ("_budget", "_positions", "_root", "_touched")

    def __init__(self, root: dict[str, Any], budget: Budget, positions: Positions) -> None:
        self._root = root
        self._budget = budget
        self._positions = positions
        self._touched = Touched()

    def targets(self, place: Place, *, create: bool) -> Iterator[Target]:
        """Yield the places that `place` names; with `create`, objects are made on the way to it. Raises `Failed`."""
        return self._walk(self._root, place, 0, (), create=create)

    def touch(self, path: Concrete) -> None:
        """Note that a place is changed by other means. Raises `Failed` if it is changed already."""
        self._budget.step(len(path))
        if not self._touched.add(path):
            raise Failed(Reason.CONFLICT)

    def check_untouched(self, path: Concrete) -> None:
        """Refuse to enter a value that the update has put there: it belongs to the update. Raises `Failed`."""
        self._budget.step(len(path))
        if self._touched.covers(path):
            raise Failed(Reason.CONFLICT)

    def _walk(self, holder: Value, place: Place, at: int, path: Concrete, *, create: bool) -> Iterator[Target]:
        self._budget.step()
        for key in self._keys(holder, place, at, create=create):
            here = (*path, key)
            if at + 1 == len(place):
                yield Target(holder, key, here, self._budget, self._touched)
                continue
            self.check_untouched(here)
            inner = self._inner(holder, key)
            if inner is MISSING:
                if type(place[at + 1]) is not str:
                    raise Failed(Reason.PATH)
                if not create:
                    continue
                inner = {}
                self._make(holder, key, inner)
            if type(inner) is dict or type(inner) is list:
                yield from self._walk(inner, place, at + 1, here, create=create)
            elif create or type(place[at + 1]) is not str:
                raise Failed(Reason.TYPE)

    def _keys(self, holder: Value, place: Place, at: int, *, create: bool) -> list[Any]:
        part = place[at]
        if type(part) is not str:
            if type(holder) is not list:
                raise Failed(Reason.TYPE)
            self._budget.step(len(holder))
            return list(self._positions(place[: at + 1], holder))
        if type(holder) is dict:
            return [part]
        position = position_of(part)
        if position is not None:
            return [position]
        if create:
            raise Failed(Reason.TYPE)
        return []

    def _inner(self, holder: Value, key: Any) -> Value:
        if type(holder) is dict:
            return holder.get(key, MISSING)
        return holder[key] if key < len(holder) else MISSING

    def _make(self, holder: Value, key: Any, value: Value) -> None:
        self._budget.grow(len(str(key)) + 5)
        if type(holder) is dict:
            holder[key] = value
        else:
            pad(holder, key, self._budget)
            holder.append(value)
