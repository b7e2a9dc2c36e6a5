"""What a filter says of single paths, as intervals of the keys of an index.

Everything here may be wider than the filter, and never narrower: whatever a condition says of a path, a document that
matches has an entry in one of its intervals.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from collectionstore_node.documents.filters import compile_filter
from collectionstore_node.documents.filters.tree import (
    And,
    Compare,
    Comparison,
    ElementIs,
    ElementMatches,
    Equal,
    Exists,
    Expression,
    Field,
    HasType,
    In,
    Node,
    Not,
    Or,
    Regex,
    Test,
)
from collectionstore_node.documents.paths import Path
from collectionstore_node.documents.values import RANKS, sort_key
from collectionstore_node.indexes.encoding import (
    LONG_PREFIX_BYTES,
    RANK_TAGS,
    Bound,
    Interval,
    at,
    beginning_with,
    between,
    both,
    is_long,
    key_of,
)
from collectionstore_node.indexes.folding import fold
from collectionstore_node.query.spans import literal_prefix

PAIRS_MAX: Final = 1_000
"""Of intervals that are intersected with each other; beyond that one side is left out."""

VALUES_MAX: Final = 2_000
PAIRS_ALL_MAX: Final = 4_000
IMPLIED_MAX: Final = 1_000
"""Operands of a filter whose keys are made, pairs of intervals, and operands from which tests of partial indexes are to
follow, for all indexes together: planning holds up the event loop. Beyond these less is known."""


class Condition(NamedTuple):
    """A test that a value of `path` passes in every match."""

    path: Path
    test: Test


class Intervals(NamedTuple):
    """Where the values are that pass a test: ascending and disjoint."""

    all: tuple[Interval, ...]
    exact: bool
    """Whether every value in them passes: not for a long one, or where letters are folded."""

    @property
    def points(self) -> bool:
        """Whether each is a single value."""
        return all(one.point for one in self.all)


class Bounds:
    """The intervals of a filter's conditions, made once for all indexes; all that is asked of it is bounded."""

    __slots__ = ("_known", "_left", "_left_implied", "_left_pairs")

    def __init__(self) -> None:
        self._known: dict[tuple[int, bool], Intervals | None] = {}
        self._left = VALUES_MAX
        self._left_implied = IMPLIED_MAX
        self._left_pairs = PAIRS_ALL_MAX

    def of(self, position: int, test: Test, *, folded: bool) -> Intervals | None:
        """Return the intervals of the condition at `position`, None if it says nothing, or there are too many."""
        key = position, folded
        if key not in self._known:
            self._left -= _operands_in(test)
            self._known[key] = intervals_of(test, folded=folded) if self._left >= 0 else None
        return self._known[key]

    def narrowed(self, one: Intervals, other: Intervals) -> Intervals:
        """Return the intervals of values that are in both, or all of one side."""
        self._left_pairs -= min(len(one.all) * len(other.all), PAIRS_MAX)
        return narrowed(one, other) if self._left_pairs >= 0 else _fewer(one, other)

    def implies(self, conditions: tuple[Condition, ...], wanted: tuple[Field, ...]) -> bool:
        """Whether documents that meet `conditions` pass all the tests of a partial index, as far as can be told."""
        return all(any(self._implies(one, test) for one in conditions) for test in wanted)

    def _implies(self, given: Condition, wanted: Field) -> bool:
        if given.path != wanted.path:
            return False
        self._left_implied -= _operands_in(given.test)
        return self._left_implied >= 0 and _implies(given.test, wanted.test)


def conditions_of(node: Node) -> tuple[tuple[Condition, ...], bool]:
    """Return what must hold for every match, and whether that is all that the filter asks."""
    match node:
        case And(children):
            parts = [conditions_of(child) for child in children]
            return tuple(one for found, _ in parts for one in found), all(whole for _, whole in parts)
        case Field(path, ElementMatches(inner)):
            # An array within the array is asked by its positions, which no path of an index names, and has no other
            # fields: a test that a missing value passes says nothing of the entries.
            found = [Condition((*path, *one.path), one.test) for one in conditions_of(inner)[0]]
            return tuple(
                one for one in found if not one.path[len(path)].isdigit() and not _passes_missing(one.test)
            ), False
        case Field(path, test) if path:
            return (Condition(path, test),), True
    return (), False


def intervals_of(test: Test, *, folded: bool) -> Intervals | None:
    """Return where the values are that pass `test`; None if that says nothing."""
    match test:
        case Equal(operand):
            return _points([operand], folded=folded)
        case In(operands, ()):
            return _points(list(operands), folded=folded)
        case Compare(comparison, operand):
            return _compared(comparison, operand, folded=folded)
        case Regex(pattern, options):
            return _prefixed(pattern, options, folded=folded)
        case ElementIs(node):
            return _of_element(node, folded=folded)
    return None


