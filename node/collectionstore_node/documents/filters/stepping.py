"""A filter asked test by test: for documents so large that asking all at once would hold up everything else."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias

from collectionstore_node.documents.filters.compiling import compile_filter
from collectionstore_node.documents.filters.tree import And, Expression, Node, Not, Or, leaves

Steps: TypeAlias = Callable[[dict[str, Any]], Generator[None, None, bool]]


def compile_steps(node: Node) -> Steps:
    """Return a function as that of `compile_filter`, whose generators yield after every test and return the result."""
    match node:
        case And(children):
            return _until(tuple(map(compile_steps, children)), decisive=False)
        case Or(children):
            return _until(tuple(map(compile_steps, children)), decisive=True)
        case Not(child):
            return _opposite(compile_steps(child))
    test = compile_filter(node)

    def steps(document: dict[str, Any]) -> Generator[None, None, bool]:
        found = test(document)
        yield
        return found

    return steps


def heaviest(node: Node) -> int:
    """Return how many tests one step makes at most: more than one within `$elemMatch`."""
    match node:
        case And(children) | Or(children):
            return max(map(heaviest, children), default=0)
        case Not(child):
            return heaviest(child)
        case Expression():
            return 1  # it counts what it looks at, and ends by itself
    return leaves(node)


def _until(children: tuple[Steps, ...], *, decisive: bool) -> Steps:
    def steps(document: dict[str, Any]) -> Generator[None, None, bool]:
        for child in children:
            if (yield from child(document)) is decisive:
                return decisive
        return not decisive

    return steps


def _opposite(child: Steps) -> Steps:
    def steps(document: dict[str, Any]) -> Generator[None, None, bool]:
        return not (yield from child(document))

    return steps
