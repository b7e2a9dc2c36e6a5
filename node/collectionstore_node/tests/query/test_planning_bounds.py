"""Planning holds up the event loop: what it does is bounded for all indexes together, whatever they and the filter are.

That plans find the same documents is shown in `tests.service.test_index_answers`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from collectionstore_node.indexes.definition import INDEXES_MAX, Definition, parse_definition
from collectionstore_node.query import conditions
from collectionstore_node.query.conditions import IMPLIED_MAX, PAIRS_ALL_MAX, VALUES_MAX
from collectionstore_node.query.find import parse_find
from collectionstore_node.query.planning import IndexFacts, IndexPlan, Use, plan_of


class Counted:
    """Calls of a function of `query.conditions`."""

    def __init__(self, patch: pytest.MonkeyPatch, name: str) -> None:
        self.calls = 0
        self._called: Callable[..., Any] = getattr(conditions, name)
        patch.setattr(conditions, name, self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self._called(*args, **kwargs)


def facts(**members: Any) -> list[IndexFacts]:
    """Return as many indexes as a collection has."""
    made: list[Definition] = [parse_definition({"name": f"i{number}"} | members) for number in range(INDEXES_MAX)]
    return [IndexFacts(one, b"p%02d" % number, 1_000, 1_000, 0, 0) for number, one in enumerate(made)]


def plan(filter_: Any, indexes: list[IndexFacts]) -> IndexPlan | None:
    return plan_of(parse_find(filter_), indexes, lambda ranges: 1, needs=None, use=Use.PAGES_BY_ID)


def test_what_follows_for_partial_indexes_is_asked_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    partial = facts(fields={"b": 1}, filter={"$and": [{"a": {"$gt": -number}} for number in range(1, 16)]})
    asked = Counted(monkeypatch, "_implies")
    few = plan({"$and": [{"a": {"$gt": 5}}, {"b": 1}]}, partial)
    assert few is not None
    assert few.facts in partial
    asked.calls = 0
    plan({"$and": [*({"a": {"$gt": -100 - number}} for number in range(100)), {"a": {"$gt": 5}}, {"b": 1}]}, partial)
    assert IMPLIED_MAX // 2 < asked.calls <= IMPLIED_MAX


def test_intervals_are_intersected_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = Counted(monkeypatch, "both")
    found = plan(
        {"$and": [{"a": {"$in": list(range(number, number + 31))}} for number in range(30)]},
        facts(fields={"a": 1, "b": 1}),
    )
    assert PAIRS_ALL_MAX // 2 < pairs.calls <= PAIRS_ALL_MAX
    # What is left out of the intersection makes the ranges wider, never the answer.
    assert found is not None
    assert len(found.ranges) > 2
    assert not found.exact


def test_operands_of_elements_count_as_others(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Counted(monkeypatch, "key_of")
    elements = [{"a": {"$elemMatch": {"$in": list(range(number, number + 500))}}} for number in range(20)]
    plan({"$and": elements}, facts(fields={"a": 1}))
    assert VALUES_MAX // 2 < keys.calls <= VALUES_MAX
