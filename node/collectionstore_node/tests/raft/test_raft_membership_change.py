"""Membership changes in running clusters (thesis 4; etcd-io/raft `confchange_*`)."""

from __future__ import annotations

import pytest

from collectionstore_node.errors import (
    ChangePending,
    InvalidRequest,
    InvariantViolated,
    LeadershipTransferring,
    NotLeader,
)
from collectionstore_node.raft.messages import (
    AppendEntries,
    AppendReply,
    Change,
    ChangeKind,
    ConfigChange,
    Configuration,
    EntryKind,
    Index,
    NodeId,
    RequestVote,
    Term,
    TimeoutNow,
    VoteReply,
)
from collectionstore_node.raft.ready import Role
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.tests.raft.cluster import Cluster, Server
from collectionstore_node.tests.raft.solo import Solo, make_entries, voters


def add(node_id: int) -> Change:
    return Change(ChangeKind.ADD_VOTER, NodeId(node_id))


def learn(node_id: int) -> Change:
    return Change(ChangeKind.ADD_LEARNER, NodeId(node_id))


def remove(node_id: int) -> Change:
    return Change(ChangeKind.REMOVE, NodeId(node_id))


def change(*steps: Change) -> ConfigChange:
    return ConfigChange(steps, b"context")


def changes_in(server: Server) -> list[int]:
    """Return the indexes of all changes in a server's stored log."""
    log = server.log
    entries = log.entries(log.first_index(), Index(log.last_index() + 1), 1 << 30)
    return [entry.index for entry in entries if entry.kind is EntryKind.CHANGE]


def configurations(cluster: Cluster) -> set[Configuration]:
    return {server.core.configuration for server in cluster.alive()}


def test_first_node_bootstraps_and_grows_to_three() -> None:
    """As a cluster is born: one voter, learners join, learners are promoted together."""
    cluster = Cluster.of(1)
    leader = cluster.elect(1)
    for node_id in (2, 3):
        cluster.add(node_id)
        leader.core.propose_change(change(learn(node_id)))
        cluster.settle()
    assert leader.core.configuration == Configuration(voters=(NodeId(1),), learners=(NodeId(2), NodeId(3)))
    assert cluster[2].core.status().role is Role.LEARNER
    leader.core.propose_change(change(add(2), add(3)))
    cluster.settle()
    assert configurations(cluster) == {voters(1, 2, 3)}
    assert len({server.applied for server in cluster.alive()}) == 1


def test_every_change_of_voters_passes_a_joint_configuration() -> None:
    """Thesis 4.3, even for one voter."""
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.propose_change(change(remove(3)))
    cluster.settle()
    entered, left = changes_in(leader)[-2:]
    assert cluster.observer.configuration_at(Index(entered)) == Configuration(
        voters=(NodeId(1), NodeId(2)), outgoing=(NodeId(1), NodeId(2), NodeId(3)), auto_leave=True
    )
    assert cluster.observer.configuration_at(Index(left)) == voters(1, 2)


def test_configuration_is_active_when_applied_not_when_appended_or_committed() -> None:
    solo = Solo(term=1)
    solo.elect()
    solo.acknowledge(2, 3)
    index, _ = solo.node.propose_change(change(add(4)))
    solo.take()
    assert solo.node.configuration == voters(1, 2, 3)
    solo.acknowledge(2, 3, index=index)
    assert solo.node.configuration.joint


def test_joint_configuration_needs_both_majorities_to_commit() -> None:
    """Thesis 4.3."""
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    for node_id in (4, 5):
        cluster.add(node_id)
    cluster.isolate(4, 5)
    leader.core.propose_change(change(add(4), add(5), remove(2), remove(3)))
    cluster.settle()
    assert leader.core.configuration.joint
    commit = leader.core.commit_index
    cluster.propose()
    assert leader.core.commit_index == commit, "the old majority alone decides nothing"
    cluster.heal()
    cluster.tick(10)
    assert leader.core.configuration == voters(1, 4, 5)


