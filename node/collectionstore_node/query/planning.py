"""Plans: by which index a query finds its documents, or whether it reads them one after the other.

An index is bounded by the filter field by field: by single values as long as the filter has them, then by one range.
What that leaves is counted, up to PROBE_KEYS; beyond them the statistics of the index give an estimate. The plan with
the lowest estimated cost is taken. Which plan it is changes neither the answer nor its order, and a cursor is valid for
all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

from collectionstore_node.documents.paths import ID, REVISION, Path
from collectionstore_node.documents.values import NOTHING
from collectionstore_node.errors import InvalidPart
from collectionstore_node.indexes.definition import SCAN, Definition, filter_of, path_of, tests_of
from collectionstore_node.indexes.encoding import Interval, after, key_of
from collectionstore_node.query.conditions import (
    Bounds,
    Condition,
    Intervals,
    conditions_of,
)
from collectionstore_node.query.find import Find
from collectionstore_node.query.sorting import Order
from collectionstore_node.query.spans import Ids

RANGES_MAX: Final = 1_000
"""Ranges of one index that a query reads."""
RANGES_PLANNED_MAX: Final = 4_000
"""Ranges of all indexes that are looked at together; those that were made first are looked at first."""
PROBE_KEYS: Final = 128
PROBE_RANGES: Final = 32
"""Entries that are counted, and ranges in which they are, of each index before one is chosen."""
SAMPLE_RANGES: Final = 8
"""Of more ranges that have too many entries together, so many are counted again: each value may have some."""

POINT_SHARE: Final = 0.1
RANGE_SHARE: Final = 1 / 3
"""The share of the entries that one value, or a range, of a field is taken to leave, where more than PROBE_KEYS are."""
INEXACT_FACTOR: Final = 10
"""How many entries are taken to be read for a match, where the filter asks for more than the index bounds."""
ENTRY_COST: Final = 1.0
DOCUMENT_COST: Final = 3.0
SCANNED_COST: Final = 2.0
"""What looking at an entry costs, fetching a document for one, and reading one in a scan; relative to each other."""

Range: TypeAlias = tuple[bytes, bytes]
Probe: TypeAlias = Callable[[Sequence[Range]], int]
"""Counts the keys in ranges, up to PROBE_KEYS."""


class Use(Enum):
    """What becomes of the matches."""

    PAGES_BY_ID = "pages"
    SORT = "sort"
    COUNT = "count"
    DISTINCT = "distinct"


class IndexFacts(NamedTuple):
    """An index that is ready, as planners see it."""

    definition: Definition
    prefix: bytes
    """Where its entries are stored."""
    entries: int
    documents: int
    multikey: int
    """Documents in which a path meets an array."""
    long: int
    """Documents with a key that is not in order with those alike."""


class IndexPlan(NamedTuple):
    """A way to find all matches by one index."""

    facts: IndexFacts
    ranges: tuple[Range, ...]
    """Ascending and disjoint; with the index's prefix."""
    fixed: bytes
    """What all keys of the ranges begin with, when they are in the order of the answer; the key of that follows."""
    bounded: int
    """How many fields bound the ranges."""
    order: str
    """`id` or `sort` if the entries are in the order of the answer; else `memory`."""
    exact: bool
    """Whether every document with an entry in the ranges matches, and has one entry in them."""
    covered: bool
    """Whether entries tell all that is asked of a document, as far as they have a shape."""
    keys: float = 0.0
    """How many entries are in the ranges: counted, or estimated."""
    cost: float = 0.0

    def shown(self) -> dict[str, Any]:
        """Return the plan for an explanation."""
        return {
            "kind": "index",
            "index": self.facts.definition.name,
            "fields": self.bounded,
            "ranges": len(self.ranges),
            "covered": self.covered,
            "sort": "index" if self.order == "sort" else "id" if self.order == "id" else "memory",
        }


