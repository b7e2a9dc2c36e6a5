"""Handing over leadership (thesis 3.10)."""

from __future__ import annotations

import pytest

from collectionstore_node.errors import InvalidRequest, LeadershipTransferring, NotLeader
from collectionstore_node.raft.messages import (
    AppendEntries,
    Change,
    ChangeKind,
    ConfigChange,
    Configuration,
    NodeId,
    RequestVote,
    Term,
    TimeoutNow,
)
from collectionstore_node.raft.ready import Role
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.solo import Solo


def leading() -> Solo:
    solo = Solo(term=1)
    solo.elect()
    solo.acknowledge(2, 3)
    return solo


def test_caught_up_follower_receives_timeout_now_at_once() -> None:
    solo = leading()
    solo.node.transfer_leadership(NodeId(2))
    assert [message.to for message in solo.take().of(TimeoutNow)] == [2]


def test_follower_that_lags_is_brought_up_first() -> None:
    solo = leading()
    solo.node.propose(b"x")
    solo.take()
    solo.node.transfer_leadership(NodeId(2))
    assert solo.take().of(TimeoutNow) == []
    assert [message.to for message in solo.acknowledge(2).of(TimeoutNow)] == [2]


def test_proposals_are_refused_meanwhile() -> None:
    solo = leading()
    solo.node.transfer_leadership(NodeId(2))
    with pytest.raises(LeadershipTransferring):
        solo.node.propose(b"x")
    with pytest.raises(LeadershipTransferring):
        solo.node.propose_change(ConfigChange((Change(ChangeKind.ADD_LEARNER, NodeId(4)),)))
    assert solo.node.status().transferring_to == 2


def test_transfer_aborts_after_an_election_timeout() -> None:
    """L6 (hashicorp/raft#696): else writes stop forever when the follower is dead."""
    solo = leading()
    solo.node.transfer_leadership(NodeId(2))
    for _ in range(2):
        solo.tick(5)
        solo.acknowledge(3)
    assert solo.node.status().transferring_to == 0
    solo.node.propose(b"x")


def test_transfer_does_not_survive_the_leadership() -> None:
    """L6 (databendlabs/openraft#2088)."""
    solo = leading()
    solo.node.transfer_leadership(NodeId(2))
    solo.step(solo.heartbeat(leader=3, term=9))
    solo.elect()
    assert solo.node.status().transferring_to == 0
    solo.node.propose(b"x")


def test_new_target_replaces_the_old_one() -> None:
    solo = leading()
    solo.node.propose(b"x")
    solo.node.transfer_leadership(NodeId(2))
    solo.node.transfer_leadership(NodeId(3))
    solo.take()
    assert solo.acknowledge(2).of(TimeoutNow) == []
    assert [message.to for message in solo.acknowledge(3).of(TimeoutNow)] == [3]


def test_repeated_request_does_not_prolong_the_pause() -> None:
    solo = leading()
    for _ in range(2):
        solo.node.transfer_leadership(NodeId(2))
        solo.tick(5)
        solo.acknowledge(3)
    assert solo.node.status().transferring_to == 0


def test_transfer_to_itself_does_nothing() -> None:
    solo = leading()
    solo.node.transfer_leadership(NodeId(1))
    solo.node.propose(b"x")


@pytest.mark.parametrize("target", [4, 9])
def test_only_voters_can_take_over(target: int) -> None:
    learner = Configuration(voters=(NodeId(1), NodeId(2), NodeId(3)), learners=(NodeId(4),))
    solo = Solo(term=1, configuration=learner)
    solo.elect()
    with pytest.raises(InvalidRequest) as refusal:
        solo.node.transfer_leadership(NodeId(target))
    assert refusal.value.code == "not_a_voter"


def test_follower_cannot_transfer() -> None:
    with pytest.raises(NotLeader):
        Solo(term=1).node.transfer_leadership(NodeId(2))


def test_ordered_candidate_skips_the_pre_vote_and_overrides_the_lease() -> None:
    """Thesis 3.10, 4.2.3."""
    solo = Solo(term=1)
    solo.step(solo.heartbeat())
    output = solo.step(TimeoutNow(NodeId(2), NodeId(1), Term(1)))
    assert [(m.pre_vote, m.transfer, m.term) for m in output.of(RequestVote)] == [(False, True, 2)] * 2


def test_old_order_is_ignored() -> None:
    solo = Solo(term=5)
    assert solo.step(TimeoutNow(NodeId(2), NodeId(1), Term(4))).messages == []
    assert solo.node.status().role is Role.FOLLOWER


def test_leadership_moves_in_a_cluster_without_waiting() -> None:
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.transfer_leadership(NodeId(3))
    cluster.settle()
    assert cluster[3].core.is_leader
    assert not leader.core.is_leader
    cluster.propose()
    assert cluster[3].core.commit_index == cluster[3].core.last_index


def test_leadership_moves_to_a_follower_that_needs_a_snapshot() -> None:
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    cluster.isolate(3)
    for _ in range(5):
        cluster.propose()
    leader.compact()
    cluster.heal()
    leader.core.transfer_leadership(NodeId(3))
    cluster.tick(9)
    assert cluster[3].core.is_leader


def test_transfer_sends_what_is_missing_even_to_a_paused_follower() -> None:
    solo = leading()
    solo.node.report_unreachable(NodeId(2))
    solo.node.transfer_leadership(NodeId(2))
    output = solo.take()
    assert [m.to for m in output.of(TimeoutNow)] + [m.to for m in output.of(AppendEntries)] == [2]
