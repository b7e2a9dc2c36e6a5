"""Rates and fair shares, by a clock that tests move."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.access.limits import CollectionLimits, UserLimits
from collectionstore_node.quotas.buckets import BURST_S, Bucket
from collectionstore_node.quotas.limiter import KEPT_MAX, RETRY_S_MAX, Admitted, Limiter, Refusal
from collectionstore_node.quotas.shares import ASKED_S, Shares


class Fixed:
    """Limits that tests set."""

    def __init__(self) -> None:
        self.revision = 1
        self.users: dict[str, UserLimits] = {}
        self.collections: dict[str, CollectionLimits] = {}

    def of_user(self, user: str) -> UserLimits:
        """Return the limits of a user."""
        return self.users.get(user, UserLimits())

    def of_collection(self, name: str) -> CollectionLimits | None:
        """Return the limits of a collection."""
        return self.collections.get(name)


class Clock:
    """A clock that stands still."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits() -> Fixed:
    return Fixed()


@given(rate=st.integers(1, 10**9), steps=st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10**6)), max_size=30))
def test_a_bucket_lets_in_no_more_than_its_rate_and_burst(rate: int, steps: list[tuple[float, float]]) -> None:
    bucket, now, let_in, last = Bucket(rate, 0.0), 0.0, 0.0, 0.0
    for pause, count in steps:
        now += pause
        if bucket.wait_s(now) == 0.0:
            bucket.take(count, now)
            let_in += count
            last = count
    # What was there, what came in, and one request, whose size was not known when it was let in.
    assert let_in <= max(1.0, rate * BURST_S) + rate * now + last + 1e-3 * max(1.0, let_in)


@given(rate=st.integers(1, 10**6), taken=st.floats(0, 10**7))
def test_behind_the_wait_there_is_a_token(rate: int, taken: float) -> None:
    bucket = Bucket(rate, 0.0)
    bucket.take(taken, 0.0)
    wait = bucket.wait_s(0.0)
    assert wait >= 0.0
    assert bucket.wait_s(wait * (1 + 1e-9) + 1e-9) <= 1e-6


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(1, 100.0)
    bucket.take(2, 100.0)
    assert bucket.wait_s(50.0) == bucket.wait_s(100.0) == 1.0


def test_requests_beyond_the_rate_are_refused_until_tokens_come_in(limits: Fixed, clock: Clock) -> None:
    limits.users["ada"] = UserLimits(requests_per_second=10)
    limiter = Limiter(clock)
    results = [limiter.enter(limits, "ada", "") for _ in range(25)]
    assert sum(isinstance(one, Admitted) for one in results) == 20
    assert results[-1] == Refusal("user", "requests_per_second", 10, 0.1)
    assert limiter.refused == {"user": 5, "collection": 0}
    assert isinstance(limiter.enter(limits, "eve", ""), Admitted)
    clock.now = 0.1
    assert isinstance(limiter.enter(limits, "ada", ""), Admitted)
    assert isinstance(limiter.enter(limits, "ada", ""), Refusal)


def test_bytes_are_charged_behind_the_request(limits: Fixed, clock: Clock) -> None:
    limits.collections["books"] = CollectionLimits("books", bytes_per_second=1_000)
    limiter = Limiter(clock)
    admitted = limiter.enter(limits, "", "books")
    assert isinstance(admitted, Admitted)
    limiter.charge(admitted, 12_000)
    refused = limiter.enter(limits, "", "books")
    assert isinstance(refused, Refusal)
    assert refused.retry_after_s == pytest.approx(10.001)
    clock.now = 10.01
    assert isinstance(limiter.enter(limits, "", "books"), Admitted)
    assert isinstance(limiter.enter(limits, "", "others"), Admitted)


def test_what_one_limit_refuses_takes_nothing_of_the_other(limits: Fixed, clock: Clock) -> None:
    limits.users["ada"] = UserLimits(requests_per_second=100)
    limits.collections["books"] = CollectionLimits("books", requests_per_second=1)
    limiter = Limiter(clock)
    for _ in range(50):
        limiter.enter(limits, "ada", "books")
    assert sum(isinstance(limiter.enter(limits, "ada", ""), Admitted) for _ in range(300)) == 198