@pytest.mark.parametrize(("first", "last"), [((4, 5), 2), ((2, 3), 4)], ids=["old half last", "new half last"])
def test_entry_in_a_joint_configuration_waits_for_the_slower_half(first: tuple[int, int], last: int) -> None:
    """Thesis 4.3."""
    joint = Configuration(
        voters=(NodeId(1), NodeId(4), NodeId(5)), outgoing=(NodeId(1), NodeId(2), NodeId(3)), auto_leave=True
    )
    solo = Solo(term=1, configuration=joint)
    solo.elect()
    solo.acknowledge(*first)
    assert solo.node.commit_index == 0
    solo.acknowledge(last)
    assert solo.node.commit_index == 1


def test_change_is_refused_while_one_runs() -> None:
    """At most one at a time; the refusal is an error, not silence."""
    solo = Solo(term=1)
    solo.elect()
    with pytest.raises(ChangePending):
        solo.node.propose_change(change(add(4)))
    solo.acknowledge(2, 3)
    solo.node.propose_change(change(add(4)))
    with pytest.raises(ChangePending):
        solo.node.propose_change(change(add(5)))
    solo.take()
    solo.acknowledge(2, 3)
    assert solo.node.configuration.joint
    with pytest.raises(ChangePending):
        solo.node.propose_change(change(add(5)))
    assert solo.node.last_index == solo.node.status().pending_change_index, "nothing was appended"


def test_new_leader_takes_no_change_before_its_own_term_is_applied() -> None:
    """S8: its log may hold a change of its predecessor."""
    solo = Solo(log=make_entries([1, 1]), term=1)
    solo.elect()
    with pytest.raises(ChangePending):
        solo.node.propose_change(change(learn(4)))
    solo.acknowledge(2, 3)
    solo.node.propose_change(change(learn(4)))


@pytest.mark.parametrize(
    ("proposed", "code"),
    [(change(), "not_joint"), (change(remove(1), remove(2), remove(3)), "no_voters"), (change(add(0)), "invalid_node")],
)
def test_impossible_change_is_refused_at_once(proposed: ConfigChange, code: str) -> None:
    solo = Solo(term=1)
    solo.elect()
    solo.acknowledge(2, 3)
    with pytest.raises(InvalidRequest) as refusal:
        solo.node.propose_change(proposed)
    assert refusal.value.code == code
    assert solo.node.last_index == 1


def test_follower_refuses_changes() -> None:
    with pytest.raises(NotLeader):
        Solo(term=1).node.propose_change(change(add(4)))


def test_preview_changes_nothing() -> None:
    solo = Solo(term=1)
    assert solo.node.next_configuration(change(add(4))).voters == voters(1, 2, 3, 4).voters
    assert solo.node.configuration == voters(1, 2, 3)
    with pytest.raises(InvalidRequest):
        solo.node.next_configuration(change())


def test_joint_configuration_is_left_once() -> None:
    """L7 (etcd-io/etcd#12582): two leave entries once crashed every node."""
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    before = len(changes_in(leader))
    leader.core.propose_change(change(remove(3)))
    for _ in range(5):
        cluster.tick()
        cluster.propose()
    assert len(changes_in(leader)) == before + 2
    assert leader.core.configuration == voters(1, 2)


@pytest.mark.parametrize("leave_proposed", [False, True])
def test_new_leader_leaves_the_joint_configuration(*, leave_proposed: bool) -> None:
    """L7 (etcd-io/etcd#12136): whether or not its predecessor got as far as proposing to leave."""
    cluster = Cluster.of(1, 2, 3, 4, 5)
    leader = cluster.elect(1)
    leader.core.propose_change(change(remove(5)))
    if leave_proposed:
        while not leader.core.configuration.joint:
            step_everything(cluster)
        step_everything(cluster)
    else:
        while not any(server.core.configuration.joint for server in cluster.alive()):
            step_everything(cluster)
    leader.crash()
    cluster.settle()
    cluster[2].core.report_unreachable(NodeId(1))
    cluster.tick(25)
    successor = cluster.leader()
    assert successor is not None
    assert successor.core.configuration == voters(1, 2, 3, 4)
    assert {server.core.configuration for server in cluster.alive() if server.node_id != 5} == {voters(1, 2, 3, 4)}