def narrowed(one: Intervals, other: Intervals) -> Intervals:
    """Return the intervals of values that are in both."""
    if len(one.all) * len(other.all) > PAIRS_MAX:
        return _fewer(one, other)
    found = [both(left, right) for left in one.all for right in other.all]
    return Intervals(_sorted([each for each in found if each is not None]), one.exact and other.exact)


def paths_of(node: Node) -> frozenset[Path] | None:
    """Return the paths that a filter asks about, `_id` and `_revision` among them; None for the whole document."""
    match node:
        case And(children) | Or(children):
            paths: set[Path] = set()
            for child in children:
                found = paths_of(child)
                if found is None:
                    return None
                paths |= found
            return frozenset(paths)
        case Not(child):
            return paths_of(child)
        case Field(path, _):
            return frozenset((path,))
        case Expression():
            return None
    raise TypeError(f"not a node of a filter: {type(node).__name__}")


def _fewer(one: Intervals, other: Intervals) -> Intervals:
    return Intervals(min(one, other, key=lambda side: len(side.all)).all, exact=False)


def _operands_in(test: Test) -> int:
    match test:
        case In(operands, _):
            return max(1, len(operands))
        case ElementIs(node):
            return max(1, sum(_operands_in(one.test) for one in _fields_of(node)))
    return 1


def _fields_of(node: Node) -> list[Field]:
    """Return the tests of an element all of which must hold."""
    return [one for one in (node.children if isinstance(node, And) else (node,)) if isinstance(one, Field)]


def _points(operands: list[Any], *, folded: bool) -> Intervals | None:
    if any(type(one) is list for one in operands):
        return None  # arrays have no entries as a whole
    keys = sorted({key_of(one, folded=folded) for one in operands})
    exact = not (folded and any(type(one) is str for one in operands))
    return Intervals(tuple(map(at, keys)), exact)


def _compared(comparison: Comparison, operand: Any, *, folded: bool) -> Intervals | None:
    inclusive = comparison in (Comparison.GREATER_OR_EQUAL, Comparison.LESS_OR_EQUAL)
    if operand is None:
        return _points([None] if inclusive else [], folded=False)
    if type(operand) is list or (folded and type(operand) is str):
        return None  # folded letters are in another order
    key, rank = sort_key(operand), RANK_TAGS[RANKS[type(operand)]]
    exact = not is_long(key)
    bound = Bound(key, inclusive) if exact else Bound(key[:LONG_PREFIX_BYTES])
    if comparison in (Comparison.GREATER, Comparison.GREATER_OR_EQUAL):
        found = between(bound, Bound(rank))
    else:
        found = between(Bound(rank), bound)
    return Intervals(() if found is None else (found,), exact)


def _prefixed(pattern: str, options: str, *, folded: bool) -> Intervals | None:
    # With i only where letters are folded, too; with m a line may begin anywhere.
    if "m" in options or ("i" in options and not folded):
        return None
    prefix = literal_prefix(pattern)
    if not prefix:
        return None
    # Without the two bytes that end a text.
    key = sort_key(fold(prefix) if folded else prefix)[:-2]
    return Intervals((beginning_with(key[:LONG_PREFIX_BYTES]),), exact=False)


def _of_element(node: Node, *, folded: bool) -> Intervals | None:
    """Return where an element is for which all of `node` holds."""
    found: Intervals | None = None
    for test in (one.test for one in _fields_of(node)):
        # Nothing but tests of the element itself: an array in it is not asked by its elements.
        one = intervals_of(test, folded=folded) if not isinstance(test, ElementIs) else None
        if one is not None:
            found = one if found is None else narrowed(found, one)
    return None if found is None else Intervals(found.all, exact=False)


def _sorted(found: list[Interval]) -> tuple[Interval, ...]:
    return tuple(sorted(found, key=lambda one: one.span()))


def _implies(given: Test, wanted: Test) -> bool:
    operands: tuple[Any, ...] | None = None
    match given:
        case Equal(operand):
            operands = (operand,)
        case In(several, ()):
            operands = several
    if operands is not None:
        passes = compile_filter(Field(("v",), wanted))
        # Null is what a missing field equals, too.
        # An array may be the element of another one, whose own elements are not asked.
        return all(type(one) is not list and passes({"v": one}) and (one is not None or passes({})) for one in operands)
    if isinstance(wanted, Exists):
        # What holds of a value says that there is one.
        return not (isinstance(given, Compare | In) and (not isinstance(given, Compare) or given.operand is None))
    if isinstance(given, Compare) and isinstance(wanted, Compare):
        narrow, wide = intervals_of(given, folded=False), intervals_of(wanted, folded=False)
        if narrow is None or wide is None or not narrow.exact or not wide.exact:
            return False
        return narrowed(narrow, wide).all == narrow.all
    if isinstance(given, HasType) and isinstance(wanted, HasType):
        return given.names <= wanted.names
    return repr(given) == repr(wanted)


def _passes_missing(test: Test) -> bool:
    return compile_filter(Field(("v",), test))({})
