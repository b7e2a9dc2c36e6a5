"""Consumers of changes in the replicated state: created once, moved forward only, few of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.errors import InvalidRequest, TooLarge
from collectionstore_node.statemachine.admissible import CommandLimits, check_command
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    AckConsumer,
    Action,
    Code,
    Command,
    DeleteConsumer,
    Outcome,
    PutConsumer,
    decode_command,
    encode_batch,
    encode_command,
    level_needed,
)
from collectionstore_node.statemachine.consumers import (
    CONSUMERS_MAX,
    PASSED_MAX,
    REQUEST_BYTES_MAX,
    find_consumer,
    scan_consumers,
)
from collectionstore_node.statemachine.costs import ENTRY_COST_MAX
from collectionstore_node.statemachine.levels import CHANGES, ENGINE
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.memory_view import MemoryView

MAILS = PutConsumer("mails", "collection", "people", b"{}")


def run(view: MemoryView, *actions: Action, level: int = CHANGES, time_ms: int = 1_000) -> list[Outcome]:
    overlay = Overlay(view)
    outcomes = apply_batch(overlay, encode_batch(time_ms, [Command(one) for one in actions], level), b"")
    view.commit(overlay.writes)
    return outcomes


@pytest.fixture
def view() -> MemoryView:
    return MemoryView()


def test_a_consumer_begins_behind_its_creation_or_where_it_is_told(view: MemoryView) -> None:
    first, second = run(view, MAILS, PutConsumer("old", "store", "", b"{}", 0, PASSED_MAX))

    assert (first.code, first.created, second.created) == (Code.OK, True, True)
    mails, old = find_consumer(view, "mails"), find_consumer(view, "old")
    assert mails is not None
    assert (mails.revision, mails.passed, mails.created_revision, mails.acked_ms) == (1, PASSED_MAX, 1, 1_000)
    assert old is not None
    assert (old.revision, old.passed) == (0, PASSED_MAX)
    assert [name for name, _ in scan_consumers(view)] == ["mails", "old"]


def test_the_same_again_changes_nothing_and_another_one_is_refused(view: MemoryView) -> None:
    run(view, MAILS, AckConsumer("mails", 1, PASSED_MAX))
    before = dict(view.values)

    again, other = run(
        view, PutConsumer("mails", "collection", "people", b"{}", 0), PutConsumer("mails", "collection", "films", b"{}")
    )

    assert (again.code, again.created, again.current_revision) == (Code.OK, False, 1)
    assert (other.code, other.current_revision) == (Code.CONSUMER_EXISTS, 1)
    assert find_consumer(view, "mails") is not None
    assert {key: value for key, value in view.values.items() if key[0] == 0x0F} == {
        key: value for key, value in before.items() if key[0] == 0x0F
    }


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3)), max_size=8))
def test_it_only_moves_forward(acks: list[tuple[int, int]]) -> None:
    view = MemoryView()
    run(view, *[PutConsumer("c", "store", "", b"{}", 0, 0)] * 6)
    furthest = (0, 0)
    for revision, passed in acks:
        (outcome,) = run(view, AckConsumer("c", revision, passed))
        assert outcome.code is Code.OK
        furthest = max(furthest, (revision, passed))
        found = find_consumer(view, "c")
        assert found is not None
        assert (found.revision, found.passed) == furthest


def test_no_position_is_ahead_of_the_log(view: MemoryView) -> None:
    run(view, MAILS)

    ahead, put = run(view, AckConsumer("mails", 10, 0), PutConsumer("new", "store", "", b"{}", 10, 0))

    assert (ahead.code, put.code) == (Code.CONSUMER_POSITION, Code.CONSUMER_POSITION)
    assert find_consumer(view, "new") is None


def test_what_is_not_there_is_not_found(view: MemoryView) -> None:
    codes = [one.code for one in run(view, AckConsumer("no", 0, 0), DeleteConsumer("no"), MAILS)]
    gone = [one.code for one in run(view, DeleteConsumer("mails"), DeleteConsumer("mails"))]

    assert codes == [Code.CONSUMER_NOT_FOUND, Code.CONSUMER_NOT_FOUND, Code.OK]
    assert gone == [Code.OK, Code.CONSUMER_NOT_FOUND]


def test_they_are_few(view: MemoryView) -> None:
    run(view, *(PutConsumer(f"c{number}", "store", "", b"{}") for number in range(CONSUMERS_MAX)))

    (more,) = run(view, PutConsumer("more", "store", "", b"{}"))
    run(view, DeleteConsumer("c1"))

    assert more.code is Code.TOO_MANY_CONSUMERS
    assert run(view, PutConsumer("more", "store", "", b"{}"))[0].code is Code.OK


@pytest.mark.parametrize("action", [MAILS, AckConsumer("mails", 1, 0), DeleteConsumer("mails")])
def test_before_their_level_nothing_happens(view: MemoryView, action: Action) -> None:
    """No correct member proposes them then; a wrong one must not make the states diverge."""
    assert level_needed(action) == CHANGES

    assert run(view, action, level=ENGINE)[0].code is Code.LEVEL_TOO_LOW
    assert list(scan_consumers(view)) == []


@pytest.mark.parametrize("action", [MAILS, AckConsumer("mails", 1 << 62, PASSED_MAX), DeleteConsumer("mails")])
def test_commands_keep_their_encoding(action: Action) -> None:
    command = Command(action)

    assert decode_command(encode_command(command)) == command
    check_command(command, CommandLimits())


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (DeleteConsumer("No"), "invalid_name"),
        (PutConsumer("a/b", "store", "", b"{}"), "invalid_name"),
        (PutConsumer("c", "collection", "No", b"{}"), "invalid_name"),
        (PutConsumer("c", "planet", "earth", b"{}"), "invalid_body"),
        (PutConsumer("c", "store", "people", b"{}"), "invalid_body"),
        (PutConsumer("c", "collection", "", b"{}"), "invalid_body"),
        (PutConsumer("c", "store", "", b"{}", -1), "invalid_body"),
        (PutConsumer("c", "store", "", b"{}", 1, PASSED_MAX + 1), "invalid_body"),
        (AckConsumer("c", 1 << 63, 0), "invalid_body"),
        (AckConsumer("c", 1, -1), "invalid_body"),
    ],
)
def test_odd_commands_of_a_peer_are_refused(action: Action, code: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_command(Command(action), CommandLimits())
    assert refused.value.code == code


def test_a_long_request_is_refused() -> None:
    with pytest.raises(TooLarge):
        check_command(Command(PutConsumer("c", "store", "", b"x" * (REQUEST_BYTES_MAX + 1))), CommandLimits())


def test_reading_all_of_them_is_counted(view: MemoryView) -> None:
    # They are read to count them: an entry of a thousand commands would read a gigabyte otherwise.
    for number in range(CONSUMERS_MAX):
        run(view, PutConsumer(f"c{number}", "store", "", b"x" * REQUEST_BYTES_MAX))
    most = ENTRY_COST_MAX // (CONSUMERS_MAX * REQUEST_BYTES_MAX) + 1

    outcomes = run(view, *(PutConsumer(f"more{number}", "store", "", b"{}") for number in range(2 * most)))

    codes = [one.code for one in outcomes]
    assert codes[0] is Code.TOO_MANY_CONSUMERS
    assert codes[most:] == [Code.DEFERRED] * most
