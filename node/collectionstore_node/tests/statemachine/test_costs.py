"""What commands and entries may cost: counted by the bytes that are read of the state, alike on every replica."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.statemachine import apply, transactions
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Code,
    Command,
    Compare,
    CompareField,
    CompareOperator,
    Delete,
    Get,
    Idempotency,
    KeyRef,
    Operation,
    Outcome,
    Put,
    Transaction,
    encode_batch,
    encode_outcome,
)
from collectionstore_node.statemachine.costs import (
    ENTRY_COST_MAX,
    READ_COST_BYTES,
    TRANSACTION_COST_MAX,
    TRANSACTION_ITEMS_MAX,
    TRANSACTION_READ_BYTES_MAX,
    TRANSACTION_WRITE_BYTES_MAX,
)
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.keys import IDEMPOTENCY, prefix_end
from collectionstore_node.statemachine.levels import BOUNDED
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.memory_view import MemoryView

MIB: Final = 1 << 20


class CountingView(MemoryView):
    """Counts the bytes that are read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.read_bytes = 0

    def get(self, key: bytes) -> bytes | None:
        value = super().get(key)
        self.read_bytes += len(value or b"")
        return value

    def scan(self, lo: bytes, hi: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key, value in super().scan(lo, hi):
            self.read_bytes += len(value)
            yield key, value


def key(number: int = 0) -> KeyRef:
    return KeyRef("b", f"k{number}")


def filled(*sizes: int) -> CountingView:
    """Return a state of level 2 with values of these sizes, under `key(0)`, `key(1)` and so on."""
    view = CountingView()
    for number, size in enumerate(sizes):
        run(view, [Command(Put(key(number), b"v" * size))])
    view.read_bytes = 0
    return view


def run(view: MemoryView, commands: list[Command]) -> tuple[list[Outcome], dict[int, Outcome]]:
    """Apply an entry as the member that answers, and return replicated outcomes and answers."""
    overlay, answers = Overlay(view), dict[int, Outcome]()
    outcomes = apply_batch(overlay, encode_batch(0, commands, BOUNDED), b"", answers)
    view.commit(overlay.writes)
    return outcomes, answers


def transact(*then: Operation, compare: tuple[Compare, ...] = ()) -> Command:
    return Command(Transaction(compare, then))


def test_gets_of_one_large_value_are_refused_before_they_are_read() -> None:
    """128 gets of a value of 1 MiB, 5 KB of request: the value is read once, and nothing is answered."""
    view = filled(MIB)
    [outcome], answers = run(view, [transact(*[Get(key())] * TRANSACTION_ITEMS_MAX)])
    assert (outcome.code, outcome.failed_operation) == (Code.TRANSACTION_TOO_LARGE, 4)
    assert answers == {}
    assert view.read_bytes < 1.1 * MIB


def test_gets_up_to_the_bound_are_answered() -> None:
    view = filled(MIB)
    [outcome], answers = run(view, [transact(*[Get(key())] * (TRANSACTION_READ_BYTES_MAX // MIB))])
    assert outcome.code is Code.OK
    assert [len(item.value or b"") for item in answers[0].items] == [MIB] * 4


@pytest.mark.parametrize("operation", [Get(key()), Delete(key()), Put(key(), b"v" * (5 * MIB))])
def test_a_single_larger_value_is_allowed(operation: Operation) -> None:
    """Documents may be larger than the bounds; a transaction with one of them works."""
    [outcome], _ = run(filled(TRANSACTION_COST_MAX + MIB), [transact(operation)])
    assert outcome.code is Code.OK


@pytest.mark.parametrize(
    ("command", "code", "position"),
    [
        (transact(*[Delete(key(number)) for number in range(48)]), Code.TRANSACTION_TOO_LARGE, 31),
        (transact(*[Put(key(number), b"") for number in range(48)]), Code.TRANSACTION_TOO_LARGE, 31),
        (
            transact(
                compare=tuple(
                    Compare(key(number), CompareField.REVISION, CompareOperator.GREATER, 0) for number in range(48)
                )
            ),
            Code.COMPARES_TOO_LARGE,
            31,
        ),
        (
            transact(
                compare=tuple(
                    Compare(key(number), CompareField.VALUE, CompareOperator.GREATER, b"") for number in range(48)
                )
            ),
            Code.COMPARES_TOO_LARGE,
            31,
        ),
        (
            transact(*[Put(key(100 + number), b"v" * MIB) for number in range(5)]),
            Code.TRANSACTION_TOO_LARGE,
            TRANSACTION_WRITE_BYTES_MAX // MIB,
        ),
    ],
    ids=["deletes", "puts", "compares of revisions", "compares of values", "writes"],
)
def test_what_a_transaction_touches_is_bounded(command: Command, code: Code, position: int) -> None:
    """The outcome says which operation was too much; the state is as before."""
    view = filled(*[MIB] * 48)
    before = {name: value for name, value in view.values.items() if name[:1] == b"\x04"}
    [outcome], _ = run(view, [command])
    assert (outcome.code, outcome.failed_operation) == (code, position)
    assert view.read_bytes <= TRANSACTION_COST_MAX + 2 * MIB
    assert {name: value for name, value in view.values.items() if name[:1] == b"\x04"} == before


@pytest.mark.parametrize("grouped", [False, True])
def test_pending_values_cost_what_stored_ones_do(*, grouped: bool) -> None:
    """A replica that applies two entries over one overlay decides as one that stores the first before the second."""
    view = MemoryView()
    writes = [Command(Put(key(number), b"v" * MIB)) for number in range(48)]
    entries = [encode_batch(0, writes, BOUNDED)]
    entries.append(encode_batch(0, [transact(*[Delete(key(number)) for number in range(48)])], BOUNDED))
    overlay = Overlay(view)
    for entry in entries:
        outcomes = apply_batch(overlay, entry, b"")
        if not grouped:
            view.commit(overlay.writes)
            overlay = Overlay(view)
    assert (outcomes[0].code, outcomes[0].failed_operation) == (Code.TRANSACTION_TOO_LARGE, 31)


def test_compares_of_one_key_read_it_once() -> None:
    view = filled(MIB)
    compares = tuple(
        Compare(key(), field, CompareOperator.NOT_EQUAL, operand)
        for field, operand in ((CompareField.VALUE, b"x"), (CompareField.REVISION, 9), (CompareField.EXISTS, 0))
        for _ in range(40)
    )
    [outcome], answers = run(view, [transact(Get(key()), compare=compares)])
    assert (outcome.code, outcome.succeeded) == (Code.OK, True)
    assert answers[0].items[0].value == b"v" * MIB
    assert view.read_bytes < 1.1 * MIB


@pytest.mark.parametrize("count", [TRANSACTION_ITEMS_MAX, TRANSACTION_ITEMS_MAX + 1])
def test_more_items_than_the_door_lets_in_are_an_invalid_transaction(count: int) -> None:
    """A member of another configuration may have let them in; apply depends on no setting."""
    [outcome], _ = run(filled(1), [transact(*[Get(key())] * count)])
    assert outcome.code is (Code.OK if count == TRANSACTION_ITEMS_MAX else Code.INVALID_TRANSACTION)


def test_outcomes_and_the_table_hold_no_values() -> None:
    """Every member makes the outcomes and stores those with a key; only the member that answers has the values."""
    view = filled(MIB)
    command = Command(Transaction((), (Get(key()),)), Idempotency("k", b"f"))
    [outcome], answers = run(view, [command])
    assert len(encode_outcome(outcome)) < 100
    assert answers[0].items[0].value == b"v" * MIB
    assert sum(len(data) for _, data in view.scan(IDEMPOTENCY, prefix_end(IDEMPOTENCY))) < 200
    [again], answers = run(view, [command])
    assert (again.replayed, again.items[0].revision, answers) == (True, 1, {})


def test_an_entry_is_bounded_and_the_rest_of_it_deferred() -> None:
    """180 of the largest transactions that one entry has room for: some run, the others change nothing at all."""
    view = filled(MIB)
    commands = [
        Command(Transaction((), (*[Get(key())] * 4, Put(key(1 + number), b""))), Idempotency(str(number), b"f"))
        for number in range(180)
    ]
    outcomes, answers = run(view, commands)
    done = [outcome for outcome in outcomes if outcome.code is Code.OK]
    assert 1 <= len(done) < 30
    assert {outcome.code for outcome in outcomes[len(done) :]} == {Code.DEFERRED}
    assert [outcome.revision for outcome in outcomes] == list(range(2, 182))
    # Proposed again, without having left a trace.
    outcomes, _ = run(view, commands[len(done) :])
    assert outcomes[0].code is Code.OK
    assert not outcomes[0].replayed
    assert view.read_bytes < 4 * ENTRY_COST_MAX
    assert sum(len(item.value or b"") for answer in answers.values() for item in answer.items) <= 2 * ENTRY_COST_MAX


def test_small_reads_have_a_cost_too() -> None:
    """65,000 compares of tiny values fit the bytes of one entry, and would take a third of a second."""
    compares = (Compare(key(), CompareField.EXISTS, CompareOperator.EQUAL, 1),) * TRANSACTION_ITEMS_MAX
    many = tuple(Get(key(number)) for number in range(TRANSACTION_ITEMS_MAX))
    outcomes, _ = run(filled(1), [transact(*many, compare=compares)] * 512)
    done = sum(outcome.code is Code.OK for outcome in outcomes)
    assert done <= ENTRY_COST_MAX // (TRANSACTION_ITEMS_MAX * READ_COST_BYTES) + 1


keys = st.integers(0, 7).map(key)
operations = st.builds(Get, keys) | st.builds(Delete, keys) | st.builds(Put, keys, st.binary(max_size=3000))
compares = st.builds(
    Compare, keys, st.just(CompareField.VALUE), st.sampled_from(CompareOperator), st.binary(max_size=9)
)
unique = st.lists(operations, max_size=8, unique_by=lambda one: (one.ref, isinstance(one, Get))).map(tuple)
actions = st.builds(Transaction, st.lists(compares, max_size=3).map(tuple), unique, unique) | operations.filter(
    lambda one: not isinstance(one, Get)
)
commands = st.builds(Command, actions, st.none() | st.builds(Idempotency, st.sampled_from("abc"), st.just(b"f")))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(commands, max_size=6), max_size=6), st.integers(1, 6))
def test_costs_stay_in_their_bounds_and_are_the_same_everywhere(entries: list[list[Command]], grouping: int) -> None:
    """With small bounds, arbitrary entries: each entry costs at most its bound, what the last command may add, and one
    record; a replica that applies several entries over one overlay decides the same, and so does one that answers."""
    transaction_cost, entry_cost, largest = 20_000, 30_000, 3_000 + 200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transactions, "TRANSACTION_COST_MAX", transaction_cost)
        patch.setattr(transactions, "TRANSACTION_READ_BYTES_MAX", 5_000)
        patch.setattr(apply, "ENTRY_COST_MAX", entry_cost)
        data = [encode_batch(0, entry, BOUNDED) for entry in entries]
        one, grouped = MemoryView(), MemoryView()
        outcomes, others = [], []
        for number, entry in enumerate(data):
            overlay, answers = Overlay(one), dict[int, Outcome]()
            outcomes += apply_batch(overlay, entry, b"%d" % number, answers)
            most = entry_cost + transaction_cost + 5_000 + 2 * (largest + READ_COST_BYTES)
            assert overlay.cost <= most
            assert sum(len(item.value or b"") for answer in answers.values() for item in answer.items) <= most
            one.commit(overlay.writes)
        for start in range(0, len(data), grouping):
            overlay = Overlay(grouped)
            for number in range(start, min(start + grouping, len(data))):
                others += apply_batch(overlay, data[number], b"%d" % number)
            grouped.commit(overlay.writes)
    assert outcomes == others
    assert all(item.value is None for outcome in outcomes for item in outcome.items)
    assert (one.values, read_digest(one)) == (grouped.values, read_digest(grouped))
