"""JSON Patch (RFC 6902): a list of operations on JSON pointers (RFC 6901), all or none."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.updates.budget import DEPTH_MAX, Budget, depth_of
from collectionstore_node.documents.updates.clauses import Moment, Operand
from collectionstore_node.documents.updates.failures import Failed, Reason
from collectionstore_node.documents.updates.fields import Root
from collectionstore_node.documents.updates.places import check_name, invalid, position_of
from collectionstore_node.documents.updates.single import operand_of
from collectionstore_node.documents.values import MISSING, RANKS, Value

OPERATIONS_MAX: Final = 256
"""Operations in one patch."""
POINTER_CHARACTERS_MAX: Final = 1_024

_KINDS: Final = ("add", "remove", "replace", "move", "copy", "test")
_WITH_VALUE: Final = ("add", "replace", "test")
_WITH_SOURCE: Final = ("move", "copy")
_BAD_ESCAPE: Final = re.compile(r"~(?![01])")
_END: Final = "-"

Pointer = tuple[str, ...]


class Operation(msgspec.Struct, frozen=True):
    """One operation."""

    kind: str
    path: Pointer
    operand: Operand | None = None
    source: Pointer | None = None


class JsonPatch:
    """A checked JSON Patch."""

    __slots__ = ("_operations", "_pointer", "names")

    def __init__(self, given: Value, pointer: str) -> None:
        """Raises `InvalidPart`."""
        if type(given) is not list:
            raise invalid(pointer, "a JSON Patch is a list of operations")
        if len(given) > OPERATIONS_MAX:
            raise invalid(pointer, f"a patch has {len(given)} operations; at most {OPERATIONS_MAX} are allowed")
        self._pointer = pointer
        self._operations = tuple(_operation(one, child(pointer, at)) for at, one in enumerate(given))
        names: set[str] | None = set()
        for one in self._operations:
            for path in (one.path, *(() if one.source is None else (one.source,))):
                # The empty pointer is the whole document.
                names = None if names is None or not path else names | {path[0]}
        self.names = None if names is None else frozenset(names)

    def pointer(self, position: int) -> str:
        """Return where an operation is in the body."""
        return child(self._pointer, position)

    def needs(self, position: int) -> str:
        """Return what an operation takes."""
        kind = self._operations[position].kind
        if kind == "test":
            return "the value there must equal the one of the test"
        if kind in ("add", "copy", "move"):
            return "the parent must be an object, or an array that is long enough; what is copied or moved must exist"
        return "there must be a value at the path"

    def change(self, root: Root, moment: Moment) -> None:
        """Change a document. Raises `Failed` with the operation at fault; the document is not to be used then."""
        for position, operation in enumerate(self._operations):
            try:
                _apply(root, operation, moment.budget)
            except Failed as failed:
                raise Failed(failed.reason, position) from None


def _operation(given: Value, pointer: str) -> Operation:
    if type(given) is not dict:
        raise invalid(pointer, 'an operation is an object, such as {"op": "add", "path": "/name", "value": "Ada"}')
    kind = given.get("op")
    if kind not in _KINDS:
        raise invalid(child(pointer, "op"), f"op is one of: {', '.join(_KINDS)}")
    path = _parse(given.get("path"), child(pointer, "path"))
    operand = None
    source = None
    if kind in _WITH_VALUE:
        if "value" not in given:
            raise invalid(pointer, f"{kind} has a value")
        operand = operand_of(given["value"])
    elif kind in _WITH_SOURCE:
        source = _parse(given.get("from"), child(pointer, "from"))
        if kind == "move" and len(source) < len(path) and path[: len(source)] == source:
            raise invalid(child(pointer, "from"), "a value cannot be moved into itself")
    if kind in ("add", "replace", "copy", "move"):
        _check_names(path, operand, kind, pointer)
    if kind == "remove" and not path:
        raise invalid(pointer, "a patch cannot remove the document itself; there is DELETE")
    return Operation(kind, path, operand, source)


def _check_names(path: Pointer, operand: Operand | None, kind: str, pointer: str) -> None:
    if path:
        check_name(path[0], child(pointer, "path"))
        return
    if operand is not None:
        if type(operand.value) is not dict:
            raise invalid(child(pointer, "value"), "a document is an object")
        for name in operand.value:
            check_name(name, child(child(pointer, "value"), name))
    else:
        raise invalid(child(pointer, "path"), f"{kind} does not replace the document as a whole")


def _parse(given: Value, pointer: str) -> Pointer:
    if type(given) is not str:
        raise invalid(pointer, "a JSON pointer as text, such as /name or /tags/0")
    if len(given) > POINTER_CHARACTERS_MAX:
        raise invalid(pointer, f"a pointer has at most {POINTER_CHARACTERS_MAX} characters")
    if given and given[0] != "/":
        raise invalid(pointer, "a JSON pointer is empty or begins with a slash")
    if _BAD_ESCAPE.search(given):
        raise invalid(pointer, "in a JSON pointer ~ is written ~0, and / within a name ~1")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in given.split("/")[1:])


def _apply(root: Root, operation: Operation, budget: Budget) -> None:
    path = operation.path
    match operation.kind:
        case "test":
            if not _same(_get(root, path, budget), _value(operation), budget):
                raise Failed(Reason.TEST)
        case "add":
            _add(root, path, _copied(_value(operation), budget), budget)
        case "replace":
            _get(root, path, budget)
            _replace(root, path, _copied(_value(operation), budget), budget)
        case "remove":
            _remove(root, path, budget)
        case "copy":
            _add(root, path, _copied(_get(root, operation.source or (), budget), budget), budget)
        case "move":
            value = _get(root, operation.source or (), budget)
            if operation.source != path:
                _remove(root, operation.source or (), budget)
                _add(root, path, value, budget)


def _value(operation: Operation) -> Value:
    return None if operation.operand is None else operation.operand.value


def _get(root: Root, path: Pointer, budget: Budget) -> Value:
    value: Value = root
    for part in path:
        budget.step()
        if type(value) is dict:
            value = value.get(part, MISSING)
        elif type(value) is list:
            position = position_of(part)
            value = MISSING if position is None or position >= len(value) else value[position]
        else:
            value = MISSING
        if value is MISSING:
            raise Failed(Reason.PATH)
    return value


def _add(root: Root, path: Pointer, value: Value, budget: Budget) -> None:
    if not path:
        _replace(root, path, value, budget)
        return
    holder, last = _get(root, path[:-1], budget), path[-1]
    _check_depth(path, value, budget)
    if type(holder) is dict:
        budget.grow(len(last) + 4)
        holder[last] = value
        return
    if type(holder) is not list:
        raise Failed(Reason.PATH)
    position = len(holder) if last == _END else position_of(last)
    if position is None or position > len(holder):
        raise Failed(Reason.PATH)
    holder.insert(position, value)


def _replace(root: Root, path: Pointer, value: Value, budget: Budget) -> None:
    if not path:
        root.clear()
        root.update(value)
        return
    holder = _get(root, path[:-1], budget)
    _check_depth(path, value, budget)
    # It is there: an index of an array is one.
    holder[path[-1] if type(holder) is dict else int(path[-1])] = value


def _remove(root: Root, path: Pointer, budget: Budget) -> None:
    _get(root, path, budget)
    holder: Any = _get(root, path[:-1], budget)
    del holder[path[-1] if type(holder) is dict else int(path[-1])]


def _check_depth(path: Pointer, value: Value, budget: Budget) -> None:
    if type(value) is dict or type(value) is list:
        budget.weigh(value)
        if len(path) + depth_of(value) > DEPTH_MAX:
            raise Failed(Reason.SIZE)


def _copied(value: Value, budget: Budget) -> Value:
    """Return a copy that later operations may change. Raises `Failed` BEFORE copies of copies fill the memory."""
    kind = type(value)
    budget.step()
    if kind is dict:
        budget.grow(sum(map(len, value)) + 4 * len(value) + 2)
        return {name: _copied(inner, budget) for name, inner in value.items()}
    if kind is list:
        budget.grow(len(value) + 2)
        return [_copied(inner, budget) for inner in value]
    budget.grow(len(value) + 2 if kind is str else 8)
    return value


def _same(left: Value, right: Value, budget: Budget) -> bool:
    """Return whether two values are equal as RFC 6902 4.6 says: objects by their names, in any order."""
    budget.step()
    kind = type(left)
    if kind is dict:
        if type(right) is not dict or len(left) != len(right):
            return False
        return all(name in right and _same(value, right[name], budget) for name, value in left.items())
    if kind is list:
        if type(right) is not list or len(left) != len(right):
            return False
        return all(_same(one, other, budget) for one, other in zip(left, right, strict=True))
    return RANKS[kind] == RANKS[type(right)] and bool(left == right)
