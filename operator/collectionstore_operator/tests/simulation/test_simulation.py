"""Random histories of simulated clusters: no action is ever unsafe, and in the end every cluster is reconciled."""

from __future__ import annotations

import pytest

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Unsafe
from collectionstore_operator.tests.simulation.simulated_cluster import ZONES
from collectionstore_operator.tests.simulation.simulated_life import QUIET_S, Life

SEEDS = 60
TROUBLED_S = 120


def trouble(life: Life) -> None:
    """Let one thing happen that a cluster must bear."""
    cluster, chance = life.cluster, life.random
    ordinal = chance.choice(sorted(cluster.pods)) if cluster.pods else 0
    match chance.randrange(16):
        case 0:
            life.want(replicas=chance.choice((3, 5, 7)))
        case 1:
            life.want(version=f"0.{chance.randrange(5)}.0")
        case 2:
            life.want(version=f"bad-{chance.randrange(5)}")
            cluster.bad_revisions.add(revision(life.desired))
        case 3 if cluster.pods:
            cluster.crash(ordinal)
        case 4 if cluster.may_lose(ordinal):
            cluster.lose_disk(ordinal)
            life.trace.append(f"{cluster.time}: lost disk {ordinal}")
        case 5 if cluster.may_lose(ordinal):
            cluster.damage_disk(ordinal)
            life.trace.append(f"{cluster.time}: damaged disk {ordinal}")
        case 6 if cluster.may_lose(ordinal):
            cluster.lose_machine(ordinal)
            life.trace.append(f"{cluster.time}: lost machine {ordinal}")
        case 7:
            cluster.catch_up_rate = chance.choice((50, 300, 2_000))
        case 8:
            life.want(paused=chance.random() < 0.3)
        case 9 if cluster.pods:
            cluster.fall_ill(ordinal, chance.randrange(10, 90))
            life.trace.append(f"{cluster.time}: fell ill {ordinal}")
        case 10:
            zone, seconds = chance.randrange(ZONES), chance.randrange(5, 60)
            cluster.lose_zone(zone, seconds)
            life.trace.append(f"{cluster.time}: lost zone {zone} for {seconds} s")
        case 11 if cluster.pods and cluster.evict(ordinal, life.budget):
            life.trace.append(f"{cluster.time}: drained {ordinal}")
        case 12 if cluster.may_lose(ordinal) and ordinal in cluster.pods:
            cluster.pods[ordinal].replace_requested = True
            life.trace.append(f"{cluster.time}: asked to replace {ordinal}")
        case 13:
            cluster.lose_workload()
            life.trace.append(f"{cluster.time}: lost the workload")
        case 14:
            life.want(hibernate=chance.random() < 0.5)
        case 15:
            target = chance.choice(("any", f"demo-{ordinal}", "demo-99"))
            life.annotate({labels.TRANSFER_LEADER: f"{target} {cluster.time}"})
        case _:
            pass  # nothing there that could break


@pytest.mark.parametrize("seed", range(SEEDS))
def test_troubled_cluster_stays_safe_and_converges(seed: int) -> None:
    """Under crashes, lost disks and machines, bad images, changed minds and blind spots: safe, and settled after."""
    life = Life(seed)
    for _ in range(TROUBLED_S):
        if life.random.random() < 0.15:
            trouble(life)
        life.round(unknown=0.05, failing=0.1)
    life.annotate({})
    life.want(paused=False, hibernate=None, version="1.0.0", replicas=life.random.choice((3, 5)))
    life.cluster.catch_up_rate = 2_000
    life.settle()
    make_desired = [f"demo-{ordinal}" for ordinal in range(life.desired.spec.replicas)]
    assert life.cluster.voters_by_name() == make_desired
    assert not life.cluster.configuration.learners
    assert {pod.revision for pod in life.cluster.pods.values()} == {revision(life.desired)}
    assert life.cluster.bootstraps == 1


@pytest.mark.parametrize("recorded", [True, False])
def test_retained_disks_of_a_deleted_resource_become_the_same_cluster(*, recorded: bool) -> None:
    """With a record of data, or only with data on the disks: no cluster is bootstrapped again."""
    life = Life(seed=5)
    life.want(replicas=5)
    life.settle()
    voters, written = life.cluster.configuration.voters, life.cluster.committed
    life.delete()
    again = Life(seed=6)
    again.cluster, again.cluster.initialized = life.cluster, recorded
    again.want(replicas=5)
    again.settle()
    assert again.cluster.configuration.voters == voters
    assert again.cluster.bootstraps == 1
    assert again.cluster.committed >= written


def test_resource_made_anew_with_fewer_members_brings_all_disks_up_before_any_leaves() -> None:
    """Three of five disks are a quorum by luck only."""
    life = Life(seed=5)
    life.want(replicas=5)
    life.settle()
    life.delete()
    again = Life(seed=6)
    again.cluster = life.cluster
    again.settle()
    assert again.cluster.voters_by_name() == ["demo-0", "demo-1", "demo-2"]
    assert [(len(one.outgoing), len(one.voters)) for one in again.cluster.joint_seen][-1] == (5, 3)


