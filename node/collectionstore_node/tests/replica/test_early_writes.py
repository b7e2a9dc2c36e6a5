"""Writes that are answered once the leader has them on its disk, on whole members; and what has become of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from collectionstore_node.replica.peers import calls
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.service.operations import KeyRef, Put
from collectionstore_node.service.tickets import State, parse_ticket
from collectionstore_node.statemachine.commands import Command, Outcome
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.reads import get_key
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, group

PUT = Put(KeyRef("test", "k"), b"v")


async def at_level(*members: Member) -> None:
    for member in members:
        await member.until(lambda member=member: member.local.applier.level >= CHANGES)  # type: ignore[misc]


def stored(member: Member) -> bytes | None:
    found = get_key(member.replica.view, "test", "k")
    return None if found is None else found.value


async def early(member: Member) -> Outcome | None:
    return await asyncio.wait_for(member.replica.propose_early(Command(PUT), timeout_s=PATIENCE_S), PATIENCE_S)


async def test_the_disk_of_the_leader_is_enough_wherever_the_write_arrives(tmp_path: Path) -> None:
    async with group(tmp_path, 3) as (_, members):
        await at_level(*members)
        leader, *others = members
        for member in others:
            member.log.open.clear()
        for member in (leader, others[0]):
            before = leader.replica.revision
            assert await early(member) is None
            assert leader.replica.revision == before  # no majority has it
        for member in others:
            member.log.open.set()
        await leader.until(lambda: stored(leader) == b"v")


async def test_an_outcome_that_is_known_before_is_what_is_answered(tmp_path: Path) -> None:
    async with group(tmp_path, 3) as (_, members):
        await at_level(*members)
        members[0].log.open.clear()
        for member in members[:2]:
            outcome = await early(member)
            assert outcome is not None
            assert outcome.revision == members[0].replica.revision
        members[0].log.open.set()


async def test_a_write_that_a_failover_loses_is_known_not_to_be_applied(tmp_path: Path) -> None:
    async with group(tmp_path, 3) as (wires, members):
        await at_level(*members)
        leader, *others = members
        store = Store(leader.replica, StoreLimits())
        wires.isolate(leader)
        outcome, ticket = await store.tickets.early(PUT, key=None, timeout_s=PATIENCE_S, request=None)
        assert outcome is None
        await others[0].until(lambda: any(one.replica.is_leader for one in others))
        # Any member can be asked; here one that has never heard of the write.
        asked = Store(others[0].replica, StoreLimits())
        fate = await asked.tickets.fate(parse_ticket(ticket), settle=True, timeout_s=PATIENCE_S)
        assert fate.state is State.NOT_APPLIED
        wires.held.clear()
        await leader.until(lambda: leader.replica.revision >= fate.revision)
        assert [stored(member) for member in members] == [None] * 3
        again = await store.tickets.fate(parse_ticket(ticket), settle=False, timeout_s=PATIENCE_S)
        assert again.state is State.NOT_APPLIED


async def test_a_queued_write_survives_a_change_of_leader(tmp_path: Path) -> None:
    async with group(tmp_path, 3) as (_, members):
        await at_level(*members)
        leader, follower = members[:2]
        store, told = Store(follower.replica, StoreLimits()), list[str]()
        leader.consensus.step_down()
        ticket = parse_ticket(store.tickets.queue(PUT, key=None, timeout_s=PATIENCE_S, told=told.append, request=None))
        await follower.until(lambda: bool(told))
        assert told == ["applied"]
        fate = await store.tickets.fate(ticket, settle=False, timeout_s=PATIENCE_S)
        assert fate.state is State.APPLIED
        assert store.writes.inflight == 0
        assert stored(follower) == b"v"


class OlderPropose(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """What the version before knows of `Propose`."""

    commands: tuple[msgspec.Raw, ...]
    timeout_s: float
    contexts: tuple[tuple[int, bytes], ...] = ()


def test_a_leader_of_the_version_before_reads_an_early_call_as_another_one() -> None:
    """It answers with the outcome, which says more."""
    payload = calls.encode_call(calls.Propose((), 1.0, (), early=True))
    assert msgspec.msgpack.decode(payload, type=OlderPropose) == OlderPropose((), 1.0)
    older = calls.decode_call(msgspec.msgpack.encode(OlderPropose((), 1.0)))
    assert older == calls.Propose((), 1.0)
