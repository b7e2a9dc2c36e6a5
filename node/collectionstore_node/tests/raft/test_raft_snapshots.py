"""Snapshots: when the leader sends one, what the follower does with it, and how the leader goes on (Raft 7)."""

from __future__ import annotations

import pytest

from collectionstore_node.raft.messages import (
    AppendEntries,
    AppendReply,
    Change,
    ChangeKind,
    ConfigChange,
    Configuration,
    EntryKind,
    HeartbeatReply,
    Index,
    InstallSnapshot,
    NodeId,
    SnapshotMetadata,
    Term,
    encode,
)
from collectionstore_node.raft.ready import ProgressState, ProgressStatus, Role
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.solo import Solo, make_entries, voters

ALL = voters(1, 2, 3)


def metadata(
    index: int = 9, term: int = 2, configuration: Configuration = ALL, chain: bytes = b"c" * 32
) -> SnapshotMetadata:
    return SnapshotMetadata(Index(index), Term(term), chain, configuration)


def install(snapshot: SnapshotMetadata, term: int = 2, to: int = 1) -> InstallSnapshot:
    return InstallSnapshot(NodeId(2), NodeId(to), Term(term), snapshot)


def compacted_leader() -> Solo:
    """Leads term 2 behind a snapshot at 5; nothing is known of the others."""
    log = make_entries([1, 1, 1, 1, 1])
    snapshot = SnapshotMetadata(Index(5), Term(1), log[-1].chain, ALL)
    solo = Solo(snapshot=snapshot)
    solo.elect()
    return solo


def progress_of(solo: Solo, peer: int) -> ProgressStatus:
    return next(p for p in solo.node.status().progress if p.node_id == peer)


def reject(solo: Solo, peer: int, index: int, hint: int = 0) -> AppendReply:
    return AppendReply(
        NodeId(peer), solo.node_id, solo.node.term, Index(index), rejected=True, hint_index=Index(hint),
        hint_term=Term(1 if hint else 0),
    )  # fmt: skip


# The leader


def test_fresh_follower_of_a_compacted_leader_gets_a_snapshot() -> None:
    """L10 (databendlabs/openraft#1828), S18: index 0 is compacted, not the empty beginning."""
    solo = compacted_leader()
    output = solo.step(reject(solo, 2, 5))
    (message,) = output.of(InstallSnapshot)
    assert (message.to, message.metadata.index) == (2, 5)
    status = progress_of(solo, 2)
    assert (status.state, status.pending_snapshot, status.next_index) == (ProgressState.SNAPSHOT, 5, 6)


def test_nothing_is_sent_while_a_snapshot_is_on_its_way() -> None:
    solo = compacted_leader()
    solo.step(reject(solo, 2, 5))
    solo.node.propose(b"x")
    output = solo.step(HeartbeatReply(NodeId(2), NodeId(1), solo.node.term))
    assert [m for m in output.messages if m.to == 2] == []


def test_no_snapshot_for_a_follower_that_was_not_heard() -> None:
    solo = compacted_leader()
    solo.step(reject(solo, 2, 5))
    solo.node.report_snapshot(NodeId(2), delivered=False)
    for _ in range(2):
        # Two check-quorum periods in which only 3 is heard.
        solo.acknowledge(3)
        solo.tick(10)
    assert solo.node.is_leader
    assert progress_of(solo, 2).state is ProgressState.PROBE
    assert solo.take().of(InstallSnapshot) == []
    output = solo.step(HeartbeatReply(NodeId(2), NodeId(1), solo.node.term))
    assert len(output.of(InstallSnapshot)) == 1


def test_failed_snapshot_is_tried_again_after_a_sign_of_life() -> None:
    solo = compacted_leader()
    solo.step(reject(solo, 2, 5))
    solo.node.report_snapshot(NodeId(2), delivered=False)
    status = progress_of(solo, 2)
    assert (status.state, status.next_index) == (ProgressState.PROBE, 1)
    assert solo.take().of(InstallSnapshot) == []
    output = solo.step(HeartbeatReply(NodeId(2), NodeId(1), solo.node.term))
    assert len(output.of(InstallSnapshot)) == 1


def test_delivered_snapshot_waits_for_its_acknowledgement() -> None:
    solo = compacted_leader()
    solo.step(reject(solo, 2, 5))
    solo.node.report_snapshot(NodeId(2), delivered=True)
    status = progress_of(solo, 2)
    assert (status.state, status.next_index) == (ProgressState.PROBE, 6)
    assert solo.take().of(AppendEntries) == []
    output = solo.acknowledge(2, index=5)
    assert progress_of(solo, 2).state is ProgressState.REPLICATE
    assert [m.prev_log_index for m in output.of(AppendEntries) if m.to == 2] == [5]


