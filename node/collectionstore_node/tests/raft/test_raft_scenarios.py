"""Stories of whole clusters: each is a bug that some implementation had, or a figure of the paper."""

from __future__ import annotations

import pytest

from collectionstore_node.errors import ChangePending
from collectionstore_node.raft.messages import (
    AppendEntries,
    Change,
    ChangeKind,
    ConfigChange,
    Heartbeat,
    Index,
    NodeId,
    Term,
)
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.tests.raft.cluster import Cluster, Image
from collectionstore_node.tests.raft.solo import voters


def test_figure_8_entry_of_an_old_term_is_not_committed_by_counting() -> None:
    """S1, Raft 5.4.2, Figure 8: (a) to (e)."""
    cluster = Cluster.of(1, 2, 3, 4, 5)
    # (a) 1 leads and replicates entry 3 only to 2.
    cluster.elect(1)
    cluster.isolate(1, 2)
    cluster[1].core.propose(b"of 1")
    cluster.settle()
    old = cluster[1].core.last_index
    assert cluster[2].core.last_index == old
    # (b) 1 crashes; 5 is elected by 3 and 4 and takes another entry at the same index, alone.
    cluster[1].crash(kept=99)
    cluster.heal()
    cluster.isolate(2)
    for node_id in (3, 4, 5):
        for _ in range(10):
            cluster[node_id].tick()
    cluster.wire.clear()
    cluster.elect(5)
    cluster.isolate(5)
    cluster[5].core.propose(b"of 5")
    cluster.settle()
    # (c) 5 crashes; 1 restarts, is elected, and brings its old entry to a majority.
    cluster[5].crash(kept=99)
    cluster.heal()
    cluster[1].start()
    cluster.tick(25)
    leader = cluster.leader()
    assert leader is not None
    # Everything that is committed now was committed by an entry of the leader's own term; the observer has checked
    # each step against the disks of a quorum. 5 comes back and yields.
    cluster[5].start()
    cluster.tick(25)
    cluster.propose()
    cluster.tick(5)
    assert len({server.applied for server in cluster.alive()}) == 1


def test_cluster_that_loses_all_processes_at_once_keeps_everything_committed() -> None:
    """S2 (PySyncObj#84): terms and votes survive, too."""
    cluster = Cluster.of(1, 2, 3)
    cluster.elect(1)
    for _ in range(5):
        cluster.propose()
    commit = cluster.observer.commit
    for server in cluster.alive():
        server.crash()
    for server in cluster.servers.values():
        server.start()
    terms = {server.core.term for server in cluster.alive()}
    assert min(terms) > 0
    cluster.tick(25)
    leader = cluster.leader()
    assert leader is not None
    assert leader.core.commit_index > commit


def test_member_that_lost_its_disk_under_its_old_id_is_noticed() -> None:
    """S11: it may have voted and acknowledged. The leader's heartbeat says that it held more than it has."""
    cluster = Cluster.of(1, 2, 3)
    cluster.elect(1)
    cluster.propose()
    cluster[3].crash()
    del cluster.servers[NodeId(3)]
    cluster.observer.excuse(NodeId(3))
    cluster.add(3, Image())
    cluster.tick(5)
    assert any("is beyond the last index" in text for text in cluster.rejected)


def test_partial_connectivity_keeps_a_stable_leader() -> None:
    """L3 (Cloudflare 2020): 2 cannot reach the leader, but both reach 3."""
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    cluster.block(1, 2)
    term = leader.core.term
    for _ in range(10):
        cluster.tick(10)
        assert leader.core.is_leader
        cluster.propose()
        assert leader.core.commit_index == leader.core.last_index
    assert leader.core.term == term


def test_leader_that_can_send_but_not_hear_steps_down() -> None:
    """Thesis 6.2: its heartbeats would keep the others from electing one that works."""
    cluster = Cluster.of(1, 2, 3)
    cluster.elect(1)
    for other in (2, 3):
        cluster.block(other, 1, both=False)
    cluster.tick(50)
    leader = cluster.leader()
    assert leader is not None
    assert leader.node_id != 1


def test_returning_minority_does_not_disturb_the_leader() -> None:
    """Thesis 9.6: without pre-vote it would come back with a higher term."""
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    cluster.isolate(3)
    cluster.tick(100)
    term = leader.core.term
    cluster.heal()
    cluster.tick(20)
    assert (leader.core.is_leader, leader.core.term) == (True, term)


@pytest.mark.parametrize("pre_vote", [True, False])
def test_stranded_node_of_a_higher_term_rejoins(*, pre_vote: bool) -> None:
    """L1: it ignores the leader, and the others, hearing the leader, ignore it."""
    cluster = Cluster.of(1, 2, 3, settings=RaftSettings(pre_vote=pre_vote))
    cluster.elect(1)
    stranded = cluster[3]
    cluster.isolate(3)
    # Campaigns on its own, like the target of a transfer that was then partitioned.
    stranded.core.step(Heartbeat(NodeId(2), NodeId(3), Term(30), Index(0)))
    stranded.core.campaign()
    cluster.settle()
    assert stranded.core.term >= 30
    cluster.heal()
    cluster.tick(60)
    cluster.propose()
    cluster.tick(5)
    assert len({server.core.term for server in cluster.alive()}) == 1
    assert len({server.applied for server in cluster.alive()}) == 1


