"""Members whose state was changed behind their backs: found, named and stopped, while the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import msgspec
import pytest

from collectionstore_node.errors import DataDirectoryRefused
from collectionstore_node.metrics import DigestSeries, member_metrics
from collectionstore_node.raft.messages import Configuration, Index, NodeId, Term
from collectionstore_node.raft.ready import ProgressState, ProgressStatus, RaftStatus, Role
from collectionstore_node.replica.comparison.comparer import ANSWER_S, StateComparer
from collectionstore_node.replica.comparison.digests import INCONCLUSIVE_S
from collectionstore_node.replica.comparison.state_check import StateCheck
from collectionstore_node.replica.health.space import MemberReports
from collectionstore_node.replica.peers import calls
from collectionstore_node.replica.persistence.checkpoints import Checkpoint
from collectionstore_node.replica.reporting.status import MemberStatus
from collectionstore_node.replica.transport_port import PeerTransport
from collectionstore_node.statemachine.commands import (
    Command,
    Compare,
    CompareField,
    CompareOperator,
    KeyRef,
    Put,
    Transaction,
)
from collectionstore_node.statemachine.keys import bucket_prefix
from collectionstore_node.statemachine.levels import FIRST, HIGHEST
from collectionstore_node.storage import Database
from collectionstore_node.tests.metrics.reading import sample_value
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, group
from collectionstore_node.tests.storage.entries import SMALL
from collectionstore_node.transport import PeerUnavailable

GOOD, BAD = b"g" * 32, b"b" * 32


async def tamper(member: Member, key: str, value: bytes) -> None:
    """Change the last byte of a stored value in the database, past everybody."""
    assert await member.get(key) is not None
    rocks, family = member.database.rocks, member.database.state.family
    stored_key = bucket_prefix("test") + key.encode()
    record = family.get(stored_key)
    assert record is not None
    batch = rocks.batch(family)
    batch[stored_key] = record[: -len(value)] + value
    rocks.write(batch)


async def depend_on(member: Member, key: str, value: bytes) -> None:
    """Have a compare-and-set applied that goes another way where `key` was tampered with."""
    compare = Compare(KeyRef("test", key), CompareField.VALUE, CompareOperator.EQUAL, value)
    transaction = Transaction((compare,), (Put(KeyRef("test", "then"), b"1"),), (Put(KeyRef("test", "else"), b"1"),))
    await member.replica.propose(Command(transaction), timeout_s=PATIENCE_S)


def check_of(asked: Member, one: Member) -> StateCheck | None:
    """Return what `asked` says in its status of the state of `one`."""
    members: Iterable[MemberStatus] = asked.replica.status().members
    return next(status.state_check for status in members if status.node_id == f"{one.id:016x}")


async def end_of(member: Member) -> BaseException | None:
    """Return what ended a member by itself."""
    done, _ = await asyncio.wait((member.task,), timeout=PATIENCE_S)
    assert done, f"{member.name} goes on with a wrong state"
    return member.task.exception()


def assert_refused_from_now_on(member: Member) -> None:
    for _ in range(2):
        with pytest.raises(DataDirectoryRefused, match="differs from the majority's at index"):
            Database.open(member.database.path, cluster_id="test", name=member.name, tuning=SMALL)


async def test_follower_with_another_state_is_found_named_and_stopped(tmp_path: Path) -> None:
    """It ends itself with the reason and never starts again; the others neither stop nor lose it from sight."""
    async with group(tmp_path, 3, raised=True) as (_, (first, second, third)):
        await first.put("a", b"1")
        agrees = StateCheck("Agrees", first.consensus.raft.applied)
        await first.until(lambda: check_of(first, second) == check_of(first, third) == agrees)
        await tamper(second, "a", b"2")
        await depend_on(first, "a", b"1")
        error = await end_of(second)
        assert isinstance(error, DataDirectoryRefused)
        assert f"{first.id:016x}, {third.id:016x}" in str(error) or f"{third.id:016x}, {first.id:016x}" in str(error)
        assert "empty directory" in str(error)
        await first.until(lambda: first.series("collectionstore_digest_mismatch") == 1)
        found = check_of(first, second)
        assert found is not None
        assert found.result == "Differs"
        await first.put("b", b"1")
        assert await third.get("b") == b"1"
        assert await third.get("else") is None
        await second.stop()
        assert_refused_from_now_on(second)


async def test_leader_with_another_state_stops_itself(tmp_path: Path) -> None:
    """The two that agree are right, and elect one of them."""
    async with group(tmp_path, 3, raised=True) as (_, (first, second, third)):
        await first.put("a", b"1")
        await tamper(first, "a", b"2")
        await depend_on(first, "a", b"1")
        assert isinstance(await end_of(first), DataDirectoryRefused)
        await second.until(lambda: second.replica.is_leader or third.replica.is_leader)
        await second.put("b", b"1")
        assert await third.get("then") == b"1"
        assert await third.get("else") is None
        await first.stop()
        assert_refused_from_now_on(first)


async def test_one_against_one_is_an_alarm_and_nobody_stops(tmp_path: Path) -> None:
    """No majority, no verdict: both are named, and a person decides."""
    async with group(tmp_path, 2) as (_, (first, second)):
        await first.put("a", b"1")
        await tamper(second, "a", b"2")
        await depend_on(first, "a", b"1")
        await first.until(lambda: first.series("collectionstore_digest_mismatch") == 2)
        for member in (first, second):
            found = check_of(first, member)
            assert found is not None
            assert found.result == "Disputed"
        await first.put("b", b"1")
        assert not first.task.done()
        assert not second.task.done()


async def test_nobody_is_talked_into_stopping(tmp_path: Path) -> None:
    """A member that is told that it is wrong asks the others itself, and goes on when they do not differ."""
    async with group(tmp_path, 3, raised=True) as (_, (first, second, third)):
        await first.put("a", b"1")
        for _ in range(3):
            answer = await second.handler.on_request(third.id, calls.encode_call(calls.VerifyState()))
            assert calls.decode_results(answer) == (calls.Result(),)
        await first.until(lambda: check_of(first, second) == StateCheck("Agrees", first.consensus.raft.applied))
        await second.put("b", b"1")
        assert not second.task.done()


async def test_digests_are_in_the_status_and_equal_on_all_members(tmp_path: Path) -> None:
    async with group(tmp_path, 3, raised=True) as (_, members):
        await members[0].put("a", b"1")
        for member in members:
            assert await member.get("a") == b"1"
        statuses = [member.replica.status() for member in members]
        assert len({status.state_digest for status in statuses}) == 1
        assert len(statuses[0].state_digest) == 64
        await members[0].until(lambda: members[0].series("collectionstore_digest_compared_index") > 0)


# Without a cluster: answers that no member gives, and time that passes at will.


class Asked:
    """A transport whose peers answer as told; an exception is raised instead."""

    def __init__(self) -> None:
        self.answers: dict[NodeId, bytes | Exception] = {}

    async def request(self, to: NodeId, payload: bytes, timeout_s: float) -> bytes:
        assert timeout_s == ANSWER_S
        if not isinstance(calls.decode_call(payload), calls.GetDigests):
            return calls.encode_results([calls.Result()])
        answer = self.answers[to]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Leader:
    """Leads three voters; hears the others all the time."""

    def __init__(self) -> None:
        self.condemned: list[str] = []
        self.raised: list[int] = []
        self.suspicion = asyncio.Event()
        self.reports = MemberReports()

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        return (Checkpoint(Index(5), GOOD),)

    def raise_level(self, level: int) -> None:
        self.raised.append(level)

    def quarantine(self, reason: str) -> None:
        self.condemned.append(reason)

    def raft_status(self) -> RaftStatus:
        voters = (NodeId(1), NodeId(2), NodeId(3))
        progress = tuple(
            ProgressStatus(node_id, ProgressState.REPLICATE, Index(5), Index(6), True, 0, Index(0), 0)  # noqa: FBT003
            for node_id in voters
        )
        return RaftStatus(
            node_id=NodeId(1),
            role=Role.LEADER,
            term=Term(1),
            vote=NodeId(1),
            leader=NodeId(1),
            commit_index=Index(5),
            applied_index=Index(5),
            first_index=Index(1),
            last_index=Index(5),
            last_log_term=Term(1),
            configuration=Configuration(voters=voters),
            pending_change_index=Index(0),
            transferring_to=NodeId(0),
            progress=progress,
        )


GOOD_ANSWER = calls.encode_checkpoints((Checkpoint(Index(5), GOOD),))
USELESS = [
    PeerUnavailable("not connected"),
    b"\xc1 garbage",
    calls.encode_checkpoints(()),
    calls.encode_checkpoints((Checkpoint(Index(4), GOOD),)),
    calls.encode_checkpoints((Checkpoint(Index(5), GOOD), Checkpoint(Index(5), BAD))),
    calls.encode_results([calls.Result()]),
]


@pytest.mark.parametrize("useless", USELESS, ids=["silent", "garbage", "nothing", "nothing common", "two", "other"])
async def test_what_cannot_be_compared_is_an_alarm_and_never_a_pass(useless: bytes | Exception) -> None:
    """S22: heard all the time, and yet nobody knows what state it holds."""
    transport, leader, metrics, failures = Asked(), Leader(), member_metrics(), list[BaseException]()
    now = [0.0]
    transport.answers = {NodeId(2): useless, NodeId(3): GOOD_ANSWER}
    comparing = StateComparer(
        NodeId(1),
        leader,
        cast(PeerTransport, transport),
        DigestSeries(metrics),
        silence_ticks_max=10,
        failed=failures.append,
        clock=lambda: now[0],
    )
    await comparing.round()
    assert comparing.checks() == {NodeId(3): StateCheck("Agrees", Index(5))}
    now[0] = INCONCLUSIVE_S
    await comparing.round()
    assert comparing.checks()[NodeId(2)] == StateCheck("Inconclusive")
    assert sample_value(metrics, "collectionstore_digest_inconclusive") == 1
    transport.answers[NodeId(2)] = GOOD_ANSWER
    await comparing.round()
    assert comparing.checks()[NodeId(2)] == StateCheck("Agrees", Index(5))
    assert sample_value(metrics, "collectionstore_digest_inconclusive") == 0
    assert (failures, leader.condemned) == ([], [])


def test_answer_that_is_nested_without_end_is_no_answer() -> None:
    """msgspec raises RecursionError for it, which nobody else expects."""
    with pytest.raises(msgspec.DecodeError):
        calls.decode_checkpoints(b"\x91" * 5000)


def says(supports: int) -> bytes:
    """Return the answer of a member that supports a feature level."""
    return calls.encode_checkpoints((Checkpoint(Index(5), GOOD, supports),))


@pytest.mark.parametrize(
    ("second", "third", "expected"),
    [
        (says(HIGHEST), says(HIGHEST), HIGHEST),
        (says(HIGHEST + 5), says(HIGHEST), HIGHEST),
        (says(HIGHEST), says(FIRST), FIRST),
        # As a version without feature levels answers.
        (says(HIGHEST), msgspec.msgpack.encode([[5, GOOD]]), FIRST),
        (says(HIGHEST), PeerUnavailable("not connected"), FIRST),
        (says(HIGHEST), b"\xc1 garbage", FIRST),
        (says(HIGHEST), calls.encode_checkpoints(()), FIRST),
    ],
    ids=["all", "newer", "older", "without levels", "silent", "garbage", "installing a snapshot"],
)
async def test_level_is_raised_only_to_what_every_member_says_it_supports(
    second: bytes, third: bytes | Exception, expected: int
) -> None:
    transport, leader, failures = Asked(), Leader(), list[BaseException]()
    transport.answers = {NodeId(2): second, NodeId(3): third}
    comparing = StateComparer(
        NodeId(1),
        leader,
        cast(PeerTransport, transport),
        DigestSeries(member_metrics()),
        silence_ticks_max=10,
        failed=failures.append,
    )
    await comparing.round()
    assert (leader.raised, failures) == ([expected], [])


async def test_a_version_without_levels_understands_the_answer() -> None:
    """It ignores what follows the two fields that it knows."""

    class Older(msgspec.Struct, array_like=True):
        index: int
        digest: bytes

    [found] = msgspec.msgpack.decode(says(HIGHEST), type=list[Older])
    assert (found.index, found.digest) == (5, GOOD)
