"""Reads and writes in halves through a real group of members: on the leader, on a follower, and without a leader."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from collectionstore_node.errors import OutcomeUnknown
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.service.operations import KeyRef, Put
from collectionstore_node.statemachine.commands import Outcome
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, group
from collectionstore_node.tests.service.waiting_call import WaitingCall

KEY = KeyRef("test", "k")


async def ended(store: Store, call: WaitingCall, timeout_s: float = PATIENCE_S) -> Outcome:
    while True:
        await asyncio.wait_for(call.told.wait(), PATIENCE_S)
        if (outcome := store.halves.end_write(call, timeout_s)) is not None:
            return outcome


async def read(store: Store) -> bytes | None:
    call = WaitingCall()
    store.halves.begin_read(call, KEY, PATIENCE_S)
    while True:
        await asyncio.wait_for(call.told.wait(), PATIENCE_S)
        if (found := store.halves.end_read(call, PATIENCE_S)) is not None:
            return None if found.stored is None else found.stored.value


def store_of(member: Member) -> Store:
    return Store(member.replica, StoreLimits())


async def test_every_member_writes_and_reads_what_others_wrote(tmp_path: Path) -> None:
    async with group(tmp_path, 3) as (_, members):
        stores = [store_of(member) for member in members]
        for number, store in enumerate(stores):
            call = WaitingCall()
            store.halves.begin_write(call, Put(KEY, b"%d" % number), PATIENCE_S)
            assert store.writes.inflight == 1
            outcome = await ended(store, call)
            assert (outcome.revision, store.writes.inflight) == (number + 1, 0)
            assert [await read(one) for one in stores] == [b"%d" % number] * 3


async def test_a_write_that_was_not_proposed_goes_to_the_next_leader_once(tmp_path: Path) -> None:
    async with group(tmp_path, 3) as (_, members):
        store, call = store_of(members[0]), WaitingCall()
        store.halves.begin_write(call, Put(KEY, b"1"), PATIENCE_S)
        members[0].consensus.step_down()
        assert call.error is not None

        outcome = await ended(store, call)

        assert (outcome.revision, await read(store)) == (1, b"1")
        assert call.again


async def test_a_read_whose_round_was_given_up_is_confirmed_by_the_next_leader(tmp_path: Path) -> None:
    async with group(tmp_path, 3) as (_, members):
        await members[0].put("k", b"1")
        store, call = store_of(members[0]), WaitingCall()
        store.halves.begin_read(call, KEY, PATIENCE_S)
        members[0].consensus.step_down()
        while True:
            await asyncio.wait_for(call.told.wait(), PATIENCE_S)
            if (found := store.halves.end_read(call, PATIENCE_S)) is not None:
                break
        assert found.stored is not None
        assert found.stored.value == b"1"


async def test_a_write_that_may_yet_be_applied_is_unknown_at_its_deadline(tmp_path: Path) -> None:
    async with group(tmp_path, 3) as (wires, members):
        wires.isolate(members[0])
        store, call = store_of(members[0]), WaitingCall()
        store.halves.begin_write(call, Put(KEY, b"1"), 0.1)

        with pytest.raises(OutcomeUnknown):
            await ended(store, call, 0.1)

        assert store.writes.inflight == 0


async def test_a_write_whose_caller_has_gone_is_not_proposed(tmp_path: Path) -> None:
    async with group(tmp_path, 1) as (_, members):
        store, call = store_of(members[0]), WaitingCall()
        store.halves.begin_write(call, Put(KEY, b"1"), PATIENCE_S)
        call.set_exception(asyncio.CancelledError())
        with pytest.raises(asyncio.CancelledError):
            store.halves.end_write(call, PATIENCE_S)

        assert await members[0].put("other", b"2") == 1
        assert await read(store) is None


async def test_what_answers_a_write_runs_before_the_loop_serves_others(tmp_path: Path) -> None:
    """At the end of the driver's step, and not behind what has arrived at the sockets meanwhile."""
    async with group(tmp_path, 3) as (_, members):
        order: list[str] = []

        class Answered(WaitingCall):
            def set_result(self, result: object) -> None:
                super().set_result(result)
                asyncio.get_running_loop().call_soon(order.append, "others")
                members[0].replica.soon(lambda: order.append("answer"))

        store, call = store_of(members[0]), Answered()
        store.halves.begin_write(call, Put(KEY, b"1"), PATIENCE_S)
        await ended(store, call)
        store.halves.begin_read(call := Answered(), KEY, PATIENCE_S)
        await asyncio.wait_for(call.told.wait(), PATIENCE_S)
        await asyncio.sleep(0)

        assert order == ["answer", "others"] * 2
