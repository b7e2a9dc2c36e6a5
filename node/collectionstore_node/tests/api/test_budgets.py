"""What slow clients may hold, by a clock of the test."""

from __future__ import annotations

import pytest

from collectionstore_node.api.budgets import sending, uploads
from collectionstore_node.api.budgets.clients import Client, Clients
from collectionstore_node.api.budgets.sending import Sending
from collectionstore_node.api.budgets.uploads import TooSlow, Upload, Uploads
from collectionstore_node.errors import Overloaded
from collectionstore_node.ports import LOOPBACK


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeReader:
    def __init__(self, left: int) -> None:
        self.left = left
        self.cuts: list[str] = []

    def unsent(self) -> int:
        return self.left

    def cut(self, reason: str) -> None:
        self.cuts.append(reason)


def test_the_slowest_reader_makes_room() -> None:
    clock = Clock()
    budget = Sending(100, clock)
    stuck, moving = FakeReader(50), FakeReader(50)
    budget.take(stuck, 50)
    budget.take(moving, 50)
    with pytest.raises(Overloaded):  # nobody has waited long enough to be called slow
        budget.take(FakeReader(10), 10)
    clock.now += sending.PATIENCE_S
    moving.left = 10

    budget.take(FakeReader(10), 10)

    assert (stuck.cuts, moving.cuts) == (["evicted_read"], [])
    assert budget.size_bytes == 60


def test_a_reader_below_the_rate_is_cut_and_one_above_is_not() -> None:
    clock = Clock()
    size = 10 * int(sending.RATE_MIN * sending.WINDOW_S)
    budget = Sending(4 * size, clock)
    slow, fast = FakeReader(size), FakeReader(size)
    budget.take(slow, size)
    budget.take(fast, size)
    for _ in range(3):
        clock.now += sending.WINDOW_S
        fast.left -= int(sending.RATE_MIN * sending.WINDOW_S)
        budget.sweep(clock.now)

    assert (slow.cuts, fast.cuts) == (["slow_read"], [])
    assert budget.size_bytes == size
    budget.release(fast)
    budget.release(fast)
    assert budget.size_bytes == 0


class Ended:
    def __init__(self) -> None:
        self.reasons: list[Exception] = []

    def __call__(self, reason: Exception) -> None:
        self.reasons.append(reason)


def opened(budget: Uploads, client: Client | None = None) -> tuple[Upload, Ended]:
    ended = Ended()
    return budget.open(client, ended), ended


def test_an_announced_body_costs_nothing_and_one_that_arrives_its_bytes() -> None:
    budget = Uploads(10, 3, Clock())
    uploads_ = [opened(budget)[0] for _ in range(3)]
    assert budget.size_bytes == 0
    budget.grow(uploads_[0], 10)
    with pytest.raises(Overloaded):
        budget.grow(uploads_[1], 1)
    budget.close(uploads_[0])
    budget.grow(uploads_[1], 1)
    assert (budget.size_bytes, budget.count) == (1, 2)


def test_the_slowest_body_makes_room_for_a_new_one() -> None:
    clock = Clock()
    budget = Uploads(1_000, 2, clock)
    (slow, ended), (fast, kept) = opened(budget), opened(budget)
    budget.grow(slow, 1)
    budget.grow(fast, 500)
    with pytest.raises(Overloaded):
        opened(budget)
    clock.now += uploads.PATIENCE_S

    opened(budget)

    assert [type(reason) for reason in ended.reasons] == [Overloaded]
    assert kept.reasons == []
    assert budget.size_bytes == 500


def test_the_address_that_holds_most_pays_first() -> None:
    clock = Clock()
    budget = Uploads(100, 10, clock)
    hog, other = Client("192.0.2.1", 1), Client("192.0.2.2", 1)
    held = [opened(budget, hog) for _ in range(3)]
    (small, kept) = opened(budget, other)
    for upload, _ in held:
        budget.grow(upload, 30)
    budget.grow(small, 1)  # the slowest of all, but not of the address that holds most
    clock.now += uploads.PATIENCE_S

    budget.grow(small, 20)

    assert kept.reasons == []
    assert sum(len(ended.reasons) for _, ended in held) == 1
    assert budget.size_bytes == 81


def test_a_body_below_the_rate_is_ended() -> None:
    clock = Clock()
    budget = Uploads(1 << 20, 10, clock)
    (slow, ended), (fast, kept) = opened(budget), opened(budget)
    for _ in range(3):
        clock.now += uploads.WINDOW_S
        budget.grow(fast, int(uploads.RATE_MIN * uploads.WINDOW_S))
        budget.sweep(clock.now)

    assert [type(reason) for reason in ended.reasons] == [TooSlow]
    assert kept.reasons == []
    assert budget.count == 1
    budget.close(slow)
    assert budget.count == 1


def test_an_address_has_a_share_of_the_requests_and_loopback_has_all() -> None:
    clients = Clients(1)
    far, near = clients.connected("192.0.2.1"), clients.connected(LOOPBACK)
    assert clients.connected("192.0.2.1") is far
    clients.enter(far)
    with pytest.raises(Overloaded, match="your address"):
        clients.enter(far)
    clients.leave(far)
    clients.enter(far)
    for _ in range(9):
        clients.enter(near)
    clients.disconnected(far)
    clients.disconnected(far)
    assert clients.connected("192.0.2.1") is far
    clients.disconnected(far)
    clients.leave(far)
    assert clients.connected("192.0.2.1") is not far
    clients.enter(far)
    clients.leave(far)
    assert clients.connected("192.0.2.1").connections == 2
