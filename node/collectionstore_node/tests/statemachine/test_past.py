"""The past against what was: a state that is undone to a revision equals the one that was remembered there."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.errors import HistoryGone, InvalidRequest, UpgradePending
from collectionstore_node.statemachine import history
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.commands import (
    Action,
    Command,
    CreateCollection,
    CreateIndex,
    Delete,
    DocumentRef,
    DropCollection,
    Expire,
    Expiring,
    KeyRef,
    Put,
    Transaction,
    encode_batch,
)
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.history import Limits
from collectionstore_node.statemachine.index_catalog import read_indexes
from collectionstore_node.statemachine.keys import (
    DOCUMENTS,
    INDEX_ENTRIES,
    INDEX_STATISTICS,
    INDEXES,
    bucket_prefix,
    documents_prefix,
    prefix_end,
)
from collectionstore_node.statemachine.levels import CHANGES, ENGINE
from collectionstore_node.statemachine.past import RECORD_BYTES, PastView, Scope, Undo, collect
from collectionstore_node.statemachine.reads import get_document, get_key, scan_documents
from collectionstore_node.statemachine.view import Overlay, View
from collectionstore_node.tests.statemachine import indexed
from collectionstore_node.tests.statemachine.indexed import defined, put
from collectionstore_node.tests.statemachine.memory_view import MemoryView

ALL = Scope(frozenset(("c", "d")), "b")
BYTES_MAX = 1 << 20


def apply(view: MemoryView, *actions: Action) -> None:
    indexed.run(view, *actions, level=CHANGES)


def build(view: MemoryView) -> None:
    """Build all indexes of `c`."""
    while steps := indexed.next_steps(view):
        apply(view, *steps)


def past(view: View, revision: int, scope: Scope = ALL, *, bytes_max: int = BYTES_MAX) -> PastView:
    undo = Undo(revision)
    for _ in collect(view, view, undo, scope, bytes_max=bytes_max):
        pass
    return PastView(undo, view)


def family(view: View, first: bytes) -> list[tuple[bytes, bytes]]:
    return list(view.scan(first, prefix_end(first)))


class Store:
    """A state with all states that it had since there is a collection, those within an entry, too."""

    def __init__(self, *, unique: bool = False) -> None:
        self.view, self._twin = MemoryView(), MemoryView()
        self.states: dict[int, View] = {}
        indexes = [defined("a", {"a": 1}), defined("b", {"b": -1, "a": 1}, sparse=True), defined("n", {"n": 1})]
        if unique:
            indexes.append(defined("u", {"u": 1}, unique=True, sparse=True))
        for view in (self.view, self._twin):
            apply(view, CreateCollection("c"), CreateCollection("d"), *(CreateIndex("c", one) for one in indexes))
            build(view)
        self._remember()

    def _remember(self) -> None:
        self.states[read_header(self._twin).revision] = self._twin.fixed()

    def write(self, *actions: Action) -> None:
        """Apply actions as one entry; and each as its own to a twin, whose states are remembered."""
        apply(self.view, *actions)
        for one in actions:
            apply(self._twin, one)
            self._remember()

    def random(self, chance: Random, count: int) -> None:
        for _ in range(count):
            self.write(*(_action(chance) for _ in range(chance.choice((1, 1, 1, 4)))))


def _action(chance: Random) -> Action:
    kind = chance.random()
    name = chance.choice(("c", "c", "c", "d"))
    if kind < 0.1:
        return Put(KeyRef(chance.choice("bx"), f"k{chance.randrange(3)}"), b"%d" % chance.randrange(9))
    if kind < 0.15:
        return Delete(KeyRef("b", f"k{chance.randrange(3)}"))
    if kind < 0.35:
        return Delete(DocumentRef(name, f"{chance.randrange(8)}"))
    if kind < 0.5:
        ids = chance.sample(range(8), 3)
        return Transaction((), tuple(_put(chance, name, number) for number in ids))
    return _put(chance, name, chance.randrange(8))


def _put(chance: Random, name: str, number: int) -> Put:
    value = chance.choice((None, 1, 1.0, -0.0, "t", [1, 2], [], {"x": 1}, "y" * 300, "z" * 1_200))
    document: dict[str, Any] = {"a": chance.randrange(4), "b": value}
    if chance.random() < 0.5:
        document["u"] = chance.randrange(12)
    return put(f"{number}", document, name)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.booleans())
def test_every_state_of_the_past_is_told_byte_for_byte(seed: int, unique: bool) -> None:  # noqa: FBT001 -- given
    """Documents, raw values, entries of indexes and statistics: from any later state, also within an entry."""
    store = Store(unique=unique)
    store.random(Random(seed), 25)
    for revision, state in store.states.items():
        found = past(store.view, revision)
        assert family(found, DOCUMENTS) == family(state, DOCUMENTS)
        assert family(found, bucket_prefix("b")) == family(state, bucket_prefix("b"))
        assert family(found, INDEX_ENTRIES) == family(state, INDEX_ENTRIES)
        assert family(found, INDEXES) == family(state, INDEXES)
        # One that was never counted, and one of zeros, are the same.
        counted = [pair for pair in family(found, INDEX_STATISTICS) if any(pair[1])]
        assert counted == [pair for pair in family(state, INDEX_STATISTICS) if any(pair[1])]
        for key, _ in family(store.view, DOCUMENTS):
            assert found.get(key) == state.get(key)
        keys = [key for key, _ in family(store.view, DOCUMENTS)] + [DOCUMENTS]
        assert list(found.pick(keys)) == list(state.pick(keys))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 32))
def test_indexes_of_now_hold_the_documents_of_then(seed: int) -> None:
    """An index that was created since has the entries that it would have had."""
    chance = Random(seed)
    store = Store()
    store.random(chance, 10)
    then, state = read_header(store.view).revision, store.view.fixed()
    apply(store.view, CreateIndex("c", defined("late", {"b": 1})))
    build(store.view)
    store.random(chance, 10)
    found = past(store.view, then)
    assert family(found, DOCUMENTS) == family(state, DOCUMENTS)
    indexed.check(found)
    assert [one.definition.name for one in indexed.indexes_of(found)] == ["a", "b", "n", "late"]


def test_an_index_that_is_unique_now_is_left_out_where_values_were_not(view: MemoryView) -> None:
    """Two documents of the past have one value; the index has place for one of them."""
    apply(view, CreateCollection("c"), put("1", {"u": 1}), put("2", {"u": 1}), put("3", {"u": 3}))
    both = read_header(view).revision
    apply(view, put("2", {"u": 2}))
    after = read_header(view).revision
    apply(view, CreateIndex("c", defined("u", {"u": 1}, unique=True)), CreateIndex("c", defined("v", {"u": 1})))
    build(view)
    apply(view, put("3", {"u": 4}))
    assert [one.definition.name for one in indexed.indexes_of(past(view, both))] == ["v"]
    apply(view, put("1", {"u": 5}))
    # Both were changed since: neither has the value now.
    assert [one.definition.name for one in indexed.indexes_of(past(view, both))] == ["v"]
    assert [one.definition.name for one in indexed.indexes_of(past(view, after))] == ["u", "v"]
    indexed.check(past(view, after))


def test_an_index_that_cannot_hold_a_document_of_the_past_is_left_out(view: MemoryView) -> None:
    """It had too many entries then, and was shortened before there was an index."""
    apply(view, CreateCollection("c"), put("1", {"n": list(range(2_000))}))
    apply(
        view, put("1", {"n": [1]}), CreateIndex("c", defined("n", {"n": 1})), CreateIndex("c", defined("m", {"m": 1}))
    )
    build(view)
    found = past(view, 2)
    assert [one.definition.name for one in indexed.indexes_of(found)] == ["m"]
    assert get_document(found, "c", "1") is not None


def test_documents_exchange_unique_values(view: MemoryView) -> None:
    """What is hidden goes before what is shown: the same keys, with other documents."""
    apply(view, CreateCollection("c"), CreateIndex("c", defined("u", {"u": 1}, unique=True)))
    build(view)
    apply(view, put("1", {"u": 1}), put("2", {"u": 2}))
    then, state = read_header(view).revision, view.fixed()
    apply(view, Transaction((), (put("1", {"u": 2}), put("2", {"u": 1}))))
    assert family(past(view, then), INDEX_ENTRIES) == family(state, INDEX_ENTRIES)


def test_a_collection_that_was_created_since_was_not_there(view: MemoryView) -> None:
    """Nor were its documents, whatever became of them."""
    apply(view, CreateCollection("d"))
    apply(view, CreateCollection("c"), put("1", {}), put("1", {"a": 1}))
    # Its documents are not kept, so that no number of them is too much.
    found = past(view, 1, bytes_max=100)
    with pytest.raises(InvalidRequest, match="no collection 'c'"):
        get_document(found, "c", "1")
    assert find_collection(found, "d") is not None
    assert get_document(past(view, 2), "c", "1") is None
    assert get_document(past(view, 3), "c", "1") is not None


def test_a_dropped_collection_is_gone_with_its_past(view: MemoryView) -> None:
    """Its documents are not kept, so the answer says from when on it can be asked; others are not concerned."""
    apply(view, CreateCollection("c"), CreateCollection("d"), put("1", {}), put("1", {}, "d"))
    apply(view, DropCollection("c"))
    apply(view, CreateCollection("c"), put("1", {"new": 1}))
    with pytest.raises(HistoryGone, match="dropped at revision 5") as gone:
        past(view, 4)
    assert gone.value.oldest == 5
    assert get_document(past(view, 4, Scope(frozenset(("d",)))), "d", "1") is not None
    with pytest.raises(InvalidRequest, match="no collection 'c'"):
        get_document(past(view, 5), "c", "1")
    assert get_document(past(view, 6), "c", "1") is None
    assert get_document(past(view, 7), "c", "1") is not None


def test_what_is_not_kept_any_more_is_refused_with_the_oldest_revision(
    view: MemoryView, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest is answered, one before it is not."""
    monkeypatch.setattr(history, "LIMITS", Limits(bytes_max=800, segment_bytes=200))
    for number in range(30):
        apply(view, Put(KeyRef("b", "k"), b"%d" % number))
    kept = history.kept_after(view)
    assert 0 < kept < 30
    found = get_key(past(view, kept), "b", "k")
    assert found is not None
    assert found.value == b"%d" % (kept - 1)
    with pytest.raises(HistoryGone, match=f"ask for {kept} or a later one") as gone:
        past(view, kept - 1)
    assert gone.value.oldest == kept


