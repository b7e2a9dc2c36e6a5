"""Procedures that each have tests of their own, at the same time."""

from __future__ import annotations

import msgspec
from msgspec import inspect

from collectionstore_operator.manifests import services
from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import (
    DenyRequest,
    EnsureWorkload,
    RecordPlannedWork,
    RemoveLearners,
    ScaleWorkload,
)
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import Certificate, CertificateKind, Pod, SigningRequest, Workload
from collectionstore_operator.model.planned_work import Hibernation, PlannedWork, Replacement
from collectionstore_operator.model.quorum_loss import examine
from collectionstore_operator.planning import recovery
from collectionstore_operator.planning.certificates import to_answer
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.service import Service
from collectionstore_operator.status.conditions import OCCASIONAL, TYPES
from collectionstore_operator.status.report import Status
from collectionstore_operator.tests.planning.lost_quorum import acknowledge, two_lost
from collectionstore_operator.tests.planning.pictures import draw, make_desired, planned
from collectionstore_operator.tests.planning.test_read_replicas import THREE, Replica, with_reads


def test_read_replicas_go_before_a_cluster_sleeps() -> None:
    """They are copies; the leader that would remove them is stopped last."""
    desired = make_desired(3, read_replicas=1, hibernate=True)
    made = planned(desired, with_reads(desired, THREE, Replica()))
    assert any(isinstance(one, RemoveLearners) for one in made.actions)
    assert not any(isinstance(one, ScaleWorkload) for one in made.actions)
    gone = planned(desired, with_reads(desired, THREE))
    assert any(isinstance(one, RecordPlannedWork) and one.work.hibernation is not None for one in gone.actions)


def test_member_is_copied_first_beside_read_replicas() -> None:
    """Learners that stay are no members that join: they hold no change."""
    desired = make_desired(3, read_replicas=1)
    asked = THREE.replace("1:", "1: voter replace")
    made = planned(desired, with_reads(desired, asked, Replica(), workload=1))
    (begun,) = [one for one in made.actions if isinstance(one, RecordPlannedWork)]
    assert begun.work.replacement is not None
    assert begun.work.replacement.surge == 3


def test_extra_member_of_a_replacement_is_no_read_replica() -> None:
    desired = make_desired(3, read_replicas=1)
    work = PlannedWork(replacement=Replacement(ordinal=1, node_id="old-1", surge=3))
    seen = with_reads(desired, THREE, Replica(), workload=1, planned_work=work)
    reads = assess(desired, seen).reads()
    assert reads is not None
    assert reads.joining_ordinals() == (0,)
    sized = [one for one in planned(desired, seen).actions if isinstance(one, EnsureWorkload)]
    assert not [one for one in sized if one.group == "reads"]


def test_load_balancer_is_that_of_the_voters_alone() -> None:
    """Two of them would share one name, or one address."""
    desired = make_desired(3, read_replicas=1, service=Service(type="LoadBalancer"))
    types = [services.client(one).body["spec"]["type"] for one in (desired, desired.reads())]
    assert types == ["LoadBalancer", "ClusterIP"]


def test_cluster_does_not_sleep_during_a_replacement() -> None:
    desired = make_desired(3, hibernate=True)
    work = PlannedWork(replacement=Replacement(ordinal=1, node_id="old-1", surge=3))
    made = planned(desired, draw(THREE, desired, planned_work=work))
    assert not any(isinstance(one, ScaleWorkload) for one in made.actions)
    recorded = [one.work.hibernation for one in made.actions if isinstance(one, RecordPlannedWork)]
    assert recorded in ([], [None])


def test_what_is_left_of_a_sleeping_cluster_starts_once_its_loss_is_accepted() -> None:
    """The disks of most are gone: the one that survives must run to be recovered from."""
    desired = make_desired(3)
    slept = Hibernation(term=7, commit_index=20_000, voters=("old-0", "old-1", "old-2"), replicas=3, stopping=True)
    seen = draw(
        "0: gone\n1: gone\n2: free",
        desired,
        planned_work=PlannedWork(hibernation=slept),
        workload=Workload(replicas=0, revision=revision(desired)),
        initialized=True,
    )
    assert not any(isinstance(one, ScaleWorkload) for one in planned(desired, seen).actions)
    accepted = msgspec.structs.replace(desired, annotations={labels.ACCEPT_LOSS: "20000"})
    (start,) = [one for one in planned(accepted, seen).actions if isinstance(one, ScaleWorkload)]
    assert start.replicas == 3


def test_all_conditions_fit_into_the_status() -> None:
    """The API server refuses a status with more, and nothing would be done any more."""
    kind = inspect.type_info(Status)
    assert isinstance(kind, inspect.StructType)
    (listed,) = [one.type for one in kind.fields if one.name == "conditions"]
    listed = listed.type if isinstance(listed, inspect.Metadata) else listed
    assert isinstance(listed, inspect.VarTupleType)
    # BackupReady is the one that neither names.
    assert len(TYPES) + len(OCCASIONAL) + 1 <= (listed.max_length or 0)


def test_recovery_waits_until_the_copies_of_the_ended_cluster_are_gone() -> None:
    """They would go on under an identity that is none any more."""
    world = two_lost()
    acknowledge(world)
    copies = with_reads(make_desired(3, read_replicas=1), THREE, Replica()).reads
    loss = examine(assess(world.desired, world.observe()))
    assert loss is not None
    assert recovery.blocked_by(assess(world.desired, world.observe()), loss) == ""
    observed = msgspec.structs.replace(world.observe(), reads=copies)
    assert "delete the StatefulSet demo-read" in recovery.blocked_by(assess(world.desired, observed), loss)
    assert not plan(assess(world.desired, observed)).actions


def test_voter_cannot_take_the_node_id_of_a_read_replica() -> None:
    desired = make_desired(3, read_replicas=1)
    seen = with_reads(desired, THREE, Replica(node_id="00000000000000aa"))
    pod = seen.slot(1).pod
    assert isinstance(pod, Pod)
    request = SigningRequest(name="csr", member="demo-1", pod_uid=pod.uid, node_id="00000000000000aa")
    authority = Certificate(kind=CertificateKind.AUTHORITY, name="demo", not_before=0, not_after=2e9, authority="key")
    seen = msgspec.structs.replace(seen, requests=(request,), certificates=(authority,))
    (denied,) = to_answer(desired, seen, range(3), range(1))
    assert isinstance(denied, DenyRequest)
    assert denied.reason == "the node ID 00000000000000aa is that of demo-read-0"
