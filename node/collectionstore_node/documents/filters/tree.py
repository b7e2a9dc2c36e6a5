"""The checked form of a filter. Negated operators are `Not` of the positive one: `$ne`, `$nin`, `$exists: false`."""

from __future__ import annotations

from enum import Enum
from typing import Any, TypeAlias

import msgspec

from collectionstore_node.documents import expressions
from collectionstore_node.documents.paths import Path
from collectionstore_node.documents.values import Value


class Comparison(Enum):
    """An order comparison; it holds for values of the operand's type only."""

    GREATER = "$gt"
    GREATER_OR_EQUAL = "$gte"
    LESS = "$lt"
    LESS_OR_EQUAL = "$lte"


class BitTest(Enum):
    """Which bits of an integer must be set or clear."""

    ALL_SET = "$bitsAllSet"
    ANY_SET = "$bitsAnySet"
    ALL_CLEAR = "$bitsAllClear"
    ANY_CLEAR = "$bitsAnyClear"


# Tests of one value


class Equal(msgspec.Struct, frozen=True):
    """The value is `operand`; for null, a field that is missing, too."""

    operand: Value


class Compare(msgspec.Struct, frozen=True):
    """The value is of the operand's type and on its side of it."""

    comparison: Comparison
    operand: Value


class Regex(msgspec.Struct, frozen=True):
    """The value is a string in which the pattern (RE2) is found; `options` are letters out of `ims`."""

    pattern: str
    options: str = ""


class In(msgspec.Struct, frozen=True):
    """The value is one of `operands`, or matches one of `patterns`."""

    operands: tuple[Value, ...]
    patterns: tuple[Regex, ...] = ()


class Exists(msgspec.Struct, frozen=True):
    """There is a value, perhaps null."""


class HasType(msgspec.Struct, frozen=True):
    """The value is of one of the types, named as in `TYPES`."""

    names: frozenset[str]


class Size(msgspec.Struct, frozen=True):
    """The value is an array of `length` elements."""

    length: int


class Modulo(msgspec.Struct, frozen=True):
    """The value is a number whose whole part leaves `remainder`, which has the sign of the value."""

    divisor: int
    remainder: int


class Bits(msgspec.Struct, frozen=True):
    """The value is a whole number, and `mask` names its bits."""

    test: BitTest
    mask: int


class ElementIs(msgspec.Struct, frozen=True):
    """The value is an array with an element for which every test holds: `tests` are nodes without a path."""

    node: ValueNode


class ElementMatches(msgspec.Struct, frozen=True):
    """The value is an array with an object, or an array, for which the filter holds."""

    node: Node


Test: TypeAlias = Equal | Compare | Regex | In | Exists | HasType | Size | Modulo | Bits | ElementIs | ElementMatches

# Nodes


class Field(msgspec.Struct, frozen=True):
    """A value that `path` names passes the test; an empty path names the value itself (within `ElementIs`)."""

    path: Path
    test: Test


class Expression(msgspec.Struct, frozen=True):
    """What `node` of an expression computes from the document counts as true: `$expr`."""

    node: expressions.Node
    slots: int
    """How many variables it has."""


class And(msgspec.Struct, frozen=True):
    """Every child holds; without children, always."""

    children: tuple[Node, ...]


class Or(msgspec.Struct, frozen=True):
    """A child holds; without children, never."""

    children: tuple[Node, ...]


class Not(msgspec.Struct, frozen=True):
    """The child does not hold."""

    child: Node


Node: TypeAlias = Any
"""`Field | Expression | And | Or | Not`. A recursive alias is not possible before Python 3.12."""
ValueNode: TypeAlias = Any
"""A `Node` whose fields have empty paths."""

TYPES = ("double", "string", "object", "array", "bool", "null", "int", "long", "number")
"""The types of JSON values by MongoDB's names: `int` fits into 32 bits, `long` into 64, `number` is any of them."""

TYPE_NUMBERS = {1: "double", 2: "string", 3: "object", 4: "array", 8: "bool", 10: "null", 16: "int", 18: "long"}
"""The same by BSON's numbers."""


def leaves(node: Node) -> int:
    """Return how many tests are made of a document at most; what a filter costs is counted in them."""
    match node:
        case And(children) | Or(children):
            return max(1, sum(map(leaves, children)))
        case Not(child):
            return leaves(child)
        case Field(_, ElementIs(inner)) | Field(_, ElementMatches(inner)):
            return 1 + leaves(inner)
        case Field(_, In(_, patterns)):
            return 1 + len(patterns)
        case Expression(inner, _):
            return expressions.nodes_of(inner)
    return 1
