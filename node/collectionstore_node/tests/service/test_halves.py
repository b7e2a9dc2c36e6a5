"""Operations in halves do what the others do, and wait for a leader and for their turn as those do."""

from __future__ import annotations

import asyncio

import pytest

from collectionstore_node.errors import LeadershipTransferring, NotLeader, OutcomeUnknown, Overloaded, ReadTimedOut
from collectionstore_node.replica.observation.command import Waiter
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.service.operations import DocumentRef, KeyRef, Put
from collectionstore_node.service.turns import READ_BYTES_MAX
from collectionstore_node.statemachine.commands import Command, Outcome
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.service.waiting_call import WaitingCall

WRITE = Put(KeyRef("b", "k"), b"1")
READ = KeyRef("b", "k")


class Changing(MemoryReplica):
    """A replica whose first attempts fail with `early`, at once or later."""

    def __init__(self, early: list[Exception], *, at_once: bool) -> None:
        super().__init__()
        self.early = early
        self.at_once = at_once

    def _fails(self, waiter: Waiter[Outcome] | Waiter[None]) -> bool:
        if not self.early:
            return False
        error = self.early.pop()
        if self.at_once:
            raise error
        asyncio.get_running_loop().call_soon(waiter.set_exception, error)
        return True

    def begin(self, command: Command, waiter: Waiter[Outcome], *, timeout_s: float) -> None:
        if not self._fails(waiter):
            super().begin(command, waiter, timeout_s=timeout_s)

    def begin_read(self, waiter: Waiter[None], *, timeout_s: float) -> None:
        if not self._fails(waiter):
            super().begin_read(waiter, timeout_s=timeout_s)


def opened(replica: MemoryReplica) -> Store:
    return Store(replica, StoreLimits())


async def write(store: Store, call: WaitingCall) -> Outcome:
    store.halves.begin_write(call, WRITE, 1.0)
    while True:
        await asyncio.wait_for(call.told.wait(), 20)
        if (outcome := store.halves.end_write(call, 1.0)) is not None:
            return outcome


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("error", [NotLeader(), LeadershipTransferring("to another")])
async def test_a_write_waits_for_the_next_leader(error: Exception, *, at_once: bool) -> None:
    replica = Changing([error], at_once=at_once)
    store, call = opened(replica), WaitingCall()

    outcome = await write(store, call)

    assert (outcome.revision, len(replica.proposed), store.writes.inflight) == (1, 1, 0)
    assert 0 < replica.timeouts_s[0] <= 1.0


async def test_the_key_of_a_write_goes_with_it_to_the_next_leader() -> None:
    replica = Changing([NotLeader()], at_once=False)
    store = opened(replica)

    first = await write(store, WaitingCall("k"))
    again = await write(store, WaitingCall("k"))

    assert (first.revision, first.replayed, again.revision, again.replayed) == (1, False, 1, True)


async def test_a_write_without_a_leader_is_refused_once_that_is_certain() -> None:
    replica = Changing([NotLeader()], at_once=False)
    replica.known_leader = None
    store, call = opened(replica), WaitingCall()

    with pytest.raises(NotLeader):
        await write(store, call)

    assert (replica.proposed, store.writes.inflight) == ([], 0)


@pytest.mark.parametrize("at_once", [True, False])
async def test_an_error_of_a_write_is_its_own_and_counts_it_out(*, at_once: bool) -> None:
    replica = Changing([OutcomeUnknown("late") if not at_once else Overloaded("full")], at_once=at_once)
    store, call = opened(replica), WaitingCall()

    with pytest.raises((OutcomeUnknown, Overloaded)):
        await write(store, call)

    assert (replica.proposed, store.writes.inflight) == ([], 0)


async def test_a_cancelled_write_is_counted_out() -> None:
    replica = MemoryReplica()
    replica.hold = asyncio.Event()
    store, call = opened(replica), WaitingCall()
    store.halves.begin_write(call, WRITE, 1.0)
    assert store.writes.inflight == 1

    call.set_exception(asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        store.halves.end_write(call, 1.0)

    assert store.writes.inflight == 0
    replica.hold.set()


async def test_a_write_that_the_bound_has_no_place_for_is_refused() -> None:
    store = Store(MemoryReplica(), StoreLimits())
    store.writes.limit = 0

    with pytest.raises(Overloaded):
        store.halves.begin_write(WaitingCall(), WRITE, 1.0)

    assert store.writes.inflight == 0


async def read(store: Store, call: WaitingCall, target: DocumentRef | KeyRef = READ) -> bytes | None:
    store.halves.begin_read(call, target, 1.0)
    while True:
        await asyncio.wait_for(call.told.wait(), 20)
        if (found := store.halves.end_read(call, 1.0)) is not None:
            return None if found.stored is None else found.stored.value


async def test_a_read_sees_what_was_written_and_is_noted_once() -> None:
    replica = MemoryReplica()
    store = opened(replica)
    await write(store, WaitingCall())

    assert await read(store, WaitingCall()) == b"1"
    assert (replica.barriers, replica.confirmed) == (1, 1)


async def test_a_read_waits_for_the_next_leader() -> None:
    replica = Changing([NotLeader()], at_once=False)
    store = opened(replica)

    assert await read(store, WaitingCall()) is None
    assert (replica.barriers, replica.confirmed) == (1, 0)


async def test_an_error_of_a_read_is_its_own() -> None:
    replica = Changing([ReadTimedOut("late")], at_once=False)

    with pytest.raises(ReadTimedOut):
        await read(opened(replica), WaitingCall())


async def test_large_reads_wait_for_their_turn() -> None:
    replica = MemoryReplica()
    store = opened(replica)
    await store.write(Put(READ, b"x" * (READ_BYTES_MAX - 1)), key=None, timeout_s=1)
    calls = [WaitingCall() for _ in range(3)]
    for call in calls:
        store.halves.begin_read(call, READ, 1.0)
        await asyncio.wait_for(call.told.wait(), 20)

    assert [store.halves.end_read(call, 1.0) is None for call in calls] == [False, False, True]
    await asyncio.wait_for(calls[2].told.wait(), 20)
    found = store.halves.end_read(calls[2], 1.0)
    assert found is not None
    assert found.stored is not None
    assert replica.confirmed == 3
