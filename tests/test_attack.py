"""The attack program: its verdict, and a few attacks against real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from collectionstore_attack.attacks import ATTACKS
from collectionstore_attack.attacks.bodies import DOCUMENT_BYTES, DOCUMENTS, TRANSACTION_BYTES, TRANSACTIONS
from collectionstore_attack.bounds import Measured, broken
from collectionstore_attack.members import Memory, Snapshot, exits, floor_s, worst_delay_s, worst_hold_s
from collectionstore_attack.pauses import TICK_S, pause_s, watched
from collectionstore_attack.victim import Sample
from collectionstore_testkit.clusters.ports import free_base_port

pytestmark = pytest.mark.xdist_group("attack")

COMMAND = (sys.executable, "-m", "collectionstore_attack")
MIB = 1 << 20
INFINITE = float("inf")


def _samples(began: float, count: int, *, seconds: float = 0.01, status: int = 200) -> list[Sample]:
    return [Sample(began + number / 100, seconds, number % 2 == 0, status) for number in range(count)]


def _measured() -> Measured:
    return Measured(
        attack="a",
        answers=Counter(),
        wrong_answers=[],
        calm=_samples(0, 100),
        during=_samples(10, 100),
        after=_samples(20, 100),
        ended=20.0,
        leader_changes=0,
        read_only=False,
        exits=0,
        delay_s=5.0,
        hold_s=0.05,
        hold_floor_s=0.04,
        pause_s=0.0,
        memory_before=100 * MIB,
        memory_peak=200 * MIB,
        memory_after=120 * MIB,
        memory_max=200 * MIB,
    )


def test_nothing_is_broken_at_the_bounds() -> None:
    assert broken(_measured(), timing=True) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"exits": 1}, "1 members exited"),
        ({"gone": "a does not answer"}, "a does not answer"),
        ({"lost": ["key k: lost"]}, "key k: lost"),
        ({"wrong_answers": ["x: answered 200"]}, "x: answered 200"),
        ({"memory_peak": 201 * MIB}, "a member held 201 MiB, its limit is 200 MiB"),
        ({"during": []}, "the victim sent nothing: nothing was measured"),
    ],
)
def test_what_breaks_a_bound_on_any_machine(change: dict[str, object], sentence: str) -> None:
    assert broken(replace(_measured(), **change), timing=False) == [sentence]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"leader_changes": 2}, "the leader changed 2 times"),
        (
            {"hold_s": 0.25, "hold_floor_s": 0.1, "pause_s": 0.04},
            "the event loop was held for 0.1 to 0.25 s, not 0.05 s; the machine stood still for 0.040 s",
        ),
        (
            {"during": _samples(10, 94) + _samples(11, 6, status=503)},
            "94.0% of the victim's requests succeeded, not 95%",
        ),
        ({"after": [Sample(began=25.0, seconds=0.5, write=False, status=0)]}, "normal again after 5.5 s, not 5 s"),
    ],
)
def test_what_breaks_a_bound_on_an_idle_machine(change: dict[str, object], sentence: str) -> None:
    measured = replace(_measured(), **change)  # type: ignore[arg-type]
    assert broken(measured, timing=True) == [sentence]
    assert broken(measured, timing=False) == []


def test_refused_for_space_is_right_for_writes_to_a_full_disk_alone() -> None:
    full = replace(_measured(), read_only=True, during=_samples(10, 100, status=507))
    assert full.success == 0.5
    assert replace(full, read_only=False).success == 0.0


def test_worst_delay_is_the_highest_bucket_that_grew() -> None:
    buckets = {0.001: 5.0, 0.05: 7.0, 0.1: 7.0, INFINITE: 8.0}
    before = Snapshot((1,), 1, (Memory(1, 1),), (buckets,), (buckets,))
    after = replace(before, delays=({0.001: 9.0, 0.05: 12.0, 0.1: 13.0, INFINITE: 14.0},))
    assert worst_delay_s(before, before) == 0.001
    assert worst_delay_s(before, after) == 0.1
    assert (
        worst_delay_s(before, replace(after, delays=({0.001: 9.0, 0.05: 9.0, 0.1: 9.0, INFINITE: 15.0},))) == INFINITE
    )
    assert exits(before, replace(after, pids=(2,))) == 1
    assert worst_delay_s(before, replace(before, pids=(2,), delays=({0.001: 1.0, 0.05: 2.0, INFINITE: 2.0},))) == 0.05


def test_worst_hold_is_of_its_own_histogram() -> None:
    calm, late = {0.001: 5.0, 0.1: 5.0, INFINITE: 5.0}, {0.001: 5.0, 0.1: 6.0, INFINITE: 6.0}
    before = Snapshot((1, 2), 1, (Memory(1, 1),) * 2, (calm, calm), (calm, calm))
    after = replace(before, delays=(calm, late))
    assert (worst_delay_s(before, after), worst_hold_s(before, after)) == (0.1, 0.001)
    assert worst_hold_s(before, replace(after, holds=(late, calm))) == 0.1


def test_bodies_are_as_large_as_is_allowed() -> None:
    assert all(DOCUMENT_BYTES * 0.9 < len(body) <= MIB for body in DOCUMENTS.values())
    assert all(MIB * 0.9 < len(body) <= TRANSACTION_BYTES for body in TRANSACTIONS.values())


def test_unknown_attack_is_named_with_those_there_are() -> None:
    done = subprocess.run([*COMMAND, "--only", "idle,earthquake"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"unknown: earthquake; allowed: {', '.join(ATTACKS)}" in done.stderr


def test_attacks_break_nothing_that_a_busy_machine_excuses() -> None:
    """Rows for each attack, with requests of the victim, and no exit, lost write or wrong answer."""
    names = ["gets-of-all-values", "brackets", "idle", "never-read", "malformed", "admin-calls"]
    port = str(free_base_port(60, within=range(10_000, 20_000)))
    done = subprocess.run(
        [*COMMAND, "--only", ",".join(names), "--seconds", "4", "--no-timing", "--base-port", port, "-o", "json"],
        capture_output=True,
        text=True,
        timeout=420,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)
    assert [row["attack"] for row in rows] == names
    idle = [row for row in rows if row["victim_requests"] < 20 or not row["answers"]]
    assert not idle, idle


def test_the_next_bound_below_a_bucket_is_its_floor() -> None:
    snapshot = Snapshot((1,), 1, (), (), ({0.001: 9.0, 0.05: 9.0, 0.1: 9.0, INFINITE: 9.0},))

    assert [floor_s(snapshot, bound) for bound in (0.0, 0.001, 0.05, 0.1, INFINITE)] == [0.0, 0.0, 0.001, 0.05, 0.1]


def test_what_a_pause_of_the_machine_explains_is_not_held_against_a_member() -> None:
    """The loop was held for more than 75 ms, and the machine stood still for 30 of them: 50 may be its own."""
    explained = replace(_measured(), hold_s=0.1, hold_floor_s=0.075, pause_s=0.03)

    assert broken(explained, timing=True) == []
    assert broken(replace(explained, pause_s=0.02), timing=True) != []


def test_a_sleep_that_waited_for_a_processor_is_no_pause() -> None:
    assert pause_s(TICK_S, 0.0) == 0.0
    assert pause_s(TICK_S + 0.04, 0.04) == 0.0
    assert pause_s(TICK_S + 0.05, 0.02) == pytest.approx(0.03)


async def test_every_processor_is_watched_and_the_watchers_end() -> None:
    async with watched() as pauses:
        assert pauses.worst_s == 0.0

    assert 0.0 < pauses.worst_s < 60.0
