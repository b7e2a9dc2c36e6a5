"""What checking a document against a schema can take at most: steps for each value, and for each byte of its text.

A step is a keyword that is evaluated, 10 to 50 ns. The bound holds whatever the document is and whatever the validator
skips or remembers:

    steps(schema, value) <= W + K * (values in `value` - 1)

W is what applies to the value itself, through `allOf`, `$ref` and the like. K is the largest of what applies to one of
its members or elements, and to what is in them; the schemas of two properties never apply to the same member, so they
are not added. A recursive schema is followed as deep as a document may be nested: what applies once to each level stays
as it is, and what applies twice doubles with each level, and is refused.

The same for bytes: patterns read names and texts, and each instruction of one may look at each byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from collectionstore_node.schemas.keywords import invalid
from collectionstore_node.schemas.tree import Node, Tree

WEIGHT_MAX: Final = 20_000
"""Steps for each value, and instructions for each byte."""
DEPTH_MAX: Final = 100
"""How deep documents are nested that are checked."""
BYTES_OF_STEP: Final = 4
"""Instructions that take a step: RE2 needs 10 ns for one where it cannot build its automaton."""
UNIQUE_STEPS: Final = 16
"""For each value in an array whose elements must be different: its text is made, and hashed."""


class Weight(NamedTuple):
    """What a schema takes."""

    first: int
    """Steps for the document itself."""
    steps: int
    """For each value inside of it."""
    instructions: int
    """For each byte of its text."""


class _Kind(NamedTuple):
    """What is counted: what a node takes for a value itself, and for each member by its name."""

    flat: Callable[[Node], int]
    name: Callable[[Node], int]
    unique: int


_STEPS: Final = _Kind(lambda node: node.flat_steps, lambda node: len(node.patterns), UNIQUE_STEPS)
_BYTES: Final = _Kind(lambda node: node.flat_bytes, lambda node: sum(one for one, _ in node.patterns), 1)


def weigh(tree: Tree, pointer: str) -> Weight:
    """Return what a schema takes. Raises `InvalidPart("invalid_schema")` beyond WEIGHT_MAX."""
    order = _order(tree.nodes)
    first, inside = _bound(tree, order, _STEPS, pointer)
    return Weight(first, inside, max(_bound(tree, order, _BYTES, pointer)))


def _order(nodes: list[Node]) -> list[Node]:
    """Return the nodes so that each comes behind those that apply to the same value as it does."""
    order: list[Node] = []
    seen: set[int] = set()
    for start in nodes:
        stack = [(start, False)]
        while stack:
            node, done = stack.pop()
            if done:
                order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                stack.append((node, True))
                stack += [(one, False) for one in node.here if id(one) not in seen]
    return order


def _bound(tree: Tree, order: list[Node], kind: _Kind, pointer: str) -> tuple[int, int]:
    """Return W and K of the whole schema. Raises `InvalidPart`."""
    flat = _flat(order, kind, pointer)
    below: dict[int, int] = dict.fromkeys(map(id, order), 0)
    for _ in range(DEPTH_MAX):
        # As deep as a document may be: K of a level follows from what the level below takes.
        whole = {key: max(flat[key], below[key]) for key in below}
        following = _below(order, kind, whole)
        if following == below:
            break
        below = following
        for node in order:
            if below[id(node)] > WEIGHT_MAX:
                raise _unbounded(node, pointer)
    return flat[id(tree.root)], below[id(tree.root)]


def _flat(order: list[Node], kind: _Kind, pointer: str) -> dict[int, int]:
    """Return W by node. Raises `InvalidPart`."""
    flat: dict[int, int] = {}
    marked: dict[int, int] = {}
    for node in order:
        # To mark what was looked at, the validator asks what applies again, and so on inside of it.
        marked[id(node)] = kind.flat(node) + sum(flat[id(one)] + marked[id(one)] for one in node.here)
        own = kind.flat(node) + sum(flat[id(one)] for one in node.here)
        own += kind.unique if node.unique else 0
        flat[id(node)] = own + (marked[id(node)] if node.tracks else 0)
        if max(flat[id(node)], marked[id(node)]) > WEIGHT_MAX:
            raise _unbounded(node, pointer)
    return flat


def _below(order: list[Node], kind: _Kind, whole: dict[int, int]) -> dict[int, int]:
    """Return K by node, of what takes `whole` one level below."""
    below: dict[int, int] = {}
    marked: dict[int, int] = {}
    for node in order:
        any_member = sum(whole[id(one)] for one in node.members) + sum(whole[id(one)] for _, one in node.patterns)
        any_member += sum(whole[id(one)] for one in node.names) + 2 * kind.name(node)
        named = max((whole[id(one)] for one in node.properties.values()), default=0)
        element = sum(whole[id(one)] for one in node.elements)
        element += max((whole[id(one)] for one in node.positions), default=0)
        own = max(any_member + named, element) + (kind.unique if node.unique else 0)
        marked[id(node)] = own + sum(below[id(one)] + marked[id(one)] for one in node.here)
        below[id(node)] = own + sum(below[id(one)] for one in node.here)
        if node.tracks:
            below[id(node)] += marked[id(node)]
    return below


def _unbounded(node: Node, pointer: str) -> Exception:
    return invalid(
        pointer + node.pointer,
        f"checking a value against it may take more than {WEIGHT_MAX} steps for each value inside of it: too many "
        "subschemas apply to one value, or a recursive one applies to the same value in two ways",
    )
