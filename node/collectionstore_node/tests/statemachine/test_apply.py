"""What each command does, and what it answers."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Action,
    Code,
    CreateCollection,
    Delete,
    DocumentRef,
    DropCollection,
    KeyRef,
    Outcome,
    Precondition,
    Put,
    Ref,
    encode_batch,
)
from collectionstore_node.statemachine.keys import HEADER_KEY, HISTORY
from collectionstore_node.statemachine.levels import BOUNDED, FIRST, HIGHEST
from collectionstore_node.statemachine.reads import get_document, get_key, read_revision
from collectionstore_node.statemachine.stored import Stored
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.memory_view import MemoryView

Run = Callable[..., list[Outcome]]

OLD, NEW = DocumentRef("users", "old"), DocumentRef("users", "new")
ABSENT_COLLECTION = DocumentRef("nobody", "old")
OLD_KEY, NEW_KEY = KeyRef("settings", "old"), KeyRef("settings", "new")

# State before each row: revision 1 creates "users", 2 and 3 put OLD and OLD_KEY. The row's command is revision 4.
PUTS = [
    (OLD, Precondition(), Outcome(Code.OK, 4, current_revision=2)),
    (NEW, Precondition(), Outcome(Code.OK, 4, created=True)),
    (OLD_KEY, Precondition(), Outcome(Code.OK, 4, current_revision=3)),
    (NEW_KEY, Precondition(), Outcome(Code.OK, 4, created=True)),
    (KeyRef("unused", "old"), Precondition(), Outcome(Code.OK, 4, created=True)),
    (OLD, Precondition(exists=True), Outcome(Code.OK, 4, current_revision=2)),
    (NEW, Precondition(exists=True), Outcome(Code.PRECONDITION_FAILED, 4)),
    (OLD, Precondition(exists=False), Outcome(Code.PRECONDITION_FAILED, 4, current_revision=2)),
    (NEW, Precondition(exists=False), Outcome(Code.OK, 4, created=True)),
    (OLD, Precondition(revisions=(2,)), Outcome(Code.OK, 4, current_revision=2)),
    (OLD, Precondition(revisions=(9, 2)), Outcome(Code.OK, 4, current_revision=2)),
    (OLD, Precondition(revisions=(1, 3)), Outcome(Code.PRECONDITION_FAILED, 4, current_revision=2)),
    (OLD, Precondition(revisions=()), Outcome(Code.PRECONDITION_FAILED, 4, current_revision=2)),
    (NEW, Precondition(revisions=(2,)), Outcome(Code.PRECONDITION_FAILED, 4)),
    (NEW, Precondition(revisions=(0,)), Outcome(Code.PRECONDITION_FAILED, 4)),
    (OLD, Precondition(exists=False, revisions=(2,)), Outcome(Code.PRECONDITION_FAILED, 4, current_revision=2)),
    (ABSENT_COLLECTION, Precondition(), Outcome(Code.COLLECTION_NOT_FOUND, 4)),
    (ABSENT_COLLECTION, Precondition(exists=True), Outcome(Code.COLLECTION_NOT_FOUND, 4)),
]
DELETES = [
    (OLD, Precondition(), Outcome(Code.OK, 4, current_revision=2)),
    (OLD_KEY, Precondition(), Outcome(Code.OK, 4, current_revision=3)),
    (NEW, Precondition(), Outcome(Code.NOT_FOUND, 4)),
    (NEW_KEY, Precondition(), Outcome(Code.NOT_FOUND, 4)),
    (OLD, Precondition(revisions=(2,)), Outcome(Code.OK, 4, current_revision=2)),
    (OLD, Precondition(revisions=(3,)), Outcome(Code.PRECONDITION_FAILED, 4, current_revision=2)),
    (NEW, Precondition(revisions=(2,)), Outcome(Code.PRECONDITION_FAILED, 4)),
    (NEW, Precondition(exists=True), Outcome(Code.PRECONDITION_FAILED, 4)),
    (NEW, Precondition(exists=False), Outcome(Code.NOT_FOUND, 4)),
    (OLD, Precondition(exists=False), Outcome(Code.PRECONDITION_FAILED, 4, current_revision=2)),
    (ABSENT_COLLECTION, Precondition(), Outcome(Code.COLLECTION_NOT_FOUND, 4)),
]


@pytest.fixture
def filled(run: Run) -> Run:
    outcomes = run(CreateCollection("users"), Put(OLD, b"{}"), Put(OLD_KEY, b"raw", content_type="text/plain"))
    assert [outcome.code for outcome in outcomes] == [Code.OK] * 3
    return run


def read(view: MemoryView, ref: Ref) -> Stored | None:
    if isinstance(ref, KeyRef):
        return get_key(view, ref.bucket, ref.key)
    return get_document(view, ref.collection, ref.id)


def effect(view: MemoryView) -> dict[bytes, bytes]:
    """Return the state without the header and the history, which has the time of every command."""
    return {key: value for key, value in view.values.items() if key != HEADER_KEY and key[:1] != HISTORY}


@pytest.mark.parametrize(("ref", "precondition", "expected"), PUTS)
def test_put(filled: Run, view: MemoryView, ref: Ref, precondition: Precondition, expected: Outcome) -> None:
    """A put answers with its revision and whether it created; one that fails changes nothing."""
    before = effect(view)
    assert filled(Put(ref, b'{"n":1}', precondition)) == [expected]
    if expected.code is Code.OK:
        created_revision = expected.current_revision or 4
        assert read(view, ref) == Stored(4, created_revision, b'{"n":1}')
    else:
        assert effect(view) == before


@pytest.mark.parametrize(("ref", "precondition", "expected"), DELETES)
def test_delete(filled: Run, view: MemoryView, ref: Ref, precondition: Precondition, expected: Outcome) -> None:
    """A delete of what is not there is NOT_FOUND, unless its precondition asked for it."""
    before = effect(view)
    assert filled(Delete(ref, precondition)) == [expected]
    if expected.code is Code.OK:
        assert read(view, ref) is None
    else:
        assert effect(view) == before


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (CreateCollection("orders"), Outcome(Code.OK, 4, created=True)),
        (DropCollection("users"), Outcome(Code.OK, 4)),
        (DropCollection("orders"), Outcome(Code.COLLECTION_NOT_FOUND, 4)),
    ],
)
def test_collection_commands(filled: Run, action: Action, expected: Outcome) -> None:
    assert filled(action) == [expected]


def test_existing_collection_is_named_by_its_revision(filled: Run, level: int) -> None:
    """From level 2 on: a retry is answered from the outcome, and the collection may be gone by then."""
    current = 1 if level >= BOUNDED else 0
    assert filled(CreateCollection("users")) == [Outcome(Code.COLLECTION_EXISTS, 4, current_revision=current)]


def test_put_keeps_content_type_of_raw_values(filled: Run, view: MemoryView) -> None:
    assert get_key(view, "settings", "old") == Stored(3, 3, b"raw", "text/plain")
    filled(Put(OLD_KEY, b"<a/>", content_type="application/xml"))
    assert get_key(view, "settings", "old") == Stored(4, 3, b"<a/>", "application/xml")


def test_creation_revision_begins_anew_after_delete(filled: Run, view: MemoryView) -> None:
    filled(Delete(OLD), Put(OLD, b"{}"))
    assert get_document(view, "users", "old") == Stored(5, 5, b"{}")


@pytest.mark.parametrize("together", [True, False])
def test_collection_created_again_starts_empty(filled: Run, view: MemoryView, *, together: bool) -> None:
    """A drop takes the documents along, in the same batch as well as in separate ones."""
    actions = [DropCollection("users"), CreateCollection("users"), Put(NEW, b"{}")]
    for batch in [actions] if together else [[action] for action in actions]:
        filled(*batch)
    assert get_document(view, "users", "old") is None
    assert get_document(view, "users", "new") == Stored(6, 6, b"{}")
    assert get_key(view, "settings", "old") is not None


def test_drop_leaves_other_collections_alone(run: Run, view: MemoryView) -> None:
    """Collection ids follow each other, and so do their key ranges."""
    for name in ("a", "b", "c"):
        run(CreateCollection(name), Put(DocumentRef(name, "x"), b"{}"))
    run(DropCollection("b"))
    assert get_document(view, "a", "x") is not None
    assert get_document(view, "c", "x") is not None


def test_commands_of_a_batch_see_each_other(run: Run) -> None:
    """A later command of a batch acts on what an earlier one wrote."""
    outcomes = run(
        Put(NEW, b"{}"),
        CreateCollection("users"),
        Put(NEW, b"{}"),
        Put(NEW, b"{}", Precondition(revisions=(3,))),
        Delete(NEW, Precondition(revisions=(3,))),
        DropCollection("users"),
        Put(NEW, b"{}"),
    )
    assert outcomes == [
        Outcome(Code.COLLECTION_NOT_FOUND, 1),
        Outcome(Code.OK, 2, created=True),
        Outcome(Code.OK, 3, created=True),
        Outcome(Code.OK, 4, current_revision=3),
        Outcome(Code.PRECONDITION_FAILED, 5, current_revision=4),
        Outcome(Code.OK, 6),
        Outcome(Code.COLLECTION_NOT_FOUND, 7),
    ]


def test_revision_counts_every_command_and_is_persisted(run: Run, view: MemoryView) -> None:
    """Failures count; an empty batch does not; the number is in the view, not in memory."""
    assert read_revision(view) == 0
    run(CreateCollection("users"), CreateCollection("users"))
    run()
    assert read_revision(view) == 2
    run(Delete(NEW))
    assert read_revision(view) == 3


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes((HIGHEST + 1,)) + encode_batch(0, [])[1:],
        encode_batch(0, [])[:-1],
        bytes((FIRST,)) + msgspec.msgpack.encode((0, [[[99, "what"], None]])),
        bytes((FIRST,)) + b"\x92\x00\x91\x92\x92\x03\xa1\xff\xc0",
    ],
    ids=["empty", "other format", "torn", "unknown command", "text that is not UTF-8"],
)
def test_apply_refuses_what_is_not_a_batch(data: bytes) -> None:
    """A committed entry that can not be read stops the node: going on would part it from the others."""
    with pytest.raises(InvariantViolated, match="not a command batch"):
        apply_batch(Overlay(MemoryView()), data, b"")


def test_apply_refuses_a_damaged_header() -> None:
    overlay = Overlay(MemoryView())
    overlay.put(HEADER_KEY, b"\xc1")
    with pytest.raises(InvariantViolated, match="header"):
        apply_batch(overlay, encode_batch(0, []), b"")