@pytest.mark.parametrize(
    ("index", "state"), [(5, ProgressState.REPLICATE), (6, ProgressState.REPLICATE), (4, ProgressState.SNAPSHOT)]
)
def test_any_reply_that_reconnects_ends_the_snapshot(index: int, state: ProgressState) -> None:
    """etcd-io/raft#110: whatever index the snapshot really had."""
    solo = compacted_leader()
    solo.step(reject(solo, 2, 5))
    solo.acknowledge(2, index=index)
    assert progress_of(solo, 2).state is state


def test_late_rejection_does_not_disturb_a_snapshot() -> None:
    solo = compacted_leader()
    solo.step(reject(solo, 2, 5))
    solo.step(reject(solo, 2, 5))
    assert progress_of(solo, 2).state is ProgressState.SNAPSHOT


def test_report_about_a_follower_without_snapshot_is_ignored() -> None:
    solo = compacted_leader()
    before = progress_of(solo, 2)
    solo.node.report_snapshot(NodeId(2), delivered=True)
    solo.node.report_snapshot(NodeId(9), delivered=True)
    assert progress_of(solo, 2) == before


# The follower


def test_snapshot_ahead_of_the_commit_index_replaces_everything() -> None:
    solo = Solo(log=make_entries([1, 1, 1]), term=2, commit=1)
    solo.node.step(install(metadata()))
    ready = solo.node.ready()
    assert ready.snapshot == metadata()
    assert ready.committed == ()
    assert ready.hard_state is not None
    assert ready.hard_state.commit == 9
    solo.log.install(metadata())
    solo.node.advance(ready)
    (reply,) = [m for m in solo.node.durable(ready.write) if isinstance(m, AppendReply)]
    assert (reply.index, reply.rejected) == (9, False)
    status = solo.node.status()
    assert (status.applied_index, status.commit_index, status.first_index, status.last_index) == (9, 9, 10, 9)


def test_entries_after_a_snapshot_arrive_before_it_is_installed() -> None:
    solo = Solo(term=2)
    solo.node.step(install(metadata()))
    behind = make_entries([2], after=metadata())
    solo.node.step(AppendEntries(NodeId(2), NodeId(1), Term(2), Index(9), Term(2), behind, Index(10)))
    output = solo.take()
    assert [entry.index for entry in output.committed] == [10]
    assert solo.node.applied == 10


def test_old_snapshot_is_answered_with_the_commit_index() -> None:
    solo = Solo(log=make_entries([1, 1, 2]), term=2, commit=3)
    entry = solo.log.entries(Index(2), Index(3), 100)[0]
    (reply,) = solo.step(install(metadata(2, 1, chain=entry.chain))).of(AppendReply)
    assert (reply.index, solo.node.last_index) == (3, 3)


def test_snapshot_older_than_the_compacted_part_is_answered_with_the_commit_index() -> None:
    """Its index is not in the log any more, so only the commit index shows that it is old."""
    log = make_entries([1] * 6)
    compacted = SnapshotMetadata(Index(5), Term(1), log[4].chain, ALL)
    solo = Solo(snapshot=compacted, log=log[5:], term=2, commit=6)
    (reply,) = solo.step(install(metadata(3, 1, chain=log[2].chain))).of(AppendReply)
    assert (reply.index, solo.node.commit_index, solo.node.last_index) == (6, 6, 6)


def test_snapshot_of_entries_that_are_here_only_moves_the_commit_index() -> None:
    """Raft 7: "retain log entries following it"."""
    log = make_entries([1, 1, 2])
    solo = Solo(log=log, term=2, commit=1)
    output = solo.step(install(metadata(2, 1, chain=log[1].chain)))
    assert (solo.node.commit_index, solo.node.last_index, solo.log.first_index()) == (2, 3, 1)
    assert [entry.index for entry in output.committed] == [2]


def test_snapshot_replaces_the_configuration_with_the_one_it_carries() -> None:
    """S9 (databendlabs/openraft#1808): nothing of the old, uncommitted membership survives."""
    log = make_entries([1, 1], kind=EntryKind.CHANGE)
    solo = Solo(log=log, term=2, configuration=voters(1, 2))
    joint = Configuration(voters=(NodeId(1), NodeId(4)), outgoing=(NodeId(1), NodeId(2)), auto_leave=True)
    solo.step(install(metadata(configuration=joint)))
    assert solo.node.configuration == joint


@pytest.mark.parametrize(
    ("configuration", "role"),
    [
        (Configuration(voters=(NodeId(2),), learners=(NodeId(1),)), Role.LEARNER),
        (voters(1, 2), Role.FOLLOWER),
        (Configuration(voters=(NodeId(2),), outgoing=(NodeId(1), NodeId(2)), auto_leave=True), Role.FOLLOWER),
    ],
    ids=["learner", "voter", "outgoing"],
)
@pytest.mark.parametrize("before", [ALL, Configuration(voters=(NodeId(2),), learners=(NodeId(1),)), Configuration()])
def test_snapshot_turns_voters_into_learners_and_back(
    before: Configuration, configuration: Configuration, role: Role
) -> None:
    """L15 (etcd-io/etcd#10864, #18347, #21610)."""
    solo = Solo(term=2, configuration=before)
    solo.step(install(metadata(configuration=configuration)))
    assert (solo.node.applied, solo.node.status().role) == (9, role)


