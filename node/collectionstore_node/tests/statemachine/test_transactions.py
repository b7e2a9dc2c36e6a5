"""Transactions: which branch runs, what it answers, and that a failure leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collectionstore_node.statemachine.commands import (
    Code,
    Compare,
    CompareField,
    CompareOperator,
    CreateCollection,
    Delete,
    DocumentRef,
    Get,
    Item,
    KeyRef,
    Operation,
    Outcome,
    Precondition,
    Put,
    Ref,
    Transaction,
)
from collectionstore_node.statemachine.keys import HISTORY, META
from collectionstore_node.statemachine.reads import get_document, get_key
from collectionstore_node.statemachine.stored import Stored
from collectionstore_node.statemachine.transactions import invalid_reason
from collectionstore_node.tests.statemachine.memory_view import MemoryView

Run = Callable[..., list[Outcome]]
REVISION, EXISTS, VALUE = CompareField.REVISION, CompareField.EXISTS, CompareField.VALUE
EQUAL, NOT_EQUAL, GREATER, LESS = (
    CompareOperator.EQUAL,
    CompareOperator.NOT_EQUAL,
    CompareOperator.GREATER,
    CompareOperator.LESS,
)
DOC, KEY = DocumentRef("users", "x"), KeyRef("settings", "k")
NO_DOC, NO_KEY = DocumentRef("users", "none"), KeyRef("settings", "none")
NOWHERE = DocumentRef("nobody", "x")


@pytest.fixture
def filled(run: Run) -> Run:
    """Revision 1 creates "users", 2 puts DOC, 3 puts KEY."""
    run(CreateCollection("users"), Put(DOC, b"{}"), Put(KEY, b"m", content_type="text/plain"))
    return run


@pytest.mark.parametrize(
    ("ref", "field", "comparison", "operand", "holds"),
    [
        (DOC, REVISION, EQUAL, 2, True),
        (DOC, REVISION, EQUAL, 3, False),
        (DOC, REVISION, NOT_EQUAL, 3, True),
        (DOC, REVISION, GREATER, 1, True),
        (DOC, REVISION, GREATER, 2, False),
        (DOC, REVISION, LESS, 3, True),
        (DOC, REVISION, LESS, 2, False),
        (NO_DOC, REVISION, EQUAL, 0, True),
        (NO_KEY, REVISION, LESS, 1, True),
        (DOC, EXISTS, EQUAL, 1, True),
        (NO_DOC, EXISTS, EQUAL, 1, False),
        (NO_KEY, EXISTS, EQUAL, 0, True),
        (KEY, EXISTS, NOT_EQUAL, 0, True),
        (KEY, VALUE, EQUAL, b"m", True),
        (KEY, VALUE, EQUAL, b"n", False),
        (KEY, VALUE, NOT_EQUAL, b"n", True),
        (KEY, VALUE, GREATER, b"a", True),
        (KEY, VALUE, LESS, b"mm", True),
        (NO_KEY, VALUE, EQUAL, b"", False),
        (NO_KEY, VALUE, NOT_EQUAL, b"m", False),
    ],
)
def test_compare_chooses_the_branch(
    filled: Run, ref: Ref, field: CompareField, comparison: CompareOperator, operand: int | bytes, *, holds: bool
) -> None:
    """An absent target has revision 0, does not exist, and no value to compare."""
    transaction = Transaction((Compare(ref, field, comparison, operand),), (Get(DOC),), ())
    [outcome] = filled(transaction)
    assert (outcome.code, outcome.succeeded, len(outcome.items)) == (Code.OK, holds, int(holds))


def test_every_compare_must_hold(filled: Run) -> None:
    good, bad = Compare(DOC, EXISTS, EQUAL, 1), Compare(KEY, EXISTS, EQUAL, 0)
    assert filled(Transaction((good, good)))[0].succeeded
    assert not filled(Transaction((good, bad)))[0].succeeded
    assert filled(Transaction())[0].succeeded


def test_branch_runs_at_one_revision(filled: Run, view: MemoryView) -> None:
    """Items come in the order of the operations; a read sees the writes before it, not those after."""
    [outcome] = filled(
        Transaction(
            then=(
                Get(KEY),
                Put(KEY, b"new", content_type="text/html"),
                Get(KEY),
                Put(NO_DOC, b"[]"),
                Delete(DOC),
                Get(DOC),
                Delete(NO_KEY),
            )
        )
    )
    assert outcome == Outcome(
        Code.OK,
        4,
        items=(
            Item(3, value=b"m", previous_revision=3, content_type="text/plain"),
            Item(4, previous_revision=3),
            Item(4, value=b"new", previous_revision=4, content_type="text/html"),
            Item(4, created=True),
            Item(0, previous_revision=2),
            Item(0),
            Item(0),
        ),
    )
    assert get_key(view, "settings", "k") == Stored(4, 3, b"new", "text/html")
    assert get_document(view, "users", "none") == Stored(4, 4, b"[]")
    assert get_document(view, "users", "x") is None


def test_otherwise_runs_when_a_compare_fails(filled: Run, view: MemoryView) -> None:
    [outcome] = filled(
        Transaction((Compare(DOC, REVISION, EQUAL, 9),), (Put(DOC, b"then"),), (Put(DOC, b"otherwise"),))
    )
    assert outcome == Outcome(Code.OK, 4, succeeded=False, items=(Item(4, previous_revision=2),))
    assert get_document(view, "users", "x") == Stored(4, 2, b"otherwise")


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        (Put(DOC, b"", Precondition(exists=False)), Outcome(Code.PRECONDITION_FAILED, 4, current_revision=2)),
        (Put(DOC, b"", Precondition(revisions=(1,))), Outcome(Code.PRECONDITION_FAILED, 4, current_revision=2)),
        (Delete(NO_DOC, Precondition(exists=True)), Outcome(Code.PRECONDITION_FAILED, 4)),
        (Put(NOWHERE, b""), Outcome(Code.COLLECTION_NOT_FOUND, 4)),
        (Delete(NOWHERE), Outcome(Code.COLLECTION_NOT_FOUND, 4)),
        (Get(NOWHERE), Outcome(Code.COLLECTION_NOT_FOUND, 4)),
    ],
)
@pytest.mark.parametrize("succeeded", [True, False])
def test_failing_operation_undoes_the_transaction(
    filled: Run, view: MemoryView, failing: Operation, expected: Outcome, *, succeeded: bool
) -> None:
    """All or nothing, in either branch; the outcome says which operation it was."""
    before = {key: value for key, value in view.values.items() if key[:1] not in (META, HISTORY)}
    branch = (Put(KEY, b"changed"), Delete(NO_KEY), failing, Put(KeyRef("settings", "late"), b"never"))
    compare = (Compare(DOC, EXISTS, EQUAL, int(succeeded)),)
    transaction = Transaction(compare, branch, ()) if succeeded else Transaction(compare, (), branch)
    [outcome] = filled(transaction)
    assert outcome == Outcome(
        expected.code,
        expected.revision,
        current_revision=expected.current_revision,
        succeeded=succeeded,
        failed_operation=2,
    )
    assert {key: value for key, value in view.values.items() if key[:1] not in (META, HISTORY)} == before


def test_compare_with_unknown_collection_fails_the_transaction(filled: Run) -> None:
    """A misspelt name must not pass for "absent", not even behind a compare that failed."""
    failed, unknown = Compare(DOC, EXISTS, EQUAL, 0), Compare(NOWHERE, EXISTS, EQUAL, 0)
    [outcome] = filled(Transaction((failed, unknown)))
    assert outcome == Outcome(Code.COLLECTION_NOT_FOUND, 4)


def test_precondition_sees_earlier_commands_of_the_batch(filled: Run) -> None:
    """The same document in one batch: the second transaction finds what the first left."""
    transaction = Transaction(then=(Put(DOC, b"1", Precondition(revisions=(2,))),))
    assert [outcome.code for outcome in filled(transaction, transaction)] == [Code.OK, Code.PRECONDITION_FAILED]


FAULTS = [
    (
        Transaction(then=(Put(DOC, b""), Delete(DOC))),
        "then 1: the target is written twice in this branch; allowed: once",
    ),
    (
        Transaction(otherwise=(Put(KEY, b""), Get(KEY), Put(KEY, b""))),
        "otherwise 2: the target is written twice in this branch; allowed: once",
    ),
    (
        Transaction((Compare(DOC, EXISTS, EQUAL, 1), Compare(DOC, REVISION, LESS, b"2"))),
        "compare 1: the operand must be bytes for the field VALUE, and a number for any other field",
    ),
    (
        Transaction((Compare(DOC, VALUE, GREATER, 2),)),
        "compare 0: the operand must be bytes for the field VALUE, and a number for any other field",
    ),
]


@pytest.mark.parametrize(("transaction", "expected"), FAULTS)
def test_meaningless_transaction_is_refused_by_apply_too(filled: Run, transaction: Transaction, expected: str) -> None:
    """The API refuses them first; in the log they get an outcome, for an exception would stop every replica."""
    assert invalid_reason(transaction) == expected
    assert filled(transaction) == [Outcome(Code.INVALID_TRANSACTION, 4)]


def test_same_target_may_be_written_in_both_branches_and_read_often() -> None:
    assert invalid_reason(Transaction(then=(Get(DOC), Put(DOC, b""), Get(DOC)), otherwise=(Delete(DOC),))) is None
