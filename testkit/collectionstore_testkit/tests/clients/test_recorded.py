"""What clients printed: taken line by line, also twice, and judged as a whole."""

from __future__ import annotations

import msgspec

from collectionstore_testkit.clients.program import Broken, Done, Ended, Line, Started, Totals, Unreached
from collectionstore_testkit.clients.recorded import Recorded, summary
from collectionstore_testkit.histories.operations import Answer, Operation, Seen, Step


def put(number: int, value: str, *, revision: int, began: float, ended: float) -> Operation:
    step, answer = (
        Step("put", "kv/a", value),
        Answer(succeeded=True, revision=revision, seen=(Seen(existed=revision > 1),)),
    )
    return Operation(number, "c", (step,), began, ended, "ok", answer=answer)


def get(number: int, value: str, *, revision: int, began: float, ended: float) -> Operation:
    seen = (Seen(existed=True, value=value, revision=revision),)
    answer = Answer(succeeded=True, revision=revision, seen=seen)
    return Operation(number, "c", (Step("get", "kv/a"),), began, ended, "ok", answer=answer)


GOOD = (
    put(1, "v1", revision=1, began=10.0, ended=10.1),
    put(2, "v2", revision=2, began=10.2, ended=12.5),
    get(3, "v2", revision=2, began=12.6, ended=12.7),
)


def recorded(*lines: Line) -> Recorded:
    made = Recorded()
    for line in lines:
        made.take(msgspec.json.encode(line).decode())
    return made


def finished(*history: Operation) -> Recorded:
    return recorded(Started(9.0), *map(Done, history), Ended(13.0, len(history)))


def test_a_history_that_one_store_explains_has_no_fault() -> None:
    """Every promise was kept, so there is nothing to say."""
    assert finished(*GOOD).faults() == []


def test_an_acknowledged_write_that_was_lost_is_a_fault() -> None:
    """The newest value was acknowledged, and a later read finds the one before."""
    lost = get(4, "v1", revision=1, began=12.8, ended=12.9)
    (fault,) = finished(*GOOD, lost).faults()
    assert "older revision" in fault


def test_clients_that_did_not_end_are_a_fault_with_their_reason() -> None:
    """Without an end the history may lack anything, however good the part that is known."""
    (fault,) = recorded(Unreached("503 no leader"), *map(Done, GOOD)).faults()
    assert "did not end" in fault
    assert "503 no leader" in fault


def test_a_line_that_was_lost_on_the_way_is_a_fault() -> None:
    """The program says how many operations it has printed."""
    (fault,) = recorded(*map(Done, GOOD[:2]), Ended(13.0, 3)).faults()
    assert "printed 3 operations, 2 were read" in fault


def test_an_answer_that_the_api_does_not_allow_is_a_fault() -> None:
    """The program says so itself, and waits are broken off by it."""
    made = recorded(*map(Done, GOOD), Broken("418 for a get"), Ended(13.0, 3))
    assert "418 for a get" in made.problem()
    assert made.faults() == [made.problem()]


def test_what_is_no_line_is_a_problem() -> None:
    """A traceback in the log is reported in full."""
    made = Recorded()
    made.take("Traceback (most recent call last):")
    made.take("ModuleNotFoundError: No module named 'aiohttp'")
    assert "No module named 'aiohttp'" in made.problem()


def test_a_log_that_begins_anew_changes_nothing() -> None:
    """After a broken connection all lines come again, older counts after newer ones."""
    lines: tuple[Line, ...] = (
        Started(9.0),
        Totals(11.0, 1, 0, 0, 0, 1),
        *map(Done, GOOD),
        Totals(12.9, 3, 0, 0, 2, 2),
    )
    made = recorded(*lines, *lines[:3])
    assert made.history == list(GOOD)
    assert made.totals == Totals(12.9, 3, 0, 0, 2, 2)


def test_pauses_are_between_acknowledged_writes_of_a_window() -> None:
    """Reads do not count, nor writes before it; the pause at an edge counts from there."""
    made = finished(*GOOD)
    assert [round(pause, 3) for pause in made.pauses(9.5)] == [0.6, 2.4]
    assert [round(pause, 3) for pause in made.pauses(10.5, 14.0)] == [2.0, 1.5]
    assert summary(made.pauses(9.5)) == "longest time without a write 2.40 s, unavailable (over 1 s) 2.4 s"
