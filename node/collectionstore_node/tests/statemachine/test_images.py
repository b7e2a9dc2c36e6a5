"""Large records behind changes: left out of the history, and found again, however often their key has changed since."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import given

from collectionstore_node.statemachine import history, images
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Action,
    Command,
    CreateCollection,
    Delete,
    DocumentRef,
    DropCollection,
    KeyRef,
    Put,
    Ref,
    Transaction,
    encode_batch,
)
from collectionstore_node.statemachine.history import INLINE_BYTES, OMITTED, Change, Limits, kept_after, scan_changes
from collectionstore_node.statemachine.images import key_of, whole_changes
from collectionstore_node.statemachine.keys import SUCCESSORS, prefix_end
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.reads import read_revision
from collectionstore_node.statemachine.stored import decode_stored
from collectionstore_node.statemachine.view import Overlay, View
from collectionstore_node.tests.statemachine.memory_view import MemoryView

A, B, KEY = DocumentRef("c", "a"), DocumentRef("c", "b"), KeyRef("b", "k")
SMALL, LARGE = b'{"n":%d}', b'{"n":%d,"t":"' + b"x" * INLINE_BYTES + b'"}'


def apply(view: MemoryView, *actions: Action) -> None:
    overlay = Overlay(view)
    apply_batch(overlay, encode_batch(0, [Command(one) for one in actions], CHANGES), b"")
    view.commit(overlay.writes)


def whole(view: MemoryView, after: int = 0) -> list[Change]:
    return list(whole_changes(view, after, read_revision(view)))


def left(change: Change) -> bytes | None:
    return None if change.after is None else decode_stored(change.after).value


def test_a_large_record_is_in_the_history_only_where_it_was_replaced(view: MemoryView) -> None:
    """The record of now is in the state, so the history has a copy only of what is not there any more."""
    apply(view, CreateCollection("c"), Put(A, LARGE % 1))
    assert [one.after for one in scan_changes(view, 1)] == [OMITTED]
    assert not list(view.scan(SUCCESSORS, prefix_end(SUCCESSORS)))
    apply(view, Put(A, LARGE % 2))
    assert [one.after for one in scan_changes(view, 1)] == [OMITTED, OMITTED]
    assert [left(one) for one in whole(view, 1)] == [LARGE % 1, LARGE % 2]
    apply(view, Delete(A), Put(A, SMALL % 3))
    assert [left(one) for one in whole(view, 1)] == [LARGE % 1, LARGE % 2, None, SMALL % 3]


def test_what_a_dropped_collection_had_is_omitted(view: MemoryView) -> None:
    """Also where another one has its name now, with a document of the same name."""
    apply(view, CreateCollection("c"), Put(A, LARGE % 1), Put(B, SMALL % 1), DropCollection("c"))
    assert [one.after for one in whole(view, 1)[:1]] == [OMITTED]
    apply(view, CreateCollection("c"), Put(A, LARGE % 2))
    found = [one for one in whole(view, 1) if one.ref == A]
    assert [one.after == OMITTED for one in found] == [True, False]
    assert left(found[1]) == LARGE % 2


def test_links_go_with_what_they_lead_to(view: MemoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    """None is left of a change that is not kept."""
    monkeypatch.setattr(history, "LIMITS", Limits(bytes_max=20_000, segment_bytes=5_000))
    for number in range(60):
        apply(view, Put(KEY, LARGE % number))
    kept = kept_after(view)
    assert 30 < kept < 60
    links = [key for key, _ in view.scan(SUCCESSORS, prefix_end(SUCCESSORS))]
    assert [int.from_bytes(key[1:9]) for key in links] == list(range(kept + 1, 60))
    assert [left(one) for one in whole(view, kept)] == [LARGE % number for number in range(kept, 60)]


values = st.builds(lambda number, large: (LARGE if large else SMALL) % number, st.integers(0, 99), st.booleans())
refs = st.sampled_from([A, B, KEY])
writes = st.one_of(st.builds(Put, refs, values), st.builds(Delete, refs))


def writing(chosen: list[Ref], value: bytes) -> Transaction:
    return Transaction((), tuple(Delete(one) if one == B else Put(one, value) for one in chosen))


transactions = st.builds(writing, st.lists(refs, min_size=1, max_size=3, unique=True), values)
catalog = st.sampled_from([DropCollection("c"), CreateCollection("c")])
entries = st.lists(st.lists(st.one_of(writes, writes, transactions, catalog), min_size=1, max_size=4), max_size=12)


@given(entries)
def test_every_record_is_found_or_its_collection_is_gone(given_entries: list[list[Action]]) -> None:
    """Against a reference that keeps what each command left, one entry per command, whatever shares an entry here."""
    view, plain = MemoryView(), MemoryView()
    apply(view, CreateCollection("c"))
    apply(plain, CreateCollection("c"))
    wanted: dict[tuple[int, Ref], bytes | None] = {}
    dropped: dict[int, int] = {}
    for entry in given_entries:
        apply(view, *entry)
        for action in entry:
            apply(plain, action)
            revision = read_revision(plain)
            if isinstance(action, DropCollection):
                dropped[revision] = revision
            for ref in (A, B, KEY):
                key = key_of(plain, ref)
                wanted[revision, ref] = None if key is None else plain.get(key)
    found = whole(view)
    for change in found:
        if change.ref is None:
            continue
        if change.after == OMITTED:
            assert isinstance(change.ref, DocumentRef)
            assert any(revision > change.revision for revision in dropped)
        else:
            assert change.after == wanted[change.revision, change.ref]
    last_drop = max(dropped, default=0)
    assert all(one.after != OMITTED for one in found if one.revision > last_drop)


def test_an_entry_that_writes_much_again_is_read_once(view: MemoryView, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not once for each of its changes."""
    refs = [DocumentRef("c", f"{number}") for number in range(50)]
    apply(view, CreateCollection("c"))
    for number in (1, 2):
        apply(view, *(Put(one, LARGE % number) for one in refs))
    read = 0
    scan = history.scan_entries

    def counted(view: View, after: int) -> Iterator[history.Entry]:
        nonlocal read
        read += 1
        return scan(view, after)

    monkeypatch.setattr(images, "scan_entries", counted)
    assert [left(one) for one in whole(view, 1)] == [LARGE % 1] * 50 + [LARGE % 2] * 50
    assert read == 1