@pytest.mark.parametrize("seed", range(8))
def test_drain_of_all_machines_under_the_budget_never_costs_the_quorum(seed: int) -> None:
    """One pod after the other, asked for again and again, while an upgrade and a growth are on their way."""
    life = Life(seed)
    life.settle()
    life.want(replicas=5, version="0.2.0")
    left = {0: 3, 1: 3, 2: 3}
    for _ in range(QUIET_S):
        life.round()
        for ordinal in [one for one, count in left.items() if count and one in life.cluster.pods]:
            if life.cluster.evict(ordinal, life.budget):
                left[ordinal] -= 1
    assert not any(left.values()), "the budget blocks drains forever"
    life.settle()


def test_hibernated_cluster_wakes_with_everything_and_grows_then() -> None:
    """No pod, no change of members, no volume touched; what was asked for meanwhile is done afterwards."""
    life = Life(seed=7)
    life.settle()
    voters, disks = life.cluster.configuration.voters, dict(life.cluster.disks)
    life.want(hibernate=True)
    life.settle()
    assert not life.cluster.pods
    assert life.cluster.configuration.voters == voters
    committed = life.cluster.committed
    life.want(replicas=5, version="0.9.0")
    for _ in range(20):
        life.round()
    assert not life.cluster.pods
    assert life.cluster.disks == disks
    life.want(hibernate=None)
    life.settle()
    assert life.cluster.committed >= committed
    assert set(voters) < set(life.cluster.configuration.voters)
    assert len(life.cluster.voters_by_name()) == 5
    assert {pod.revision for pod in life.cluster.pods.values()} == {revision(life.desired)}
    assert life.cluster.planned_work.hibernation is None


@pytest.mark.parametrize("ordinal", [0, 1, 2])
@pytest.mark.parametrize("replicas", [1, 3, 5])
def test_replacement_of_a_member_that_works_never_costs_tolerance(ordinal: int, replicas: int) -> None:
    """At every moment as many voters are in sync as without it; in the end it has another volume, and no extra pod."""
    if ordinal >= replicas:
        ordinal = 0
    life = Life(seed=11)
    life.want(replicas=replicas, unsafe=Unsafe(allow_single_replica=True))
    life.settle()
    before = life.cluster.disks[ordinal].node_id
    life.cluster.catch_up_rate = 700
    life.cluster.pods[ordinal].replace_requested = True
    for _ in range(QUIET_S):
        life.round()
        voters = life.cluster.configuration.voters
        missing = [one for one in voters if one not in life.cluster.alive()]
        assert (len(voters), missing) == (replicas, []), life.trace[-10:]
        if life.cluster.disks[ordinal].node_id not in ("", before) and not life.cluster.configuration.learners:
            break
    life.settle()
    assert life.cluster.disks[ordinal].node_id != before
    assert life.cluster.voters_by_name() == [f"demo-{one}" for one in range(replicas)]
    assert sorted(life.cluster.pods) == list(range(replicas))
    assert life.cluster.planned_work.replacement is None


def test_calm_life_takes_one_joint_change_for_each_step() -> None:
    """Formed with 3, grown to 5, shrunk to 3, grown again: four joint changes, and no disk is used a second time."""
    life = Life(seed=7)
    life.settle()
    life.want(replicas=5)
    life.settle()
    first = set(life.cluster.configuration.voters)
    life.want(replicas=3)
    life.settle()
    assert sorted(disk.removed for disk in life.cluster.disks.values()) == [False, False, False, True, True]
    life.want(replicas=5)
    life.settle()
    changes = [(len(one.outgoing), len(one.voters)) for one in life.cluster.joint_seen]
    assert changes == [(1, 3), (3, 5), (5, 3), (3, 5)]
    assert len(first & set(life.cluster.configuration.voters)) == 3
    assert len(life.cluster.retired) == 2


def test_cancelled_growth_never_changes_the_voters() -> None:
    """`replicas` returns to 3 while two learners lag far behind: they are removed and were never voters."""
    life = Life(seed=7)
    life.settle()
    voters = life.cluster.configuration.voters
    life.cluster.catch_up_rate = 50
    life.want(replicas=5)
    while not life.cluster.configuration.learners:
        life.round()
    life.want(replicas=3)
    life.settle()
    assert life.cluster.configuration.voters == voters
    assert len(life.cluster.joint_seen) == 1
    assert life.cluster.workload is not None
    assert life.cluster.workload.replicas == 3


def test_bad_image_stops_at_the_first_member_and_a_revert_cures_it() -> None:
    """Two of three keep working whatever the image; the old version is back without any help."""
    life = Life(seed=7)
    life.settle()
    life.want(version="bad")
    life.cluster.bad_revisions.add(revision(life.desired))
    for _ in range(100):
        life.round()
        assert sum(pod.running for pod in life.cluster.pods.values()) >= 2
    assert [pod.revision for pod in life.cluster.pods.values()].count(revision(life.desired)) == 1
    life.want(version="0.1.0")
    life.settle()
    assert not life.cluster.retired
