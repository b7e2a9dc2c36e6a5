"""The simulation breaks no more than the protocol promises to survive, and notices when more is broken."""

from __future__ import annotations

import pytest

from collectionstore_node.raft.messages import Change, ChangeKind, ConfigChange, HardState, Index, NodeId, Term
from collectionstore_node.tests.raft.budget import Budget
from collectionstore_node.tests.raft.cluster import Cluster, Disk, Image, Server


def lose(cluster: Cluster, budget: Budget, node_id: int) -> None:
    cluster[node_id].crash()
    budget.damage(NodeId(node_id))
    budget.refused(NodeId(node_id))


@pytest.mark.parametrize(("members", "losses"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2)])
def test_a_minority_of_the_voters_may_be_lost(members: int, losses: int) -> None:
    cluster = Cluster.of(*range(1, members + 1))
    budget = Budget(cluster)
    lost = 0
    for node_id in range(1, members + 1):
        if budget.allows(NodeId(node_id)):
            lose(cluster, budget, node_id)
            lost += 1
    assert lost == losses


def test_damage_counts_once_and_only_until_the_disk_proves_to_be_whole() -> None:
    cluster = Cluster.of(1, 2, 3)
    budget = Budget(cluster)
    budget.damage(NodeId(1))
    assert not budget.allows(NodeId(1))
    assert not budget.allows(NodeId(2))
    budget.healthy(NodeId(1))
    assert budget.allows(NodeId(2))


def test_founders_count_before_any_of_them_has_applied_that_they_are() -> None:
    """None has ever run: no disk says yet who the voters are, but every log does."""
    cluster = Cluster.of(1, 2, 3)
    founded = Image(entries=cluster[1].disk.durable.entries[:1], hard_state=HardState(Term(1), NodeId(0), Index(1)))
    for node_id in cluster.founders.voters:
        cluster.servers[node_id] = Server(node_id, Disk(founded), cluster)
    budget = Budget(cluster)
    budget.damage(NodeId(1))
    assert not budget.allows(NodeId(2))


def test_learner_may_always_be_lost() -> None:
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    cluster.add(4)
    leader.core.propose_change(ConfigChange((Change(ChangeKind.ADD_LEARNER, NodeId(4)),)))
    cluster.settle()
    budget = Budget(cluster)
    lose(cluster, budget, 3)
    assert budget.allows(NodeId(4))
    assert not budget.allows(NodeId(2))


def test_both_halves_of_a_joint_configuration_count_and_so_do_those_who_lag() -> None:
    """3 has not applied the change and decides by {1,2,3}: 1 and 2 may not both be lost, though 4 and 5 have come."""
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    for node_id in (4, 5):
        cluster.add(node_id)
    cluster.isolate(3)
    change = ConfigChange(tuple(Change(ChangeKind.ADD_VOTER, NodeId(node)) for node in (4, 5)))
    leader.core.propose_change(change)
    cluster.settle()
    budget = Budget(cluster)
    lose(cluster, budget, 2)
    assert not budget.allows(NodeId(1))
    assert budget.allows(NodeId(5))
    cluster.heal()
    cluster.tick(30)
    cluster.propose()
    assert budget.allows(NodeId(1))


def test_proposed_change_counts_until_its_fate_is_known_everywhere() -> None:
    """{1,2,3,4,5} shrinks to {1,2,3}: of these no two may be lost from the moment it is proposed."""
    cluster = Cluster.of(1, 2, 3, 4, 5)
    leader = cluster.elect(1)
    budget = Budget(cluster)
    lose(cluster, budget, 2)
    assert budget.allows(NodeId(3))
    change = ConfigChange(tuple(Change(ChangeKind.REMOVE, NodeId(node)) for node in (4, 5)))
    configuration = leader.core.next_configuration(change)
    assert budget.allows_change(configuration)
    index, term = leader.core.propose_change(change)
    budget.proposed(index, term, configuration)
    assert not budget.allows(NodeId(3))
    cluster.observer.committed[index] = (Term(term + 1), b"another entry")
    assert budget.allows(NodeId(3))


def test_no_change_is_proposed_that_leaves_the_lost_in_the_majority() -> None:
    cluster = Cluster.of(1, 2, 3)
    leader = cluster.elect(1)
    budget = Budget(cluster)
    lose(cluster, budget, 3)
    alone_with_it = leader.core.next_configuration(ConfigChange((Change(ChangeKind.REMOVE, NodeId(2)),)))
    without_it = leader.core.next_configuration(ConfigChange((Change(ChangeKind.REMOVE, NodeId(3)),)))
    assert not budget.allows_change(alone_with_it)
    assert budget.allows_change(without_it)


def test_refusing_a_healthy_disk_is_noticed() -> None:
    budget = Budget(Cluster.of(1, 2, 3))
    with pytest.raises(AssertionError, match="healthy disk"):
        budget.refused(NodeId(1))


def test_server_that_comes_back_without_its_vote_is_noticed() -> None:
    """S11: what the budget never does, as an empty disk generates another node ID."""
    cluster = Cluster.of(1, 2, 3)
    cluster.elect(1)
    cluster[3].crash()
    del cluster.servers[NodeId(3)]
    with pytest.raises(AssertionError, match="3 forgot term 2"):
        cluster.add(3, Image())


def test_acknowledged_entry_that_is_lost_is_noticed() -> None:
    """More broken than promised: two of three disks go back in time, and their tail markers with them."""
    cluster = Cluster.of(1, 2, 3)
    cluster.elect(1)
    old = {node_id: cluster[node_id].disk.durable for node_id in (2, 3)}
    cluster.propose()
    cluster[1].crash()
    for node_id, image in old.items():
        cluster[node_id].crash()
        cluster[node_id].disk = type(cluster[node_id].disk)(image)
        cluster[node_id].start()
    with pytest.raises(AssertionError, match="leader completeness"):
        cluster.tick(60)
    assert cluster.observer.commit == Index(3)
