"""`$unwind`: a document for each element of an array."""

from __future__ import annotations

from typing import Any

import msgspec

from collectionstore_node.documents.expressions import ExpressionParser, weigh
from collectionstore_node.documents.expressions.mistakes import check_name
from collectionstore_node.documents.paths import Path, parse_path
from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.values import MISSING, Value
from collectionstore_node.query.aggregation.mistakes import invalid, options
from collectionstore_node.query.aggregation.stage import Surroundings
from collectionstore_node.query.aggregation.work import STAGE_NS, WEIGHT_NS, Item, Items

_COPIED_NS = 20


class Unwind(msgspec.Struct, frozen=True):
    """The document with each element in place of the array; what is no array counts as its only element."""

    path: Path
    index: str | None
    """The field for the positions."""
    preserve: bool
    """Whether documents without an element are kept."""
    name: str = "$unwind"

    def run(self, items: Items, around: Surroundings) -> Items:
        """Yield a document for each element."""
        work = around.work
        for item in items:
            if item is None:
                yield None
                continue
            work.spent += STAGE_NS
            found = at_path(item.document, self.path)
            if type(found) is list and found:
                size = weigh(found)
                work.spent += WEIGHT_NS * size
                rest = max(0, item.size - size)
                for at, value in enumerate(found):
                    document = replaced(item.document, self.path, value)
                    yield Item(self._indexed(document, at), rest + weigh(value))
                    work.spent += STAGE_NS + _COPIED_NS * len(document)
                    if work.due:
                        yield None
            elif found is not MISSING and found is not None and type(found) is not list:
                yield Item(self._indexed(item.document, None), item.size)
            elif self.preserve:
                document = replaced(item.document, self.path, MISSING) if type(found) is list else item.document
                yield Item(self._indexed(document, None), item.size)
            if work.due:
                yield None

    def _indexed(self, document: dict[str, Any], at: int | None) -> dict[str, Any]:
        return document if self.index is None else {**document, self.index: at}


def at_path(document: dict[str, Any], path: Path) -> Value:
    """Return what a path names that leads through objects only, `MISSING` for nothing."""
    value: Value = document
    for part in path:
        if type(value) is not dict:
            return MISSING
        value = value.get(part, MISSING)
    return value


def replaced(document: dict[str, Any], path: Path, value: Value) -> dict[str, Any]:
    """Return the document with another value at `path`, without one for `MISSING`; what is no object gives way."""
    first, *rest = path
    changed = dict(document)
    if rest:
        inner = changed.get(first)
        value = replaced(inner if type(inner) is dict else {}, tuple(rest), value)
    if value is MISSING:
        changed.pop(first, None)
    else:
        changed[first] = value
    return changed


def parse_unwind(name: str, given: Value, pointer: str, expressions: ExpressionParser) -> Unwind:
    """Return an `$unwind`. Raises `InvalidPart`."""
    form = '"$path", or {"path": "$path", "includeArrayIndex": "name", "preserveNullAndEmptyArrays": true}'
    found: dict[str, Any] = {"path": given}
    where = pointer
    if type(given) is not str:
        found = options(given, pointer, form, ("path",), "includeArrayIndex", "preserveNullAndEmptyArrays")
        where = child(pointer, "path")
    path, index = found["path"], found.get("includeArrayIndex")
    preserve = found.get("preserveNullAndEmptyArrays", False)
    if type(path) is not str or path[:1] != "$" or path[:2] == "$$":
        raise invalid(where, f"the stage takes {form}")
    if index is not None:
        if type(index) is not str:
            raise invalid(child(pointer, "includeArrayIndex"), f"the stage takes {form}")
        check_name(index, child(pointer, "includeArrayIndex"))
    if type(preserve) is not bool:
        raise invalid(child(pointer, "preserveNullAndEmptyArrays"), "this is true or false")
    return Unwind(parse_path(path[1:], "invalid_pipeline", where), index, preserve)