def plan_of(
    find: Find, indexes: Sequence[IndexFacts], probe: Probe, *, needs: frozenset[Path] | None, use: Use, limit: int = 0
) -> IndexPlan | None:
    """Return the index to find the matches by; None to read documents in the order of IDs.

    `needs` are the paths that are asked or shown of a document, None for all of it; `limit` is how many matches a page
    has, 0 if all are looked at. Raises `InvalidPart("invalid_hint")`.
    """
    hint = find.hint
    if hint == SCAN:
        return None
    if hint is None and isinstance(find.place, Ids):
        return None
    conditions, whole = conditions_of(find.asked.node)
    bounds = Bounds()
    if hint is not None:
        named = [one for one in indexes if one.definition.name == hint]
        if not named:
            raise _bad_hint("there is no index of this name, or it is not ready; 'scan' asks for none")
        made = _bounded(named[0], conditions, bounds, find.order, whole=whole, forced=True)
        if made is None:
            raise _bad_hint("the index leaves out documents that the filter may match")
        return _costed(made, probe, needs, use, limit + find.skip)
    plans: list[IndexPlan] = []
    for one in indexes:
        made = _bounded(one, conditions, bounds, find.order, whole=whole, forced=False)
        if made is not None and sum(len(other.ranges) for other in plans) < RANGES_PLANNED_MAX:
            plans.append(_costed(made, probe, needs, use, limit + find.skip))
    if not plans:
        return None
    # Among equals one that leaves nothing to be sorted, then one whose fields are all of use.
    best = min(plans, key=lambda one: (one.cost, one.order == "memory", len(one.facts.definition.fields)))
    # Those that leave out no document count them all.
    complete = [one.documents for one in indexes if not one.definition.sparse and not one.definition.filter]
    return best if not complete or best.cost <= _scan_cost(best, max(complete), use, limit + find.skip) else None


def needs_of(asked: frozenset[Path] | None, shown: frozenset[Path] | None, order: Order = ()) -> frozenset[Path] | None:
    """Return the paths that a query needs of a document; None for all of it."""
    return None if asked is None or shown is None else asked | shown | {one.path for one in order}


def _bounded(
    index: IndexFacts,
    conditions: tuple[Condition, ...],
    bounds: Bounds,
    order: Order,
    *,
    whole: bool,
    forced: bool,
) -> IndexPlan | None:
    """Return how the index finds all matches, without its cost; None if it does not, or is of no use."""
    definition = index.definition
    partial = filter_of(definition)
    if partial is not None and not bounds.implies(conditions, tests_of(partial)):
        return None
    chosen: list[Intervals] = []
    used: set[int] = set()
    count, fixed = 1, 0
    for field in definition.fields:
        found, taken = _of_path(index, path_of(field), conditions, bounds, folded=field.fold)
        if found is None or count * len(found.all) > RANGES_MAX:
            break
        chosen.append(found)
        used |= taken
        if fixed == len(chosen) - 1 and found.points and len(found.all) == 1:
            fixed += 1
        count *= len(found.all)
        if not found.points:
            break
    if definition.sparse and not any(map(_excludes_null, chosen)):
        return None
    served = _order(index, order, chosen, fixed)
    if not chosen and not forced and served != "sort" and partial is None:
        return None
    regular = not index.multikey and not index.long
    exact = regular and whole and len(used) == len(conditions) and all(one.exact for one in chosen)
    start = index.prefix
    if served != "memory":
        for at in range(len(definition.fields) - len(order)):
            start += _directed(chosen[at].all[0], descending=definition.fields[at].descending).low.key
    return IndexPlan(index, _ranges(index, chosen), start, len(chosen), served, exact, covered=False)


def _of_path(
    index: IndexFacts,
    path: Path,
    conditions: tuple[Condition, ...],
    bounds: Bounds,
    *,
    folded: bool,
) -> tuple[Intervals | None, set[int]]:
    """Return where the entries of a field are, and the positions of the conditions that this says all of."""
    found: Intervals | None = None
    used: set[int] = set()
    for position, one in enumerate(conditions):
        intervals = bounds.of(position, one.test, folded=folded) if one.path == path else None
        if intervals is None:
            continue
        if found is None:
            found = intervals
            used.add(position)
        elif not index.multikey:
            found = bounds.narrowed(found, intervals)
            used.add(position)
        elif (not intervals.points, len(intervals.all)) < (not found.points, len(found.all)):
            # Different elements of an array may pass the two tests: one of them bounds.
            found = intervals
    return found, used


def _excludes_null(intervals: Intervals) -> bool:
    return not any(lo <= key < hi for lo, hi in (one.span() for one in intervals.all) for key in (_NULL, NOTHING))


