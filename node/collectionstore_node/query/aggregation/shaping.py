"""Documents of another shape: `$project`, `$addFields`, `$set`, `$unset`, `$replaceRoot`, `$replaceWith`."""

from __future__ import annotations

import msgspec

from collectionstore_node.documents.expressions import Compute, ExpressionParser, compile_expression, nodes_of
from collectionstore_node.documents.expressions.scope import type_name
from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.values import Value
from collectionstore_node.errors import InvalidPart
from collectionstore_node.query.aggregation.mistakes import invalid, options
from collectionstore_node.query.aggregation.shape import Shape, ShapeParser
from collectionstore_node.query.aggregation.stage import Surroundings
from collectionstore_node.query.aggregation.work import Items


class Reshape(msgspec.Struct, frozen=True):
    """Each document in another shape."""

    name: str
    shape: Shape
    nodes: int

    def run(self, items: Items, around: Surroundings) -> Items:
        """Yield each document in its shape."""
        work, shape = around.work, self.shape
        for item in items:
            if item is None:
                yield None
                continue
            work.scope.begin(item.document)
            document = shape.apply(item.document, work.scope)
            work.spend(self.nodes)
            yield work.item(document) if shape.computes else item._replace(document=document)
            if work.due:
                yield None


class ReplaceRoot(msgspec.Struct, frozen=True):
    """Another object in place of each document."""

    name: str
    compute: Compute
    nodes: int
    pointer: str

    def run(self, items: Items, around: Surroundings) -> Items:
        """Yield what is computed from each document."""
        work = around.work
        for item in items:
            if item is None:
                yield None
                continue
            document = work.computed(self.compute, item.document, self.nodes)
            if type(document) is not dict:
                raise InvalidPart(
                    "expression_failed",
                    self.pointer,
                    f"{self.name} takes an object for each document, and this is {type_name(document)}; "
                    '{"$mergeObjects": [{}, ...]} makes one of null',
                )
            yield work.item(document)
            if work.due:
                yield None


def parse_project(name: str, given: Value, pointer: str, expressions: ExpressionParser) -> Reshape:
    """Return a `$project`. Raises `InvalidPart`."""
    parser = ShapeParser(expressions, name)
    return Reshape(name, parser.parse(given, pointer, project=True), parser.nodes)


def parse_add(name: str, given: Value, pointer: str, expressions: ExpressionParser) -> Reshape:
    """Return an `$addFields` or `$set`. Raises `InvalidPart`."""
    parser = ShapeParser(expressions, name)
    return Reshape(name, parser.parse(given, pointer, project=False), parser.nodes)


def parse_unset(name: str, given: Value, pointer: str, expressions: ExpressionParser) -> Reshape:
    """Return an `$unset`. Raises `InvalidPart`."""
    names = given if type(given) is list else [given]
    if not names or not all(type(one) is str for one in names):
        raise invalid(pointer, "$unset takes a path, or a list of paths")
    pointers = [child(pointer, at) for at in range(len(names))] if type(given) is list else [pointer]
    return Reshape(name, ShapeParser(expressions, name).unset(names, pointers), 0)


def parse_replace(name: str, given: Value, pointer: str, expressions: ExpressionParser) -> ReplaceRoot:
    """Return a `$replaceRoot` or `$replaceWith`. Raises `InvalidPart`."""
    if name == "$replaceRoot":
        given = options(given, pointer, '{"newRoot": expression}', ("newRoot",))["newRoot"]
        pointer = child(pointer, "newRoot")
    node = expressions.parse(given, pointer)
    return ReplaceRoot(name, compile_expression(node), nodes_of(node), pointer)
