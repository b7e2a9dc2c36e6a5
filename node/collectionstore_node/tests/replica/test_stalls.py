"""A leader whose disk, state machine or process is stuck does not lead on, and others take over (raft.md L21)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from collectionstore_node.errors import NotLeader, NotNow
from collectionstore_node.raft.messages import AppendReply, HeartbeatReply, Message
from collectionstore_node.raft.ready import Role
from collectionstore_node.tests.replica.group import SETTINGS, Member, Wires, group

STALLS = "collectionstore_watchdog_stalls_total"


async def other_leader(*others: Member) -> Member:
    """Wait until one of the others leads."""
    await others[0].until(lambda: any(one.replica.is_leader for one in others))
    return next(one for one in others if one.replica.is_leader)


async def test_leader_whose_sync_hangs_steps_down_and_clients_go_on(tmp_path: Path) -> None:
    """A majority of others commits without its disk, until it steps down and another one leads (etcd-io/etcd#15247)."""
    async with group(tmp_path, 3) as (_, (first, second, third)):
        first.log.open.clear()
        await first.put("a", b"1")
        assert await first.get("a") == b"1"
        assert first.replica.is_leader
        assert first.consensus.raft.durable_index < first.consensus.raft.applied, "its own disk holds nothing of it"
        await second.until(lambda: not first.replica.is_leader and first.series(STALLS, kind="fsync") == 1)
        leader = await other_leader(second, third)
        # Asked of the member that hangs: it hands the write on.
        await first.put("b", b"2")
        assert await leader.get("a") == b"1"
        assert await first.get("b") == b"2"
        first.log.open.set()
        last = leader.consensus.raft.last_index
        await first.until(lambda: first.consensus.raft.durable_index >= last)
        assert first.series(STALLS, kind="apply") == 0, "one trouble, not two"


async def test_age_of_the_hanging_sync_is_shown(tmp_path: Path) -> None:
    async with group(tmp_path, 1) as (_, (alone,)):
        first = alone.series("collectionstore_storage_wal_fsync_age_seconds")
        alone.log.open.clear()
        write = asyncio.create_task(alone.put("a", b"1"))
        await alone.until(lambda: not alone.replica.is_leader)
        limit_s = SETTINGS.election_ticks_max * SETTINGS.tick_s
        assert alone.series("collectionstore_storage_wal_fsync_age_seconds") > limit_s
        alone.log.open.set()
        await write
        assert first == 0.0


async def test_member_does_not_campaign_while_its_disk_hangs(tmp_path: Path) -> None:
    """It would lead as badly as before. Once the disk is back it may."""
    async with group(tmp_path, 3) as (wires, (first, second, third)):
        wires.isolate(first)
        first.log.open.clear()
        write = asyncio.create_task(first.put("a", b"1"))
        await first.until(lambda: not first.replica.is_leader)
        since = first.ticks
        await first.until(lambda: first.ticks > since + 5 * SETTINGS.election_ticks_max)
        assert first.consensus.raft.role is Role.FOLLOWER
        first.log.open.set()
        await first.until(lambda: first.consensus.raft.role is Role.PRE_CANDIDATE)
        wires.held.clear()
        await first.put("b", b"2")
        # Another leader may have replaced the first write meanwhile: its fate is known, whatever it is.
        await asyncio.gather(write, return_exceptions=True)
        assert sum(one.replica.is_leader for one in (first, second, third)) == 1


async def test_single_member_leads_again_when_its_disk_is_back(tmp_path: Path) -> None:
    async with group(tmp_path, 1) as (_, (alone,)):
        alone.log.open.clear()
        write = asyncio.create_task(alone.put("a", b"1"))
        await alone.until(lambda: not alone.replica.is_leader)
        assert alone.series("collectionstore_watchdog_step_downs_total", reason="fsync") == 1
        alone.log.open.set()
        await write
        assert await alone.get("a") == b"1"


# Pauses


async def asked_before_a_pause(
    wires: Wires, first: Member, *others: Member
) -> tuple[asyncio.Future[None], list[Message]]:
    """Ask for a read and return it with the replies that would confirm it, which wait in the socket."""
    wires.hold(first, *others)
    loop = asyncio.get_running_loop()
    read = first.consensus.join_read(loop.time() + 60)
    await others[0].until(lambda: sum(isinstance(one, HeartbeatReply) for one in wires.waiting) >= len(others))
    assert not read.done()
    return read, [one for one in wires.waiting if isinstance(one, HeartbeatReply | AppendReply)]


async def test_leader_steps_down_before_it_reads_what_arrived_in_a_pause(tmp_path: Path) -> None:
    """The socket is read before the timers run, so that the messages come first and the late tick second."""
    async with group(tmp_path, 3) as (wires, (first, second, third)):
        read, replies = await asked_before_a_pause(wires, first, second, third)
        first.now += 10.0
        for reply in replies:
            first.handler.on_messages(reply.sender, (reply,))
        assert not first.replica.is_leader
        with pytest.raises(NotLeader):
            await read
        assert first.series("collectionstore_watchdog_step_downs_total", reason="event_loop") == 1


async def test_same_replies_confirm_the_read_without_a_pause(tmp_path: Path) -> None:
    """So it is the pause that made the difference above."""
    async with group(tmp_path, 3) as (wires, (first, second, third)):
        read, replies = await asked_before_a_pause(wires, first, second, third)
        for reply in replies:
            first.handler.on_messages(reply.sender, (reply,))
        await read
        assert first.replica.is_leader


async def test_leader_takes_no_command_and_no_read_after_a_pause(tmp_path: Path) -> None:
    """Whoever asks a leader that was away is served by whoever leads then, or told to try again."""
    async with group(tmp_path, 3) as (wires, (first, second, third)):
        wires.isolate(first)
        leader = await other_leader(second, third)
        await leader.put("a", b"new")
        first.now += 10.0
        with pytest.raises(NotNow):
            await first.get("a", timeout_s=0.5)
        with pytest.raises(NotNow):
            await first.put("a", b"lost", timeout_s=0.5)
        wires.held.clear()
        assert await first.get("a") == b"new"


async def test_follower_that_was_paused_steps_down_from_nothing(tmp_path: Path) -> None:
    async with group(tmp_path, 3) as (_, (first, second, _third)):
        second.now += 10.0
        since = second.ticks
        await second.until(lambda: second.ticks > since + 2)
        assert second.series(STALLS, kind="event_loop") == 1
        assert second.series("collectionstore_watchdog_step_downs_total", reason="event_loop") == 0
        assert first.replica.is_leader