_NULL: Final = key_of(None)


def _order(index: IndexFacts, order: Order, chosen: list[Intervals], fixed: int) -> str:
    """Return in which order the entries of the ranges are, as far as it is of use."""
    fields = index.definition.fields
    if not order:
        # Behind all fields comes the ID; in a unique index there is at most one entry then.
        return "id" if fixed == len(fields) else "memory"
    if index.multikey or index.long:
        return "memory"
    behind = len(fields) - len(order)
    if not 0 <= behind <= fixed:
        return "memory"
    wanted = [(one.path, one.descending) for one in order]
    given = [(path_of(one), one.descending) for one in fields[behind:]]
    return "sort" if wanted == given and not any(one.fold for one in fields[behind:]) else "memory"


def _ranges(index: IndexFacts, chosen: list[Intervals]) -> tuple[Range, ...]:
    if not chosen:
        return ((index.prefix, after(index.prefix)),)
    prefixes = [index.prefix]
    for field, intervals in zip(index.definition.fields, chosen[:-1], strict=False):
        prefixes = [
            prefix + _directed(one, descending=field.descending).low.key for prefix in prefixes for one in intervals.all
        ]
    last = index.definition.fields[len(chosen) - 1]
    spans = [_directed(one, descending=last.descending) for one in chosen[-1].all]
    return tuple(sorted(one.span(prefix) for prefix in prefixes for one in spans))


def _directed(interval: Interval, *, descending: bool) -> Interval:
    return interval.inverted() if descending else interval


def _costed(plan: IndexPlan, probe: Probe, needs: frozenset[Path] | None, use: Use, limit: int) -> IndexPlan:
    definition = plan.facts.definition
    paths = {path_of(one) for one in definition.fields}
    # Entries tell fields of their own; one within another one would be told by half.
    apart = not any(one[: len(other)] == other for one in paths for other in paths if one != other)
    told = paths | {(ID,), (REVISION,)}
    covered = needs is not None and apart and not plan.facts.multikey and needs <= told
    # By ID, documents are fetched when their IDs have been sorted.
    covered = covered and (use is not Use.PAGES_BY_ID or plan.order != "memory")
    keys = _keys(plan, probe)
    # A page ends with its last match. How many entries are none is not known, if the filter asks for more.
    looked = wanted = min(keys, float(limit if plan.exact else limit * INEXACT_FACTOR)) if limit else keys
    if plan.order == "memory":
        # All are looked at; documents are fetched in the order of IDs, for what is not sorted.
        looked, wanted = keys, wanted if use is Use.PAGES_BY_ID else keys
    free = covered or (use is Use.COUNT and plan.exact)
    cost = looked * ENTRY_COST + (0.0 if free else wanted * DOCUMENT_COST)
    return plan._replace(covered=covered, keys=keys, cost=cost)


def _keys(plan: IndexPlan, probe: Probe) -> float:
    ranges = plan.ranges
    if not ranges:
        return 0.0
    counted = PROBE_KEYS
    for most in (PROBE_RANGES, SAMPLE_RANGES):
        if most < PROBE_RANGES and len(ranges) <= most:
            break
        asked = ranges[:: 1 + (len(ranges) - 1) // most]
        counted = probe(asked)
        if counted < PROBE_KEYS:
            return counted * len(ranges) / len(asked)
    return max(float(counted), plan.facts.entries * _share(plan))


def _scan_cost(best: IndexPlan, documents: int, use: Use, limit: int) -> float:
    """Return what reading documents one after the other costs; a page by ID ends with its last match."""
    if use is Use.PAGES_BY_ID and limit and best.exact and best.keys > limit:
        return SCANNED_COST * documents * limit / best.keys
    return SCANNED_COST * documents


def _share(plan: IndexPlan) -> float:
    if not plan.bounded:
        return 1.0
    # By the number of ranges: each is a value of every field but the last one.
    whole = POINT_SHARE ** (plan.bounded - 1) * len(plan.ranges)
    return min(1.0, whole * (POINT_SHARE if plan.exact and plan.order == "id" else RANGE_SHARE))


def _bad_hint(detail: str) -> InvalidPart:
    return InvalidPart("invalid_hint", "/hint", detail)
