"""Updates on whole members: before their feature level, forwarded with their images, and equal on all of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from collectionstore_node.errors import InvalidRequest, UpgradePending
from collectionstore_node.replica.peers import calls
from collectionstore_node.statemachine.commands import (
    Action,
    Code,
    Command,
    CreateCollection,
    DocumentRef,
    Image,
    Outcome,
    Transaction,
    Update,
    UpdateForm,
)
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.levels import BOUNDED, HIGHEST
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, group, programs_support

X = DocumentRef("c", "x")
INC = Update(X, UpdateForm.OPERATORS, b'{"$inc":{"n":1}}', upsert=True)


async def propose(member: Member, action: Action) -> Outcome:
    return await member.replica.propose(Command(action), timeout_s=PATIENCE_S)


async def at_level(level: int, *members: Member) -> None:
    for member in members:
        await member.until(lambda member=member: member.local.applier.level >= level)  # type: ignore[misc]


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep members from raising the level beyond that of the version before: as if one of them were of it."""
    programs_support(BOUNDED, monkeypatch)


@pytest.mark.usefixtures("older")
@pytest.mark.parametrize("action", [INC, Transaction(then=(INC,))])
async def test_an_update_is_refused_before_its_level_on_every_member(tmp_path: Path, action: Action) -> None:
    """It is not proposed, nor sent to a leader that may be of a version that cannot decode it."""
    async with group(tmp_path, 2) as (_, (leader, other)):
        leader.local.raise_level(BOUNDED)
        await at_level(BOUNDED, leader, other)
        last = leader.local.raft_status().last_index
        for member in (leader, other):
            with pytest.raises(UpgradePending, match="feature level is 2, and this needs 3"):
                await propose(member, action)
        assert leader.local.raft_status().last_index == last


@pytest.mark.usefixtures("older")
async def test_a_leader_refuses_what_a_member_forwards_before_its_level(tmp_path: Path) -> None:
    async with group(tmp_path, 1) as (_, (leader,)):
        leader.local.raise_level(BOUNDED)
        with pytest.raises(UpgradePending):
            leader.local.admit(INC)
    refused = calls.error_of(calls.failure(UpgradePending("wait")))
    assert isinstance(refused, UpgradePending)


async def test_updates_of_all_members_are_applied_once_each_and_alike(tmp_path: Path) -> None:
    async with group(tmp_path, 3) as (_, members):
        leader = members[0]
        leader.local.raise_level(HIGHEST)
        await at_level(HIGHEST, *members)
        await propose(leader, CreateCollection("c"))
        await asyncio.gather(*(propose(member, INC) for member in members for _ in range(20)))
        answered = await propose(members[2], Update(X, UpdateForm.OPERATORS, b'{"$inc":{"n":1}}', image=Image.AFTER))

        assert orjson.loads(answered.items[0].value or b"") == {"n": 61}
        failed = await propose(members[1], Update(X, UpdateForm.OPERATORS, b'{"$push":{"n":1}}'))
        assert (failed.code, failed.failed_operation) == (Code.UPDATE_TYPE, 0)
        index = leader.replica.applied_index
        for member in members:
            await member.until(lambda member=member: member.replica.applied_index >= index)  # type: ignore[misc]
        assert len({read_digest(member.database.state) for member in members}) == 1


async def test_a_forwarded_update_that_is_none_is_refused(tmp_path: Path) -> None:
    async with group(tmp_path, 2) as (_, (leader, other)):
        leader.local.raise_level(HIGHEST)
        await at_level(HIGHEST, leader, other)
        with pytest.raises(InvalidRequest, match="unknown operator"):
            await propose(other, Update(X, UpdateForm.OPERATORS, b'{"$foo":{}}'))
