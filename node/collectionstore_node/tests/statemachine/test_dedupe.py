"""The idempotency table: what a retry hears, and when records leave."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Action,
    Code,
    Command,
    CreateCollection,
    Delete,
    DocumentRef,
    Get,
    Idempotency,
    Item,
    KeyRef,
    Outcome,
    Put,
    Transaction,
    encode_batch,
)
from collectionstore_node.statemachine.costs import TRANSACTION_ITEMS_MAX
from collectionstore_node.statemachine.dedupe import LIMITS, IdempotencyTable, Limits
from collectionstore_node.statemachine.header import TIME_STEP_MAX_MS, Header, read_header
from collectionstore_node.statemachine.keys import IDEMPOTENCY, QUEUE, prefix_end, queue_key
from collectionstore_node.statemachine.levels import FIRST, HIGHEST
from collectionstore_node.statemachine.reads import get_key, read_revision
from collectionstore_node.statemachine.view import Overlay, View
from collectionstore_node.tests.statemachine.memory_view import MemoryView

Run = Callable[..., list[Outcome]]
HOUR_MS = 3_600_000
KEY = KeyRef("b", "k")
PUT = Put(KEY, b"v")


def keyed(action: Action, key: str = "one", fingerprint: bytes = b"f") -> Command:
    return Command(action, Idempotency(key, fingerprint))


def count(view: View, family: bytes) -> int:
    return len(list(view.scan(family, prefix_end(family))))


def test_replay_tells_the_stored_outcome_and_changes_nothing(run: Run, view: MemoryView) -> None:
    """The retry hears the first revision even after others wrote; it takes a revision itself."""
    [first] = run(keyed(PUT))
    run(Put(KEY, b"later"))
    [again] = run(keyed(PUT))
    assert first == Outcome(Code.OK, 1, created=True)
    assert again == Outcome(Code.OK, 1, created=True, replayed=True)
    stored = get_key(view, "b", "k")
    assert stored is not None
    assert (stored.value, stored.revision) == (b"later", 2)
    assert read_revision(view) == 3


def test_replay_within_one_batch(run: Run) -> None:
    """A retry may meet its first attempt in the same log entry."""
    assert [outcome.replayed for outcome in run(keyed(PUT), keyed(PUT))] == [False, True]


def test_replay_of_a_transaction_tells_revisions_and_no_values(run: Run, level: int) -> None:
    """Only level 1 stored the values too, on every disk."""
    run(Put(KEY, b"v1"))
    command = keyed(Transaction(then=(Get(KEY), Put(KEY, b"v2"))))
    [first] = run(command)
    [again] = run(command)
    assert (first.items[0].value, first.items[1].revision) == (b"v1", 2)
    assert [item.revision for item in again.items] == [1, 2]
    assert again.items[0].value == (b"v1" if level == FIRST else None)
    assert again.replayed


@pytest.mark.parametrize(
    ("action", "code", "repair"),
    [
        (Delete(KEY), Code.NOT_FOUND, PUT),
        (Put(DocumentRef("users", "x"), b"{}"), Code.COLLECTION_NOT_FOUND, CreateCollection("users")),
        (
            Transaction(then=(Put(DocumentRef("users", "x"), b"{}"),)),
            Code.COLLECTION_NOT_FOUND,
            CreateCollection("users"),
        ),
    ],
)
def test_failed_outcomes_are_replayed_too(run: Run, action: Action, code: Code, repair: Action) -> None:
    """A retry hears the failure, even when it would succeed by now."""
    run(keyed(action))
    run(repair)
    [again] = run(keyed(action))
    assert (again.code, again.revision, again.replayed) == (code, 1, True)


def test_key_with_another_fingerprint_is_refused(run: Run, view: MemoryView) -> None:
    """Nothing is done, and the record of the first request stays."""
    run(keyed(PUT))
    [reused] = run(keyed(Put(KEY, b"other"), fingerprint=b"g"))
    [again] = run(keyed(PUT))
    assert reused == Outcome(Code.IDEMPOTENCY_KEY_REUSED, 2)
    assert again == Outcome(Code.OK, 1, created=True, replayed=True)
    assert count(view, IDEMPOTENCY) == 1


def test_commands_without_key_leave_no_record(run: Run, view: MemoryView) -> None:
    run(PUT, PUT)
    assert count(view, IDEMPOTENCY) == count(view, QUEUE) == 0


def pass_time(run: Run, until_ms: int, *, since_ms: int) -> None:
    """Bring the replicated time to `until_ms` with entries that are close enough to each other."""
    for time_ms in range(since_ms, until_ms, TIME_STEP_MAX_MS):
        run(time_ms=time_ms)
    run(time_ms=until_ms)


def test_record_lives_24_hours_by_the_time_of_batches(run: Run, view: MemoryView) -> None:
    """The first command at 24 hours or later finds it gone, a millisecond before it does not."""
    run(keyed(PUT), time_ms=1_000)
    pass_time(run, 1_000 + 24 * HOUR_MS - 1, since_ms=1_000)
    [before] = run(keyed(PUT), time_ms=1_000 + 24 * HOUR_MS - 1)
    [after] = run(keyed(PUT), time_ms=1_000 + 24 * HOUR_MS)
    assert (before.replayed, after.replayed) == (True, False)
    assert count(view, IDEMPOTENCY) == count(view, QUEUE) == 1


def test_time_never_goes_back(run: Run, view: MemoryView) -> None:
    """After a leader whose clock is behind, a record still lives its full time on the clock of the one before."""
    pass_time(run, 100 * HOUR_MS, since_ms=0)
    run(keyed(PUT), time_ms=1 * HOUR_MS)
    assert read_header(view).time_ms == 100 * HOUR_MS
    pass_time(run, 123 * HOUR_MS, since_ms=100 * HOUR_MS)
    assert run(keyed(PUT), time_ms=123 * HOUR_MS)[0].replayed
    pass_time(run, 124 * HOUR_MS, since_ms=123 * HOUR_MS)
    assert not run(keyed(PUT), time_ms=124 * HOUR_MS)[0].replayed


def test_a_wrong_clock_ages_nothing(run: Run, view: MemoryView, level: int) -> None:
    """A stamp that is 25 hours ahead advances the time by one step; at level 1 it made a key of seconds run again."""
    run(keyed(PUT), time_ms=1_000)
    run(PUT, time_ms=1_000 + 25 * HOUR_MS)
    [again] = run(keyed(PUT), time_ms=2_000)
    if level == FIRST:
        assert not again.replayed
        return
    assert again.replayed
    # The first entry began at 0, and had no more than a second to go.
    assert read_header(view).time_ms == 1_000 + TIME_STEP_MAX_MS


def test_expiry_work_per_command_is_bounded(run: Run, view: MemoryView) -> None:
    """After a long silence each command removes a few old records, with or without a key of its own."""
    run(*(keyed(PUT, f"key-{number:02}") for number in range(10)), time_ms=0)
    pass_time(run, 48 * HOUR_MS, since_ms=0)
    run(PUT, time_ms=48 * HOUR_MS)
    assert count(view, IDEMPOTENCY) == 10 - LIMITS.removals_max
    assert run(keyed(PUT, "key-00"), time_ms=48 * HOUR_MS)[0].replayed is False
    assert count(view, IDEMPOTENCY) == 10 - 2 * LIMITS.removals_max + 1
    run(*[PUT] * 4, time_ms=48 * HOUR_MS)
    assert count(view, IDEMPOTENCY) == count(view, QUEUE) == 1
    assert run(keyed(PUT, "key-00"), time_ms=48 * HOUR_MS)[0].replayed is True


def test_oldest_records_leave_when_the_table_is_full() -> None:
    """Never more than 100,000; the newest stay."""
    overlay, header = Overlay(MemoryView()), Header()
    table = IdempotencyTable(overlay, header)
    outcome = Outcome(Code.OK, 1)
    for number in range(LIMITS.entries_max + 3):
        table.store(Idempotency(str(number), b"f"), outcome)
    assert LIMITS.entries_max == 100_000
    assert header.queue.next - header.queue.first == LIMITS.entries_max
    known = [table.answer(Idempotency(str(number), b"f"), 1) is not None for number in (0, 2, 3, LIMITS.entries_max)]
    assert known == [False, False, True, True]


def test_large_outcomes_push_the_oldest_out() -> None:
    """The sum of sizes is bounded as well, and counted exactly: an emptied table is back at zero."""
    view = MemoryView()
    overlay, header = Overlay(view), Header()
    table = IdempotencyTable(overlay, header, Limits(keep_ms=10, size_bytes_max=600))
    for number in range(8):
        table.store(Idempotency(str(number), b"f" * 150), Outcome(Code.OK, 1))
    assert header.queue.size_bytes <= 600
    assert header.queue.next - header.queue.first == 3
    header.time_ms = 10
    table.expire()
    table.expire()
    assert (header.queue.first, header.queue.size_bytes) == (header.queue.next, 0)
    view.commit(overlay.writes)
    assert view.values == {}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 128)), max_size=60))
def test_bounds_hold_whatever_is_stored(records: list[tuple[int, int]]) -> None:
    """After every command: the table counts what it holds, and never holds more; one client's large answers push out
    as many records as they take the place of, and no more."""
    view, header = MemoryView(), Header(level=HIGHEST)
    limits = Limits(entries_max=20, size_bytes_max=12_000)
    for number, (key, results) in enumerate(records):
        overlay = Overlay(view)
        outcome = Outcome(Code.OK, 2**40, items=(Item(2**40, previous_revision=2**40),) * results)
        before = header.queue.first
        table = IdempotencyTable(overlay, header, limits)
        table.store(Idempotency(f"{number}-{'k' * key}", b"f" * 32), outcome)
        view.commit(overlay.writes)
        held = sum(len(key) + len(value) for key, value in view.values.items())
        assert header.queue.size_bytes == held <= limits.size_bytes_max
        assert header.queue.next - header.queue.first == count(view, QUEUE) <= limits.entries_max
        assert header.queue.first - before < limits.evictions_max, "the bound on evictions was in the way"


def test_a_large_record_takes_the_place_of_as_many_small_ones_as_it_needs() -> None:
    """At once: with a few evictions per command, clients with large answers would make the table outgrow its bound."""
    overlay, header = Overlay(MemoryView()), Header(level=HIGHEST)
    limits = Limits(size_bytes_max=12_000)
    for number in range(200):
        IdempotencyTable(overlay, header, limits).store(Idempotency(str(number), b"f" * 32), Outcome(Code.OK, 1))
    items = (Item(2**40, previous_revision=2**40),) * TRANSACTION_ITEMS_MAX
    for number in range(3):
        large = Outcome(Code.OK, 2**40, items=items)
        IdempotencyTable(overlay, header, limits).store(Idempotency(f"large-{number}", b"f" * 32), large)
        assert header.queue.size_bytes <= limits.size_bytes_max
    table = IdempotencyTable(overlay, header, limits)
    assert [table.answer(Idempotency(f"large-{number}", b"f" * 32), 1) is not None for number in range(3)] == [True] * 3
    assert table.answer(Idempotency("199", b"f" * 32), 1) is not None


def test_largest_record_is_as_small_as_documented() -> None:
    """So that at least 16,384 records fit, whatever clients send."""
    overlay, header = Overlay(MemoryView()), Header(level=HIGHEST)
    items = (Item(2**64 - 1, created=True, previous_revision=2**64 - 1),) * TRANSACTION_ITEMS_MAX
    outcome = Outcome(Code.OK, 2**64 - 1, current_revision=2**64 - 1, items=items, failed_operation=127)
    IdempotencyTable(overlay, header).store(Idempotency("k" * 255, b"f" * 32), outcome)
    assert header.queue.size_bytes <= 4096 == LIMITS.size_bytes_max // 16_384


def test_age_is_known_across_overlays() -> None:
    """The header remembers the age of the oldest record, also when a removal made another the oldest."""
    view, header, limits = MemoryView(), Header(), Limits(keep_ms=10, removals_max=2)
    remaining = []
    for time_ms in (0, 5, 9, 10, 15, 19):
        overlay = Overlay(view)
        header.time_ms = time_ms
        table = IdempotencyTable(overlay, header, limits)
        table.expire()
        if time_ms < 10:
            table.store(Idempotency(str(time_ms), b"f"), Outcome(Code.OK, 1))
        view.commit(overlay.writes)
        remaining.append(count(view, IDEMPOTENCY))
    assert remaining == [1, 2, 3, 2, 1, 0]


def test_gap_in_the_queue_stops_the_node(run: Run, view: MemoryView) -> None:
    """A missing queue entry is damage; guessing would part this replica from the others."""
    run(keyed(PUT))
    pass_time(run, 48 * HOUR_MS, since_ms=0)
    overlay = Overlay(view)
    overlay.delete(queue_key(0))
    with pytest.raises(InvariantViolated, match="gap"):
        apply_batch(overlay, encode_batch(48 * HOUR_MS, [Command(PUT)]), b"")