def test_before_the_level_there_is_no_past(view: MemoryView) -> None:
    """The cluster is being upgraded: the same request works later."""
    indexed.run(view, Put(KeyRef("b", "k"), b"1"), level=ENGINE)
    with pytest.raises(UpgradePending, match=f"feature level is {ENGINE}"):
        past(view, 1)


def test_more_changes_than_may_be_kept_are_refused(view: MemoryView) -> None:
    """The bound is of what is read alone: of other collections any number may have been changed."""
    apply(view, CreateCollection("c"), CreateCollection("d"))
    for number in range(40):
        apply(view, put(f"{number}", {"a": 1}), put(f"{number}", {"a": "x" * 400}, "d"))
    with pytest.raises(HistoryGone, match="0 MiB of what is read were changed since revision 2"):
        past(view, 2, bytes_max=4_000)
    assert get_document(past(view, 2, Scope.of(DocumentRef("c", "7")), bytes_max=4_000), "c", "7") is None
    apply(view, put("7", {"a": 2}))
    assert get_document(past(view, 82, Scope.of(DocumentRef("c", "7")), bytes_max=4_000), "c", "7") is not None


def test_a_target_alone_ends_at_its_first_change(view: MemoryView) -> None:
    """What is behind it makes no difference, and is not read."""
    apply(view, CreateCollection("c"), put("1", {"a": 1}))
    for number in range(5):
        apply(view, put("1", {"a": number}), put("2", {"a": number}))
    undo = Undo(2)
    for _ in collect(view, view, undo, Scope.of(DocumentRef("c", "1")), bytes_max=BYTES_MAX):
        pass
    assert (undo.changed, len(undo.values)) == (1, 1)
    assert get_document(PastView(undo, view), "c", "1") == get_document(past(view, 2), "c", "1")


