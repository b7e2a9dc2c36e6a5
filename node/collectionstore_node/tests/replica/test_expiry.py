"""What expires in a group of members: never early, through changes of leadership and restarts, alike on all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from collectionstore_node.errors import UpgradePending
from collectionstore_node.service import Expirer
from collectionstore_node.statemachine.commands import (
    Code,
    Command,
    CreateCollection,
    CreateIndex,
    DocumentRef,
    Expire,
    Expiring,
    GrantLease,
    KeepLease,
    Outcome,
    Transaction,
)
from collectionstore_node.statemachine.costs import EXPIRE_ITEMS
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.expiry_queue import is_there, next_deadline_ms, read_summary
from collectionstore_node.statemachine.keys import EXPIRY, prefix_end
from collectionstore_node.statemachine.levels import FIRST
from collectionstore_node.statemachine.reads import get_document, get_key
from collectionstore_node.statemachine.view import View
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, Wires, group, programs_support
from collectionstore_node.tests.replica.test_index_builds import hand_over
from collectionstore_node.tests.service.test_expirer import Series
from collectionstore_node.tests.statemachine import indexed
from collectionstore_node.tests.statemachine.expiring import check, value

STEP_S = 0.1
"""How far clocks move between two ticks: less than what is taken for a stall."""
TTL = 1_000


@asynccontextmanager
async def expired(members: Sequence[Member]) -> AsyncIterator[None]:
    """Run an expirer on every member, as nodes do; they look as fast as they can."""

    async def turn(_seconds: float) -> None:
        await asyncio.sleep(0)

    loop = asyncio.get_running_loop()
    tasks = [asyncio.create_task(Expirer(member.replica, Series(), loop.time, turn).run()) for member in members]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in results), results


async def pass_time(members: Sequence[Member], seconds: float) -> None:
    """Move the clocks of all members."""
    for _ in range(round(seconds / STEP_S)):
        for member in members:
            before = member.ticks
            member.now += STEP_S
            await member.until(lambda member=member, before=before: member.ticks > before)  # type: ignore[misc]


async def propose(member: Member, action: Any) -> Outcome:
    return await member.replica.propose(Command(action), timeout_s=PATIENCE_S)


async def agree(members: Sequence[Member]) -> None:
    """Wait until all have applied the same, and check that it is the same."""
    last = max(one.replica.applied_index for one in members)
    for member in members:
        await member.until(lambda member=member: member.replica.applied_index >= last)  # type: ignore[misc]
    assert len({read_digest(one.database.state) for one in members if one.replica.applied_index == last}) == 1


def held(view: View, key: str) -> bool:
    return get_key(view, "b", key) is not None


async def test_a_new_leader_lets_nothing_expire_early(tmp_path: Path) -> None:
    """What the old one had measured and not committed is lost, so it may be late; it is gone on all of them then."""
    async with group(tmp_path, 3, raised=True) as (_, members):
        assert (await propose(members[1], Expiring(value("k"), TTL))).code is Code.OK
        async with expired(members):
            for _ in range(3):
                await pass_time(members, 0.2)
                await hand_over(members)
            for member in members:
                await member.replica.read_barrier(timeout_s=PATIENCE_S)
                assert held(member.replica.view, "k")
            await pass_time(members, 1.5)
            for member in members:
                await member.until(lambda member=member: not held(member.replica.view, "k"))  # type: ignore[misc]
                await member.until(lambda member=member: next_deadline_ms(member.replica.view) is None)  # type: ignore[misc]
        await agree(members)
        for member in members:
            check(member.database.state)


async def test_many_documents_go_through_changes_of_leadership(tmp_path: Path) -> None:
    """Those of a lease, and those of a ttl, with their entries in an index, while others are written."""
    count = 2 * EXPIRE_ITEMS
    async with group(tmp_path, 3, raised=True) as (_, members):
        await propose(members[0], CreateCollection("c"))
        await propose(members[0], CreateIndex("c", indexed.defined(unique=True)))
        for member in members:
            await member.until(lambda member=member: bool(indexed.next_steps(member.replica.view)))  # type: ignore[misc]
        for step in indexed.next_steps(members[0].replica.view):
            await propose(members[0], step)
        lease = (await propose(members[0], GrantLease(TTL))).revision
        for first in range(0, count, 128):
            puts = [indexed.put(f"d{number:04}", {"a": number}) for number in range(first, first + 128)]
            then = tuple(
                Expiring(one, 0, lease) if number % 2 else Expiring(one, TTL) for number, one in enumerate(puts)
            )
            assert (await propose(members[1], Transaction((), then))).code is Code.OK
        await pass_time(members, 0.5)
        assert (await propose(members[2], KeepLease(lease))).code is Code.OK
        async with expired(members):
            for number in range(5):
                await pass_time(members, 0.5)
                await propose(members[number % 3], indexed.put(f"e{number}", {"a": f"e{number}"}))
                await hand_over(members)
            await pass_time(members, 2.0)
            for member in members:
                await member.until(lambda member=member: next_deadline_ms(member.replica.view) is None)  # type: ignore[misc]
        await agree(members)
        for member in members:
            state = member.database.state
            check(state)
            indexed.check(state)
            assert read_summary(state).expired == count
            assert get_document(state, "c", "d0000") is None
            assert get_document(state, "c", "e4") is not None


async def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    """In the middle of a removal, and with what is still to come."""
    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        await propose(member, Transaction((), tuple(Expiring(value(f"k{number}"), TTL) for number in range(128))))
        await propose(member, Transaction((), tuple(Expiring(value(f"l{number}"), TTL) for number in range(128))))
        await propose(member, Expiring(value("later"), 60_000))
        await pass_time([member], 1.2)
        await propose(member, Expire())
        assert not held(member.replica.view, "k5")
        assert is_there(member.replica.view) is not None
    again = Member("n0", tmp_path / "n0", Wires(), 7)
    try:
        assert not held(again.replica.view, "l5")
        async with expired([again]):
            await again.until(lambda: is_there(again.replica.view) is None)
        assert held(again.replica.view, "later")
        assert read_summary(again.database.state).expired == 256
        check(again.database.state)
    finally:
        await again.stop()


async def test_nothing_is_proposed_where_nothing_expires(tmp_path: Path) -> None:
    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        await member.put("k", b"v")
        last = member.local.raft_status().last_index
        async with expired([member]):
            await pass_time([member], 15.0)
        assert member.local.raft_status().last_index == last


async def test_time_that_a_leader_was_idle_ages_nothing_at_once(tmp_path: Path) -> None:
    """An entry advances the time by a step at most; what is written then still has its whole ttl."""
    async with group(tmp_path, 1, raised=True) as (_, (member,)):
        await member.put("k", b"v")
        member.now += 3_600.0
        await propose_when_it_leads(member, Expiring(value("k"), TTL))
        for number in range(20):
            await propose_when_it_leads(member, value(f"other{number}"))
        assert held(member.replica.view, "k")


async def propose_when_it_leads(member: Member, action: Any) -> None:
    """Propose; a member whose clock has jumped steps down before that."""
    await member.until(lambda: member.replica.is_leader)
    assert (await propose(member, action)).code is Code.OK


async def test_an_older_cluster_refuses_it_before_it_is_proposed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the leader and on a follower, also within a transaction."""
    programs_support(FIRST, monkeypatch)
    async with group(tmp_path, 3) as (_, (leader, follower, _)):
        await propose(leader, CreateCollection("c"))
        last = leader.local.raft_status().last_index
        write = Expiring(indexed.put("a", {}), TTL)
        for member in (leader, follower):
            for action in (write, Transaction((), (write,)), GrantLease(TTL), Expire()):
                with pytest.raises(UpgradePending, match="its feature level is 1, and this needs 4"):
                    await propose(member, action)
        assert leader.local.raft_status().last_index == last
        assert not list(leader.database.state.scan(EXPIRY, prefix_end(EXPIRY)))
        assert get_document(leader.replica.view, "c", DocumentRef("c", "a").id) is None