def step_everything(cluster: Cluster) -> None:
    """One round of disk work and delivery, without waiting for rest."""
    for server in cluster.alive():
        if server.begin_io():
            server.finish_io()
    cluster.deliver_all()


def test_leave_held_back_by_a_transfer_follows_its_abort() -> None:
    """etcd-io/raft bd3c759: a transfer that never ends must not leave the cluster joint."""
    solo = Solo(term=1, settings=RaftSettings(check_quorum=False))
    solo.elect()
    solo.acknowledge(2, 3)
    solo.node.propose_change(change(remove(3)))
    solo.take()
    solo.node.transfer_leadership(NodeId(2))
    solo.acknowledge(3)
    solo.acknowledge(2)
    assert solo.node.configuration.joint
    assert solo.node.last_index == 2, "no leave while handing over"
    solo.tick(10)
    assert (solo.node.last_index, solo.node.status().pending_change_index) == (3, 3)


def test_joint_is_not_left_before_its_entry_is_committed() -> None:
    """S10 (Camunda#60086): a recovered leader finds the joint entry in its log, uncommitted."""
    old = Cluster.of(1, 2, 3)
    leader = old.elect(1)
    old.isolate(1)
    leader.core.propose_change(change(remove(3)))
    leader.run_io()
    leader.crash(kept=99)
    leader.start()
    assert leader.core.configuration == voters(1, 2, 3)
    leader.core.campaign()
    leader.run_io()
    # It wins, but no node receives its entries: the change stays uncommitted.
    for pre_vote in (True, False):
        term = Term(leader.core.term + 1) if pre_vote else leader.core.term
        leader.core.step(VoteReply(NodeId(2), NodeId(1), term, granted=True, pre_vote=pre_vote))
        leader.run_io()
    assert leader.core.is_leader
    assert not leader.core.configuration.joint
    assert len(changes_in(leader)) == 2, "no leave was proposed"


# Leaders that lead themselves out


def test_removed_leader_hands_over_without_an_election_timeout() -> None:
    """L5 (etcd-io/etcd#11038): it keeps committing until the joint phase is over, then the best follower takes over."""
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.propose_change(change(remove(1)))
    cluster.settle()
    successor = cluster.leader()
    assert successor is not None
    assert successor.node_id in (2, 3)
    assert successor.core.configuration == voters(2, 3)
    assert leader.core.status().role is Role.FOLLOWER
    cluster.propose()
    assert successor.core.commit_index == successor.core.last_index


def test_leader_replaces_itself_by_a_new_node() -> None:
    cluster = Cluster.of(1)
    leader = cluster.elect(1)
    cluster.add(2)
    leader.core.propose_change(change(add(2), remove(1)))
    cluster.settle()
    assert cluster[2].core.is_leader
    assert cluster[2].core.configuration == voters(2)


def test_demoted_leader_becomes_a_learner_and_goes_on_receiving() -> None:
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.propose_change(change(learn(1)))
    cluster.settle()
    assert leader.core.status().role is Role.LEARNER
    cluster.propose(b"after")
    cluster.tick(5)
    successor = cluster.leader()
    assert successor is not None
    assert leader.applied == successor.applied


def test_removed_leader_counts_only_the_others_and_refuses_proposals() -> None:
    """Thesis 4.2.2."""
    solo = Solo(term=1)
    solo.elect()
    solo.acknowledge(2, 3)
    solo.node.propose_change(change(remove(1)))
    solo.take()
    solo.acknowledge(2, 3)
    assert solo.node.configuration.joint
    solo.acknowledge(2, 3)
    assert solo.node.configuration == voters(2, 3)
    for refused in (lambda: solo.node.propose(b"x"), lambda: solo.node.transfer_leadership(NodeId(2))):
        with pytest.raises(LeadershipTransferring):
            refused()
    solo.acknowledge(3)
    assert solo.node.is_leader, "one of the two new voters is no majority"
    output = solo.acknowledge(2)
    assert not solo.node.is_leader
    assert [message.to for message in output.of(TimeoutNow)] in ([2], [3])


