"""What the simulation calls a cluster that works again."""

from __future__ import annotations

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.recovery import whole_under


def test_cluster_is_whole_when_all_have_applied_what_its_leader_has() -> None:
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    assert whole_under(cluster) is leader
    cluster.isolate(3)
    cluster.propose()
    assert whole_under(cluster) is None
    cluster.heal()
    cluster.tick(30)
    assert whole_under(cluster) is cluster.leader()


def test_cluster_is_not_whole_while_a_member_stands_for_election_in_a_later_term() -> None:
    """Its log is the leader's, entry for entry, but the leader will hear of the term and step down."""
    cluster = Cluster.of(1, 2, settings=RaftSettings(pre_vote=False))
    cluster.elect(1)
    candidate = cluster[2]
    candidate.core.campaign()
    while candidate.run_io():
        cluster.wire.clear()
    assert cluster.servers[NodeId(1)].core.is_leader
    assert candidate.core.term > cluster[1].core.term
    assert whole_under(cluster) is None
