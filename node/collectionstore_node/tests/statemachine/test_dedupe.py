"""The idempotency table: what a retry hears, and when records leave."""

from __future__ import annotations

from collections.abc import Callable

import pytest

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
    KeyRef,
    Outcome,
    Put,
    Transaction,
    encode_batch,
)
from collectionstore_node.statemachine.dedupe import LIMITS, IdempotencyTable, Limits
from collectionstore_node.statemachine.header import Header, read_header
from collectionstore_node.statemachine.keys import IDEMPOTENCY, QUEUE, prefix_end, queue_key
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


def test_replay_of_a_transaction_brings_its_values_back(run: Run) -> None:
    run(Put(KEY, b"v1"))
    command = keyed(Transaction(then=(Get(KEY), Put(KEY, b"v2"))))
    [first] = run(command)
    [again] = run(command)
    assert again.items == first.items
    assert again.items[0].value == b"v1"
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


def test_record_lives_24_hours_by_the_time_of_batches(run: Run, view: MemoryView) -> None:
    """The first command at 24 hours or later finds it gone, a millisecond before it does not."""
    run(keyed(PUT), time_ms=1_000)
    [before] = run(keyed(PUT), time_ms=1_000 + 24 * HOUR_MS - 1)
    [after] = run(keyed(PUT), time_ms=1_000 + 24 * HOUR_MS)
    assert (before.replayed, after.replayed) == (True, False)
    assert count(view, IDEMPOTENCY) == count(view, QUEUE) == 1


def test_time_never_goes_back(run: Run, view: MemoryView) -> None:
    """After a leader whose clock is behind, a record still lives its full time on the clock of the one before."""
    run(PUT, time_ms=100 * HOUR_MS)
    run(keyed(PUT), time_ms=1 * HOUR_MS)
    assert read_header(view).time_ms == 100 * HOUR_MS
    assert run(keyed(PUT), time_ms=123 * HOUR_MS)[0].replayed
    assert not run(keyed(PUT), time_ms=124 * HOUR_MS)[0].replayed


def test_expiry_work_per_command_is_bounded(run: Run, view: MemoryView) -> None:
    """After a long silence each command removes a few old records, with or without a key of its own."""
    run(*(keyed(PUT, f"key-{number:02}") for number in range(10)), time_ms=0)
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
    table = IdempotencyTable(overlay, header, Limits(keep_ms=10, size_bytes_max=500))
    for number in range(8):
        table.store(Idempotency(str(number), b"f" * 150), Outcome(Code.OK, 1))
    assert header.queue.size_bytes <= 500
    assert header.queue.next - header.queue.first == 3
    header.time_ms = 10
    table.expire()
    table.expire()
    assert (header.queue.first, header.queue.size_bytes) == (header.queue.next, 0)
    view.commit(overlay.writes)
    assert view.values == {}


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
    overlay = Overlay(view)
    overlay.delete(queue_key(0))
    with pytest.raises(InvariantViolated, match="gap"):
        apply_batch(overlay, encode_batch(48 * HOUR_MS, [Command(PUT)]), b"")
