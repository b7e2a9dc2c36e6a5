"""An operator that was replaced can change nothing any more, on any member, before or after restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from collectionstore_node.errors import InvalidRequest, NotLeader
from collectionstore_node.replica.membership.changes import MemberChange, MembersRequest
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, Wires, group

OLD, NEW = 6, 7


def stale_calls(asked: Member, other: Member) -> dict[str, Coroutine[Any, Any, object]]:
    """Return everything that a replaced operator may still send."""
    demote = MembersRequest((MemberChange("demote", other.id),), epoch=OLD)
    return {
        "change": asked.replica.change_members(demote, timeout_s=PATIENCE_S),
        "transfer": asked.replica.transfer_leadership(other.id, timeout_s=PATIENCE_S, epoch=OLD),
    }


async def assert_refused(asked: Member, other: Member) -> None:
    before = asked.consensus.raft.status()
    for name, call in stale_calls(asked, other).items():
        with pytest.raises(InvalidRequest) as caught:
            await call
        assert caught.value.code == "stale_epoch", name
    after = asked.consensus.raft.status()
    assert (after.leader, after.configuration) == (before.leader, before.configuration)


async def assert_sent_to_the_leader(asked: Member, leader: Member) -> None:
    for name, call in stale_calls(asked, leader).items():
        with pytest.raises(NotLeader) as caught:
            await call
        assert caught.value.leader == leader.id, name


async def test_replaced_operator_is_refused_by_every_member(tmp_path: Path) -> None:
    """Asked at the leader, whose record decides; a follower passes nothing on, and says who leads."""
    async with group(tmp_path, 3) as (_, members):
        leader, second, third = members
        change = MembersRequest((MemberChange("demote", third.id),), epoch=NEW)
        await leader.replica.change_members(change, timeout_s=PATIENCE_S)
        await second.until(lambda: second.replica.status().epoch == NEW)
        await assert_refused(leader, second)
        await assert_sent_to_the_leader(second, leader)
        await leader.replica.transfer_leadership(second.id, timeout_s=PATIENCE_S, epoch=NEW)
        await assert_refused(second, leader)


async def test_epoch_of_the_founding_call_counts(tmp_path: Path) -> None:
    """And survives a restart: it is in the log and in the state, not in memory."""
    wires = Wires()
    member = Member("n0", tmp_path / "n0", wires, 0)
    try:
        await member.replica.bootstrap(epoch=NEW)
        assert member.replica.status().epoch == NEW
    finally:
        await member.stop()
    again = Member("n0", tmp_path / "n0", wires, 1)
    try:
        async with asyncio.timeout(PATIENCE_S):
            await again.until(lambda: again.replica.is_leader and again.replica.status().epoch == NEW)
        add = MemberChange("add", again.id, "x", "x", "x")
        with pytest.raises(InvalidRequest) as caught:
            await again.replica.change_members(MembersRequest((add,), epoch=OLD), timeout_s=PATIENCE_S)
        assert caught.value.code == "stale_epoch"
    finally:
        await again.stop()
