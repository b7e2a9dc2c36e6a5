"""Indexes in the state: in step with every write, built in steps, and equal on every replica."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.indexes.definition import INDEXES_MAX, Definition, IndexField
from collectionstore_node.indexes.entries import VALUES_MAX
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Action,
    BuildIndex,
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
    Idempotency,
    KeyRef,
    Operation,
    Precondition,
    Put,
    RefusedBy,
    Transaction,
    Update,
    UpdateForm,
    encode_batch,
    refused_index,
)
from collectionstore_node.statemachine.costs import BUILD_BYTES, BUILD_DOCUMENTS, ENTRY_COST_MAX, INDEX_VALUE_COST_BYTES
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.index_catalog import IndexState, collections_with_builds
from collectionstore_node.statemachine.keys import HEADER_KEY, INDEX_BUILDS, INDEXES, prefix_end
from collectionstore_node.statemachine.levels import BOUNDED, ENGINE, FIRST
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.documents.json_values import DOCUMENTS
from collectionstore_node.tests.statemachine.indexed import (
    build,
    check,
    create,
    defined,
    indexes_of,
    next_steps,
    put,
    run,
)
from collectionstore_node.tests.statemachine.memory_view import MemoryView

UNIQUE = defined("unique", unique=True)


@pytest.fixture
def view() -> MemoryView:
    made = MemoryView()
    run(made, CreateCollection("c"))
    return made


# Random histories

DEFINITIONS = [
    defined("single"),
    defined("descending", {"b": -1}),
    defined("compound", {"a": 1, "b.a": -1}),
    defined("sparse", {"b": 1}, sparse=True),
    defined("partial", {"a": 1}, filter={"b": {"$gte": 1}}),
    defined("folded", {"a": 1}, fold=["a"]),
    defined("unique", {"a": 1}, unique=True, sparse=True),
    defined("pair", {"a": 1, "0": 1}, unique=True, filter={"a": {"$exists": True}}),
]
REFS = st.builds(DocumentRef, st.sampled_from(["c", "d"]), st.sampled_from("stuvwxyz"))
BODIES: st.SearchStrategy[Any] = st.one_of(
    DOCUMENTS.map(lambda found: (UpdateForm.MERGE_PATCH, found)),
    DOCUMENTS.map(lambda found: (UpdateForm.REPLACE, found)),
    st.just((UpdateForm.DELETE, None)),
    st.just((UpdateForm.JSON_PATCH, [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "remove", "path": "/a"}])),
    st.sampled_from(
        [
            {"$inc": {"a": 1}},
            {"$unset": {"a": 1}},
            {"$rename": {"a": "b"}},
            {"$set": {"a": None}},
            {"$set": {"a": [1, 1]}},
        ]
    ).map(lambda found: (UpdateForm.OPERATORS, found)),
    st.integers(-1, 2).map(lambda found: (UpdateForm.OPERATORS, {"$push": {"b": found}, "$set": {"a": found}})),
)
UPDATES: st.SearchStrategy[Any] = st.builds(
    lambda ref, made, upsert, when: Update(
        ref, made[0], b"" if made[1] is None else orjson.dumps(made[1]), upsert=upsert, when=when
    ),
    REFS,
    BODIES,
    st.booleans(),
    st.sampled_from([b"", b"", b'{"a":{"$exists":true}}', b'{"b":{"$gte":1}}', b'{"a":1}']),
)
WRITES: st.SearchStrategy[Any] = st.one_of(
    st.builds(Put, REFS, DOCUMENTS.map(orjson.dumps)),
    st.builds(Put, REFS, DOCUMENTS.map(orjson.dumps)),
    st.builds(Delete, REFS),
    st.builds(Put, REFS, DOCUMENTS.map(orjson.dumps), st.sampled_from([Precondition(exists=True)])),
    st.builds(Put, st.builds(KeyRef, st.just("c"), st.just("k")), st.just(b"{}")),
    UPDATES,
    UPDATES,
)
BRANCHES = st.lists(WRITES, max_size=4).map(lambda found: tuple({one.ref: one for one in found}.values()))
ACTIONS: st.SearchStrategy[Any] = st.one_of(
    WRITES,
    WRITES,
    WRITES,
    st.builds(Transaction, st.just(()), BRANCHES, st.just(())),
    st.builds(CreateIndex, st.sampled_from("cd"), st.sampled_from(DEFINITIONS)),
    st.builds(CreateIndex, st.just("c"), st.sampled_from(DEFINITIONS)),
    st.builds(DropIndex, st.sampled_from("cd"), st.sampled_from([one.name for one in DEFINITIONS])),
    st.builds(CreateCollection, st.sampled_from("cd")),
    st.builds(DropCollection, st.just("d")),
    st.just("build"),
    st.just("build"),
)


@settings(max_examples=300)
@given(st.lists(st.lists(ACTIONS, max_size=5), max_size=12), st.integers(1, 4))
def test_entries_are_those_of_the_documents_whatever_happens(batches: list[list[Any]], group: int) -> None:
    """And every replica has them, however it groups the entries of the log."""
    one, entries = MemoryView(), []
    told: list[Any] = []
    run(one, CreateCollection("c"))
    other = MemoryView()
    other.commit(_pending(one))
    for number, batch in enumerate(batches):
        actions = [
            step
            for action in batch
            for step in ([*next_steps(one, "c"), *next_steps(one, "d")] if action == "build" else [action])
        ]
        entries.append((encode_batch(0, [Command(action) for action in actions], ENGINE), b"%d" % number))
        overlay = Overlay(one)
        told.append((apply_batch(overlay, *entries[-1], {}), overlay.cost))
        one.commit(overlay.writes)
        check(one)
    for first in range(0, len(entries), group):
        overlay = Overlay(other)
        for at, (data, chain) in enumerate(entries[first : first + group], first):
            assert (apply_batch(overlay, data, chain), overlay.cost) == told[at]
        other.commit(overlay.writes)
    assert one.values == other.values


def _pending(view: MemoryView) -> Any:
    overlay = Overlay(MemoryView())
    for key, value in view.values.items():
        overlay.put(key, value)
    return overlay.writes


# Creating and dropping


def test_an_index_of_an_empty_collection_is_ready_after_one_step(view: MemoryView) -> None:
    (outcome,) = run(view, CreateIndex("c", defined()))
    assert (outcome.code, outcome.created) == (Code.OK, True)
    assert list(collections_with_builds(view)) == ["c"]
    assert build(view) == 1
    (index,) = indexes_of(view)
    assert (index.id, index.state) == (outcome.revision, IndexState.READY)
    assert list(collections_with_builds(view)) == []


def test_what_cannot_be_created_is_refused(view: MemoryView) -> None:
    codes = [
        one.code
        for one in run(
            view,
            CreateIndex("none", defined()),
            CreateIndex("c", Definition("x", ())),
            CreateIndex("c", defined()),
            CreateIndex("c", defined("one", {"b": 1})),
            *(CreateIndex("c", defined(f"i{number}")) for number in range(INDEXES_MAX)),
            DropIndex("c", "none"),
            DropIndex("none", "one"),
            BuildIndex("c", 1, None),
            BuildIndex("none", 1, None),
        )
    ]
    assert codes[:4] == [Code.COLLECTION_NOT_FOUND, Code.INVALID_INDEX, Code.OK, Code.INDEX_EXISTS]
    assert codes[4:-4] == [Code.OK] * (INDEXES_MAX - 1) + [Code.TOO_MANY_INDEXES]
    assert codes[-4:] == [
        Code.INDEX_NOT_FOUND,
        Code.COLLECTION_NOT_FOUND,
        Code.INDEX_NOT_FOUND,
        Code.COLLECTION_NOT_FOUND,
    ]
    check(view)


def test_dropping_leaves_nothing(view: MemoryView) -> None:
    create(view, defined(), UNIQUE)
    run(view, put("d1", {"a": 1}))
    run(view, DropIndex("c", "one"), CreateIndex("c", defined("two")), DropCollection("c"))
    assert [key[:1] for key in view.values if key[:1] >= INDEXES] == []
    run(view, CreateCollection("c"), put("d1", {"a": 1}))
    check(view)


def test_collections_without_indexes_are_stored_as_before(view: MemoryView) -> None:
    before = dict(view.values)
    run(view, CreateIndex("c", defined()))
    run(view, DropIndex("c", "one"))
    assert {key: value for key, value in view.values.items() if key != HEADER_KEY} == {
        key: value for key, value in before.items() if key != HEADER_KEY
    }


@pytest.mark.parametrize("level", [FIRST, BOUNDED])
def test_earlier_levels_have_no_indexes(level: int) -> None:
    view = MemoryView()
    codes = [one.code for one in run(view, CreateCollection("c"), CreateIndex("c", defined()), level=level)]
    assert codes == [Code.OK, Code.LEVEL_TOO_LOW]
    assert indexes_of(view) == ()


# Building


def test_a_build_is_bounded_steps_in_the_order_of_ids(view: MemoryView) -> None:
    run(view, *(put(f"d{number:04}", {"a": number}) for number in range(BUILD_DOCUMENTS * 2)))
    run(view, CreateIndex("c", defined()))
    run(view, *next_steps(view))
    (index,) = indexes_of(view)
    assert (index.after, index.passed) == (f"d{BUILD_DOCUMENTS - 1:04}", BUILD_DOCUMENTS)
    check(view)
    # Behind the build, ahead of it, and the document at which it stands.
    assert index.after is not None
    run(view, put("d0000", {"a": "new"}), put("d0200", {"a": "ahead"}), Delete(DocumentRef("c", index.after)))
    run(view, put("a", {"a": 1}), put("z", {"a": 2}), Delete(DocumentRef("c", "d0210")))
    check(view)
    assert build(view) == 1
    (index,) = indexes_of(view)
    assert (index.state, index.after) == (IndexState.READY, None)
    check(view)


def test_a_step_ends_by_the_bytes_of_its_documents(view: MemoryView) -> None:
    run(view, *(put(f"d{number}", {"a": number, "b": "x" * (BUILD_BYTES // 2)}) for number in range(4)))
    run(view, CreateIndex("c", defined()))
    assert build(view) == 2


def test_a_step_is_done_once(view: MemoryView) -> None:
    """Two leaders may both propose it: the first before it was deposed, the second because it has not seen it."""
    run(view, *(put(f"d{number:04}", {"a": number}) for number in range(BUILD_DOCUMENTS + 1)))
    run(view, CreateIndex("c", defined()))
    (step,) = next_steps(view)
    codes = [one.code for one in run(view, step, step)]
    assert codes == [Code.OK, Code.PRECONDITION_FAILED]
    assert indexes_of(view)[0].passed == BUILD_DOCUMENTS
    (step,) = next_steps(view)
    assert [one.code for one in run(view, step, step)] == [Code.OK, Code.PRECONDITION_FAILED]
    check(view)


def test_a_dropped_build_ends(view: MemoryView) -> None:
    run(view, put("d1", {"a": 1}), CreateIndex("c", defined()))
    (step,) = next_steps(view)
    assert [one.code for one in run(view, DropIndex("c", "one"), step)] == [Code.OK, Code.INDEX_NOT_FOUND]
    run(view, CreateIndex("c", defined()))
    assert run(view, step)[0].code is Code.INDEX_NOT_FOUND
    check(view)


def test_a_build_fails_at_values_that_are_not_unique(view: MemoryView) -> None:
    run(view, put("d1", {"a": 1}), put("d2", {"a": 2}), put("d3", {"a": 1.0}), CreateIndex("c", UNIQUE))
    build(view)
    (index,) = indexes_of(view)
    assert (index.state, index.documents) == (IndexState.FAILED, ("d1", "d3"))
    assert index.reason == "two documents have the same values"
    check(view)
    # It keeps no write from being made any more.
    assert run(view, put("d4", {"a": 1}))[0].code is Code.OK
    assert run(view, DropIndex("c", "unique"))[0].code is Code.OK
    check(view)


def test_a_build_fails_at_a_document_with_too_many_entries(view: MemoryView) -> None:
    run(view, put("d1", {"a": 1}), put("d2", {"a": list(range(2_000))}), CreateIndex("c", defined()))
    build(view)
    (index,) = indexes_of(view)
    assert (index.state, index.documents) == (IndexState.FAILED, ("d2",))
    assert "1000 entries" in index.reason
    check(view)


# What indexes refuse


def test_a_second_document_with_the_same_values_is_refused_by_name(view: MemoryView) -> None:
    create(view, defined("pair", {"a": 1, "b": 1}, unique=True))
    run(view, put("d1", {"a": 1, "b": 2}))
    ok, refused, own, moved, freed = run(
        view,
        put("d2", {"a": 1, "b": 3}),
        put("d3", {"a": 1.0, "b": 2}),
        put("d1", {"a": 1, "b": 2, "c": 3}),
        put("d1", {"a": 7}),
        put("d3", {"a": 1, "b": 2}),
    )
    assert [one.code for one in (ok, own, moved, freed)] == [Code.OK] * 4
    assert refused.code is Code.UNIQUE_VIOLATION
    assert refused_index(refused) == RefusedBy("pair", "d1")
    check(view)


def test_missing_values_are_unique_too_unless_sparse(view: MemoryView) -> None:
    create(view, UNIQUE)
    one, other = run(view, put("d1", {}), put("d2", {"a": None}))
    assert (one.code, other.code) == (Code.OK, Code.UNIQUE_VIOLATION)
    run(view, CreateCollection("d"))
    create(view, defined("sparse", unique=True, sparse=True), collection="d")
    assert [one.code for one in run(view, put("d1", {}, "d"), put("d2", {}, "d"))] == [Code.OK, Code.OK]
    check(view)


def test_long_values_are_unique_by_all_of_them(view: MemoryView) -> None:
    create(view, UNIQUE)
    long = "x" * 10_000
    codes = [one.code for one in run(view, put("1", {"a": long + "1"}), put("2", {"a": long + "2"}))]
    assert codes == [Code.OK, Code.OK]
    assert run(view, put("3", {"a": long + "1"}))[0].code is Code.UNIQUE_VIOLATION
    check(view)


def test_elements_of_one_document_are_no_violation(view: MemoryView) -> None:
    create(view, UNIQUE)
    one, other = run(view, put("d1", {"a": [1, 2, 1]}), put("d2", {"a": [3, 2]}))
    assert one.code is Code.OK
    assert refused_index(other) == RefusedBy("unique", "d1")
    check(view)


def test_too_many_entries_are_refused(view: MemoryView) -> None:
    create(view, defined())
    run(view, put("d1", {"a": 1}))
    (refused,) = run(view, put("d1", {"a": list(range(1_001))}))
    assert refused.code is Code.INDEX_ENTRIES
    assert refused_index(refused) == RefusedBy("one", "")
    assert refused.current_revision > 0
    check(view)


def transact(*operations: Operation) -> Transaction:
    return Transaction(then=operations)


def test_a_transaction_is_unique_behind_all_of_its_writes(view: MemoryView) -> None:
    create(view, UNIQUE)
    run(view, put("d1", {"a": 1}), put("d2", {"a": 2}))
    # Exchanged, which no order of single writes could do.
    (outcome,) = run(view, transact(put("d1", {"a": 2}), put("d2", {"a": 1})))
    assert outcome.code is Code.OK
    (outcome,) = run(view, transact(put("d3", {"a": 1}), Delete(DocumentRef("c", "d2"))))
    assert outcome.code is Code.OK
    check(view)


def test_a_refused_transaction_changes_nothing_and_names_its_operation(view: MemoryView) -> None:
    create(view, UNIQUE)
    run(view, put("d1", {"a": 1}))
    before = dict(view.values)
    compare = Compare(DocumentRef("c", "d1"), CompareField.EXISTS, CompareOperator.EQUAL, 1)
    (within, taken) = run(
        view,
        Transaction((compare,), (Delete(DocumentRef("c", "none")), put("d2", {"a": 5}), put("d3", {"a": 5}))),
        Transaction((compare,), (put("d2", {"a": 6}), put("d3", {"a": 1}))),
    )
    assert (within.code, within.failed_operation) == (Code.UNIQUE_VIOLATION, 2)
    assert refused_index(within) == RefusedBy("unique", "d2")
    assert (taken.code, taken.failed_operation) == (Code.UNIQUE_VIOLATION, 1)
    assert refused_index(taken) == RefusedBy("unique", "d1")
    assert {key: value for key, value in view.values.items() if key != HEADER_KEY} == {
        key: value for key, value in before.items() if key != HEADER_KEY
    }


def test_a_refusal_is_replayed(view: MemoryView) -> None:
    create(view, UNIQUE)
    run(view, put("d1", {"a": 1}))
    refused = Command(put("d2", {"a": 1}), Idempotency("key", b"f"))
    for replayed in (False, True):
        overlay = Overlay(view)
        (outcome,) = apply_batch(overlay, encode_batch(0, [refused], ENGINE), b"")
        view.commit(overlay.writes)
        assert (outcome.code, outcome.replayed) == (Code.UNIQUE_VIOLATION, replayed)
        assert refused_index(outcome) == RefusedBy("unique", "d1")


# Costs and oddities


def test_entries_count_into_the_cost(view: MemoryView) -> None:
    """An entry of the log ends before it makes too many of them."""
    create(view, *(defined(f"i{number}") for number in range(INDEXES_MAX)))
    writes: list[Action] = [put(f"d{number}", {"a": list(range(900))}) for number in range(6)]
    codes = [one.code for one in run(view, *writes)]
    overlay = Overlay(view)
    apply_batch(overlay, encode_batch(0, [Command(writes[0])], ENGINE), b"")
    assert overlay.cost > ENTRY_COST_MAX // 4
    assert codes.count(Code.DEFERRED) > 0
    check(view)


def test_what_is_looked_at_counts_into_the_cost_of_each_index(view: MemoryView) -> None:
    create(view, *(defined(f"i{number}") for number in range(INDEXES_MAX)))
    text = "x" * 10_000
    for document, least in (({"a": [1] * 1_000}, 1_000 * INDEX_VALUE_COST_BYTES), ({"a": text}, len(text))):
        overlay = Overlay(view)
        apply_batch(overlay, encode_batch(0, [Command(put("d", document))], ENGINE), b"")
        assert overlay.cost > INDEXES_MAX * least


def test_a_refusal_costs_what_may_have_been_looked_at(view: MemoryView) -> None:
    create(view, defined())
    overlay = Overlay(view)
    commands = [Command(put(f"d{number}", {"a": [1] * (VALUES_MAX + 1)})) for number in range(100)]
    codes = [one.code for one in apply_batch(overlay, encode_batch(0, commands, ENGINE), b"")]
    assert (codes[0], codes[-1]) == (Code.INDEX_ENTRIES, Code.DEFERRED)


def test_a_transaction_with_too_many_entries_is_refused(view: MemoryView) -> None:
    create(view, *(defined(f"i{number}") for number in range(INDEXES_MAX)))
    (outcome,) = run(view, transact(*(put(f"d{number}", {"a": list(range(900))}) for number in range(20))))
    assert outcome.code is Code.TRANSACTION_TOO_LARGE
    assert outcome.failed_operation is not None
    assert outcome.items == ()
    check(view)


@pytest.mark.parametrize("value", [b"no JSON", b"[1]", b"[" * 5_000, b'{"a":' * 1_000 + b"1" + b"}" * 1_000])
def test_what_no_client_can_store_stops_no_replica(view: MemoryView, value: bytes) -> None:
    create(view, defined())
    run(view, Put(DocumentRef("c", "d1"), value), put("d2", {"a": 1}))
    run(view, Put(DocumentRef("c", "d1"), b'{"a":2}'))
    run(view, CreateIndex("c", Definition("two", (IndexField("a"),))))
    build(view)
    check(view)


def test_the_digest_covers_entries(view: MemoryView) -> None:
    other = MemoryView()
    other.commit(_pending(view))
    run(view, CreateIndex("c", defined()))
    run(other, CreateIndex("c", defined("one", {"a": -1})))
    assert read_digest(view) != read_digest(other)


def test_builds_are_listed_by_collection(view: MemoryView) -> None:
    run(view, CreateCollection("d"), CreateIndex("d", defined()), CreateIndex("c", defined()), DropCollection("d"))
    assert list(collections_with_builds(view)) == ["c"]
    assert len(list(view.scan(INDEX_BUILDS, prefix_end(INDEX_BUILDS)))) == 1