def test_snapshot_that_forgot_a_member_is_ignored() -> None:
    """A member that left never comes back, so it can only be an error."""
    solo = Solo(term=2)
    (reply,) = solo.step(install(metadata(configuration=voters(2, 3)))).of(AppendReply)
    assert (reply.index, solo.node.applied) == (0, 0)


def test_new_node_takes_a_snapshot_from_before_it_was_added() -> None:
    solo = Solo(configuration=Configuration())
    solo.step(install(metadata(configuration=voters(2, 3))))
    assert solo.node.applied == 9


def test_change_in_progress_is_applied_before_a_snapshot_that_arrives_meanwhile() -> None:
    """The driver is applying a change when a snapshot is accepted: old changes act on the old configuration."""
    change = ConfigChange((Change(ChangeKind.ADD_LEARNER, NodeId(4)),))
    solo = Solo(log=make_entries([1], kind=EntryKind.CHANGE, data=encode(change)), term=2)
    solo.node.step(solo.heartbeat(commit=1))
    ready = solo.node.ready()
    (entry,) = ready.committed
    solo.node.step(install(metadata(configuration=voters(1, 2, 5))))
    assert solo.node.apply_change(entry).learners == (4,)
    solo.node.advance(ready)
    solo.take()
    assert solo.node.configuration == voters(1, 2, 5)


def test_two_snapshots_in_short_order_are_installed_one_after_the_other() -> None:
    """L16 (etcd-io/etcd#18055)."""
    solo = Solo(term=2)
    solo.node.step(install(metadata(9)))
    first = solo.node.ready()
    solo.node.step(install(metadata(20, configuration=voters(1, 2, 4))))
    assert first.snapshot is not None
    solo.log.install(first.snapshot)
    solo.node.advance(first)
    assert (solo.node.applied, solo.node.configuration) == (9, ALL)
    solo.take()
    assert (solo.node.applied, solo.node.configuration) == (20, voters(1, 2, 4))


def test_leader_that_receives_an_old_snapshot_goes_on() -> None:
    solo = Solo(term=5)
    solo.elect()
    solo.step(install(metadata(), term=3))
    assert solo.node.is_leader


# Together


def test_slow_follower_catches_up_after_compaction() -> None:
    """S18 (etcd-io/raft `slow_follower_after_compaction`)."""
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    cluster.isolate(3)
    for _ in range(10):
        cluster.propose()
    leader.compact()
    for _ in range(3):
        cluster.propose()
    cluster.heal()
    cluster.tick(10)
    assert cluster[3].applied == leader.applied
    assert cluster[3].log.snapshot().index >= 12
    cluster.propose()
    cluster.tick(5)
    assert cluster[3].applied == leader.applied


def test_log_compacted_to_its_end_still_elects_and_replicates() -> None:
    cluster = Cluster.of(1, 2, 3)
    cluster.elect(1)
    cluster.propose()
    cluster.tick(5)
    for server in cluster.alive():
        server.compact()
        assert server.log.first_index() == server.log.last_index() + 1
    cluster.elect(2)
    cluster.propose()
    cluster.tick(5)
    assert len({server.applied for server in cluster.alive()}) == 1


def test_crash_right_after_a_snapshot_of_a_later_term_is_survived() -> None:
    """N6: the term came with the snapshot and was stored after it; the log then ended in a term that nobody knew."""
    cluster = Cluster.of(1, 2, 3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.elect(2)
    cluster.propose()
    cluster[2].compact()
    late = cluster[3]
    leader = cluster[2].core
    assert late.core.term < leader.term
    late.core.step(InstallSnapshot(leader.node_id, late.node_id, leader.term, cluster[2].log.snapshot()))
    assert late.begin_io()
    late.crash()
    late.start()
    assert (late.core.term, late.core.last_index) == (leader.term, leader.last_index)
    cluster.heal()
    cluster.tick(30)
    assert late.applied == cluster[2].applied


def test_restart_in_a_joint_configuration_from_a_snapshot_leaves_it() -> None:
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    leader.core.propose_change(ConfigChange((Change(ChangeKind.REMOVE, NodeId(3)),)))
    while not leader.core.configuration.joint:
        leader.run_io()
        cluster.deliver_all()
        for node_id in (2, 3):
            cluster[node_id].run_io()
    leader.compact()
    for server in cluster.alive():
        server.crash(kept=99)
    for server in cluster.servers.values():
        server.start()
    cluster.tick(45)
    successor = cluster.leader()
    assert successor is not None
    assert successor.core.configuration == voters(1, 2)
