"""A leader whose process is stuck gives up: within its term, with its vote, and without running again at once."""

from __future__ import annotations

import pytest

from collectionstore_node.errors import NotLeader
from collectionstore_node.raft.messages import NO_NODE, Heartbeat, NodeId, RequestVote, Term, VoteReply
from collectionstore_node.raft.ready import Role, SoftState
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.solo import Solo, voters

SETTINGS = RaftSettings(election_ticks=10, heartbeat_ticks=3)


def test_leader_steps_down_within_its_term_and_keeps_its_vote() -> None:
    """Clearing the vote would allow two leaders in one term (S3)."""
    solo = Solo(settings=SETTINGS)
    solo.elect()
    term = solo.node.term
    solo.node.step_down()
    assert solo.node.ready().soft_state == SoftState(NO_NODE, Role.FOLLOWER)
    status = solo.node.status()
    assert (status.role, status.term, status.vote, status.leader) == (Role.FOLLOWER, term, NodeId(1), NO_NODE)


def test_former_leader_votes_for_a_better_one_of_a_later_term() -> None:
    """It has no leader and so no leader lease, for pre-votes and votes alike."""
    solo = Solo(settings=SETTINGS)
    solo.elect()
    solo.acknowledge(2, 3)
    solo.node.step_down()
    solo.take()
    later = Term(solo.node.term + 1)
    for pre_vote in (True, False):
        asked = RequestVote(NodeId(2), NodeId(1), later, solo.node.last_index, solo.node.term, pre_vote=pre_vote)
        [reply] = solo.step(asked).of(VoteReply)
        assert reply.granted


def test_stepping_down_fails_the_reads_that_wait() -> None:
    """Nothing was read; both those that wait for a round and those in one."""
    solo = Solo(settings=SETTINGS)
    solo.elect()
    solo.acknowledge(2, 3)
    solo.node.read_index(7)
    solo.take()
    solo.node.read_index(8)
    solo.node.step_down()
    output = solo.take()
    assert sorted(output.failed_reads) == [7, 8]
    assert not output.read_states


def test_no_proposal_and_no_heartbeat_after_stepping_down() -> None:
    solo = Solo(settings=SETTINGS)
    solo.elect()
    solo.node.step_down()
    with pytest.raises(NotLeader):
        solo.node.propose(b"x")
    solo.take()
    assert not solo.tick(2 * SETTINGS.heartbeat_ticks).of(Heartbeat)


def test_what_was_proposed_before_may_still_commit() -> None:
    """So its outcome is unknown to who proposed it, not failed."""
    cluster = Cluster.of(1, 2, 3, settings=SETTINGS)
    leader = cluster.elect(1)
    index, term = leader.core.propose(b"x")
    leader.begin_io()
    leader.core.step_down()
    cluster.settle()
    cluster.tick(3 * SETTINGS.election_ticks)
    winner = cluster.leader()
    assert winner is not None
    assert winner.core.commit_index >= index
    assert winner.log.term(index) == term


@pytest.mark.parametrize("members", [(1,), (1, 2, 3)])
def test_former_leader_does_not_campaign_before_an_election_timeout(members: tuple[int, ...]) -> None:
    """L21: a stuck process would take it back otherwise; a single voter, too, waits to see if it still hangs."""
    solo = Solo(settings=SETTINGS, configuration=voters(*members))
    solo.elect()
    term = solo.node.term
    solo.node.step_down()
    solo.take()
    solo.tick(SETTINGS.election_ticks - 1)
    assert solo.node.status().role is Role.FOLLOWER
    solo.tick()
    assert solo.node.status().role is not Role.FOLLOWER
    assert solo.node.term == (term + 1 if members == (1,) else term)


def test_the_others_elect_a_leader_that_works() -> None:
    """L21: its heartbeats had kept them from it."""
    cluster = Cluster.of(1, 2, 3, settings=RaftSettings(election_ticks=10, election_ticks_max=21))
    leader = cluster.elect(2)
    term = leader.core.term
    leader.core.step_down()
    cluster.block(2, 1)
    cluster.block(2, 3)
    cluster.tick(3 * cluster.settings.election_ticks_max)
    winner = cluster.leader()
    assert winner is not None
    assert winner.node_id != 2
    assert winner.core.term > term


def test_stepping_down_is_nothing_for_who_does_not_lead() -> None:
    solo = Solo(settings=SETTINGS)
    solo.step(solo.heartbeat(term=1))
    before = solo.node.status()
    solo.node.step_down()
    assert solo.node.status() == before
    assert not solo.node.has_ready()
