"""Groups of documents: `$group`, `$bucket`, `$sortByCount`, `$count`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

import msgspec

from collectionstore_node.documents.expressions import Compute, ExpressionParser, Node, compile_expression, nodes_of
from collectionstore_node.documents.expressions.mistakes import check_name
from collectionstore_node.documents.expressions.tree import Literal
from collectionstore_node.documents.paths import ID
from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.values import MISSING, RANKS, Value, sort_key
from collectionstore_node.errors import InvalidPart
from collectionstore_node.query.aggregation.accumulators import (
    ACCUMULATOR_BYTES,
    SEVERAL,
    SEVERAL_MAX,
    SIMPLE,
    Accumulator,
    Failed,
    Several,
    checked_key,
)
from collectionstore_node.query.aggregation.mistakes import invalid, options, whole
from collectionstore_node.query.aggregation.ordering import Sort
from collectionstore_node.query.aggregation.stage import Surroundings
from collectionstore_node.query.aggregation.work import STAGE_NS, Item, Items, Work, unpacked
from collectionstore_node.query.sorting import SortField

FIELDS_MAX: Final = 64
"""Accumulators of a group."""
BOUNDARIES_MAX: Final = 1_000
_ADD_NS: Final = 600
_GROUP_NS: Final = 2_000

Key = Callable[[Value], Value]
"""From what a document is grouped by to the `_id` of its group. Raises `Failed`."""


class Gather(msgspec.Struct, frozen=True):
    """One field of a group."""

    field: str
    accumulator: str
    make: Callable[[], Accumulator]
    compute: Compute
    nodes: int
    pointer: str

    def failed(self, error: Failed) -> InvalidPart:
        """Return the error for values that do not fit."""
        return InvalidPart("expression_failed", self.pointer, f"{self.accumulator} {error}")


class _Group:
    """What is gathered of one group."""

    __slots__ = ("accumulators", "id")

    def __init__(self, name: Value, accumulators: list[Accumulator]) -> None:
        self.id = name
        self.accumulators = accumulators


class Group(msgspec.Struct, frozen=True):
    """A document for each different value of an expression, in the order in which they come first."""

    name: str
    by: Compute
    nodes: int
    gathers: tuple[Gather, ...]
    pointer: str
    key: Key | None = None
    """None for the value itself."""
    ordered: bool = False
    """Whether they come in the order of values."""

    def run(self, items: Items, around: Surroundings) -> Items:
        """Yield a document for each group, behind the last document."""
        work = around.work
        groups: dict[bytes, _Group] = {}
        for item in items:
            if item is None:
                yield None
                continue
            self._add(groups, item.document, work)
            if work.due:
                yield None
        for key in sorted(groups) if self.ordered else groups:
            yield self._item(groups[key], work)
            if work.due:
                yield None

    def _add(self, groups: dict[bytes, _Group], document: dict[str, Any], work: Work) -> None:
        value = work.computed(self.by, document, self.nodes)
        if self.key is not None:
            try:
                value = self.key(value)
            except Failed as error:
                raise InvalidPart("expression_failed", self.pointer, f"{self.name} {error}") from None
        key = checked_key(value, work)
        group = groups.get(key)
        if group is None:
            name, size = work.packed(None if value is MISSING else value)
            work.keep(size + len(key) + ACCUMULATOR_BYTES * (1 + len(self.gathers)))
            group = groups[key] = _Group(name, [gather.make() for gather in self.gathers])
        for gather, accumulator in zip(self.gathers, group.accumulators, strict=True):
            value = work.computed(gather.compute, document, gather.nodes)
            try:
                accumulator.add(value, work)
            except Failed as error:
                raise gather.failed(error) from None
            work.spent += _ADD_NS

    def _item(self, group: _Group, work: Work) -> Item:
        document = {ID: unpacked(group.id)}
        for gather, accumulator in zip(self.gathers, group.accumulators, strict=True):
            try:
                document[gather.field] = accumulator.result()
            except Failed as error:
                raise gather.failed(error) from None
        work.spent += _GROUP_NS
        return work.item(document)


class Count(msgspec.Struct, frozen=True):
    """`$count`: how many documents there are; nothing without any, as in MongoDB."""

    field: str
    name: str = "$count"

    def run(self, items: Items, around: Surroundings) -> Items:
        """Yield one document with their number."""
        work, count = around.work, 0
        for item in items:
            if item is None:
                yield None
                continue
            count += 1
            work.spent += STAGE_NS
            if work.due:
                yield None
        if count:
            yield work.item({self.field: count})


def parse_group(name: str, given: Value, pointer: str, expressions: ExpressionParser) -> Group:
    """Return a `$group`. Raises `InvalidPart`."""
    if type(given) is not dict or ID not in given:
        raise invalid(pointer, '$group takes {"_id": expression, "field": {"$sum": expression}}; _id may be null')
    fields = {field: value for field, value in given.items() if field != ID}
    node = expressions.parse(given[ID], child(pointer, ID))
    return Group(
        name, compile_expression(node), nodes_of(node), _gathers(fields, pointer, expressions), child(pointer, ID)
    )


def parse_bucket(name: str, given: Value, pointer: str, expressions: ExpressionParser) -> Group:
    """Return a `$bucket`. Raises `InvalidPart`."""
    form = '{"groupBy": expression, "boundaries": [value, value], "default": value, "output": {"n": {"$sum": 1}}}'
    found = options(given, pointer, form, ("groupBy", "boundaries"), "default", "output")
    at = child(pointer, "boundaries")
    boundaries = found["boundaries"]
    if type(boundaries) is not list or not 2 <= len(boundaries) <= BOUNDARIES_MAX:
        raise invalid(at, f"the boundaries are a list of 2 to {BOUNDARIES_MAX} values")
    values = [
        _constant(expressions.parse(one, child(at, which)), child(at, which)) for which, one in enumerate(boundaries)
    ]
    keys = list(map(sort_key, values))
    if len({RANKS[type(one)] for one in values}) > 1 or any(low >= high for low, high in pairwise(keys)):
        raise invalid(at, "the boundaries are of one type, and ascend")
    default: Value = MISSING
    if "default" in found:
        where = child(pointer, "default")
        default = _constant(expressions.parse(found["default"], where), where)
        if keys[0] <= sort_key(default) < keys[-1]:
            raise invalid(where, "the default is no value between the boundaries")
    output = found.get("output", {"count": {"$sum": 1}})
    if type(output) is not dict:
        raise invalid(child(pointer, "output"), 'the output is an object, such as {"count": {"$sum": 1}}')
    node = expressions.parse(found["groupBy"], child(pointer, "groupBy"))
    return Group(
        name,
        compile_expression(node),
        nodes_of(node),
        _gathers(output, child(pointer, "output"), expressions),
        child(pointer, "groupBy"),
        _bucket(values, keys, default),
        ordered=True,
    )


def parse_sort_by_count(name: str, given: Value, pointer: str, expressions: ExpressionParser) -> tuple[Group, Sort]:
    """Return the two stages that `$sortByCount` stands for. Raises `InvalidPart`."""
    if type(given) in (dict, str) and (given[:1] if type(given) is str else next(iter(given), "")[:1]) == "$":
        node = expressions.parse(given, pointer)
    else:
        raise invalid(pointer, "$sortByCount takes an expression, such as a path: $tags")
    counted = _gathers({"count": {"$sum": 1}}, pointer, expressions)
    return (
        Group(name, compile_expression(node), nodes_of(node), counted, pointer),
        Sort((SortField(("count",), descending=True),), name=name),
    )


def parse_count(name: str, given: Value, pointer: str, expressions: ExpressionParser) -> Count:
    """Return a `$count`. Raises `InvalidPart`."""
    if type(given) is not str:
        raise invalid(pointer, "$count takes the name of the field that has the number")
    check_name(given, pointer)
    return Count(given)


def _gathers(fields: dict[str, Value], pointer: str, expressions: ExpressionParser) -> tuple[Gather, ...]:
    if len(fields) > FIELDS_MAX:
        raise invalid(pointer, f"a group has at most {FIELDS_MAX} fields")
    gathers = []
    for field, value in fields.items():
        at = child(pointer, field)
        check_name(field, at)
        if type(value) is not dict or len(value) != 1:
            raise invalid(at, f'a field of a group has one accumulator, such as {{"$sum": 1}}; known: {_known()}')
        ((name, operand),) = value.items()
        gathers.append(_gather(field, name, operand, child(at, name), expressions))
    return tuple(gathers)


def _gather(field: str, name: str, given: Value, pointer: str, expressions: ExpressionParser) -> Gather:
    if name == "$count":
        if given != {}:
            raise invalid(pointer, "$count takes {} here")
        return Gather(field, name, SIMPLE["$sum"], compile_expression(Literal(1)), 1, pointer)
    make = SIMPLE.get(name)
    if name in SEVERAL:
        found = options(given, pointer, '{"input": expression, "n": count}', ("input", "n"))
        count = whole(found["n"], child(pointer, "n"), 1, SEVERAL_MAX)
        given, pointer = found["input"], child(pointer, "input")
        node = expressions.parse(given, pointer)
        return Gather(field, name, lambda: Several(name, count), compile_expression(node), nodes_of(node), pointer)
    if make is None:
        raise invalid(pointer, f"unknown accumulator; known: {_known()}")
    if type(given) is list:
        raise invalid(pointer, f"{name} takes one expression here, not a list")
    node = expressions.parse(given, pointer)
    return Gather(field, name, make, compile_expression(node), nodes_of(node), pointer)


def _known() -> str:
    return ", ".join(sorted((*SIMPLE, *SEVERAL, "$count")))


def _constant(node: Node, pointer: str) -> Value:
    if not isinstance(node, Literal):
        raise invalid(pointer, "this is a value, and not computed")
    return node.value


def _bucket(values: list[Value], keys: list[bytes], default: Value) -> Key:
    def key(value: Value) -> Value:
        found = sort_key(None if value is MISSING else value) if type(value) not in (dict, list) else None
        at = 0 if found is None else bisect_right(keys, found)
        if 0 < at < len(keys):
            return values[at - 1]
        if default is MISSING:
            raise Failed("meets a value that is not between the boundaries, and has no default")
        return default

    return key