@pytest.mark.parametrize("spare", [0, 2])
def test_scans_of_the_past_are_merged_in_order(view: MemoryView, spare: int) -> None:
    """Also in parts, of ranges, from keys that are not there."""
    apply(view, CreateCollection("c"), *(put(name, {}) for name in "bdfh"))
    then = read_header(view).revision
    apply(view, *(put(name, {}) for name in "aceg"), *(Delete(DocumentRef("c", name)) for name in "bh"))
    prefix = documents_prefix(1)

    def names(pairs: Any) -> str:
        return "".join(key[len(prefix) :].decode() for key, _ in pairs)

    undo = Undo(then)
    for _ in collect(view, view, undo, ALL, bytes_max=BYTES_MAX):
        pass
    found = PastView(undo, view, [view] * spare)
    assert names(found.scan(prefix, prefix_end(prefix))) == "bdfh"
    assert names(found.scan_ranges(((prefix + b"a", prefix + b"c"), (prefix + b"e", prefix + b"i")))) == "bfh"
    assert names(found.scan(prefix + b"d", prefix + b"d")) == ""
    assert names(found.pick([prefix + name for name in (b"h", b"a", b"d", b"z")])) == "hd"
    assert [found.get(prefix + name) is not None for name in (b"a", b"b", b"d")] == [False, True, True]


