"""Leadership that must not be lost while members change or install snapshots, with real drivers and disks."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

from collectionstore_node.app import transfer_on_shutdown
from collectionstore_node.raft.messages import HardState, InstallSnapshot, encode
from collectionstore_node.raft.ready import Role
from collectionstore_node.replica.membership.changes import MemberChange, MembersRequest
from collectionstore_node.sealed_files import SealedFiles
from collectionstore_node.tests.replica.group import PATIENCE_S, SETTINGS, Member, group


async def ticks(member: Member, count: int) -> None:
    """Wait for so many ticks of a member."""
    since = member.ticks
    await member.until(lambda: member.ticks >= since + count)


async def test_member_that_stops_during_a_change_hands_over(tmp_path: Path) -> None:
    """N3: as SIGTERM does it, at each of the first turns of the loop after the change was asked for.

    The change ends under whoever leads then. That no election is lost on the way is for the core's tests, in which no
    time passes.
    """
    async with group(tmp_path, 4) as (_, members):
        moved = members[3]
        moves = 0
        for turns in range(0, 24, 2):
            leader = await _leader_of(members)
            is_voter = moved.id in leader.consensus.raft.configuration.voters
            step = MemberChange("demote" if is_voter else "promote", moved.id, moved.name, moved.name, moved.name)
            change = asyncio.create_task(leader.replica.change_members(MembersRequest((step,)), timeout_s=PATIENCE_S))
            for _ in range(turns):
                await asyncio.sleep(0)
            await transfer_on_shutdown(leader.replica)
            moves += not leader.replica.is_leader
            await asyncio.gather(change, return_exceptions=True)
        assert moves > 0
        await (await _leader_of(members)).put("a", b"1")


async def _leader_of(members: Sequence[Member]) -> Member:
    """Wait for a leader under which no change is in progress."""
    await members[0].until(lambda: any(_is_settled(one) for one in members))
    return next(one for one in members if one.replica.is_leader)


def _is_settled(leader: Member) -> bool:
    raft = leader.local.raft_status()
    return raft.role is Role.LEADER and not raft.configuration.joint and raft.applied_index == raft.last_index


async def test_member_answers_heartbeats_while_it_installs_a_snapshot(tmp_path: Path) -> None:
    """N5: the leader, whose other follower is gone, goes on leading, and commits once the snapshot is installed."""
    async with group(tmp_path, 3) as (wires, (leader, slow, gone)):
        wires.isolate(slow)
        await leader.put("a", b"1")
        exported = leader.database.export_snapshot(leader.database.spool)
        installing, finish = threading.Event(), threading.Event()
        install = slow.database.install_snapshot

        def install_slowly(path: Path, hard_state: HardState | None = None) -> None:
            installing.set()
            finish.wait()
            install(path, hard_state)

        slow.database.install_snapshot = install_slowly  # type: ignore[method-assign]
        raft = leader.consensus.raft
        message = InstallSnapshot(leader.id, slow.id, raft.term, exported.metadata)
        received = slow.database.spool / "received"
        shutil.copy(exported.path, received)
        await slow.handler.on_snapshot(leader.id, encode([message]), received)
        await slow.until(installing.is_set)
        wires.held.clear()
        wires.isolate(gone)
        term = raft.term
        try:
            await ticks(leader, 3 * SETTINGS.election_ticks_max)
            assert (raft.is_leader, raft.term) == (True, term)
        finally:
            finish.set()
        await leader.put("b", b"2")
        assert await slow.get("a") == b"1"


async def test_member_whose_data_is_encrypted_takes_a_snapshot(tmp_path: Path) -> None:
    """The file in its spool is sealed: it is checked as it is read, and not as it lies on the disk."""
    async with group(tmp_path, 3) as (wires, (leader, slow, _)):
        wires.isolate(slow)
        await leader.put("a", b"1")
        exported = leader.database.export_snapshot(leader.database.spool)
        slow.database.open_file = SealedFiles().open
        received = slow.database.spool / "received"
        received.touch()
        with slow.database.open_file(received, "r+b") as file:
            file.write(exported.path.read_bytes())
        message = InstallSnapshot(leader.id, slow.id, leader.consensus.raft.term, exported.metadata)
        await slow.handler.on_snapshot(leader.id, encode([message]), received)
        await slow.until(lambda: slow.database.log.snapshot().index == exported.metadata.index)
        wires.held.clear()
        assert await slow.get("a") == b"1"
