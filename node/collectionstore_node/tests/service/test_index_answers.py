"""By an index and by a scan: the same answers, in the same order, byte for byte."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.errors import InvalidPart, ManyDeleted
from collectionstore_node.query.conditions import Bounds, conditions_of
from collectionstore_node.query.find import parse_find
from collectionstore_node.query.planning import PROBE_KEYS, PROBE_RANGES, RANGES_MAX, Use, plan_of
from collectionstore_node.service.index_reads import count_keys, indexes_of
from collectionstore_node.service.operations import CountDocuments, DistinctValues, FindDocuments
from collectionstore_node.service.queries import _use_of
from collectionstore_node.statemachine.commands import Code, CreateIndex, Delete, DocumentRef
from collectionstore_node.tests.service import index_cases
from collectionstore_node.tests.service.index_cases import Subject, finished
from collectionstore_node.tests.statemachine.indexed import defined, put, run


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_an_index_answers_what_a_scan_does(seed: int) -> None:
    """Random documents, indexes and queries; `index_cases` compares as many as one likes."""
    index_cases.check(seed, 6)


DOCUMENTS = [{"a": number % 10, "b": number, "c": {"d": f"t{number}"}} for number in range(400)]


@pytest.fixture
def subject() -> Any:
    made = Subject(
        DOCUMENTS,
        [
            defined("by-a", {"a": 1}),
            defined("by-a-b", {"a": 1, "b": -1}),
            defined("by-d", {"c.d": 1}, unique=True),
            defined("sparse", {"e": 1}, sparse=True),
            defined("partial", {"b": 1}, filter={"a": {"$gt": 4}}),
        ],
    )
    yield made
    made.close()


def planned(subject: Subject, request: Any) -> Any:
    """Return the plan of a request as it is explained, or `scan`."""
    view = subject.replica.view
    use, needs = _use_of(request)
    limit = request.limit if isinstance(request, FindDocuments) else 0
    probe = partial(count_keys, view)
    plan = plan_of(request.find, indexes_of(view, "c"), probe, needs=needs, use=use, limit=limit)
    return "scan" if plan is None else plan


def find(asked: Any, order: Any = None, projection: Any = None, hint: str | None = None) -> FindDocuments:
    return FindDocuments("c", parse_find(asked, order, projection, None, hint), None, 100)


@pytest.mark.parametrize(
    ("asked", "order", "projection", "index", "kind"),
    [
        ({"c.d": "t7"}, None, None, "by-d", "id"),
        ({"a": 3}, None, None, "by-a", "id"),
        ({"a": 3, "b": {"$gt": 200}}, None, None, "by-a-b", "memory"),
        ({"a": 3, "b": 13}, None, None, "by-a-b", "id"),
        ({"a": 3}, {"b": -1}, None, "by-a-b", "sort"),
        ({"a": 3}, {"b": -1}, {"b": 1}, "by-a-b", "sort covered"),
        ({"a": {"$in": [1, 2]}}, {"a": 1, "b": -1}, None, "by-a-b", "sort"),
        ({}, {"a": 1, "b": -1}, None, "by-a-b", "sort"),
        ({}, {"a": 1}, None, "by-a", "sort"),
        ({"a": {"$gte": 7}, "b": 47}, None, None, "partial", "id"),
        ({"a": {"$gte": 3}, "b": 47}, None, None, "by-a", "memory"),
        ({"e": 1}, None, None, "sparse", "id"),
        ({"c.d": {"$regex": "^t39"}}, None, None, "by-d", "memory"),
        ({"b": 5}, None, None, "scan", ""),
        ({"a": {"$ne": 5}}, None, None, "scan", ""),
        ({"$or": [{"a": 1}, {"a": 2}]}, None, None, "scan", ""),
        ({"e": {"$in": [None, 1]}}, None, None, "scan", ""),
        ({"_id": "d07", "a": 7}, None, None, "scan", ""),
    ],
    ids=str,
)
def test_the_plan_is_the_cheapest_one(
    subject: Subject, asked: Any, order: Any, projection: Any, index: str, kind: str
) -> None:
    plan = planned(subject, find(asked, order, projection))
    if index == "scan":
        assert plan == "scan"
        return
    assert plan.facts.definition.name == index
    assert f"{plan.order}{' covered' * plan.covered}" == kind


def test_counting_and_distinct_values_need_no_documents(subject: Subject) -> None:
    counted = planned(subject, CountDocuments("c", parse_find({"a": {"$lte": 2}})))
    assert (counted.facts.definition.name, counted.exact, counted.covered) == ("by-a", True, True)
    values = planned(subject, DistinctValues("c", parse_find({"a": {"$lte": 2}}), ("b",)))
    assert (values.facts.definition.name, values.covered) == ("by-a-b", True)


@pytest.mark.parametrize(("asked", "hint"), [({"a": 1}, "none"), ({}, "sparse"), ({"a": 4}, "partial")])
def test_a_hint_that_cannot_be_followed_is_refused(subject: Subject, asked: Any, hint: str) -> None:
    with pytest.raises(InvalidPart) as caught:
        planned(subject, find(asked, hint=hint))
    assert (caught.value.code, caught.value.pointer) == ("invalid_hint", "/hint")


def test_a_hint_is_followed(subject: Subject) -> None:
    assert planned(subject, find({"a": 3}, hint="scan")) == "scan"
    plan = planned(subject, find({"b": 5}, hint="by-a"))
    assert (plan.facts.definition.name, plan.bounded, len(plan.ranges)) == ("by-a", 0, 1)


def test_an_index_that_is_being_built_is_not_used(subject: Subject) -> None:
    run(subject.replica.view, CreateIndex("c", defined("late", {"b": 1})))
    assert planned(subject, find({"b": 5})) == "scan"
    with pytest.raises(InvalidPart, match="not ready"):
        planned(subject, find({"b": 5}, hint="late"))


def test_planning_is_bounded(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds up the event loop: so many values are made keys, so many ranges looked at and counted in."""
    asked = {"a": {"$in": list(range(1_000))}, "b": {"$in": list(range(1_000))}}
    counted: list[int] = []

    def probe(ranges: Any) -> int:
        counted.append(len(ranges))
        return PROBE_KEYS

    indexes = indexes_of(subject.replica.view, "c")
    plan = plan_of(parse_find(asked), indexes * 4, probe, needs=None, use=Use.PAGES_BY_ID, limit=100)
    assert max(counted) <= PROBE_RANGES
    assert sum(counted) <= 4 * len(indexes) * PROBE_RANGES
    assert plan is None or len(plan.ranges) <= RANGES_MAX
    many = {f"f{number}": {"$in": list(range(1_000))} for number in range(3)}
    bounds = Bounds()
    conditions, _ = conditions_of(parse_find(many).asked.node)
    known = [bounds.of(position, one.test, folded=False) for position, one in enumerate(conditions)]
    assert [one is None for one in known] == [False, False, True]


