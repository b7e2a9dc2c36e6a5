"""Locks: one holder at a time, tokens that rise, and who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from collectionstore_node.errors import NotNow, Overloaded
from collectionstore_node.service import Consistency, Store, StoreLimits
from collectionstore_node.service.lives import Life
from collectionstore_node.service.locks import WAITING_MAX, Locks
from collectionstore_node.service.results import Code, LockInfo, Outcome
from collectionstore_node.statemachine.commands import Expire, Expiring
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.statemachine.expiring import at

TTL = Life(5_000)


@pytest.fixture
def replica() -> MemoryReplica:
    return MemoryReplica()


@pytest.fixture
async def store(replica: MemoryReplica) -> Store:
    return Store(replica, StoreLimits())


def turning(store: Store, sleep: Callable[[float], Awaitable[None]]) -> Locks:
    """Return locks of the store that wait by `sleep`."""
    return Locks(store._door, store._propose, sleep)


async def acquire(
    locks: Locks, owner: str, *, wait_s: float = 0.0, key: str | None = None, life: Life = TTL
) -> Outcome:
    return await locks.acquire("job", owner, life, wait_s=wait_s, key=key, timeout_s=20.0)


async def holder(store: Store) -> LockInfo | None:
    return (await store.locks.read("job", consistency=Consistency.LINEARIZABLE, timeout_s=1.0)).lock


async def test_a_lock_has_one_holder_and_its_tokens_rise(store: Store, replica: MemoryReplica) -> None:
    first = await acquire(store.locks, "a")
    assert first.code is Code.OK
    assert (await acquire(store.locks, "b")).code is Code.PRECONDITION_FAILED
    assert (await acquire(store.locks, "a")).code is Code.PRECONDITION_FAILED
    assert await holder(store) == LockInfo("job", "a", first.revision, 5_001, 0)
    released = await store.locks.release("job", first.revision, key=None, timeout_s=1.0)
    assert released.code is Code.OK
    assert await holder(store) is None
    second = await acquire(store.locks, "b")
    assert second.revision > first.revision
    # Its former holder can neither renew nor release it.
    assert (await store.locks.release("job", first.revision, key=None, timeout_s=1.0)).code is Code.PRECONDITION_FAILED
    renewed = await store.locks.renew("job", first.revision, TTL, key=None, timeout_s=1.0)
    assert renewed.code is Code.PRECONDITION_FAILED
    assert (await store.locks.release("job", None, key=None, timeout_s=1.0)).code is Code.OK
    assert (await store.locks.release("job", None, key=None, timeout_s=1.0)).code is Code.PRECONDITION_FAILED


async def test_a_lock_is_free_when_its_time_has_passed(store: Store, replica: MemoryReplica) -> None:
    first = await acquire(store.locks, "a")
    replica.now_ms = 4_000
    renewed = await store.locks.renew("job", first.revision, TTL, key=None, timeout_s=1.0)
    assert (renewed.code, renewed.current_revision) == (Code.OK, first.revision)
    replica.now_ms = 9_000
    assert (await acquire(store.locks, "b")).code is Code.PRECONDITION_FAILED
    replica.now_ms = 9_001
    second = await acquire(store.locks, "b")
    assert second.code is Code.OK
    assert second.revision > first.revision
    found = await holder(store)
    assert found is not None
    assert found.owner == "b"


async def test_a_lock_goes_with_its_lease(store: Store, replica: MemoryReplica) -> None:
    lease = (await store.leases.grant(5_000, key=None, timeout_s=1.0)).revision
    assert (await acquire(store.locks, "a", life=Life(lease=lease))).code is Code.OK
    found = await holder(store)
    assert found is not None
    assert (found.lease, found.left_ms) == (lease, 5_001)
    await store.leases.revoke(lease, key=None, timeout_s=1.0)
    assert await holder(store) is None
    assert (await acquire(store.locks, "b")).code is Code.OK
    assert (await acquire(store.locks, "c", life=Life(lease=lease))).code is Code.PRECONDITION_FAILED


async def test_those_that_wait_have_it_in_the_order_of_their_arrival(store: Store) -> None:
    held = await acquire(store.locks, "first")
    turned = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        turned.set()
        await asyncio.sleep(0)

    locks, order = turning(store, sleep), list[str]()

    async def work(owner: str) -> None:
        outcome = await acquire(locks, owner, wait_s=15.0)
        assert outcome.code is Code.OK
        order.append(owner)
        await locks.release("job", outcome.revision, key=None, timeout_s=1.0)

    owners = [f"w{number}" for number in range(5)]
    async with asyncio.TaskGroup() as group:
        for owner in owners:
            group.create_task(work(owner))
        await turned.wait()
        assert locks.waiting == len(owners)
        assert not order
        await locks.release("job", held.revision, key=None, timeout_s=1.0)
    assert order == owners
    assert locks.waiting == 0
    assert not locks._queues


async def test_waiting_ends_when_its_time_is_up(store: Store) -> None:
    """With the outcome of an attempt: the lock was held until the end."""
    await acquire(store.locks, "first")
    outcomes = await asyncio.gather(*(acquire(store.locks, f"w{one}", wait_s=0.02) for one in range(3)))
    assert {one.code for one in outcomes} == {Code.PRECONDITION_FAILED}
    assert store.locks.waiting == 0


async def test_a_repeated_request_has_the_token_of_the_first(store: Store, replica: MemoryReplica) -> None:
    """Also of one that had waited: its attempts that failed are passed over."""
    held = await acquire(store.locks, "first")
    looks = 0

    async def sleep(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            await store.locks.release("job", held.revision, key=None, timeout_s=1.0)

    locks = turning(store, sleep)
    first = await acquire(locks, "w", wait_s=15.0, key="key")
    assert (first.code, first.replayed) == (Code.OK, False)
    for wait_s in (0.0, 15.0):
        again = await acquire(locks, "w", wait_s=wait_s, key="key")
        assert (again.code, again.revision, again.replayed) == (Code.OK, first.revision, True)
    other = await acquire(locks, "other", key="key")
    assert other.code is Code.IDEMPOTENCY_KEY_REUSED


async def test_too_many_that_wait_are_refused(store: Store) -> None:
    await acquire(store.locks, "first")
    stop = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        await stop.wait()

    locks = turning(store, sleep)
    waiting = [asyncio.ensure_future(acquire(locks, "w", wait_s=15.0)) for _ in range(WAITING_MAX)]
    await asyncio.sleep(0)
    assert locks.waiting == WAITING_MAX
    with pytest.raises(Overloaded, match="wait for locks"):
        await acquire(locks, "late", wait_s=15.0)
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert locks.waiting == 0
    assert not locks._queues


async def test_one_that_waits_finds_a_lock_that_expires(store: Store, replica: MemoryReplica) -> None:
    """It need not be removed: the state that this member has applied says that it has expired."""
    await acquire(store.locks, "first")

    async def sleep(_seconds: float) -> None:
        replica.now_ms = 5_001
        at(replica.view, replica.now_ms, Expire())

    second = await acquire(turning(store, sleep), "second", wait_s=15.0)
    assert second.code is Code.OK
    assert isinstance(replica.proposed[-1].action, Expiring)


async def test_one_that_is_cancelled_as_its_turn_comes_passes_it_on(store: Store) -> None:
    held = await acquire(store.locks, "first")

    async def sleep(_seconds: float) -> None:
        await asyncio.sleep(0)

    locks = turning(store, sleep)
    one, two, three = (asyncio.ensure_future(acquire(locks, name, wait_s=15.0)) for name in ("one", "two", "three"))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.sleep(0)
    two.cancel()
    await store.locks.release("job", held.revision, key=None, timeout_s=1.0)
    assert (await three).code is Code.OK
    assert one.cancelled()
    assert two.cancelled()
    assert not locks._queues


async def test_a_client_that_leaves_while_it_waits_acquires_nothing(store: Store) -> None:
    held = await acquire(store.locks, "first")
    left: list[str] = []

    async def sleep(_seconds: float) -> None:
        left.append("second")
        await store.locks.release("job", held.revision, key=None, timeout_s=1.0)

    with pytest.raises(NotNow, match="has left"):
        await turning(store, sleep).acquire(
            "job", "second", TTL, wait_s=15.0, key=None, timeout_s=20.0, gone=lambda: "second" in left
        )
    assert await holder(store) is None
    assert (await acquire(store.locks, "third")).code is Code.OK
