"""Records, labels, volumes and claims that were changed by another owner: restored where proven, never guessed."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_operator.model.actions import RecordProtectedDeletion, RestartPod, RestoreLabels, SetReclaimPolicy
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import Observed, Pod, Volume, Workload
from collectionstore_operator.model.plan import with_failures
from collectionstore_operator.planning.fencing import EPOCH_MAX
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.resource.desired import Desired, FailedMember, Spec, Storage
from collectionstore_operator.status.report import report
from collectionstore_operator.status.safeguards import volumes_safe
from collectionstore_operator.tests.planning.pictures import (
    ANY_SIZE,
    actions_of,
    blocked_steps,
    draw,
    make_desired,
    planned,
)
from collectionstore_operator.tests.planning.test_plan_guards import with_leader

DESIRED = make_desired(3)
HEALTHY = "0: leader\n1: voter\n2: voter"


def with_volume(observed: Observed, ordinal: int, **fields: object) -> Observed:
    """Return the observed state with a changed volume."""
    slots = []
    for slot in observed.slots:
        if slot.ordinal == ordinal:
            assert isinstance(slot.volume, Volume)
            slot = msgspec.structs.replace(slot, volume=msgspec.structs.replace(slot.volume, **fields))
        slots.append(slot)
    return msgspec.structs.replace(observed, slots=tuple(slots))


def with_pod(observed: Observed, ordinal: int, **fields: object) -> Observed:
    """Return the observed state with a changed pod."""
    slots = []
    for slot in observed.slots:
        if slot.ordinal == ordinal:
            assert isinstance(slot.pod, Pod)
            slot = msgspec.structs.replace(slot, pod=msgspec.structs.replace(slot.pod, **fields))
        slots.append(slot)
    return msgspec.structs.replace(observed, slots=tuple(slots))


def condition(desired: Desired, observed: Observed, kind: str) -> str:
    """Return status and reason of a condition."""
    assessment = assess(desired, observed)
    found = report(assessment, plan(assessment), None).condition(kind)
    assert found is not None
    return f"{found.status} {found.reason}"


# The record and the authority


def test_overwritten_cluster_id_is_restored_and_nothing_else_waits_for_it() -> None:
    observed = draw("0: leader\n1: voter\n2: voter old", DESIRED, recorded_cluster_id="beef")
    assert actions_of(planned(DESIRED, observed)) == ["RestoreIdentity", "RestartPod demo-2"]
    assert condition(DESIRED, observed, "RecordsValid") == "False Restoring"


def test_unproven_identity_holds_back_everything() -> None:
    """To go on with the wrong one would attach members to the data of another cluster."""
    observed = draw("0: leader\n1: voter\n2: voter old", DESIRED, identity_conflict="the record and the status differ")
    made = planned(DESIRED, observed)
    assert not made.actions
    assert "RestoreIdentity demo: the record and the status differ" in blocked_steps(made)
    assert "RestartPod demo-2: the record and the status differ" in blocked_steps(made)
    assert condition(DESIRED, observed, "RecordsValid") == "False IdentityUnproven"
    assert condition(DESIRED, observed, "Ready").startswith("False")


def test_lost_authority_is_not_replaced() -> None:
    """Members would refuse whom a new one has signed; the cluster is repaired and changed as usual meanwhile."""
    facts = {"authority_conflict": "the Secret demo-authority is missing", "certificates": (), "requests": ()}
    observed = draw("0: leader\n1: voter\n2: voter old", DESIRED, authority_published=False, **facts)
    made = planned(DESIRED, observed)
    assert actions_of(made) == ["RestartPod demo-2"]
    assert "IssueCertificate demo-authority: the Secret demo-authority is missing" in blocked_steps(made)
    assert condition(DESIRED, observed, "RecordsValid") == "False AuthorityLost"


# The epoch


def test_no_epoch_is_taken_above_the_highest() -> None:
    observed = with_leader(draw(HEALTHY, DESIRED), epoch=EPOCH_MAX)
    made = planned(DESIRED, observed)
    assert not made.actions
    assert blocked_steps(made) == ["RaiseEpoch demo: there is no higher epoch"]


def test_epoch_of_a_node_of_another_cluster_is_ignored() -> None:
    observed = draw(HEALTHY, DESIRED)
    other = msgspec.structs.replace(observed.slots[2].node, cluster_id="beef", epoch=9)
    last = msgspec.structs.replace(observed.slots[2], node=other)
    observed = msgspec.structs.replace(observed, slots=(*observed.slots[:2], last))
    assert "RaiseEpoch" not in actions_of(planned(DESIRED, observed))


# Restarts


def test_healthy_pod_is_evicted_and_a_broken_one_deleted() -> None:
    """The budget protects what counts towards the quorum; with two members it allows nothing, and they restart."""

    def restart(desired: Desired, picture: str) -> RestartPod:
        (action,) = (one for one in planned(desired, draw(picture, desired)).actions if isinstance(one, RestartPod))
        return action

    assert restart(DESIRED, "0: leader\n1: voter\n2: voter old").evict
    assert not restart(DESIRED, "0: leader\n1: voter\n2: voter old down=60").evict
    assert not restart(make_desired(2), "0: leader\n1: voter old").evict
    assert restart(make_desired(1), "0: leader old").evict


# Claims that are being deleted


def test_member_on_a_claim_being_deleted_is_replaced_and_not_restarted() -> None:
    observed = draw("0: leader\n1: voter doomed old\n2: voter", DESIRED)
    made = planned(DESIRED, observed)
    assert actions_of(made) == ["RecordPlannedWork"]
    assert [one for one in blocked_steps(made) if one.startswith("RestartPod demo-1")]
    assert condition(DESIRED, observed, "VolumesSafe") == "False ClaimTerminating"


@pytest.mark.parametrize(
    "picture", ["0: leader old\n1: voter doomed old\n2: voter", "0: leader old\n1: voter\n2: voter doomed old"]
)
def test_member_on_a_claim_being_deleted_holds_up_no_other_restart(picture: str) -> None:
    desired = make_desired(3, failed_member=FailedMember(replacement="Manual"))
    made = planned(desired, draw(picture, desired))
    (action,) = actions_of(made)
    assert action.startswith("TransferLeadership demo-0")
    assert [one for one in blocked_steps(made) if "a restart would lose the volume" in one]


def test_leader_on_a_claim_being_deleted_goes_on_leading() -> None:
    desired = make_desired(3, failed_member=FailedMember(replacement="Manual"))
    made = planned(desired, draw("0: leader doomed old\n1: voter old\n2: voter", desired))
    assert actions_of(made) == ["RestartPod demo-1"]


def test_broken_pod_on_a_claim_being_deleted_is_not_restarted() -> None:
    made = planned(DESIRED, draw("0: leader\n1: voter\n2: voter doomed old down=60 failure=Image", DESIRED))
    assert not [one for one in made.actions if isinstance(one, RestartPod)]
    assert any("a restart would lose the volume" in one for one in blocked_steps(made))


@pytest.mark.parametrize(
    ("picture", "blocked_by"),
    [
        ("0: leader\n1: voter doomed unready=60\n2: voter down=60", "no quorum has its data without it"),
        ("0: leader\n1: voter doomed unready=60\n2: voter unready=60", "demo-2"),
        ("0: leader\n1: voter doomed unready=60\n2: voter doomed unready=9", "demo-2"),
        ("0: voter\n1: voter doomed\n2: voter", "no leader is known"),
    ],
)
def test_member_whose_data_others_lack_is_not_replaced(picture: str, blocked_by: str) -> None:
    made = planned(DESIRED, draw(picture, DESIRED))
    retired = [one for one in actions_of(made) if one.startswith("RetireVolume")]
    steps = [one for one in blocked_steps(made) if one.startswith("ReplaceMember demo-1")]
    assert not retired
    assert blocked_by in steps[0]


def test_only_member_is_never_replaced_before_it_is_copied() -> None:
    desired = make_desired(1)
    assert actions_of(planned(desired, draw("0: leader doomed", desired))) == ["RecordPlannedWork"]
    made = planned(desired, draw("0: leader doomed unready=5", desired))
    assert not made.actions
    assert any("add members" in one for one in blocked_steps(made))


def test_manual_replacement_waits_for_the_user() -> None:
    desired = make_desired(3, failed_member=FailedMember(replacement="Manual"))
    made = planned(desired, draw("0: leader\n1: voter doomed\n2: voter", desired))
    assert not made.actions
    assert blocked_steps(made) == ["ReplaceMember demo-1: spec.failedMember.replacement is Manual"]
    asked = planned(desired, draw("0: leader\n1: voter doomed replace\n2: voter", desired))
    assert actions_of(asked) == ["RecordPlannedWork"]


# Data that a node refuses


def test_damaged_data_are_replaced_without_waiting() -> None:
    """Once another member shows that version and settings read their data; one whose disk failed may come back."""
    down = "down=5 failure={}"
    made = planned(DESIRED, draw(f"0: leader\n1: voter\n2: voter {down.format('Damaged')}", DESIRED))
    assert actions_of(made) == ["RetireVolume data-demo-2 keep"]
    waiting = planned(DESIRED, draw(f"0: leader\n1: voter\n2: voter {down.format('Disk')}", DESIRED))
    assert not waiting.actions


def test_damaged_data_of_a_new_revision_wait_as_others_do() -> None:
    """A version may refuse what the former one reads: nobody has shown the opposite."""
    picture = "0: leader old\n1: voter old\n2: voter down=5 failure=Damaged"
    assert not [one for one in actions_of(planned(DESIRED, draw(picture, DESIRED))) if "RetireVolume" in one]


@pytest.mark.parametrize("picture", ["0: leader\n1: voter\n2: voter old", "0: leader old\n1: voter old\n2: voter"])
def test_member_with_data_of_a_newer_level_is_not_replaced(picture: str) -> None:
    """However long: its data is unharmed, and another version reads it. That version is rolled out to it."""
    refused = picture.replace("2: voter", "2: voter down=90000 failure=Downgraded")
    made = planned(DESIRED, draw(refused, DESIRED))
    assert not [one for one in actions_of(made) if one.startswith("RetireVolume")]
    assert any("a new volume would not help" in one for one in blocked_steps(made))
    assert condition(DESIRED, draw(refused, DESIRED), "Degraded") == "True Downgraded"
    assert ("RestartPod demo-2" in actions_of(made)) is ("2: voter old" in picture)


# Labels


def test_lost_labels_are_set_again_by_uid() -> None:
    observed = with_pod(draw(HEALTHY, DESIRED), 0, labelled=False)
    observed = with_volume(observed, 1, labelled=False, uid="c1")
    made = planned(DESIRED, observed)
    assert [(one.kind, one.name, one.uid) for one in made.actions if isinstance(one, RestoreLabels)] == [
        ("Pod", "demo-0", "uid-0"),
        ("PersistentVolumeClaim", "data-demo-1", "c1"),
    ]
    assert condition(DESIRED, observed, "Available") == "True QuorumWorks"


def test_labels_stay_as_they_are_while_paused() -> None:
    """A pod without labels is out of its Service: that is how people isolate it for an inspection."""
    desired = make_desired(3, paused=True)
    assert not planned(desired, with_pod(draw(HEALTHY, desired), 0, labelled=False)).actions


# Volumes that outlive their claims


def bound(observed: Observed, **fields: object) -> Observed:
    """Return the observed state with bound volumes."""
    for slot in observed.slots:
        observed = with_volume(observed, slot.ordinal, persistent_volume=f"pv-{slot.ordinal}", **fields)
    return observed


@pytest.mark.parametrize("paused", [False, True])
def test_volumes_are_retained_from_their_binding_on(*, paused: bool) -> None:
    desired = make_desired(3, paused=paused)
    made = planned(desired, bound(draw(HEALTHY, desired), reclaim_policy="Delete"))
    found = [(one.volume, one.policy) for one in made.actions if isinstance(one, SetReclaimPolicy)]
    assert found == [("pv-0", "Retain"), ("pv-1", "Retain"), ("pv-2", "Retain")]
    assert condition(desired, bound(draw(HEALTHY, desired), reclaim_policy="Delete"), "VolumesSafe") == "True AllSafe"


def test_volume_whose_policy_cannot_be_set_is_not_safe() -> None:
    """The first attempt is made in the round that reports it; a condition is worth a failure only."""
    observed = bound(draw(HEALTHY, DESIRED), reclaim_policy="Delete")
    made = planned(DESIRED, observed)
    action = next(one for one in made.actions if isinstance(one, SetReclaimPolicy))
    told = with_failures(made, {action: "403"}, independent=(SetReclaimPolicy,))
    state = volumes_safe(assess(DESIRED, observed), told)
    assert (state.status, state.reason) == ("False", "NotRetained")
    assert f"{action.volume} of {action.name} has Delete" in state.message


def test_policy_is_given_back_only_where_it_was_taken_and_the_data_are_to_go() -> None:
    delete = make_desired(3, storage=Storage(retention="Delete"))
    ours = bound(draw(HEALTHY, delete), reclaim_policy="Retain", created_policy="Delete")
    assert [one.policy for one in planned(delete, ours).actions if isinstance(one, SetReclaimPolicy)] == ["Delete"] * 3
    theirs = bound(draw(HEALTHY, delete), reclaim_policy="Retain")
    assert not planned(delete, theirs).actions
    retained = bound(draw(HEALTHY, DESIRED), reclaim_policy="Retain", created_policy="Delete")
    assert not planned(DESIRED, retained).actions


# Protected deletions

GONE = "0: free\n1: free\n2: free"


def deleting(*, protected: bool) -> Desired:
    spec = Spec(replicas=3, unsafe=ANY_SIZE, deletion_protection=protected, storage=Storage(retention="Delete"))
    return Desired(name="demo", uid="u1", deleting=True, spec=spec)


def test_protected_deletion_is_recorded() -> None:
    """It cannot be taken back, and must not destroy anything when the protection is removed."""
    desired = deleting(protected=True)
    made = planned(desired, draw(HEALTHY, desired, finalizer=True))
    assert made.actions[0] == RecordProtectedDeletion(
        uid="u1",
        reason="the deletion was requested while spec.deletionProtection is true: the volumes will be retained",
    )
    assert not [one for one in actions_of(made) if "EnsureWorkload" in one]
    recorded = draw(HEALTHY, desired, finalizer=True, deletion_was_protected=True)
    assert "RecordProtectedDeletion" not in actions_of(planned(desired, recorded))


@pytest.mark.parametrize(("was_protected", "deleted"), [(True, 0), (False, 1)])
def test_deletion_that_was_protected_keeps_the_volumes(*, was_protected: bool, deleted: int) -> None:
    desired = deleting(protected=False)
    workload = Workload(replicas=0, revision="r")
    facts = {"finalizer": True, "workload": workload, "deletion_was_protected": was_protected}
    made = planned(desired, bound(draw(GONE, desired, **facts), reclaim_policy="Delete"))
    actions = actions_of(made)
    assert sum(one.startswith("RetireVolume") for one in actions) == deleted
    assert ("SetReclaimPolicy" in actions) == was_protected
    assert "DeleteIdentity" not in actions


# The size


def test_size_that_no_volume_could_follow_is_taken_back() -> None:
    desired = make_desired(3, storage=Storage(size="10Gi"))
    observed = draw(HEALTHY, desired)
    for ordinal in range(3):
        observed = with_volume(observed, ordinal, size_bytes=10 << 30, capacity_bytes=10 << 30)
    workload = msgspec.structs.replace(observed.workload, volume_bytes=20 << 30)
    made = planned(desired, msgspec.structs.replace(observed, workload=workload))
    assert actions_of(made) == ["ReplaceWorkload"]
