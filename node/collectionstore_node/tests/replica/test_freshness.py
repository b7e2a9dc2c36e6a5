"""How stale a member without a vote is, what it refuses, and that no deposed leader makes it look fresh."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collectionstore_node.errors import NotLeader, NotNow, TooStale
from collectionstore_node.raft.messages import NO_NODE, Configuration, NodeId
from collectionstore_node.replica.consensus.consensus import Consensus
from collectionstore_node.replica.consensus.freshness import ROUND_S, Freshness
from collectionstore_node.replica.membership.changes import MemberChange, MembersRequest
from collectionstore_node.replica.observation.command import Waiter
from collectionstore_node.replica.settings import ReplicaSettings
from collectionstore_node.statemachine.reads import get_key
from collectionstore_node.tests.replica.group import PATIENCE_S, SETTINGS, Member, Wires, group

LEADS, OWN = NodeId(1), NodeId(2)
VOTER = Configuration(voters=(LEADS, OWN))
LEARNER = Configuration(voters=(LEADS,), learners=(OWN,))


class Rounds:
    """Keeps the rounds that a member asks for; implements what `Freshness` needs of `Consensus`."""

    def __init__(self, configuration: Configuration) -> None:
        self.raft = SimpleNamespace(configuration=configuration, node_id=OWN, leader=LEADS)
        self.asked: list[tuple[float, Waiter[None]]] = []
        self.stopping = False

    def await_read(self, deadline: float, waiter: Waiter[None]) -> None:
        if self.stopping:
            raise NotNow("the node is stopping")
        self.asked.append((deadline, waiter))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def freshness_of(configuration: Configuration, *, max_s: float = 10.0) -> tuple[Freshness, Rounds, Clock]:
    rounds, clock = Rounds(configuration), Clock()
    settings: ReplicaSettings = cast(Any, SimpleNamespace(staleness_max_s=max_s))
    return Freshness(cast(Consensus, rounds), settings, clock=clock), rounds, clock


def test_staleness_counts_from_when_the_round_was_asked_for() -> None:
    """Not from when it was confirmed: what was acknowledged in between may be missing."""
    freshness, rounds, clock = freshness_of(LEARNER)
    freshness.tick(0.0)
    clock.now += 3.0
    rounds.asked[0][1].set_result(None)
    assert freshness.staleness_s() == 3.0


def test_nothing_is_known_before_the_first_confirmation() -> None:
    freshness, _, clock = freshness_of(LEARNER)
    clock.now += 4.0
    assert freshness.staleness_s() == inf
    assert freshness.unconfirmed_s() == 4.0


def test_a_round_that_fails_confirms_nothing() -> None:
    freshness, rounds, clock = freshness_of(LEARNER)
    freshness.tick(0.0)
    rounds.asked[0][1].set_exception(NotLeader())
    assert freshness.staleness_s() == inf
    clock.now += ROUND_S
    freshness.tick(1.0)
    assert len(rounds.asked) == 2


def test_an_older_confirmation_does_not_undo_a_newer_one() -> None:
    freshness, _, clock = freshness_of(LEARNER)
    freshness.confirmed(clock.now)
    freshness.confirmed(clock.now - 5.0)
    assert freshness.staleness_s() == 0.0


def test_one_round_at_a_time_and_no_more_than_one_a_second() -> None:
    freshness, rounds, clock = freshness_of(LEARNER)
    for _ in range(100):
        clock.now += ROUND_S / 10
        freshness.tick(0.0)
    assert len(rounds.asked) == 1
    rounds.asked[0][1].set_result(None)
    for _ in range(100):
        clock.now += ROUND_S / 10
        freshness.tick(0.0)
        rounds.asked[-1][1].set_result(None)
    assert 9 <= len(rounds.asked) - 1 <= 11


def test_a_short_bound_asks_more_often_than_it_expires() -> None:
    freshness, rounds, clock = freshness_of(LEARNER, max_s=1.0)
    worst = 0.0
    freshness.tick(0.0)
    rounds.asked[-1][1].set_result(None)
    for _ in range(40):
        clock.now += 0.05
        worst = max(worst, freshness.staleness_s())
        freshness.tick(0.0)
        rounds.asked[-1][1].set_result(None)
    assert worst < 0.5


def test_a_voter_asks_nothing_and_has_no_bound_of_its_own() -> None:
    freshness, rounds, _ = freshness_of(VOTER)
    freshness.tick(0.0)
    assert not rounds.asked
    assert freshness.bound_s(None) == inf
    assert freshness.bound_s(2.0) == 2.0


@pytest.mark.parametrize("asked_s", [None, 60.0])
def test_no_request_extends_the_bound_of_a_member_without_a_vote(asked_s: float | None) -> None:
    freshness, _, _ = freshness_of(LEARNER)
    assert freshness.bound_s(asked_s) == 10.0
    assert freshness.bound_s(0.5) == 0.5


def test_an_outgoing_voter_still_votes() -> None:
    freshness, _, _ = freshness_of(Configuration(voters=(LEADS,), outgoing=(LEADS, OWN)))
    assert not freshness.bounded


def test_a_removed_member_is_bounded() -> None:
    freshness, _, _ = freshness_of(Configuration(voters=(LEADS,)))
    assert freshness.bounded


def test_without_a_leader_nothing_is_asked_and_with_one_at_once() -> None:
    freshness, rounds, clock = freshness_of(LEARNER)
    freshness.tick(0.0)
    rounds.asked[0][1].set_exception(NotLeader())
    rounds.raft.leader = NO_NODE
    clock.now += 60.0
    freshness.tick(60.0)
    assert len(rounds.asked) == 1
    rounds.raft.leader = LEADS
    freshness.tick(60.0)
    assert len(rounds.asked) == 2


def test_a_stopping_node_asks_nothing_more() -> None:
    freshness, rounds, _ = freshness_of(LEARNER)
    rounds.stopping = True
    freshness.tick(0.0)
    assert freshness.staleness_s() == inf


# Real members


@asynccontextmanager
async def with_replica(path: Path) -> AsyncIterator[tuple[Wires, Sequence[Member], Member]]:
    """Run three voters, the first of which leads, and a member that has no vote."""
    async with group(path, 4) as (wires, members):
        *voters, replica = members
        change = MembersRequest((MemberChange("demote", replica.id),))
        await voters[0].replica.change_members(change, timeout_s=PATIENCE_S)
        await replica.until(lambda: replica.local.freshness.bounded)
        yield wires, voters, replica


async def confirmed_anew(member: Member) -> None:
    """Let a member's own clock run until a round of its own is confirmed: one may find no leader, the next does."""
    known = member.local.freshness.now()
    while member.local.freshness.staleness_s() >= member.now - known:
        member.now += ROUND_S
        ticks = member.ticks
        await member.until(lambda ticks=ticks: member.ticks > ticks + SETTINGS.heartbeat_ticks)  # type: ignore[misc]