def test_indexes_that_are_being_built_are_not_undone(view: MemoryView) -> None:
    """No query uses them."""
    apply(view, CreateCollection("c"), *(put(f"{number}", {"a": number}) for number in range(3)))
    then = read_header(view).revision
    apply(view, CreateIndex("c", defined("a", {"a": 1})), put("1", {"a": 9}))
    found = past(view, then)
    assert family(found, INDEX_ENTRIES) == family(view, INDEX_ENTRIES)
    collection = find_collection(found, "c")
    assert collection is not None
    assert len(read_indexes(found, collection.id)) == 1
    assert len(family(found, DOCUMENTS)) == 3


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32))
def test_what_had_expired_at_a_revision_is_left_out_there(seed: int) -> None:
    """By the time of its entry: whether it was removed by then, or is by now, or a rest of others is in the way."""
    chance, view, time_ms = Random(seed), MemoryView(), 0
    told: dict[int, list[str]] = {}
    apply(view, CreateCollection("c"))
    for _ in range(40):
        time_ms += chance.choice((0, 500, 3_000))
        kind, name = chance.random(), f"{chance.randrange(9)}"
        actions: list[Action] = [Expire()] if kind < 0.3 else [Delete(DocumentRef("c", "none"))]
        if kind > 0.5:
            actions = [Expiring(put(name, {"a": 1}), ttl_ms=chance.choice((1_000, 2_000, 20_000)))]
        overlay = Overlay(view)
        apply_batch(overlay, encode_batch(time_ms, [Command(one) for one in actions], CHANGES), b"")
        view.commit(overlay.writes)
        told[read_header(view).revision] = names_of(view)
    for revision, names in told.items():
        assert names_of(past(view, revision)) == names


def names_of(view: View) -> list[str]:
    return [one.id for _, one in scan_documents(view, "c")]


def test_entries_that_change_nothing_are_passed_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    revision = read_header(store.view).revision
    for _ in range(40):
        store.write(Delete(KeyRef("b", "none")))
    monkeypatch.setattr("collectionstore_node.statemachine.past.STEP_BYTES", 10 * RECORD_BYTES)
    steps = list(collect(store.view, store.view, Undo(revision), ALL, bytes_max=BYTES_MAX))
    assert len(steps) == 4 + 1
