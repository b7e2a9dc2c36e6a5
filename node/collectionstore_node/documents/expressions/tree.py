"""The checked form of an expression."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from collectionstore_node.documents.paths import Path
from collectionstore_node.documents.values import Value


class Literal(msgspec.Struct, frozen=True):
    """A value as it is; `MISSING` for `$$REMOVE`."""

    value: Value


class Root(msgspec.Struct, frozen=True):
    """The document as a whole: `$$ROOT`."""


class Field(msgspec.Struct, frozen=True):
    """What `path` names in the document: `$a.b`."""

    path: Path


class Variable(msgspec.Struct, frozen=True):
    """What `path` names in the value of a variable, the value itself for an empty path: `$$name.a.b`."""

    slot: int
    path: Path


class Object(msgspec.Struct, frozen=True):
    """An object of computed fields; those without a value are left out."""

    fields: tuple[tuple[str, Node], ...]


class Array(msgspec.Struct, frozen=True):
    """An array of computed elements; null for those without a value."""

    items: tuple[Node, ...]


class Call(msgspec.Struct, frozen=True):
    """An operator whose arguments are all computed first; None for one that is not given."""

    name: str
    arguments: tuple[Node | None, ...]
    pointer: str
    """Where it is in the request: the place of an error."""


class Matches(msgspec.Struct, frozen=True):
    """Whether a pattern (RE2) is found in a text: `$regexMatch`."""

    input: Node
    pattern: str
    options: str
    pointer: str


class Every(msgspec.Struct, frozen=True):
    """`$and`: whether all are true; what comes behind a false one is not computed."""

    items: tuple[Node, ...]


class Some(msgspec.Struct, frozen=True):
    """`$or`: whether one is true; what comes behind it is not computed."""

    items: tuple[Node, ...]


class Choice(msgspec.Struct, frozen=True):
    """`$cond` and `$switch`: the value of the first branch whose condition is true."""

    branches: tuple[tuple[Node, Node], ...]
    otherwise: Node | None
    """None: an error."""
    pointer: str


class FirstValue(msgspec.Struct, frozen=True):
    """`$ifNull`: the first that is neither null nor missing, else the last one."""

    items: tuple[Node, ...]


class Let(msgspec.Struct, frozen=True):
    """`$let`: variables, which do not see each other, for `body`."""

    variables: tuple[tuple[int, Node], ...]
    body: Node


class Map(msgspec.Struct, frozen=True):
    """`$map`: `body` for each element."""

    input: Node
    slot: int
    body: Node
    pointer: str


class Filter(msgspec.Struct, frozen=True):
    """`$filter`: the elements for which `condition` is true, at most `limit`."""

    input: Node
    slot: int
    condition: Node
    limit: Node | None
    pointer: str


class Reduce(msgspec.Struct, frozen=True):
    """`$reduce`: `body` for each element and the value of the one before."""

    input: Node
    initial: Node
    value: int
    this: int
    body: Node
    pointer: str


class SortArray(msgspec.Struct, frozen=True):
    """`$sortArray`: the elements by what paths name in them, each with whether it descends."""

    input: Node
    order: tuple[tuple[Path, bool], ...]
    pointer: str


Node: TypeAlias = Any
"""One of these. A recursive alias is not possible before Python 3.12."""


def parts(node: Node) -> tuple[Node, ...]:
    """Return the nodes directly within one."""
    match node:
        case Object(fields):
            return tuple(inner for _, inner in fields)
        case Array(items) | Every(items) | Some(items) | FirstValue(items):
            return items
        case Call(_, arguments, _):
            return tuple(one for one in arguments if one is not None)
        case Matches(inner, _, _, _) | SortArray(inner, _, _):
            return (inner,)
        case Choice(branches, otherwise, _):
            both = tuple(one for branch in branches for one in branch)
            return both if otherwise is None else (*both, otherwise)
        case Let(variables, body):
            return (*(inner for _, inner in variables), body)
        case Map(inner, _, body, _):
            return (inner, body)
        case Filter(inner, _, condition, limit, _):
            return (inner, condition) if limit is None else (inner, condition, limit)
        case Reduce(inner, initial, _, _, body, _):
            return (inner, initial, body)
    return ()


def nodes_of(node: Node) -> int:
    """Return how many nodes there are: what an expression costs is counted in them."""
    return 1 + sum(map(nodes_of, parts(node)))
