"""Operators as one function of a document: their clauses, with positions in arrays found by filters."""

from __future__ import annotations

from typing import Any, Final

from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.regexes import PATTERNS_MAX
from collectionstore_node.documents.updates.budget import DEPTH_MAX, Budget, depth_of
from collectionstore_node.documents.updates.clauses import Clause, Moment, Rename
from collectionstore_node.documents.updates.conditions import (
    Condition,
    Elements,
    MatchedElement,
    count_patterns,
    matched_element,
    parse_array_filter,
)
from collectionstore_node.documents.updates.failures import Failed, Reason
from collectionstore_node.documents.updates.fields import Root
from collectionstore_node.documents.updates.parsing import BIT, parse_operators
from collectionstore_node.documents.updates.places import (
    POSITION_MAX,
    Every,
    Filtered,
    Matched,
    Place,
    Places,
    invalid,
    position_of,
)
from collectionstore_node.documents.values import MISSING, Value

ARRAY_FILTERS_MAX: Final = 16


class Operators:
    """A checked object of operators."""

    __slots__ = ("_clauses", "_filters", "_matched", "has_bits", "names", "patterns")

    def __init__(
        self,
        given: Value,
        array_filters: Value,
        condition: Condition | None,
        pointer: str,
        filters_pointer: str,
    ) -> None:
        """`array_filters` is None or a list; `condition` is the filter whose match `$` means. Raises `InvalidPart`."""
        # BEFORE they are compiled, which takes longer than everything else.
        self.patterns = count_patterns(given) + count_patterns(array_filters)
        if self.patterns > PATTERNS_MAX:
            raise invalid(pointer, f"an update has at most {PATTERNS_MAX} patterns")
        self._clauses = parse_operators(given, pointer)
        self.has_bits = BIT in given
        self._filters = _array_filters(array_filters, filters_pointer)
        self._matched: dict[Place, MatchedElement] = {}
        names: set[str] = set()
        used: set[str] = set()
        for clause in self._clauses:
            if isinstance(clause, Rename):
                names |= {clause.source[0], clause.target[0]}
                continue
            names.add(str(clause.place[0]))
            for at, part in enumerate(clause.place):
                if type(part) is Filtered:
                    used.add(part.name)
                    if part.name not in self._filters:
                        raise invalid(clause.pointer, f"there is no array filter for $[{part.name}]")
                elif type(part) is Matched:
                    self._add_matched(clause, at, condition)
        unused = next((name for name in self._filters if name not in used), None)
        if unused is not None:
            raise invalid(filters_pointer, f"no path has $[{unused}], which an array filter is for")
        self.names = frozenset(names)

    def pointer(self, position: int) -> str:
        """Return where a clause is in the body."""
        return self._clauses[position].pointer

    def needs(self, position: int) -> str:
        """Return what a clause takes."""
        clause = self._clauses[position]
        place = clause.source if isinstance(clause, Rename) else clause.place
        if any(type(part) is str and part.isdecimal() and position_of(part) is None for part in place):
            return f"{clause.needs}; a position in an array is at most {POSITION_MAX:,}, without leading zeros"
        return clause.needs

    def change(self, root: Root, moment: Moment) -> None:
        """Change a document. Raises `Failed` with the clause at fault; the document is not to be used then."""
        # BEFORE the first change: it is the document that the filter matched.
        matched = {place: _find(root, one, moment.budget) for place, one in self._matched.items()}
        positions = _Positions(self._filters, matched, moment.budget)
        places = Places(root, moment.budget, positions)
        for position, clause in enumerate(self._clauses):
            try:
                if isinstance(clause, Rename):
                    _rename(root, clause, places, moment.budget)
                elif moment.inserted or not clause.only_insert:
                    # All of them first: a change must not lead the search for the next one.
                    for target in list(places.targets(clause.place, create=clause.create)):
                        clause.act(target, moment)
            except Failed as failed:
                raise Failed(failed.reason, position) from None

    def _add_matched(self, clause: Clause, at: int, condition: Condition | None) -> None:
        place = clause.place[:at]
        path = tuple(part for part in place if type(part) is str)
        if len(path) != at:
            raise invalid(clause.pointer, "$ stands behind names only; for arrays within arrays there is $[name]")
        found = None if condition is None else matched_element(condition, path)
        if found is None:
            raise invalid(clause.pointer, "$ needs a condition on the elements of this array in the filter; or use $[]")
        self._matched[(*place, Matched())] = found


class _Positions:
    """Which elements `$`, `$[]` and `$[name]` mean in an array."""

    __slots__ = ("_budget", "_filters", "_matched")

    def __init__(self, filters: dict[str, Elements], matched: dict[Place, int | None], budget: Budget) -> None:
        self._filters = filters
        self._matched = matched
        self._budget = budget

    def __call__(self, place: Place, array: list[Value]) -> list[int]:
        part = place[-1]
        if type(part) is Every:
            return list(range(len(array)))
        if type(part) is Filtered:
            holds, budget = self._filters[part.name].holds, self._budget
            return [position for position, element in enumerate(array) if holds(element, budget)]
        position = self._matched[place]
        if position is None:
            raise Failed(Reason.PATH)
        return [position]


def _find(root: Root, matched: MatchedElement, budget: Budget) -> int | None:
    value: Value = root
    for part in matched.path:
        value = value.get(part) if type(value) is dict else None
    return matched.position(value, budget) if type(value) is list else None


def _array_filters(given: Value, pointer: str) -> dict[str, Elements]:
    if given is None:
        return {}
    if type(given) is not list or len(given) > ARRAY_FILTERS_MAX:
        raise invalid(pointer, f"array filters are a list of up to {ARRAY_FILTERS_MAX} filters")
    filters: dict[str, Elements] = {}
    for at, one in enumerate(given):
        where = child(pointer, at)
        name, elements = parse_array_filter(one, where)
        if name in filters:
            raise invalid(where, f"there are two array filters for $[{name}]; join them by $and")
        filters[name] = elements
    return filters


def _rename(root: Root, clause: Rename, places: Places, budget: Budget) -> None:
    source = _holder(root, clause.source, places, budget, create=False)
    *_, name = clause.source
    if source is None or name not in source:
        return
    places.touch(clause.source)
    target = _holder(root, clause.target, places, budget, create=True)
    places.touch(clause.target)
    *around, new = clause.target
    if target is None:
        raise Failed(Reason.TYPE)
    budget.weigh(source[name])
    if len(around) + 1 + depth_of(source[name]) > DEPTH_MAX:
        raise Failed(Reason.SIZE)
    budget.grow(len(new) + 4)
    target[new] = source.pop(name)


def _holder(
    root: Root, path: tuple[str, ...], places: Places, budget: Budget, *, create: bool
) -> dict[str, Any] | None:
    """Return the object that the last name of `path` is in, None if there is none. Raises `Failed`."""
    holder: dict[str, Any] = root
    for at, part in enumerate(path[:-1], 1):
        places.check_untouched(path[:at])
        inner = holder.get(part, MISSING)
        if inner is MISSING and create:
            budget.grow(len(part) + 5)
            inner = holder[part] = {}
        if type(inner) is list or (create and type(inner) is not dict):
            raise Failed(Reason.TYPE)
        if type(inner) is not dict:
            return None
        holder = inner
    return holder
