"""Commands that gather for an entry wait for nothing that will never come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from collectionstore_node.replica.consensus.proposals import FEW_COMMANDS
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, group

LOST: tuple[int, ...] = (4, 4, 4, 4, 16, 32)
"""Commands of entries one after the other, each as many as are proposed beside those before them."""


async def test_a_write_does_not_wait_for_entries_that_an_earlier_leadership_lost(tmp_path: Path) -> None:
    async with group(tmp_path, 3) as (wires, (first, *others)):
        await first.put("k", b"0")
        wires.isolate(first)
        lost: list[asyncio.Task[int]] = []
        for number, commands in enumerate(LOST, 1):
            # They stay in the table of proposals for as long as their callers wait.
            lost += [asyncio.create_task(first.put("lost", b"1", timeout_s=100 * PATIENCE_S)) for _ in range(commands)]
            await first.until(lambda number=number: first.consensus.proposals.pending == number)  # type: ignore[misc]
        leader = await _leader(others)
        await leader.put("k", b"2")
        # What was on the way is lost with the connections.
        wires.waiting.clear()
        wires.held.clear()
        await first.until(lambda: first.consensus.raft.applied >= leader.consensus.raft.commit_index)
        await leader.replica.transfer_leadership(first.id, timeout_s=PATIENCE_S)
        await first.until(lambda: first.consensus.raft.is_leader)

        await first.put("k", b"3")

        assert await first.get("k") == b"3"
        assert sum(not one.done() for one in lost) >= FEW_COMMANDS, "none of them is in the table: this shows nothing"
        for one in lost:
            one.cancel()
        await asyncio.gather(*lost, return_exceptions=True)


@pytest.mark.parametrize("clients", [1, 7, FEW_COMMANDS + 1, 3 * FEW_COMMANDS, 200])
async def test_nothing_waits_for_a_tick(tmp_path: Path, clients: int) -> None:
    """Ticks would wake a driver that was not woken for what it has to do, and hide that."""
    async with group(tmp_path, 3) as (_, members):
        for one in members:
            one.driver._stopping = True
        ticks = [one.ticks for one in members]
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(_live(members[number % 3], f"k{number}") for number in range(clients)))
        assert all(one.ticks <= before + 1 for one, before in zip(members, ticks, strict=True))


async def _live(member: Member, key: str) -> None:
    for number in range(5):
        await member.put(key, b"%d" % number)
        assert await member.get(key) == b"%d" % number


async def _leader(members: Sequence[Member]) -> Member:
    await members[0].until(lambda: any(one.consensus.raft.is_leader for one in members))
    return next(one for one in members if one.consensus.raft.is_leader)
