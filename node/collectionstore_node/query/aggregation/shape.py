"""`Shape`: which fields of an object are kept, dropped and computed, at any depth."""

from __future__ import annotations

from typing import Any, Final, Literal

from collectionstore_node.documents.expressions import Compute, ExpressionParser, Scope, compile_expression, nodes_of
from collectionstore_node.documents.paths import ID, parse_path
from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.values import MISSING, Value
from collectionstore_node.query.aggregation.mistakes import invalid

FIELDS_MAX: Final = 256
NESTED_MAX: Final = 32

Mode = Literal["keep", "drop", "add"]


class Shape:
    """What happens to the fields of an object. As in MongoDB, first all are kept or dropped, then all are computed.

    Those that are computed come behind the others, in the order in which they are written; an `_id` comes first.
    """

    __slots__ = ("_order", "computed", "computes", "inner", "mode", "named")

    def __init__(self, mode: Mode) -> None:
        """With "keep" only what is named is kept, with "drop" all but that, and with "add" everything."""
        self.mode = mode
        self.named: set[str] = set()
        self.inner: dict[str, Shape] = {}
        """Of fields whose own fields are named."""
        self.computed: dict[str, Compute] = {}
        self.computes = False
        """Whether something is computed, here or within."""
        self._order: tuple[tuple[str, Compute | Shape], ...] = ()

    def finish(self, written: list[str]) -> None:
        """Make the shape ready; `written` are the names of its fields, in order."""
        order: list[tuple[str, Compute | Shape]] = []
        for name in written:
            if name in self.computed:
                order.append((name, self.computed[name]))
            elif name in self.inner and self.inner[name].computes:
                order.append((name, self.inner[name]))
        self._order = tuple(order)
        self.computes = bool(order)

    def apply(self, document: dict[str, Any], scope: Scope) -> dict[str, Any]:
        """Return the document in this shape. Raises what expressions raise."""
        found = self._project(document)
        if not self.computes:
            return found
        found = self._compute(found, scope)
        if ID in self.computed and self.mode == "keep" and ID in found:
            found = {ID: found.pop(ID), **found}
        return found

    def _project(self, value: dict[str, Any]) -> dict[str, Any]:
        if self.mode == "add":
            return value
        found = {}
        keep = self.mode == "keep"
        for name, one in value.items():
            inner = self.inner.get(name)
            if inner is not None:
                shown = inner._project_value(one)
                if shown is not MISSING:
                    found[name] = shown
            elif (name in self.named) is keep:
                found[name] = one
        return found

    def _project_value(self, value: Value) -> Value:
        if type(value) is dict:
            return self._project(value)
        if type(value) is list:
            found = [self._project_value(one) for one in value]
            # What is computed below takes the place of elements that are no objects.
            return found if self.computes else [one for one in found if one is not MISSING]
        return MISSING if self.mode == "keep" else value

    def _compute(self, value: dict[str, Any], scope: Scope) -> dict[str, Any]:
        scope.spend(len(self._order))
        found = dict(value)
        for name, computed in self._order:
            if isinstance(computed, Shape):
                found[name] = computed._compute_value(found.get(name, MISSING), scope)
                continue
            one = computed(scope)
            if one is MISSING:
                found.pop(name, None)
            else:
                found[name] = one
        return found

    def _compute_value(self, value: Value, scope: Scope) -> Value:
        if type(value) is list:
            scope.spend(len(value))
            return [self._compute_value(one, scope) for one in value]
        return self._compute(value if type(value) is dict else {}, scope)


