"""Procedures that each have tests of their own, at the same time."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import pytest
from msgspec import inspect

from collectionstore_operator.manifests import services
from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import (
    Action,
    DenyRequest,
    EnsureWorkload,
    RecordPlannedWork,
    RemoveLearners,
    ReplaceWorkload,
    RetireVolume,
    ScaleWorkload,
    StampVolume,
)
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import (
    ABSENT,
    Certificate,
    CertificateKind,
    Member,
    NodeStatus,
    Observed,
    Pod,
    SigningRequest,
    Unknown,
    Workload,
)
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.model.planned_work import Hibernation, PlannedWork, Replacement
from collectionstore_operator.model.quorum_loss import Cause, examine
from collectionstore_operator.model.recovery import RecoveryPhase
from collectionstore_operator.planning.certificates import to_answer
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired, Storage
from collectionstore_operator.resource.service import Service
from collectionstore_operator.status.conditions import OCCASIONAL, TYPES
from collectionstore_operator.status.published import Status
from collectionstore_operator.status.report import report
from collectionstore_operator.tests.planning.lost_quorum import (
    OLD,
    World,
    acknowledge,
    blocker,
    two_lost,
    with_recovery,
)
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


@dataclass
class Copied:
    """A cluster that has lost its quorum, and its read replicas: what is done to them happens to them."""

    world: World
    on_kubernetes: bool
    replicas: int = 2
    running: set[int] = field(default_factory=lambda: {0, 1})
    disks: set[int] = field(default_factory=lambda: {0, 1})
    exists: bool = True
    cut_short: bool = False
    """Stopping the processes is left undone, as by a crash after the number of replicas was recorded."""
    unseen: bool = False
    """Their volumes cannot be observed."""

    @property
    def desired(self) -> Desired:
        return with_recovery(self.world, read_replicas=2, storage=Storage(retention="Delete"))

    def observe(self) -> Observed:
        picture = [Replica(pod=one in self.running, volume=one in self.disks) for one in range(2)]
        reads = with_reads(self.desired, THREE, *picture, workload=self.replicas).reads
        assert reads is not None
        slots = reads.slots
        if self.unseen:
            slots = tuple(msgspec.structs.replace(one, volume=Unknown("no answer")) for one in slots)
        if not self.exists:
            reads = msgspec.structs.replace(reads, workload=ABSENT)
        # Locally nothing but the operator starts what the workload includes.
        idle = () if self.on_kubernetes else tuple(one for one in range(self.replicas) if one not in self.running)
        reads = msgspec.structs.replace(reads, slots=slots, idle=idle)
        objects = () if self.on_kubernetes else None
        return msgspec.structs.replace(self.world.observe(), reads=reads, objects=objects)

    def look(self) -> Plan:
        assessment = assess(self.desired, self.observe())
        made = plan(assessment)
        self.world.status = report(assessment, made, self.world.status)
        return made

    def step(self) -> Action | None:
        """Perform one action, as an operator that is killed after it."""
        actions = [one for one in self.look().actions if not isinstance(one, StampVolume)]
        if actions:
            self.perform(actions[0])
        return actions[0] if actions else None

    def perform(self, action: Action) -> None:
        if action.group == "voters":
            self.world.perform(action)
        elif isinstance(action, EnsureWorkload):
            assert (action.replicas, action.shrinks) == (0, True)
            self.replicas = 0
            self.running = self.running if self.cut_short else set()
            self.cut_short = False
        elif isinstance(action, RetireVolume):
            assert action.keep, "a volume of a read replica is deleted"
            assert not self.running, "a volume is taken from a read replica that runs"
            self.disks.remove(action.ordinal)
        else:
            assert isinstance(action, ReplaceWorkload)
            assert self.on_kubernetes
            assert not self.disks
            self.exists = False


def copied(*, on_kubernetes: bool) -> Copied:
    """Return a cluster with two read replicas that has lost two of three disks, not acknowledged yet."""
    return Copied(world=two_lost(), on_kubernetes=on_kubernetes)


def told(action: Action | None) -> str:
    return f"{type(action).__name__} {action.group}" if action is not None else ""


STEPS = ("EnsureWorkload reads", "RetireVolume reads", "RetireVolume reads")


@pytest.mark.parametrize("on_kubernetes", [True, False])
def test_copies_of_a_cluster_that_ends_are_set_aside_before_its_recovery(on_kubernetes: bool) -> None:  # noqa: FBT001
    """Each step by another operator. The voters are as they were until the recovery is recorded."""
    run = copied(on_kubernetes=on_kubernetes)
    acknowledge(run.world)
    before = (dict(run.world.disks), dict(run.world.running), run.world.replicas)
    expected = [*STEPS, *(["ReplaceWorkload reads"] if on_kubernetes else [])]
    assert [told(run.step()) for _ in expected] == expected
    assert (run.world.disks, run.world.running, run.world.replicas) == before
    assert run.world.record is None
    assert told(run.step()) == "RecordRecovery voters"
    assert run.world.record is not None
    assert run.world.record.phase is RecoveryPhase.STOPPING


@pytest.mark.parametrize("on_kubernetes", [True, False])
@pytest.mark.parametrize("nonce", [None, "f" * 32])
def test_copies_run_on_until_the_loss_is_acknowledged(on_kubernetes: bool, nonce: str | None) -> None:  # noqa: FBT001
    run = copied(on_kubernetes=on_kubernetes)
    if nonce:
        acknowledge(run.world, nonce)
    assert run.step() is None
    assert (run.replicas, run.running, run.disks) == (2, {0, 1}, {0, 1})


def test_copies_are_left_alone_while_no_survivor_can_be_chosen() -> None:
    run = copied(on_kubernetes=True)
    acknowledge(run.world, survivor="demo-0")
    assert run.step() is None
    assert run.running == {0, 1}


def test_copies_that_a_crash_left_running_are_stopped_again_locally() -> None:
    run = copied(on_kubernetes=False)
    acknowledge(run.world)
    run.cut_short = True
    assert told(run.step()) == "EnsureWorkload reads"
    assert run.running
    assert told(run.step()) == "EnsureWorkload reads"
    assert told(run.step()) == "RetireVolume reads"


def test_no_volume_of_a_copy_is_taken_before_its_pod_is_gone() -> None:
    run = copied(on_kubernetes=True)
    acknowledge(run.world)
    run.replicas = 0
    assert run.step() is None
    assert "demo-read-0, demo-read-1 must terminate first" in run.world.offered().waiting_for


def test_a_copy_whose_volume_cannot_be_observed_holds_the_recovery() -> None:
    run = copied(on_kubernetes=True)
    acknowledge(run.world)
    run.replicas, run.running, run.unseen = 0, set(), True
    assert run.step() is None
    assert "the volume of demo-read-0 cannot be observed" in run.world.offered().waiting_for


def test_acknowledgement_that_is_taken_back_starts_nothing() -> None:
    run = copied(on_kubernetes=False)
    acknowledge(run.world)
    run.step()
    run.world.recovery = None
    assert run.step() is None
    assert (run.replicas, run.running, run.disks) == (0, set(), {0, 1})


def test_copies_that_alone_know_the_configuration_are_not_stopped() -> None:
    """Nothing would be known to be lost without them, so that they would be started again, and so on."""
    run = copied(on_kubernetes=True)
    run.world.stop(2)
    acknowledge(run.world, survivor="demo-2")
    seen = run.observe()
    reads = seen.reads
    assert reads is not None
    known = {
        "cluster_id": OLD,
        "configuration": run.world.configuration,
        "members": tuple(Member(node_id, name=name) for node_id, name in run.world.names.items()),
    }
    slots = tuple(
        msgspec.structs.replace(one, node=msgspec.structs.replace(one.node, **known))
        for one in reads.slots
        if isinstance(one.node, NodeStatus)
    )
    seen = msgspec.structs.replace(seen, reads=msgspec.structs.replace(reads, slots=slots))
    loss = examine(assess(run.desired, seen))
    assert loss is not None
    assert loss.cause is Cause.DISKS
    acknowledge(run.world, loss.nonce, survivor="demo-2")
    made = plan(assess(run.desired, seen))
    assert made.actions == ()
    assert "a surviving voter must respond" in blocker(made)


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