def test_removed_leader_without_followers_steps_down() -> None:
    solo = Solo(term=1)
    solo.elect()
    solo.acknowledge(2, 3)
    solo.node.propose_change(change(remove(1)))
    solo.take()
    solo.acknowledge(2, 3)
    solo.acknowledge(2, 3)
    solo.tick(20)
    assert solo.node.status().role is Role.FOLLOWER
    assert solo.tick(100).of(RequestVote) == []


def test_new_voters_survive_the_old_ones_once_the_change_is_complete() -> None:
    """The entry behind the leave carries to the new voters that the change is over.

    Without it they would request the votes of correctly stopped servers forever.
    """
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    for node_id in (4, 5):
        cluster.add(node_id)
    leader.core.propose_change(change(add(4), add(5), remove(2), remove(3)))
    while not (
        leader.core.configuration == voters(1, 4, 5)
        and leader.core.status().pending_change_index <= leader.core.applied
    ):
        step_everything(cluster)
    # Nothing sent from here on arrives; the old voters go, and one new voter of three, the leader, fails.
    cluster.wire.clear()
    for node_id in (1, 2, 3):
        cluster[node_id].crash()
    cluster.tick(45)
    assert cluster.leader() is not None


def test_last_voter_learns_of_a_commit_that_only_the_one_that_left_knows() -> None:
    """N1: it needs the vote of the removed node, whose rejection carries the commit index."""
    cluster = Cluster.of(1)
    leader = cluster.elect(1)
    cluster.add(2)
    leader.core.propose_change(change(add(2), learn(1)))
    while not leader.core.configuration.joint:
        step_everything(cluster)
    joint = leader.core.commit_index
    while leader.core.commit_index == joint:
        step_everything(cluster)
    while leader.core.has_ready():
        leader.run_io()
        cluster.wire.clear()
    cluster[2].run_io()
    cluster.wire.clear()
    leader.crash(kept=99)
    leader.start()
    last = cluster[2].core
    assert last.configuration.joint
    assert last.commit_index < leader.core.commit_index
    assert last.last_index < leader.core.last_index
    cluster.tick(45)
    assert last.is_leader


def without_the_removed_knowing(settings: RaftSettings) -> tuple[Cluster, Server]:
    """Return five members and their leader, 1, of whom 4 and 5 were cut off and removed, and now reach all again."""
    cluster = Cluster.of(1, 2, 3, 4, 5, settings=settings)
    leader = cluster.elect(1)
    cluster.isolate(4, 5)
    leader.core.propose_change(change(remove(4), remove(5)))
    cluster.settle()
    assert leader.core.configuration == voters(1, 2, 3)
    cluster.heal()
    return cluster, leader


@pytest.mark.parametrize(("pre_vote", "check_quorum"), [(True, True), (True, False), (False, True)])
def test_removed_voters_do_not_unsettle_the_others(*, pre_vote: bool, check_quorum: bool) -> None:
    """L4: pre-vote is enough for that, and so is the leader's lease (thesis 4.2.3, 9.6)."""
    cluster, leader = without_the_removed_knowing(RaftSettings(pre_vote=pre_vote, check_quorum=check_quorum))
    term = leader.core.term
    cluster.tick(100)
    assert (leader.core.is_leader, leader.core.term) == (True, term)
    assert all(server.core.term == term for server in (cluster[2], cluster[3]))


def test_without_pre_vote_and_lease_a_removed_voter_deposes_the_leader_and_the_others_elect_another() -> None:
    """The exception that `calm` makes. The removed voter's log is behind, so that it never leads (thesis 4.2.3)."""
    cluster, leader = without_the_removed_knowing(RaftSettings(pre_vote=False, check_quorum=False))
    cluster[4].core.campaign()
    cluster.settle()
    assert cluster.leader() is None
    cluster[4].crash()
    cluster[5].crash()
    cluster.tick(2 * cluster.settings.election_ticks)
    after = cluster.leader()
    assert after is not None
    assert after.node_id in leader.core.configuration.voters


