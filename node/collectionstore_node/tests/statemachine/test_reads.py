"""Reads and pages over stored state."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.errors import InvalidRequest, ManyDeleted
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.catalog import Collection
from collectionstore_node.statemachine.commands import (
    Action,
    Command,
    CreateCollection,
    DocumentRef,
    DropCollection,
    KeyRef,
    Outcome,
    Put,
    encode_batch,
)
from collectionstore_node.statemachine.reads import Fetch, Listed, ListedCollection, Page, get_document, get_key
from collectionstore_node.statemachine.stored import Stored
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.indexed import put, run
from collectionstore_node.tests.statemachine.memory_view import MemoryView
from collectionstore_node.tests.statemachine.pages import list_collections, list_documents, list_keys

Run = Callable[..., list[Outcome]]
texts = st.text(st.sampled_from("\0ab\u07ff\uffff\U0010ffff"), max_size=4)


def names(page: Page[Listed]) -> list[str]:
    return [item.id for item in page.items]


def test_get_of_what_is_not_there_is_none(run: Run, view: MemoryView) -> None:
    run(CreateCollection("users"))
    assert get_document(view, "users", "x") is None
    assert get_key(view, "bucket", "x") is None


def test_unknown_collection_is_the_callers_fault(run: Run, view: MemoryView) -> None:
    """Dropped is unknown as well."""
    run(CreateCollection("users"), DropCollection("users"))
    for read in (lambda: get_document(view, "users", "x"), lambda: list_documents(view, "users", limit=1)):
        with pytest.raises(InvalidRequest) as caught:
            read()
        assert caught.value.code == "collection_not_found"


def test_list_gives_revision_and_value(run: Run, view: MemoryView) -> None:
    run(CreateCollection("users"), Put(DocumentRef("users", "b"), b"2"), Put(DocumentRef("users", "a"), b"1"))
    assert list_documents(view, "users", limit=5) == Page(
        (Listed("a", Stored(3, 3, b"1")), Listed("b", Stored(2, 2, b"2"))), None
    )


def test_lists_end_where_their_bucket_or_collection_ends(run: Run, view: MemoryView) -> None:
    """Neighbours in key order stay out, whatever their names look like."""
    run(CreateCollection("a"), CreateCollection("b"))
    run(*(Put(KeyRef(bucket, "k"), b"") for bucket in ("a", "a\0", "a\0k", "ab", "b")))
    run(*(Put(DocumentRef(name, name * 2), b"{}") for name in ("a", "b")))
    assert names(list_keys(view, "a", limit=9)) == ["k"]
    assert names(list_keys(view, "", limit=9)) == []
    assert names(list_documents(view, "a", limit=9)) == ["aa"]
    assert names(list_documents(view, "b", limit=9)) == ["bb"]


@settings(max_examples=60, deadline=None)
@given(st.sets(texts, max_size=12), texts, st.none() | texts, st.integers(1, 4))
def test_pages_join_to_the_whole_list(ids: set[str], prefix: str, after: str | None, limit: int) -> None:
    """Following `next_after` gives each id with the prefix once, in code point order."""
    overlay = Overlay(MemoryView())
    actions: list[Action] = [CreateCollection("c")]
    for id_ in sorted(ids, reverse=True):
        actions += [Put(DocumentRef("c", id_), b"{}"), Put(KeyRef("b", id_), b"raw")]
    apply_batch(overlay, encode_batch(0, [Command(action) for action in actions]), b"")
    documents, keys, position = [], [], after
    while True:
        page = list_documents(overlay, "c", prefix=prefix, after=position, limit=limit)
        raw = list_keys(overlay, "b", prefix=prefix, after=position, limit=limit)
        assert page.next_after == raw.next_after
        assert len(page.items) == limit or page.next_after is None
        documents += names(page)
        keys += names(raw)
        position = page.next_after
        if position is None:
            break
    expected = sorted(id_ for id_ in ids if id_.startswith(prefix) and (after is None or id_ > after))
    assert documents == keys == expected


def test_page_is_bounded_by_bytes_but_never_empty(run: Run, view: MemoryView) -> None:
    """A value above the bound comes alone; a page that ends for size says where to go on."""
    run(*(Put(KeyRef("b", key), b"x" * size) for key, size in (("1", 500), ("2", 10), ("3", 10), ("4", 500))))
    pages, position = [], None
    while True:
        page = list_keys(view, "b", after=position, limit=10, bytes_max=120)
        pages.append(names(page))
        position = page.next_after
        if position is None:
            break
    assert pages == [["1"], ["2", "3"], ["4"]]


def test_limit_must_be_positive(view: MemoryView) -> None:
    with pytest.raises(InvalidRequest, match="limit"):
        list_keys(view, "b", limit=0)


def test_collections_are_listed_by_name(run: Run, view: MemoryView) -> None:
    run(*(CreateCollection(name) for name in ("b1", "a", "b2", "c")), DropCollection("c"))
    assert list_collections(view, limit=2) == Page(
        (ListedCollection("a", Collection(2)), ListedCollection("b1", Collection(1))), "b1"
    )
    assert list_collections(view, after="b1", limit=2).items == (ListedCollection("b2", Collection(3)),)
    assert [item.name for item in list_collections(view, prefix="b", limit=9).items] == ["b1", "b2"]


def test_fetched_documents_are_of_one_state() -> None:
    view = MemoryView()
    run(view, CreateCollection("c"), put("a", {"n": 1}), put("b", {"n": 2}))
    fetch = Fetch(view, "c")
    run(view, put("a", {"n": 9}), put("c", {"n": 9}))
    assert [fetch(name)[1].stored.value for name in ("b", "a", "b")] == [b'{"n":2}', b'{"n":1}', b'{"n":2}']
    with pytest.raises(ManyDeleted):
        fetch("c")
    with pytest.raises(InvalidRequest):
        Fetch(view, "none")
