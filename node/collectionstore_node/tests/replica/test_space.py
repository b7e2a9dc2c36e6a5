"""Short of space: what one member finds, what the leader decides for all, and that it ends by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectionstore_node.errors import InsufficientStorage
from collectionstore_node.raft.messages import Index, NodeId
from collectionstore_node.replica.health.space import (
    REPORT_VALID_S,
    MemberReports,
    SpaceJudge,
    SpaceReport,
    adds_data,
    refusal,
)
from collectionstore_node.replica.peers import calls
from collectionstore_node.replica.persistence.checkpoints import Checkpoint
from collectionstore_node.space import Room, SpaceLimits
from collectionstore_node.statemachine.access_commands import PutUser, RevokeToken
from collectionstore_node.statemachine.commands import (
    Action,
    Command,
    Compare,
    CompareField,
    CompareOperator,
    CreateCollection,
    Delete,
    DocumentRef,
    DropCollection,
    Get,
    KeyRef,
    Put,
    Transaction,
    Update,
    UpdateForm,
)
from collectionstore_node.tests.replica.group import PATIENCE_S, group

LIMITS = SpaceLimits(reserve_bytes=100, low_bytes=50, high_bytes=70)
QUOTA = SpaceLimits(quota_bytes=1_000)
KEY, DOCUMENT = KeyRef("b", "k"), DocumentRef("people", "ada")
SHORT = SpaceReport(shortage="Disk", free_bytes=7, resume_bytes=70)


def test_disk_is_short_until_more_is_free_than_where_it_began() -> None:
    judge = SpaceJudge(LIMITS)

    def shortage(available: int, reserved: int = 100) -> str:
        return judge.judge(Room(available, reserved, 0)).shortage

    assert [shortage(50), shortage(49), shortage(69), shortage(70), shortage(50)] == ["", "Disk", "Disk", "", ""]


def test_giving_the_reserve_back_is_no_gain() -> None:
    """Otherwise the release of the reserve would end the shortage, and the writes would take it."""
    judge = SpaceJudge(LIMITS)
    assert judge.judge(Room(10, 100, 0)) == SpaceReport(
        shortage="Disk", free_bytes=10, reserve_bytes=100, resume_bytes=70
    )
    assert judge.judge(Room(110, 0, 0)).free_bytes == 10
    assert judge.judge(Room(169, 0, 0)).shortage == "Disk"
    assert judge.judge(Room(170, 0, 0)).shortage == ""


def test_quota_is_reached_until_a_tenth_is_free() -> None:
    judge = SpaceJudge(QUOTA)
    found = [judge.judge(Room(0, 0, used)).shortage for used in (999, 1_000, 950, 901, 900, 999)]
    assert found == ["", "Quota", "Quota", "Quota", "", ""]


def test_without_limits_nothing_is_short() -> None:
    assert SpaceJudge(SpaceLimits()).judge(Room(0, 0, 1 << 60)).shortage == ""


def test_reports_count_while_they_are_new_and_their_member_is_one() -> None:
    reports = MemberReports()
    assert not reports.any_short
    reports.note(NodeId(2), SpaceReport(), 0.0)
    assert not reports.any_short
    reports.note(NodeId(3), SHORT, 0.0)
    assert reports.any_short
    members = {NodeId(1), NodeId(2), NodeId(3)}
    assert reports.short(members, REPORT_VALID_S) == (NodeId(3), SHORT)
    assert reports.short(members - {NodeId(3)}, 0.0) is None, "removed"
    assert reports.short(members, REPORT_VALID_S + 0.1) is None, "unknown is not full"
    reports.note(NodeId(3), SpaceReport(), 1.0)
    assert reports.short(members, 1.0) is None
    reports.note(NodeId(3), SHORT, 1.0)
    reports.forget()
    assert not reports.any_short


@pytest.mark.parametrize(
    ("action", "adds"),
    [
        (Put(KEY, b"1"), True),
        (Put(DOCUMENT, b"{}"), True),
        (CreateCollection("c"), True),
        (Transaction(then=(Put(KEY, b"1"),)), True),
        (Transaction(otherwise=(Delete(KEY), Put(KEY, b"1"))), True),
        (Update(DOCUMENT, UpdateForm.OPERATORS, b"{}"), True),
        (Update(DOCUMENT, UpdateForm.REPLACE, b"{}"), True),
        (Transaction(then=(Update(DOCUMENT, UpdateForm.MERGE_PATCH, b"{}"),)), True),
        (Update(DOCUMENT, UpdateForm.DELETE), False),
        (Transaction(then=(Update(DOCUMENT, UpdateForm.DELETE), Get(KEY))), False),
        (Delete(KEY), False),
        (Delete(DOCUMENT), False),
        (DropCollection("c"), False),
        (Transaction(), False),
        (
            Transaction(
                (Compare(KEY, CompareField.EXISTS, CompareOperator.EQUAL, 1),),
                (Delete(KEY), Get(DOCUMENT)),
                (Get(KEY),),
            ),
            False,
        ),
        (PutUser("ada", b'{"disabled":true}'), False),
        (RevokeToken("0123456789abcdef"), False),
    ],
)
def test_what_adds_data(action: Action, *, adds: bool) -> None:
    assert adds_data(action) is adds


def test_refusal_says_who_is_short_of_how_much_and_what_to_do() -> None:
    disk = str(refusal("demo-1", SHORT))
    assert "demo-1" in disk
    assert "7 bytes free" in disk
    assert "70 bytes free" in disk
    assert "delete data" in disk
    quota = str(refusal("demo-2", SpaceReport(shortage="Quota", used_bytes=9, quota_bytes=8, resume_bytes=7)))
    assert all(part in quota for part in ("demo-2", "9 bytes", "is 8", "at 7 bytes", "spec.storage.quota"))


def test_answers_of_members_with_and_without_reports_are_read() -> None:
    """During an upgrade both kinds run together: an old answer has no report, which is not the report "not short"."""
    known = (Checkpoint(Index(5), b"x" * 32),)
    assert calls.decode_checkpoints(calls.encode_checkpoints(known)) == (known, None)
    assert calls.decode_checkpoints(calls.encode_report(calls.MemberReport(known, SHORT))) == (known, SHORT)
    assert calls.decode_call(b"\x91\x04") == calls.GetDigests(), "the call of an earlier version"


async def test_leader_refuses_for_any_member_and_takes_writes_again_by_itself(tmp_path: Path) -> None:
    """A follower is short: nobody takes data, whoever is asked; reads and deletes work everywhere."""
    async with group(tmp_path, 3) as (_wires, members):
        leader, other, short = members
        await leader.put("a", b"1")
        short.local.space.report = SHORT
        await leader.until(lambda: leader.local.shortage() is not None)
        for member in members:
            with pytest.raises(InsufficientStorage, match=short.name):
                await member.put("b", b"2")
            assert await member.get("a") == b"1"
            assert await member.get("b") is None
        removed = await other.replica.propose(Command(Delete(KeyRef("test", "a"))), timeout_s=PATIENCE_S)
        assert removed.current_revision
        assert leader.replica.status().writes_refused
        assert not other.replica.status().writes_refused, "only the leader decides"
        assert leader.series("collectionstore_storage_read_only") == 1
        assert leader.series("collectionstore_storage_refused_writes_total") == 3
        short.local.space.report = SpaceReport()
        await leader.until(lambda: leader.local.shortage() is None)
        await other.put("b", b"2")
        assert leader.series("collectionstore_storage_read_only") == 0


async def test_leader_that_is_short_itself_refuses_at_once(tmp_path: Path) -> None:
    async with group(tmp_path, 1) as (_wires, (only,)):
        only.local.space.report = SHORT
        with pytest.raises(InsufficientStorage, match=only.name):
            await only.put("a", b"1")
        only.local.space.report = SpaceReport()
        await only.put("a", b"1")
