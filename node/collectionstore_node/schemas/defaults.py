"""The defaults of a schema: missing members of the objects in a document get the `default` of their property.

Which property has which default is looked up in `properties`, and in what `$ref` beside it names, from the whole schema
down the objects that the document has; not in lists, nor in what applies under a condition (`anyOf`, `if` and the
like). What is filled in is not filled again. Members come in the order of the schema, behind those that are there.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from collectionstore_node.schemas.tree import Node

DEFAULTS_BYTES_MAX: Final = 256 << 10
"""What the defaults may add to one document."""


class DefaultsTooLarge(Exception):
    """The defaults add more than DEFAULTS_BYTES_MAX."""


class Defaults:
    """The defaults of one subschema, and of those of its properties."""

    __slots__ = ("inner", "values")

    def __init__(self) -> None:
        self.values: list[tuple[str, bytes]] = []
        """Name and JSON text of each."""
        self.inner: dict[str, Defaults] = {}


def defaults_of(root: Node) -> Defaults | None:
    """Return the defaults of a schema, None if it has none."""
    nodes = _reached(root)
    made = {id(node): Defaults() for node in nodes}
    for node in nodes:
        found = made[id(node)]
        known: set[str] = set()
        for source in _sources(node):
            for name, property_ in source.properties.items():
                found.inner.setdefault(name, made[id(property_)])
                text = _default(property_)
                if text is not None and name not in known:
                    known.add(name)
                    found.values.append((name, text))
    useful = _useful(made)
    for found in made.values():
        found.inner = {name: inner for name, inner in found.inner.items() if id(inner) in useful}
    top = made[id(root)]
    return top if id(top) in useful else None


def fill(defaults: Defaults, document: dict[str, Any]) -> int:
    """Fill in what is missing and return how many bytes that adds. Raises `DefaultsTooLarge`."""
    added = 0
    waiting = [(defaults, document)]
    while waiting:
        found, value = waiting.pop()
        # The inner ones first: what is filled in here is not filled again.
        for name, inner in found.inner.items():
            member = value.get(name)
            if type(member) is dict:
                waiting.append((inner, member))
        for name, text in found.values:
            if name not in value:
                added += len(text) + len(name)
                if added > DEFAULTS_BYTES_MAX:
                    raise DefaultsTooLarge
                # A new one each time: a later default must not change an earlier document.
                value[name] = orjson.loads(text)
    return added


def _sources(node: Node) -> list[Node]:
    """Return the node, and what `$ref` in it names, and so on."""
    sources = [node]
    while type(sources[-1].schema) is dict and "$ref" in sources[-1].schema:
        sources.append(sources[-1].here[-1])
    return sources


def _default(node: Node) -> bytes | None:
    for source in _sources(node):
        if type(source.schema) is dict and "default" in source.schema:
            return orjson.dumps(source.schema["default"])
    return None


def _reached(root: Node) -> list[Node]:
    found, seen, waiting = [], {id(root)}, [root]
    while waiting:
        node = waiting.pop()
        found.append(node)
        for source in _sources(node):
            for one in source.properties.values():
                if id(one) not in seen:
                    seen.add(id(one))
                    waiting.append(one)
    return found


def _useful(made: dict[int, Defaults]) -> set[int]:
    """Return which have a default, or lead to one."""
    useful = {id(one) for one in made.values() if one.values}
    parents: dict[int, list[Defaults]] = {}
    for one in made.values():
        for inner in one.inner.values():
            parents.setdefault(id(inner), []).append(one)
    waiting = list(useful)
    while waiting:
        for parent in parents.get(waiting.pop(), ()):
            if id(parent) not in useful:
                useful.add(id(parent))
                waiting.append(id(parent))
    return useful