def test_promoted_learner_votes_before_it_knows_of_its_promotion() -> None:
    """etcd-io/raft `campaign_learner_must_vote`."""
    cluster = Cluster.of(1, 2)
    leader = cluster.elect(1)
    cluster.add(3)
    leader.core.propose_change(change(learn(3)))
    cluster.settle()
    cluster.isolate(3)
    leader.core.propose_change(change(add(3)))
    cluster.settle()
    assert leader.core.configuration == voters(1, 2, 3)
    leader.crash()
    cluster.heal()
    assert cluster[3].core.status().role is Role.LEARNER
    cluster.elect(2)
    cluster.tick(5)
    assert configurations(cluster) == {voters(1, 2, 3)}
    assert cluster[3].core.status().role is Role.FOLLOWER


def test_transfer_to_a_node_that_is_removed_is_aborted() -> None:
    solo = Solo(term=1)
    solo.elect()
    solo.acknowledge(2, 3)
    solo.node.propose_change(change(remove(3)))
    solo.take()
    solo.node.transfer_leadership(NodeId(3))
    solo.acknowledge(2)
    assert solo.node.status().transferring_to == 0


def test_new_member_is_probed_at_once() -> None:
    solo = Solo(term=1)
    solo.elect()
    solo.acknowledge(2, 3)
    solo.node.propose_change(change(learn(4)))
    solo.take()
    output = solo.acknowledge(2)
    assert [message.prev_log_index for message in output.of(AppendEntries) if message.to == 4] == [2]


def test_silent_new_member_does_not_depose_the_leader() -> None:
    """Newly added nodes count as heard once (etcd-io/raft `confchange`)."""
    solo = Solo(term=1, configuration=voters(1, 2))
    solo.elect()
    solo.acknowledge(2)
    solo.tick(4)
    solo.node.propose_change(change(add(3), add(4)))
    solo.take()
    solo.acknowledge(2)
    solo.tick(6)
    assert solo.node.is_leader


def test_changes_are_applied_in_order_and_once() -> None:
    solo = Solo(term=1)
    solo.elect()
    solo.acknowledge(2, 3)
    solo.node.propose_change(change(learn(4)))
    ready = solo.node.ready()
    solo.log.append(ready.entries)
    solo.node.advance(ready)
    solo.node.durable(ready.write)
    solo.node.step(solo_ack(solo, 2))
    ready = solo.node.ready()
    (entry,) = ready.committed
    with pytest.raises(InvariantViolated, match="was not applied"):
        solo.node.advance(ready)
    solo = Solo(term=1)
    solo.elect()
    solo.acknowledge(2, 3)
    solo.node.propose_change(change(learn(4)))
    ready = solo.node.ready()
    solo.log.append(ready.entries)
    with pytest.raises(InvariantViolated, match="not a membership change of the outstanding Ready"):
        solo.node.apply_change(entry)
    solo.node.advance(ready)
    solo.node.durable(ready.write)
    solo.node.step(solo_ack(solo, 2))
    ready = solo.node.ready()
    solo.node.apply_change(ready.committed[0])
    with pytest.raises(InvariantViolated, match="already"):
        solo.node.apply_change(ready.committed[0])


def solo_ack(solo: Solo, peer: int) -> AppendReply:
    return AppendReply(NodeId(peer), solo.node_id, solo.node.term, solo.node.last_index)


def test_node_five_scenario_of_two_leaders() -> None:
    """S7 (etcd-io/etcd#7625): {1,2,3} grows by 4 and by 5; no node that missed a change wins with the old majority."""
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    for node_id in (4, 5):
        cluster.add(node_id)
    leader.core.propose_change(change(add(4)))
    cluster.settle()
    # 3 misses everything from here on; 5 joins.
    cluster.isolate(3)
    leader.core.propose_change(change(add(5)))
    cluster.settle()
    assert leader.core.configuration == voters(1, 2, 3, 4, 5)
    # 2 and 3 are cut off together: two of five, though 3 still counts in {1, 2, 3, 4}.
    cluster.heal()
    cluster.isolate(2, 3)
    cluster[2].core.campaign()
    cluster[3].core.campaign()
    cluster.tick(60)
    assert not cluster[2].core.is_leader
    assert not cluster[3].core.is_leader
    cluster.heal()
    cluster.tick(60)
    assert configurations(cluster) == {voters(1, 2, 3, 4, 5)}