async def test_a_replica_confirms_by_itself_and_is_ready(tmp_path: Path) -> None:
    async with with_replica(tmp_path) as (_, _, replica):
        await confirmed_anew(replica)
        await replica.replica.stale_barrier(None, timeout_s=PATIENCE_S)
        await replica.replica.ready_barrier(timeout_s=PATIENCE_S)
        assert replica.series("collectionstore_read_staleness_max_seconds") == SETTINGS.staleness_max_s
        assert replica.series("collectionstore_read_staleness_seconds") < SETTINGS.staleness_max_s
        assert replica.replica.status().staleness_max_ms == SETTINGS.staleness_max_s * 1000


async def test_a_bounded_read_sees_what_was_acknowledged_before_its_bound(tmp_path: Path) -> None:
    """On any member: where the bound is not confirmed yet, the read confirms it itself."""
    async with with_replica(tmp_path) as (_, voters, replica):
        for number in range(20):
            await voters[0].put("k", str(number).encode())
            for member in (replica, voters[1]):
                member.now += 1.0
                await member.replica.stale_barrier(0.5, timeout_s=PATIENCE_S)
                assert await stale(member, "k") == str(number).encode()


async def test_a_replica_that_is_cut_off_refuses_and_returns(tmp_path: Path) -> None:
    async with with_replica(tmp_path) as (wires, _, replica):
        await replica.replica.stale_barrier(None, timeout_s=PATIENCE_S)
        wires.isolate(replica)
        replica.now += SETTINGS.staleness_max_s / 2
        # Within the bound it serves: that is what it is for. A request that asks for more is refused.
        await replica.replica.stale_barrier(None, timeout_s=0.2)
        await replica.replica.ready_barrier(timeout_s=0.2)
        with pytest.raises(TooStale, match=r"at most 0\.1 s old"):
            await replica.replica.stale_barrier(0.1, timeout_s=0.2)
        replica.now += SETTINGS.staleness_max_s
        with pytest.raises(TooStale, match="at most 10 s old"):
            await replica.replica.stale_barrier(None, timeout_s=0.2)
        with pytest.raises(NotNow):
            await replica.replica.ready_barrier(timeout_s=0.2)
        wires.held.clear()
        await confirmed_anew(replica)
        await replica.replica.ready_barrier(timeout_s=PATIENCE_S)


async def test_a_leader_without_a_quorum_makes_no_replica_fresh(tmp_path: Path) -> None:
    """Its heartbeats still arrive, until it steps down: what they say is not confirmed by a majority."""
    async with with_replica(tmp_path) as (wires, voters, replica):
        leader, *others = voters
        await replica.replica.stale_barrier(None, timeout_s=PATIENCE_S)
        known = replica.local.freshness.now()
        wires.hold(leader, *others)
        for other in others:
            wires.hold(other, leader, replica)
        wires.hold(replica, *others)
        replica.now += SETTINGS.staleness_max_s + 1
        with pytest.raises(TooStale):
            await replica.replica.stale_barrier(None, timeout_s=0.3)
        assert replica.local.freshness.staleness_s() >= replica.now - known


async def test_replicas_alone_never_elect(tmp_path: Path) -> None:
    """With its leader gone, a member without a vote waits; it neither campaigns nor raises the term."""
    async with with_replica(tmp_path) as (wires, voters, replica):
        term = replica.consensus.raft.term
        for voter in voters:
            wires.isolate(voter)
        ticks = replica.ticks
        await replica.until(lambda: replica.ticks > ticks + 4 * SETTINGS.election_ticks_max)
        assert replica.consensus.raft.term == term
        assert not replica.consensus.raft.is_leader
        assert replica.series("collectionstore_raft_campaigns_total") == 0


async def test_a_voter_reads_what_it_has_without_a_bound(tmp_path: Path) -> None:
    async with with_replica(tmp_path) as (wires, voters, _):
        wires.isolate(voters[1])
        voters[1].now += 60.0
        await voters[1].replica.stale_barrier(None, timeout_s=0.2)
        with pytest.raises(TooStale):
            await voters[1].replica.stale_barrier(1.0, timeout_s=0.2)


async def stale(member: Member, key: str) -> bytes | None:
    """Return what a member has applied."""
    await asyncio.sleep(0)
    stored = get_key(member.replica.view, "test", key)
    return None if stored is None else stored.value
