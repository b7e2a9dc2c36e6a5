"""A schema as the graph of its subschemas: what each applies to the same value, to members and to elements.

References lead inside the schema only: nothing is fetched, and nothing of another document decides. A reference that
comes back to the same value has no answer, and is refused.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote

import orjson

from collectionstore_node.documents.pointers import child
from collectionstore_node.schemas import keywords
from collectionstore_node.schemas.keywords import check_name, check_value, instructions_of, invalid

SCHEMA_BYTES_MAX: Final = 64 << 10
"""The text of a schema."""
SUBSCHEMAS_MAX: Final = 500
JSON_DEPTH_MAX: Final = 64
"""How deep the schema's own JSON may be nested."""
NESTING_MAX: Final = 32
"""How many subschemas may apply to one value inside each other: it bounds the stack of the validator."""

COMPARED_STEPS: Final = 4
"""For each value in an array or object that a document is compared with."""
MULTIPLE_STEPS: Final = 128
"""For a number of which it is asked whether it is a multiple."""

_ANCHOR: Final = re.compile(r"[A-Za-z_][-A-Za-z0-9._]{0,127}")


class Node:
    """A subschema."""

    __slots__ = (
        "elements",
        "flat_bytes",
        "flat_steps",
        "here",
        "members",
        "names",
        "patterns",
        "pointer",
        "positions",
        "properties",
        "schema",
        "tracks",
        "unique",
    )

    def __init__(self, pointer: str, schema: Any) -> None:
        """`schema` is an object, or true or false."""
        self.pointer = pointer
        self.schema = schema
        self.here: list[Node] = []
        """What applies to the same value."""
        self.properties: dict[str, Node] = {}
        self.patterns: list[tuple[int, Node]] = []
        """Instructions of a pattern, and what applies to members whose name it matches."""
        self.members: list[Node] = []
        """What may apply to any member."""
        self.names: list[Node] = []
        """What applies to names."""
        self.positions: list[Node] = []
        """What applies to an element at a position."""
        self.elements: list[Node] = []
        """What may apply to any element."""
        self.tracks = False
        """Whether it asks what other keywords have looked at."""
        self.unique = False
        self.flat_steps = 1
        """Steps of its own keywords for one value."""
        self.flat_bytes = 0
        """What they do for each byte of a text, or of the values in a `const`."""


