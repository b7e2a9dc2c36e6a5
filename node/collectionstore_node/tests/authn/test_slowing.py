"""Waits behind failed attempts: they grow, end, are forgotten, and are bounded."""

from __future__ import annotations

from collectionstore_node.authn.slowing import FORGET_S, Slowing


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_failures_are_free_and_then_each_doubles_the_wait() -> None:
    clock = Clock()
    slowing = Slowing(clock, free=3, base_s=1.0, most_s=8.0)
    waits = []
    for _ in range(8):
        slowing.failed("ada")
        waits.append(slowing.wait_s("ada"))
    assert waits == [0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert slowing.wait_s("bob") == 0.0


def test_the_wait_ends_by_itself() -> None:
    clock = Clock()
    slowing = Slowing(clock, free=0, base_s=2.0)
    slowing.failed("ada")
    assert slowing.wait_s("ada") == 2.0
    clock.now += 1.5
    assert slowing.wait_s("ada") == 0.5
    clock.now += 1.0
    assert slowing.wait_s("ada") == 0.0


def test_old_failures_are_forgotten_one_by_one() -> None:
    clock = Clock()
    slowing = Slowing(clock, free=1, base_s=1.0)
    for _ in range(3):
        slowing.failed("ada")
    clock.now += 2 * FORGET_S
    slowing.failed("ada")
    assert slowing.wait_s("ada") == 1.0, "two of four are forgotten, and one is free"


def test_success_forgets_all() -> None:
    slowing = Slowing(Clock(), free=0)
    slowing.failed("ada")
    slowing.succeeded("ada")
    assert slowing.wait_s("ada") == 0.0
    assert len(slowing) == 0


def test_the_table_is_bounded_and_the_newest_stay() -> None:
    slowing = Slowing(Clock(), free=0, keys_max=3)
    for name in "abcd":
        slowing.failed(name)
    assert len(slowing) == 3
    assert slowing.wait_s("a") == 0.0
    assert slowing.wait_s("d") == 1.0


def test_any_number_of_failures_is_a_bounded_wait() -> None:
    slowing = Slowing(Clock(), free=0, most_s=60.0)
    for _ in range(5_000):
        slowing.failed("ada")
    assert slowing.wait_s("ada") == 60.0
