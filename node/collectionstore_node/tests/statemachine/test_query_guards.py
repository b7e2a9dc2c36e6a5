"""Transactions whose conditions are queries: what holds, what is looked at, and what it may cost."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from collectionstore_node.statemachine import searching
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Code,
    Command,
    Compare,
    CompareField,
    CompareOperator,
    CreateCollection,
    CreateIndex,
    Delete,
    DocumentRef,
    DropCollection,
    DropIndex,
    GuardedTransaction,
    KeyRef,
    Outcome,
    Plan,
    Put,
    Query,
    QueryGuard,
    Transaction,
    encode_batch,
    level_needed,
)
from collectionstore_node.statemachine.commits import COUNT_MAX, queries_reason, too_costly_at
from collectionstore_node.statemachine.costs import TRANSACTION_QUERIES_MAX
from collectionstore_node.statemachine.levels import CHANGES, ENGINE
from collectionstore_node.statemachine.reads import get_key
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.indexed import build, defined, indexes_of, put
from collectionstore_node.tests.statemachine.indexed import run as run_at
from collectionstore_node.tests.statemachine.memory_view import MemoryView

MARK = KeyRef("b", "mark")
EQUAL, GREATER, LESS = CompareOperator.EQUAL, CompareOperator.GREATER, CompareOperator.LESS


def run(view: MemoryView, *actions: Any) -> list[Outcome]:
    return run_at(view, *actions, level=CHANGES)


def query(filter_: dict[str, Any], collection: str = "c", **members: Any) -> Query:
    return Query(collection, orjson.dumps(filter_), **members)


def guarded(*guards: tuple[Query, CompareOperator, int]) -> GuardedTransaction:
    """Return a transaction that puts MARK as `1` if the guards hold, else as `0`."""
    transaction = Transaction(then=(Put(MARK, b"1"),), otherwise=(Put(MARK, b"0"),))
    return GuardedTransaction(transaction, tuple(QueryGuard(*one) for one in guards))


def held(view: MemoryView, *guards: tuple[Query, CompareOperator, int]) -> bool:
    (outcome,) = run(view, guarded(*guards))
    assert outcome.code is Code.OK
    stored = get_key(view, "b", "mark")
    assert stored is not None
    assert (stored.value == b"1") is outcome.succeeded
    return outcome.succeeded


@pytest.fixture
def view() -> MemoryView:
    made = MemoryView()
    run(
        made,
        CreateCollection("c"),
        put("a", {"n": 1, "tags": ["x", "y"]}),
        put("b", {"n": 2, "tags": ["x"]}),
        put("z", {"n": 3, "tags": []}),
    )
    return made


@pytest.mark.parametrize(
    ("filter_", "count"),
    [
        ({}, 3),
        ({"n": {"$gte": 2}}, 2),
        ({"tags": "x"}, 2),
        ({"tags": {"$regex": "^y"}}, 1),
        ({"_id": "z"}, 1),
        ({"m": 1}, 0),
    ],
)
def test_a_guard_counts_what_the_filter_finds(view: MemoryView, filter_: dict[str, Any], count: int) -> None:
    assert held(view, (query(filter_), EQUAL, count))
    assert count == 0 or held(view, (query(filter_), GREATER, count - 1))
    assert not held(view, (query(filter_), GREATER, count))
    assert held(view, (query(filter_), LESS, count + 1))
    assert held(view, (query(filter_), CompareOperator.NOT_EQUAL, count + 1))


def test_with_an_id_the_guard_is_about_that_document(view: MemoryView) -> None:
    assert held(view, (query({"n": 1}, id="a"), EQUAL, 1))
    assert held(view, (query({"n": 1}, id="b"), EQUAL, 0))
    assert held(view, (query({"n": 1}, id="none"), EQUAL, 0))


def test_all_guards_and_compares_must_hold(view: MemoryView) -> None:
    assert not held(view, (query({}), EQUAL, 3), (query({"n": 1}), EQUAL, 0))
    compare = Compare(MARK, CompareField.EXISTS, EQUAL, 0)
    transaction = Transaction((compare,), (Put(MARK, b"1"),), (Put(MARK, b"0"),))
    (outcome,) = run(view, GuardedTransaction(transaction, (QueryGuard(query({}), EQUAL, 3),)))
    assert not outcome.succeeded


def test_guards_see_the_commands_before_them_in_the_same_entry(view: MemoryView) -> None:
    outcomes = run(
        view,
        guarded((query({"n": 9}), EQUAL, 0)),
        put("new", {"n": 9}),
        guarded((query({"n": 9}), EQUAL, 1)),
        Delete(DocumentRef("c", "new")),
        guarded((query({"n": 9}), EQUAL, 0)),
    )
    assert [one.succeeded for one in outcomes] == [True] * 5


def test_a_missing_collection_fails_the_transaction_and_is_named(view: MemoryView) -> None:
    (outcome,) = run(view, guarded((query({}), EQUAL, 0), (query({}, "none"), EQUAL, 0)))
    assert (outcome.code, outcome.failed_operation) == (Code.READ_COLLECTION_NOT_FOUND, 1)
    assert get_key(view, "b", "mark") is None


@pytest.fixture
def indexed(view: MemoryView) -> MemoryView:
    run(view, CreateIndex("c", defined(fields={"n": 1})), CreateIndex("c", defined("tags", fields={"tags": 1})))
    build(view)
    return view


def _plan(view: MemoryView, name: str, *, single: bool = False) -> Plan:
    (index,) = (one for one in indexes_of(view) if one.definition.name == name)
    return Plan(index.id, ((b"", b""),), single)


@pytest.mark.parametrize("name", ["one", "tags"])
def test_a_plan_changes_what_is_looked_at_and_not_what_is_found(indexed: MemoryView, name: str) -> None:
    plan = _plan(indexed, name)
    assert held(indexed, (query({"n": {"$gte": 2}, "tags": "x"}, plan=plan), EQUAL, 1))
    assert held(indexed, (query({"tags": "x"}, plan=plan), EQUAL, 2))


def test_a_plan_that_is_out_of_date_reads_the_collection(indexed: MemoryView) -> None:
    dropped, several = _plan(indexed, "one"), _plan(indexed, "tags", single=True)
    run(indexed, DropIndex("c", "one"))
    # Ranges that would find nothing: they are not followed.
    for plan in (dropped, several, Plan(12345)):
        nowhere = Plan(plan.index, ((b"\xff", b"\xff"),), plan.single)
        assert held(indexed, (query({"n": {"$gte": 1}}, plan=nowhere), EQUAL, 3))


def test_a_guard_ends_once_it_is_decided(view: MemoryView) -> None:
    costs = []
    for operand in (0, 2):
        overlay = Overlay(view)
        command = Command(guarded((query({}), GREATER, operand)))
        apply_batch(overlay, encode_batch(0, [command], CHANGES), b"")
        costs.append(overlay.cost)
    assert costs[0] < costs[1]


def test_a_query_beyond_the_bounds_is_refused_before_it_ends(view: MemoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "TRANSACTION_COST_MAX", 6_000)
    run(view, *(put(f"d{number:03}", {"n": number}) for number in range(100)))
    action = guarded((query({}, id="a"), EQUAL, 1), (query({"n": -1}), EQUAL, 0))
    overlay = Overlay(view)
    (outcome,) = apply_batch(overlay, encode_batch(0, [Command(action)], CHANGES), b"")
    assert (outcome.code, outcome.failed_operation) == (Code.QUERY_TOO_COSTLY, 1)
    assert overlay.cost < 20_000
    assert too_costly_at(view, action) == 1
    assert too_costly_at(view, guarded((query({"n": -1}), EQUAL, 0))) == 0
    assert too_costly_at(view, guarded((query({}, "none"), EQUAL, 0))) is None


def test_a_document_with_too_many_values_for_its_tests_is_too_costly(view: MemoryView) -> None:
    tests = {"$or": [{"big": {"$elemMatch": {"$gt": number}}} for number in range(50)]}
    run(view, put("big", {"big": [0] * 20_000}))
    (outcome,) = run(view, guarded((query(tests), EQUAL, 0)))
    assert (outcome.code, outcome.failed_operation) == (Code.QUERY_TOO_COSTLY, 0)


def test_what_is_no_document_matches_nothing(view: MemoryView) -> None:
    """No client can store it; an exception would stop every replica."""
    run(view, Put(DocumentRef("c", "bad"), b"[1,"))
    assert held(view, (query({"n": {"$exists": False}}), EQUAL, 0))


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"$where":"x"}', b'{"$expr":{"$eq":[1,1]}}', b'{"a":{"$regex":"("}}'])
def test_a_filter_that_is_none_is_an_outcome(view: MemoryView, text: bytes) -> None:
    (outcome,) = run(view, guarded((Query("c", text), EQUAL, 0)))
    assert (outcome.code, outcome.failed_operation) == (Code.INVALID_QUERY, 0)


@pytest.mark.parametrize(
    "action",
    [
        guarded(*[(query({}), EQUAL, 0)] * (TRANSACTION_QUERIES_MAX + 1)),
        guarded((query({}), EQUAL, -1)),
        guarded(*[(query({"$or": [{"a": {"$regex": "x"}}] * 11}), EQUAL, 0)] * 3),
        guarded(*[(Query("c", b'{"$or":[' + b",".join([b'{"a":{"$r\\u0065gex":"x"}}'] * 11) + b"]}"), EQUAL, 0)] * 3),
        guarded((query({}), EQUAL, COUNT_MAX + 1)),
        guarded((query({}, plan=Plan(0, ((b"", b""),) * 1_001)), EQUAL, 0)),
    ],
)
def test_what_no_member_proposes_is_an_outcome(view: MemoryView, action: GuardedTransaction) -> None:
    assert queries_reason(action) is not None
    (outcome,) = run(view, action)
    assert outcome.code is Code.INVALID_TRANSACTION


def test_below_its_level_it_changes_nothing(view: MemoryView) -> None:
    action = guarded((query({}), EQUAL, 3))
    assert level_needed(action) == CHANGES
    fresh = MemoryView()
    (_, outcome) = run_at(fresh, CreateCollection("c"), action, level=ENGINE)
    assert outcome.code is Code.LEVEL_TOO_LOW
    assert get_key(fresh, "b", "mark") is None


def test_a_dropped_collection_in_the_same_entry_is_missing(view: MemoryView) -> None:
    outcomes = run(view, DropCollection("c"), guarded((query({}), EQUAL, 0)))
    assert outcomes[1].code is Code.READ_COLLECTION_NOT_FOUND