def test_mixed_terms_without_a_leader_still_elect() -> None:
    """L1 (etcd-io/etcd#8501): the one with the best log has the lowest term."""
    cluster = Cluster.of(1, 2, 3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.propose()
    for server in cluster.alive():
        server.crash(kept=99)
    for term, server in zip((3, 3, 40), cluster.servers.values(), strict=True):
        server.start()
        if term == 40:
            server.core.step(Heartbeat(NodeId(2), server.node_id, Term(term), Index(0)))
    cluster.heal()
    cluster.tick(80)
    leader = cluster.leader()
    assert leader is not None
    assert leader.node_id != 3
    assert leader.core.commit_index == leader.core.last_index


def test_slow_disk_of_the_leader_does_not_delay_commit() -> None:
    """Thesis 10.2.1: the others are a majority."""
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    index, _ = leader.core.propose(b"x")
    assert leader.begin_io()
    cluster.deliver_all()
    for node_id in (2, 3):
        cluster[node_id].run_io()
    cluster.deliver_all()
    assert leader.core.commit_index == index
    assert leader.core.applied < index
    leader.finish_io()
    cluster.settle()
    assert leader.core.applied == index


def test_crash_between_write_and_sync_loses_nothing_that_was_acknowledged() -> None:
    """S17 (etcd-io/etcd#14370): a single voter."""
    cluster = Cluster.of(1)
    server = cluster.elect(1)
    committed = server.core.commit_index
    server.core.propose(b"x")
    assert server.begin_io()
    server.crash()
    server.start()
    assert server.core.last_index == committed
    cluster.tick(2)
    assert server.core.is_leader


def test_two_administrators_cannot_leave_the_cluster_joint() -> None:
    """L8 (openraft `joint-consensus.md`)."""
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    cluster.add(4)
    leader.core.propose_change(ConfigChange((Change(ChangeKind.ADD_VOTER, NodeId(4)),)))
    refused = 0
    for _ in range(30):
        try:
            leader.core.propose_change(ConfigChange((Change(ChangeKind.REMOVE, NodeId(3)),)))
        except ChangePending:
            refused += 1
        for server in cluster.alive():
            server.run_io()
        cluster.deliver_all()
    cluster.settle()
    assert refused > 0
    assert leader.core.configuration == voters(1, 2, 4)


def test_follower_whose_acknowledgements_are_lost_is_not_stuck() -> None:
    """L9 (etcd-io/etcd#10308): they are repeated until one arrives."""
    cluster = Cluster.of(1, 2, 3, settings=RaftSettings(inflight_messages_max=2, message_bytes_max=1))
    leader = cluster.elect(1)
    cluster.block(3, 1, both=False)
    for _ in range(6):
        cluster.propose(b"12345")
    cluster.heal()
    cluster.tick(10)
    assert cluster[3].applied == leader.applied


def test_repeated_messages_are_harmless() -> None:
    """S13, S15: everything is delivered twice, the second time late."""
    cluster = Cluster.of(1, 2, 3)
    cluster.elect(1)
    for _ in range(20):
        leader = cluster.leader()
        assert leader is not None
        leader.core.propose(b"x")
        for server in cluster.alive():
            server.run_io()
        late = list(cluster.wire)
        cluster.deliver_all()
        for server in cluster.alive():
            server.run_io()
        cluster.wire[:0] = late
    cluster.settle()
    assert cluster.rejected == []
    assert len({server.core.last_index for server in cluster.alive()}) == 1


def test_two_voters_survive_the_restart_of_either() -> None:
    cluster = Cluster.of(1, 2)
    cluster.elect(1)
    for node_id in (2, 1, 2):
        cluster[node_id].crash()
        cluster.tick(30)
        cluster[node_id].start()
        cluster.tick(60)
        cluster.propose()
    assert len({server.core.last_index for server in cluster.alive()}) == 1


def test_replication_continues_where_the_follower_is_after_a_reordered_stream() -> None:
    """Out of order appends are refused, probed once and streamed again."""
    cluster = Cluster.of(1, 2, settings=RaftSettings(message_bytes_max=1))
    leader = cluster.elect(1)
    for _ in range(5):
        leader.core.propose(b"12345")
    leader.begin_io()
    appends = [message for message in cluster.wire if isinstance(message, AppendEntries)]
    assert len(appends) == 5
    cluster.wire.reverse()
    leader.finish_io()
    cluster.tick(10)
    assert cluster[2].applied == leader.applied
