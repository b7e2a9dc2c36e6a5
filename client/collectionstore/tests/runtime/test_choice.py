"""Who is asked, how long is waited, how often is tried: pure."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from collectionstore.models.ids import new_id
from collectionstore.runtime.backoff import (
    FAILOVER_MAX_S,
    OVERLOAD_MAX_S,
    TOKENS,
    RetryBudget,
    failover_pause_s,
    overload_pause_s,
)
from collectionstore.runtime.choice import Load, choose


@dataclass
class Candidate:
    name: str
    load: Load = field(default_factory=Load)
    inflight: int = 0


def shares(members: list[Candidate], latencies: dict[str, float], calls: int = 6_000) -> Counter[str]:
    """Return how many of `calls`, of which 16 are under way at a time, each member gets."""
    chance = random.Random(7).random
    asked: Counter[str] = Counter()
    under_way: list[tuple[float, Candidate]] = []
    now = 0.0
    for _ in range(calls):
        while len(under_way) >= 16:
            under_way.sort(key=lambda one: one[0])
            now, done = under_way.pop(0)
            done.inflight -= 1
            done.load.answered(latencies[done.name], now)
        chosen = choose(members, now, chance)
        chosen.inflight += 1
        asked[chosen.name] += 1
        under_way.append((now + latencies[chosen.name], chosen))
    return asked


def test_equal_members_have_equal_shares() -> None:
    asked = shares([Candidate(name) for name in "abc"], dict.fromkeys("abc", 0.004))
    assert max(asked.values()) - min(asked.values()) < 0.1 * 2_000


def test_members_that_differ_by_little_do_too() -> None:
    asked = shares([Candidate(name) for name in "abc"], {"a": 0.002, "b": 0.003, "c": 0.0025})
    assert max(asked.values()) < 1.5 * min(asked.values())


def test_a_slow_member_is_avoided() -> None:
    asked = shares([Candidate(name) for name in "abc"], {"a": 0.004, "b": 0.004, "c": 0.4})
    assert asked["c"] < 0.02 * 6_000


def test_a_member_that_failed_is_left_alone_and_comes_back() -> None:
    members = [Candidate("a"), Candidate("b")]
    members[0].load.failed(0.0)
    assert {choose(members, 0.5, random.Random(seed).random).name for seed in range(20)} == {"b"}
    assert {choose(members, 1.5, random.Random(seed).random).name for seed in range(20)} == {"a", "b"}
    members[1].load.failed(0.0)
    assert choose(members, 0.5, lambda: 0.0).name in "ab"
    members[0].load.answered(0.001, 0.6)
    assert {choose(members, 0.7, random.Random(seed).random).name for seed in range(20)} == {"a"}


def test_failures_in_a_row_are_left_alone_for_longer() -> None:
    load = Load()
    for _ in range(10):
        load.failed(0.0)
    assert not load.healthy(9.9)
    assert load.healthy(10.0)


def test_the_budget_is_spent_and_given_back() -> None:
    budget = RetryBudget()
    assert sum(budget.take() for _ in range(2_000)) == TOKENS
    assert not budget.take()
    for _ in range(11):
        budget.succeeded()
    assert budget.take()
    assert not budget.take()


@pytest.mark.parametrize("attempt", [0, 1, 5, 1_000])
def test_pauses_are_bounded(attempt: int) -> None:
    assert 0 <= failover_pause_s(attempt, lambda: 1.0) <= FAILOVER_MAX_S
    assert 0 <= overload_pause_s(attempt, None, lambda: 1.0) <= OVERLOAD_MAX_S
    assert overload_pause_s(attempt, 3.0, lambda: 0.0) == 3.0
    assert failover_pause_s(0, lambda: 1.0) == 0.0


def test_ids_are_those_of_rfc_9562() -> None:
    made = new_id(0x017F22E279B0, bytes.fromhex("ffffffffffffffffffff"))
    assert made.startswith("017f22e2-79b0-7fff-bfff-")
    assert new_id(1) < new_id(2) < new_id(1 << 40)
    assert len({new_id() for _ in range(1_000)}) == 1_000
