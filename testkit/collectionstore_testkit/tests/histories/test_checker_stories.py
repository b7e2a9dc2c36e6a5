"""Histories whose verdict is known: the ones that other stores were caught with, and the ones that only look bad."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectionstore_testkit.histories.check import main
from collectionstore_testkit.histories.checker import Linearizable, check
from collectionstore_testkit.histories.operations import Guard, Operation, Seen, Step, load, save
from collectionstore_testkit.tests.histories.stories import delete, get, put, transact

ABSENT = Seen(existed=False)

GOOD = {
    "nothing": [],
    "reads of nothing": [get((0, 1), "x", None)],
    "one after the other": [put((0, 1), "x", "a", 1), get((2, 3), "x", "a", 1), put((4, 5), "x", "b", 2)],
    "a read beside a write sees the old value": [put((0, 5), "x", "a", 1), get((1, 2), "x", None)],
    "a read beside a write sees the new value": [put((0, 5), "x", "a", 1), get((1, 2), "x", "a", 1)],
    "an unknown write appears late": [
        put((0, None), "x", "a", outcome="unknown"),
        get((1, 2), "x", None),
        get((9, 10), "x", "a", 7),
    ],
    "an unknown write never appears": [put((0, None), "x", "a", outcome="unknown"), get((5, 6), "x", None)],
    "an unknown delete explains an absence": [
        put((0, 1), "x", "a", 1),
        delete((2, None), "x", outcome="unknown"),
        get((3, 4), "x", "a", 1),
        get((5, 6), "x", None),
    ],
    "an unknown write that is never read explains a failed compare-and-set": [
        put((0, 1), "x", "a", 1),
        put((2, None), "x", "b", outcome="unknown"),
        put((3, 4), "x", "c", 3, expects=1, current=2),
    ],
    "an unknown transaction has one revision, also where it was seen by its revision alone": [
        put((0, 1), "x", "a", 1),
        put((2, 3), "y", "b", 2),
        transact((4, None), [Step("put", "x", "c"), Step("put", "y", "d")], outcome="unknown"),
        put((5, 6), "y", "e", 4, expects=2, current=3),
        put((7, 8), "y", "f", 5),
        get((9, 10), "x", "c", 3),
    ],
    "a compare-and-set chain": [
        put((0, 1), "x", "a", 1, expects=0),
        put((2, 3), "x", "b", 2, expects=1),
        put((2, 4), "x", "c", 3, expects=1, current=2),
    ],
    "a failed write is not seen": [put((0, 1), "x", "a", outcome="failed"), get((2, 3), "x", None)],
    "a transaction joins two keys": [
        transact((0, 4), [Step("put", "x", "a"), Step("put", "y", "b")]),
        get((1, 2), "x", "a"),
        get((3, 4), "y", "b"),
    ],
    "keys are apart": [put((0, 9), "x", "a", 2), put((1, 2), "y", "b", 1), get((3, 4), "y", "b", 1)],
}

BAD = {
    "a stale read": [put((0, 1), "x", "a", 1), put((2, 3), "x", "b", 2), get((4, 5), "x", "a", 1)],
    "a lost update": [put((0, 1), "x", "a", 1), get((2, 3), "x", None)],
    "a dirty read": [put((0, 1), "x", "a", outcome="failed"), get((2, 3), "x", "a")],
    "a value out of thin air": [get((0, 1), "x", "a")],
    "a read from the future": [get((0, 1), "x", "a", 1), put((2, 3), "x", "a", 1)],
    "two reads disagree about the order": [
        put((0, 9), "x", "a"),
        put((0, 9), "x", "b"),
        get((1, 2), "x", "a"),
        get((3, 4), "x", "b"),
        get((5, 6), "x", "a"),
    ],
    "an unknown write appears, vanishes and appears": [
        put((0, 1), "x", "a", 1),
        put((2, None), "x", "b", outcome="unknown"),
        get((3, 4), "x", "b"),
        get((5, 6), "x", "a"),
        get((7, 8), "x", "b"),
    ],
    "both of two compare-and-sets win": [
        put((0, 1), "x", "a", 1),
        put((2, 5), "x", "b", 2, expects=1),
        put((2, 5), "x", "c", 3, expects=1),
    ],
    "a compare-and-set fails without a concurrent write": [
        put((0, 1), "x", "a", 1),
        put((2, 3), "x", "b", 2, expects=1, current=1),
    ],
    "a create finds what was never there": [put((0, 1), "x", "a", 1, expects=0, current=5)],
    "a retried write happened twice": [
        put((0, 1), "x", "a", 1),
        get((2, 3), "x", "a", 1),
        put((4, 5), "x", "b", 2),
        get((6, 7), "x", "a", 3),
    ],
    "two writes share a revision": [put((0, 9), "x", "a", 4), put((1, 8), "y", "b", 4)],
    "revisions against time": [put((0, 1), "x", "a", 5), put((2, 3), "y", "b", 4)],
    "a deleted key is read": [put((0, 1), "x", "a", 1), delete((2, 3), "x"), get((4, 5), "x", "a", 1)],
    "a delete finds what is not there": [delete((0, 1), "x", existed=True)],
    "half of a transaction is seen": [
        transact((0, 1), [Step("put", "x", "a"), Step("put", "y", "b")]),
        get((2, 3), "x", "a"),
        get((4, 5), "y", None),
    ],
    "write skew": [
        # Both saw the other's key absent; one of them must have seen it.
        transact((0, 9), [Step("get", "x"), Step("put", "y", "a")], seen=[ABSENT, ABSENT]),
        transact((0, 9), [Step("get", "y"), Step("put", "x", "b")], seen=[ABSENT, ABSENT]),
    ],
    "a guard holds that cannot": [
        put((0, 1), "x", "a", 1),
        transact((2, 3), [Step("put", "y", "b")], guards=[Guard("x", "exists", operand=False)]),
    ],
    "a value under another key": [put((0, 1), "x", "a", 1), get((2, 3), "y", "a", 1)],
}


@pytest.mark.parametrize("name", GOOD)
def test_what_one_store_can_do_is_accepted(name: str) -> None:
    verdict = check(GOOD[name])
    assert verdict.ok, verdict.explanation
    assert not verdict.explanation


@pytest.mark.parametrize("name", BAD)
def test_what_no_single_store_can_do_is_refused(name: str) -> None:
    verdict = check(BAD[name])
    assert verdict.linearizable is Linearizable.NO
    assert verdict.explanation


def test_contradiction_is_cut_down_to_who_takes_part() -> None:
    noise = [
        one
        for number in range(40)
        for one in (
            put((100 + number, 100.4 + number), "x", f"n{number}"),
            get((100.5 + number, 100.9 + number), "x", f"n{number}"),
        )
    ]
    stale = [put((0, 1), "x", "old"), put((200, 201), "x", "new"), get((202, 203), "x", "old")]
    verdict = check([*noise, *stale])
    assert verdict.linearizable is Linearizable.NO
    assert "no order explains these 3 operations on x" in verdict.explanation
    assert "put x = old" in verdict.explanation
    assert "get x: old" in verdict.explanation


def test_bound_ends_in_ignorance_not_in_a_yes() -> None:
    crowd: list[Operation] = [put((0, 100), "x", f"v{number}") for number in range(12)]
    crowd += [get((101, 102), "x", "v0"), get((103, 104), "x", "v1")]
    verdict = check(crowd, steps_max=50)
    assert verdict.linearizable is Linearizable.UNDECIDED
    assert not verdict.ok
    assert "gave up" in verdict.explanation


def test_long_history_of_an_honest_store_needs_no_search() -> None:
    history: list[Operation] = []
    for number in range(20_000):
        history.append(put((number, number + 0.9), f"k{number % 5}", f"v{number}", number + 1))
    verdict = check(history)
    assert verdict.ok
    assert verdict.searched == 0
    assert verdict.groups == 5


def test_unseen_unknown_write_is_put_where_an_answer_needs_it_without_a_search() -> None:
    """The newest of several that were under way; the older ones came to nothing."""
    history = [put((0, 1), "x", "a", 1)]
    history += [put((2 + number, None), "x", f"lost{number}", outcome="unknown") for number in range(5)]
    history += [delete((8, None), "x", outcome="unknown"), put((9, 10), "x", "b", 3, expects=0)]
    verdict = check(history)
    assert verdict.ok, verdict.explanation
    assert verdict.searched == 0
    late = delete((11, None), "x", outcome="unknown")
    assert check([one for one in history if one.then[0].action != "delete"] + [late]).linearizable is Linearizable.NO


def test_histories_survive_the_disk(tmp_path: Path) -> None:
    for name, history in (GOOD | BAD).items():
        path = tmp_path / f"{name}.jsonl"
        save(path, history)
        assert load(path) == history


@pytest.mark.parametrize(
    ("histories", "code", "says"),
    [
        (["one after the other"], 0, "linearizable; 3 operations"),
        (["a stale read"], 1, "not linearizable"),
        (["one after the other", "a lost update"], 1, "no order explains"),
    ],
)
def test_command_says_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], histories: list[str], code: int, says: str
) -> None:
    paths = []
    for name in histories:
        path = tmp_path / f"{name}.jsonl"
        save(path, (GOOD | BAD)[name])
        paths.append(str(path))
    assert main(paths) == code
    assert says in capsys.readouterr().out


def test_command_refuses_what_is_no_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.jsonl").write_text('{"id": "one"}\n')
    assert main([str(tmp_path / "bad.jsonl")]) == 2
    assert "cannot be read" in capsys.readouterr().err