def test_entries_that_deleted_keys_hide_count_as_many(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(ranges: Any) -> Any:
        raise ManyDeleted

    monkeypatch.setattr(subject.replica.view, "scan_ranges", hidden)
    assert count_keys(subject.replica.view, ((b"a", b"b"),)) == PROBE_KEYS


def test_a_field_that_is_left_out_is_still_asked(subject: Subject) -> None:
    """Of too many ranges the second field is none; that it bounds nothing must not make it count as met."""
    asked = {"a": {"$in": list(range(600))}, "b": {"$in": [1, 2, 3, 1000]}}
    wanted = subject.answers(asked, None, None, "scan", 100)
    assert wanted[1] == 3
    assert subject.answers(asked, None, None, "by-a-b", 100) == wanted
    assert subject.answers(asked, None, None, None, 100) == wanted


def test_a_page_ends_after_so_many_entries(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that matches nothing, and reads no documents; the next one goes on from there."""
    documents = [{"a": "same", "b": number, "c": {"d": f"e{number}"}} for number in range(1_200)]
    outcomes = run(subject.replica.view, *(put(f"e{number:04}", one) for number, one in enumerate(documents)))
    assert {one.code for one in outcomes} == {Code.OK}
    asked = {"a": "same", "_id": {"$in": ["e1199", "x"], "$gt": "e"}}
    asked_by_order = {"a": "same", "_revision": {"$gt": 1}, "_id": {"$regex": "9$"}}
    wanted = [subject.answers(one, order, {"a": 1}, "scan", 100) for one, order in _ways(asked, asked_by_order)]
    monkeypatch.setattr("collectionstore_node.service.queries.PAGE_DOCUMENTS_MAX", 500)
    hints = ("by-a", "by-a-b")
    found = [
        subject.answers(one, order, {"a": 1}, hint, 100)
        for (one, order), hint in zip(_ways(asked, asked_by_order), hints, strict=True)
    ]
    assert found == wanted
    assert [one[1] for one in found] == [1, 120]
    page = subject.page(find(asked, None, {"a": 1}, hint="by-a"))
    assert page.items == ()
    assert page.next_after == (b"", "e0499")


def _ways(by_id: Any, by_order: Any) -> list[tuple[Any, Any]]:
    return [(by_id, None), (by_order, {"b": -1})]


def test_a_cursor_is_valid_for_every_plan(subject: Subject) -> None:
    """Also when the index is dropped, or made, between two pages."""
    wanted, _, _ = subject.answers({"a": 3}, {"b": -1}, None, "scan", 100)
    assert len(wanted) == 40
    hints = ["by-a-b", "scan", "by-a", None]
    found: list[Any] = []
    after = None
    page = 0
    while True:
        request = FindDocuments("c", parse_find({"a": 3}, {"b": -1}, None, None, hints[page % 4]), after, 3)
        one = subject.page(request)
        found += one.items
        page += 1
        if one.next_after is None:
            break
        after = one.next_after
    assert found == wanted


def test_a_scan_takes_over_when_too_many_ids_would_be_kept(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectionstore_node.service.index_reads.GATHERED_MAX", 10)
    wanted = subject.answers({"b": {"$gte": 0}, "a": {"$gt": 1}}, None, None, "scan", 7)
    assert subject.answers({"b": {"$gte": 0}, "a": {"$gt": 1}}, None, None, "by-a", 7) == wanted


def test_what_is_written_meanwhile_is_not_seen(subject: Subject) -> None:
    """Entries and documents are of the state whose revision is answered."""
    steps = subject.begin(find({"c.d": {"$regex": "^t1"}}, hint="by-d"))
    next(steps)
    run(subject.replica.view, *(put(f"d{number:02}", {"c": {"d": "gone"}}) for number in (10, 100)))
    run(subject.replica.view, Delete(DocumentRef("c", "d11")), put("d500", {"c": {"d": "t1000"}}))
    items = finished(steps).items
    assert len(items) == 100
    assert [one[0] for one in items[:3]] == ["d01", "d10", "d100"]
    assert b"gone" not in items[1][2]
