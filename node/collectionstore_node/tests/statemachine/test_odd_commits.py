"""Whatever a transaction with queries holds, it has an outcome: an exception would stop every replica for ever."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.statemachine.commands import (
    Commit,
    CompareOperator,
    CreateCollection,
    CreateIndex,
    Delete,
    DocumentRef,
    DropCollection,
    DropIndex,
    Get,
    GuardedTransaction,
    KeyRef,
    Plan,
    Put,
    Query,
    QueryGuard,
    ReadQuery,
    ReadTarget,
    Settle,
    Transaction,
)
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.tests.statemachine.indexed import build, defined
from collectionstore_node.tests.statemachine.indexed import run as run_at
from collectionstore_node.tests.statemachine.memory_view import MemoryView

NAMES = st.sampled_from(["c", "d", "none"])
IDS = st.sampled_from(["a", "b", "\U0010ffff", "x" * 1_024])
REFS = st.one_of(st.builds(DocumentRef, NAMES, IDS), st.builds(KeyRef, NAMES, IDS))
TEXTS = st.sampled_from([b"{}", b'{"n":1}', b'{"n":[1,[2,{"m":null}]]}', b'{"n":1e300}', b"[", b"", b"\xff", b'"text"'])
FILTERS = st.sampled_from(
    [
        b"{}",
        b'{"n":1}',
        b'{"n":{"$gte":null}}',
        b'{"n":{"$mod":[2,1]}}',
        b'{"n.0":{"$elemMatch":{"$gt":"x"}}}',
        b'{"_id":{"$regex":"^a"}}',
        b'{"_revision":{"$gt":-1}}',
        b'{"$nor":[{"n":{"$type":"array"}}]}',
        b'{"n":{"$regex":"("}}',
        b"[]",
        b"{",
        b"\xff",
        b"",
    ]
)
BYTES = st.binary(max_size=12)
PLANS = st.builds(Plan, st.integers(0, 12), st.lists(st.tuples(BYTES, BYTES), max_size=4).map(tuple), st.booleans())
QUERIES = st.builds(Query, NAMES, FILTERS, st.one_of(st.none(), IDS), PLANS)
GUARDS = st.builds(
    QueryGuard, QUERIES, st.sampled_from(list(CompareOperator)), st.sampled_from([-1, 0, 1, 3, 1_000_000, 1 << 62])
)
SEEN = st.lists(st.tuples(IDS, st.integers(-1, 9)), max_size=3).map(tuple)
READS = st.builds(ReadQuery, QUERIES, st.sampled_from([-1, 0, 1, 5, 9, 1 << 62]), st.one_of(st.none(), SEEN))
STEPS = st.one_of(st.builds(Put, REFS, TEXTS), st.builds(Delete, REFS), st.builds(Get, REFS))


def several(items: st.SearchStrategy[Any], most: int = 4) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, max_size=most).map(tuple)


TRANSACTIONS = st.builds(Transaction, st.just(()), several(STEPS), several(STEPS))
ACTIONS = st.one_of(
    st.builds(GuardedTransaction, TRANSACTIONS, several(GUARDS, 18)),
    st.builds(Commit, several(st.builds(ReadTarget, REFS, st.integers(-1, 9))), several(READS, 18), several(STEPS)),
    st.builds(Settle, st.sampled_from([-1, 0, 1 << 62])),
    STEPS.filter(lambda one: not isinstance(one, Get)),
    st.builds(CreateCollection, NAMES),
    st.builds(DropCollection, NAMES),
    st.sampled_from([CreateIndex("c", defined()), DropIndex("c", "one"), CreateIndex("c", defined(fields={"n": -1}))]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(ACTIONS, min_size=1, max_size=4), min_size=1, max_size=5))
def test_every_command_has_an_outcome(entries: list[list[Any]]) -> None:
    view = MemoryView()
    run_at(view, CreateCollection("c"), Put(DocumentRef("c", "a"), b'{"n":[1,2]}'), level=CHANGES)
    run_at(view, CreateIndex("c", defined(fields={"n": 1})), level=CHANGES)
    build(view)
    for actions in entries:
        assert len(run_at(view, *actions, level=CHANGES)) == len(actions)