class Tree:
    """A checked schema."""

    __slots__ = ("_anchors", "_instructions", "_patterns", "_references", "by_pointer", "nodes", "root")

    def __init__(self, document: Any, pointer: str) -> None:
        """Raises `InvalidPart("invalid_schema")` with a pointer that begins with `pointer`."""
        self._patterns = self._instructions = 0
        self._anchors: dict[str, Node] = {}
        self._references: list[tuple[Node, str, str]] = []
        self.nodes: list[Node] = []
        self.by_pointer: dict[str, Node] = {}
        """By the pointer within the schema, which is empty for the whole."""
        check_size(document, pointer)
        self.root = self._node(document, "", pointer)
        for node, target, where in self._references:
            node.here.append(self._resolved(target, where))
        _check_nesting(self.nodes, pointer)

    def _node(self, schema: Any, path: str, pointer: str) -> Node:
        if type(schema) is not dict and type(schema) is not bool:
            raise invalid(pointer, "a schema is an object, or true or false")
        node = self.by_pointer[path] = Node(path, schema)
        self.nodes.append(node)
        if len(self.nodes) > SUBSCHEMAS_MAX:
            raise invalid(pointer, f"a schema has at most {SUBSCHEMAS_MAX} subschemas")
        if type(schema) is dict:
            for name, value in schema.items():
                self._keyword(node, name, value, child(path, name), child(pointer, name))
        return node

    def _keyword(self, node: Node, name: str, value: Any, path: str, pointer: str) -> None:
        check_name(name, pointer)
        if name not in keywords.ANNOTATIONS:
            node.flat_steps += 1
        if name in keywords.ONE:
            node.here.append(self._node(value, path, pointer))
        elif name in keywords.SOME:
            node.here += self._list(value, path, pointer)
        elif name in keywords.MEMBERS:
            made = self._node(value, path, pointer)
            (node.names if name == "propertyNames" else node.members).append(made)
            node.tracks |= name == "unevaluatedProperties"
        elif name in keywords.ELEMENTS:
            node.elements.append(self._node(value, path, pointer))
            node.tracks |= name == "unevaluatedItems"
        elif name == "prefixItems":
            node.positions += self._list(value, path, pointer)
        elif name in keywords.NAMED:
            self._named(node, name, value, path, pointer)
        elif name in keywords.DEFINITIONS or name == "contentSchema":
            self._definitions(name, value, path, pointer)
        elif name == "$ref":
            if type(value) is not str:
                raise invalid(pointer, "a reference is a text")
            self._references.append((node, value, pointer))
        else:
            self._assertion(node, name, value, path, pointer)

    def _list(self, value: Any, path: str, pointer: str) -> list[Node]:
        if type(value) is not list or not value:
            raise invalid(pointer, "a list of schemas that is not empty")
        return [self._node(one, child(path, at), child(pointer, at)) for at, one in enumerate(value)]

    def _named(self, node: Node, name: str, value: Any, path: str, pointer: str) -> None:
        if type(value) is not dict:
            raise invalid(pointer, "an object whose members are schemas")
        node.flat_steps += len(value)
        for key, schema in value.items():
            where = child(pointer, key)
            instructions = self._pattern(key, where) if name == "patternProperties" else 0
            made = self._node(schema, child(path, key), where)
            if name == "properties":
                node.properties[key] = made
            elif name == "patternProperties":
                node.patterns.append((instructions, made))
            else:
                node.here.append(made)

    def _definitions(self, name: str, value: Any, path: str, pointer: str) -> None:
        if name == "contentSchema":
            self._node(value, path, pointer)
            return
        if type(value) is not dict:
            raise invalid(pointer, "an object whose members are schemas")
        for key, schema in value.items():
            self._node(schema, child(path, key), child(pointer, key))

    def _assertion(self, node: Node, name: str, value: Any, path: str, pointer: str) -> None:
        check_value(name, value, pointer)
        if name == "pattern":
            node.flat_bytes += self._pattern(value, pointer)
        elif name in ("enum", "const"):
            # Comparing reads no more than there is in them; equal texts are compared byte by byte.
            node.flat_steps += sum(map(_compared, value)) if name == "enum" else _compared(value)
            node.flat_bytes += 1
        elif name == "multipleOf":
            node.flat_steps += MULTIPLE_STEPS
        elif name in ("maxLength", "minLength"):
            node.flat_bytes += 1
        elif name == "uniqueItems":
            node.unique |= value
        elif name == "required":
            node.flat_steps += len(value)
        elif name == "dependentRequired":
            node.flat_steps += _values(value)
        elif name == "$schema":
            if path != "/$schema" or value not in (keywords.DIALECT, keywords.DIALECT + "#"):
                raise invalid(pointer, f"allowed at the top, and there: {keywords.DIALECT}")
        elif name == "$id":
            if path != "/$id" or type(value) is not str or not value or "#" in value:
                raise invalid(pointer, "allowed at the top, without a fragment: references are relative to it")
        elif name == "$anchor":
            if type(value) is not str or not _ANCHOR.fullmatch(value) or value in self._anchors:
                raise invalid(pointer, "a name of its own: letters, digits, '-', '_' and '.', a letter or '_' first")
            self._anchors[value] = node

    def _pattern(self, pattern: Any, pointer: str) -> int:
        self._patterns += 1
        if self._patterns > keywords.PATTERNS_MAX:
            raise invalid(pointer, f"a schema has at most {keywords.PATTERNS_MAX} patterns")
        count = instructions_of(pattern, pointer)
        self._instructions += count
        if self._instructions > keywords.INSTRUCTIONS_MAX:
            raise invalid(
                pointer,
                f"with this one the patterns have {self._instructions} instructions; allowed are "
                f"{keywords.INSTRUCTIONS_MAX}",
            )
        return count

    def _resolved(self, target: str, pointer: str) -> Node:
        if not target.startswith("#"):
            raise invalid(pointer, "a reference leads inside of this schema and begins with #; nothing is fetched")
        fragment = unquote(target[1:], errors="replace")
        if fragment and not fragment.startswith("/"):
            found = self._anchors.get(fragment)
        else:
            found = self.by_pointer.get(fragment)
        if found is None:
            raise invalid(
                pointer, "there is no subschema at this place, such as #/$defs/name, and none with this $anchor"
            )
        return found


def check_size(document: Any, pointer: str) -> None:
    """Refuse a schema that is too large, or nested too deep. Raises `InvalidPart`."""
    level, depth = [document], 0
    while level:
        depth += 1
        if depth > JSON_DEPTH_MAX:
            raise invalid(pointer, f"a schema is nested at most {JSON_DEPTH_MAX} deep")
        level = [
            inner
            for one in level
            if type(one) is dict or type(one) is list
            for inner in (one.values() if type(one) is dict else one)
            if type(inner) is dict or type(inner) is list
        ]
    size = len(orjson.dumps(document))
    if size > SCHEMA_BYTES_MAX:
        raise invalid(pointer, f"a schema has at most {SCHEMA_BYTES_MAX} bytes; this one has {size}")


def _check_nesting(nodes: list[Node], pointer: str) -> None:
    """Refuse what applies to one value without end, or nested too deep. Raises `InvalidPart`."""
    heights: dict[int, int] = {}
    for start in nodes:
        # Without recursion: the chain of references may be as long as there are subschemas.
        stack = [(start, False)]
        open_: set[int] = set()
        while stack:
            node, done = stack.pop()
            if done:
                open_.discard(id(node))
                heights[id(node)] = 1 + max((heights[id(one)] for one in node.here), default=0)
                continue
            if id(node) in heights:
                continue
            if id(node) in open_:
                raise invalid(pointer + node.pointer, "it applies to the same value without end, through $ref")
            open_.add(id(node))
            stack.append((node, True))
            stack += [(one, False) for one in node.here]
    for node in nodes:
        if heights[id(node)] > NESTING_MAX:
            raise invalid(
                pointer + node.pointer, f"more than {NESTING_MAX} subschemas apply to one value inside each other"
            )


def _compared(value: Any) -> int:
    """Return what it takes to compare a value with another one."""
    return COMPARED_STEPS * _values(value) if type(value) is dict or type(value) is list else 1


def _values(value: Any) -> int:
    """Return how many values there are in `value`, whose depth is bounded."""
    if type(value) is dict:
        return 1 + sum(map(_values, value.values()))
    return 1 + sum(map(_values, value)) if type(value) is list else 1
