"""What checking a document against a schema can take at most: steps for each value, and for each byte of its text.

A step is a keyword that is evaluated, 10 to 80 ns. The bound holds whatever the document is and whatever the validator
skips or remembers:

    steps(schema, value) <= W + K * (values in `value` - 1)

W is what applies to the value itself, through `allOf`, `$ref` and the like. K is the largest of what applies to one of
its members or elements, and to what is in them; the schemas of two properties never apply to the same member, so they
are not added. A recursive schema is followed as deep as a document may be nested: what applies once to each level stays
as it is, and what applies twice doubles with each level, and is refused.

The same for bytes: patterns read names and texts, and each instruction of one may look at each byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from collectionstore_node.schemas.keywords import invalid
from collectionstore_node.schemas.tree import Node, Tree

WEIGHT_MAX: Final = 20_000
"""Steps for each value, and instructions for each byte."""
WORK_MAX: Final = 20_000
"""Subschemas that are looked at to find that out, level by level: some 50 ms. A schema of which more change with each
level is refused."""
DEPTH_MAX: Final = 100
"""How deep documents are nested that are checked."""
BYTES_OF_STEP: Final = 4
"""Instructions that take a step: RE2 needs 10 ns for one where it cannot build its automaton."""
UNIQUE_STEPS: Final = 24
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
    if not any(node.flat_bytes or node.patterns or node.unique for node in order):
        return Weight(first, inside, 0)
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


class _Edges(NamedTuple):
    """What a node applies, by positions in the order."""

    here: tuple[int, ...]
    any_member: tuple[int, ...]
    named: tuple[int, ...]
    any_element: tuple[int, ...]
    positions: tuple[int, ...]
    member: int
    """What each member takes besides, by its name."""
    unique: int
    tracks: bool


def _edges(order: list[Node], kind: _Kind) -> list[_Edges]:
    at = {id(node): position for position, node in enumerate(order)}

    def positions(nodes: Iterable[Node]) -> tuple[int, ...]:
        return tuple(at[id(one)] for one in nodes)

    return [
        _Edges(
            positions(node.here),
            positions((*node.members, *(one for _, one in node.patterns), *node.names)),
            positions(node.properties.values()),
            positions(node.elements),
            positions(node.positions),
            2 * kind.name(node),
            kind.unique if node.unique else 0,
            node.tracks,
        )
        for node in order
    ]


def _bound(tree: Tree, order: list[Node], kind: _Kind, pointer: str) -> tuple[int, int]:
    """Return W and K of the whole schema. Raises `InvalidPart`."""
    edges = _edges(order, kind)
    flat = _flat(order, edges, kind, pointer)
    users: list[list[int]] = [[] for _ in order]
    for position, one in enumerate(edges):
        for used in {*one.any_member, *one.named, *one.any_element, *one.positions}:
            users[used].append(position)
    below, marked = [0] * len(order), [0] * len(order)
    due = [True] * len(order)
    work = 0
    for _ in range(DEPTH_MAX):
        # As deep as a document may be: K of a level follows from what the level below takes. Only what has changed
        # there is computed again.
        whole = list(map(max, flat, below))
        changed = [False] * len(order)
        for position, one in enumerate(edges):
            if not due[position] and not any(changed[used] for used in one.here):
                continue
            work += 1 + (len(one.any_member) + len(one.named) + len(one.positions)) // 8
            if work > WORK_MAX:
                raise _unbounded(order[position], pointer)
            before = below[position], marked[position]
            _level(position, one, whole, below, marked)
            if before != (below[position], marked[position]):
                changed[position] = True
                if below[position] > WEIGHT_MAX:
                    raise _unbounded(order[position], pointer)
        if True not in changed:
            break
        due = [False] * len(order)
        for position, is_changed in enumerate(changed):
            if is_changed:
                for user in users[position]:
                    due[user] = True
    root = next(position for position, node in enumerate(order) if node is tree.root)
    return flat[root], below[root]


def _flat(order: list[Node], edges: list[_Edges], kind: _Kind, pointer: str) -> list[int]:
    """Return W by position. Raises `InvalidPart`."""
    flat: list[int] = []
    marked: list[int] = []
    for node, one in zip(order, edges, strict=True):
        own = kind.flat(node)
        # To mark what was looked at, the validator asks what applies again, and so on inside of it.
        marked.append(own + sum(flat[used] + marked[used] for used in one.here))
        steps = own + one.unique + sum(flat[used] for used in one.here)
        flat.append(steps + marked[-1] if one.tracks else steps)
        if max(flat[-1], marked[-1]) > WEIGHT_MAX:
            raise _unbounded(node, pointer)
    return flat


def _level(position: int, one: _Edges, whole: list[int], below: list[int], marked: list[int]) -> None:
    """Compute K of a node, of what takes `whole` one level below; those that apply to the same value come before."""
    named = max((whole[used] for used in one.named), default=0)
    member = one.member + sum(whole[used] for used in one.any_member) + named
    element = sum(whole[used] for used in one.any_element) + max((whole[used] for used in one.positions), default=0)
    own = max(member, element) + one.unique
    marked[position] = own + sum(below[used] + marked[used] for used in one.here)
    inside = own + sum(below[used] for used in one.here)
    below[position] = inside + marked[position] if one.tracks else inside


def _unbounded(node: Node, pointer: str) -> Exception:
    return invalid(
        pointer + node.pointer,
        f"checking a value against it may take more than {WEIGHT_MAX} steps for each value inside of it: too many "
        "subschemas apply to one value, or a recursive one applies to the same value in two ways",
    )