class ShapeParser:
    """Parses the fields of one stage; `nodes` counts the parts of their expressions."""

    def __init__(self, expressions: ExpressionParser, stage: str) -> None:
        self._expressions = expressions
        self._stage = stage
        self._fields = 0
        self.nodes = 0

    def parse(self, given: Value, pointer: str, *, project: bool) -> Shape:
        """Return the shape that `$project`, or else `$addFields`, describes. Raises `InvalidPart`."""
        if type(given) is not dict or not given:
            raise invalid(pointer, f"{self._stage} takes an object of one or more fields")
        shape = Shape(_mode(given) if project else "add")
        if project:
            hidden = _is_plain(given.get(ID)) and not given[ID]
            if shape.mode == "drop":
                shape.named.update((ID,) if hidden else ())
            elif _is_plain(given.get(ID, True)) and not hidden and not any(name.startswith(ID + ".") for name in given):
                shape.named.add(ID)
            given = {name: value for name, value in given.items() if name != ID or not _is_plain(value)}
        self._fill(shape, given, pointer, 0)
        return shape

    def unset(self, names: list[str], pointers: list[str]) -> Shape:
        """Return the shape without the fields `names`, which are paths. Raises `InvalidPart`."""
        shape = Shape("drop")
        for name, pointer in zip(names, pointers, strict=True):
            self._place(shape, name, 0, pointer, 0)
        return shape

    def _fill(self, shape: Shape, given: dict[str, Value], pointer: str, depth: int) -> None:
        if depth > NESTED_MAX:
            raise invalid(pointer, f"fields are nested at most {NESTED_MAX} deep")
        for name, value in given.items():
            self._place(shape, name, value, child(pointer, name), depth)
        self._finish(shape)

    def _finish(self, shape: Shape) -> None:
        for inner in shape.inner.values():
            self._finish(inner)
        shape.finish([*dict.fromkeys((*shape.computed, *shape.inner))])

    def _place(self, shape: Shape, name: str, value: Value, pointer: str, depth: int) -> None:
        self._fields += 1
        if self._fields > FIELDS_MAX:
            raise invalid(pointer, f"{self._stage} names at most {FIELDS_MAX} fields")
        *ahead, last = parse_path(name, "invalid_pipeline", pointer)
        for part in ahead:
            shape = self._inner(shape, part, pointer)
        if type(value) is dict and value and next(iter(value))[:1] != "$":
            self._fill(self._inner(shape, last, pointer), value, pointer, depth + len(ahead) + 1)
            return
        if last in shape.named or last in shape.inner or last in shape.computed:
            raise invalid(pointer, f"{self._stage} names this field twice, or names a field within it")
        if shape.mode == "add" or not _is_plain(value):
            self._computed(shape, last, value, pointer)
        elif bool(value) is (shape.mode == "keep"):
            shape.named.add(last)
        else:
            raise invalid(pointer, "fields are either shown by 1 or hidden by 0, not both; _id alone may differ")

    def _computed(self, shape: Shape, name: str, value: Value, pointer: str) -> None:
        if shape.mode == "drop":
            raise invalid(pointer, "beside fields that are hidden by 0 none is computed; use $addFields")
        if value == {} and shape.mode == "keep":
            raise invalid(pointer, "a field is 1, 0, an expression, or an object of fields")
        node = self._expressions.parse(value, pointer)
        self.nodes += nodes_of(node)
        shape.computed[name] = compile_expression(node)

    def _inner(self, shape: Shape, name: str, pointer: str) -> Shape:
        if name in shape.named or name in shape.computed:
            raise invalid(pointer, f"{self._stage} names this field, and one that contains it")
        return shape.inner.setdefault(name, Shape(shape.mode))


def _is_plain(value: Value) -> bool:
    return type(value) in (bool, int, float)


def _mode(given: dict[str, Value]) -> Mode:
    """Return whether a projection shows or hides, by its first field that tells; `_id` tells when it is alone."""
    for name, value in given.items():
        if name != ID:
            leaf = value
            while type(leaf) is dict and leaf and next(iter(leaf))[:1] != "$":
                leaf = next(iter(leaf.values()))
            return "drop" if _is_plain(leaf) and not leaf else "keep"
    return "drop" if _is_plain(given[ID]) and not given[ID] else "keep"