def test_other_limits_are_in_force_at_once_and_the_same_ones_give_nothing_back(limits: Fixed, clock: Clock) -> None:
    limits.users["ada"] = UserLimits(requests_per_second=1)
    limiter = Limiter(clock)
    while isinstance(limiter.enter(limits, "ada", ""), Admitted):
        pass
    limits.revision = 2
    assert isinstance(limiter.enter(limits, "ada", ""), Refusal)
    limits.users["ada"] = UserLimits(requests_per_second=5)
    limits.revision = 3
    assert isinstance(limiter.enter(limits, "ada", ""), Admitted)
    limits.users.clear()
    limits.revision = 4
    assert all(isinstance(limiter.enter(limits, "ada", ""), Admitted) for _ in range(100))


def test_a_retry_is_never_far_away(limits: Fixed, clock: Clock) -> None:
    limits.users["ada"] = UserLimits(bytes_per_second=1)
    limiter = Limiter(clock)
    admitted = limiter.enter(limits, "ada", "")
    assert isinstance(admitted, Admitted)
    limiter.charge(admitted, 10**9)
    refused = limiter.enter(limits, "ada", "")
    assert isinstance(refused, Refusal)
    assert refused.retry_after_s == RETRY_S_MAX


def test_without_limits_nobody_is_refused(clock: Clock) -> None:
    limiter = Limiter(clock)
    assert all(isinstance(limiter.enter(None, "ada", "books"), Admitted) for _ in range(1_000))
    assert limiter.open_stream(None, "ada") is None


def test_streams_are_counted_at_a_time(limits: Fixed, clock: Clock) -> None:
    limits.users["ada"] = UserLimits(streams=2)
    limiter = Limiter(clock)
    assert [limiter.open_stream(limits, "ada") for _ in range(2)] == [None, None]
    assert limiter.open_stream(limits, "ada") == Refusal("user", "streams", 2, 5.0)
    limiter.close_stream("ada")
    assert limiter.open_stream(limits, "ada") is None


def test_names_that_are_made_up_take_bounded_memory(limits: Fixed, clock: Clock) -> None:
    limits.users = {f"u{number}": UserLimits(requests_per_second=1) for number in range(2 * KEPT_MAX)}
    limiter = Limiter(clock)
    for user in limits.users:
        limiter.enter(limits, user, "")
    for number in range(2 * KEPT_MAX):
        limiter.enter(limits, "", f"c{number}")
    assert len(limiter._users) <= KEPT_MAX
    assert not limiter._collections


def test_below_pressure_one_user_may_have_all_but_a_reserve(clock: Clock) -> None:
    shares = Shares(lambda: 80)
    assert sum(shares.enter("ada", clock.now) for _ in range(200)) == 70
    assert shares.refused == 130


def test_under_pressure_users_share_equally(clock: Clock) -> None:
    shares = Shares(lambda: 80)
    for _ in range(100):
        shares.enter("ada", clock.now)
    # The second one finds room at once, and what the first gives back is kept for it.
    assert sum(shares.enter("eve", clock.now) for _ in range(100)) == 40
    for _ in range(70):
        shares.leave("ada")
    assert sum(shares.enter("ada", clock.now) for _ in range(100)) == 40
    assert not shares.enter("eve", clock.now)


def test_a_user_that_was_refused_counts(clock: Clock) -> None:
    shares = Shares(lambda: 10)
    for _ in range(8):
        shares.enter("ada", clock.now)
    for user in ("eve", "bob", "kim", "joe"):
        shares.enter(user, clock.now)
    for _ in range(6):
        shares.leave("ada")
    # Of ten places, each of five has two: what ada asks for beyond them is refused while others wait.
    assert not shares.enter("ada", clock.now)
    assert shares.enter("eve", clock.now)


def test_who_asks_no_more_does_not_count_for_long(clock: Clock) -> None:
    shares = Shares(lambda: 80)
    shares.enter("eve", clock.now)
    shares.leave("eve")
    assert sum(shares.enter("ada", clock.now) for _ in range(100)) == 40
    clock.now = ASKED_S
    assert sum(shares.enter("ada", clock.now) for _ in range(100)) == 30


def test_everyone_has_a_place_at_least(clock: Clock) -> None:
    shares = Shares(lambda: 4)
    assert all(shares.enter(f"u{number}", clock.now) for number in range(20))
    assert not shares.enter("u0", clock.now)
    assert math.isclose(shares.inflight, 20)
