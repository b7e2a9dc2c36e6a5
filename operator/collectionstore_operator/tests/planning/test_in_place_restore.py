"""A backup in place of what a cluster has: what begins it, what holds it back, and what each phase may do."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from collectionstore_operator.manifests import networkpolicy
from collectionstore_operator.model import recovery as recoveries
from collectionstore_operator.model.actions import (
    ApplyObject,
    DiscardVolumes,
    RecordRecovery,
    RecordRevision,
    ReleasePod,
)
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import (
    ABSENT,
    KnownBackup,
    Observed,
    Pod,
    PublishedIdentity,
    Slot,
    Unknown,
    Volume,
    Workload,
)
from collectionstore_operator.model.recovery import OldVolume, RecoveryPhase, RecoveryRecord
from collectionstore_operator.model.restore import nonce_of, revision_above, written
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.resource.bootstrap import Restore
from collectionstore_operator.resource.deletion import Deletion, FinalBackup
from collectionstore_operator.resource.desired import Desired, Storage
from collectionstore_operator.resource.network import NetworkAccess
from collectionstore_operator.resource.repository import Repository
from collectionstore_operator.resource.restore import InPlaceRestore
from collectionstore_operator.status.report import report
from collectionstore_operator.status.restore_status import RestoreStatus
from collectionstore_operator.tests.planning.pictures import CLUSTER_ID, actions_of, draw, make_desired, planned

URL = "s3://backups/shop"
WORKS = "0: leader\n1: voter\n2: voter"
ASKED = InPlaceRestore(repository=Repository(url=URL))
NEW = "fedcba9876543210"


def wanting(asked: InPlaceRestore | None = ASKED, **spec: Any) -> Desired:
    return make_desired(3, restore=asked, **spec)


def acknowledged(asked: InPlaceRestore = ASKED, **spec: Any) -> Desired:
    return wanting(msgspec.structs.replace(asked, nonce=nonce_of(CLUSTER_ID, asked)), **spec)


def backup(cluster_id: str, revision: int = 40) -> KnownBackup:
    return KnownBackup(id=f"b-{cluster_id}", cluster_id=cluster_id, url=URL, revision=revision, completed="2026-01-02")


def record(phase: RecoveryPhase, **fields: Any) -> RecoveryRecord:
    usual: dict[str, Any] = {
        "nonce": "a" * 32,
        "survivor": "demo-0",
        "ordinal": 0,
        "node_id": "",
        "from_cluster": CLUSTER_ID,
        "cluster_id": NEW,
        "restored_from": written(ASKED.source),
    }
    return RecoveryRecord(phase=phase, **(usual | fields))


def told(desired: Desired, observed: Observed) -> RestoreStatus:
    assessment = assess(desired, observed)
    return report(assessment, plan(assessment), None).restore


def recorded(desired: Desired, observed: Observed) -> list[RecoveryRecord]:
    return [one.record for one in planned(desired, observed).actions if isinstance(one, RecordRecovery)]


def waiting_pod(uid: str, claim: str, *, gated: bool = True) -> Observed:
    """Return a cluster in the phase Restoring whose pod is at its gate, with the claim on which it may be restored."""
    desired = wanting()
    pod = Pod(uid="p", running=False, ready=False, gated=gated, awaits_restore=gated)
    slot = Slot(ordinal=0, pod=pod, node=Unknown("it does not run"), volume=Volume(name="data-demo-0", uid=uid))
    return draw(
        "0: gone\n1: gone\n2: gone",
        desired,
        cluster_id=NEW,
        recovery=record(RecoveryPhase.RESTORING, volume_uid=claim),
        slots=(slot,),
    )


@pytest.mark.parametrize("asked", [ASKED, msgspec.structs.replace(ASKED, nonce="f" * 32)])
def test_without_its_nonce_nothing_is_planned(asked: InPlaceRestore) -> None:
    desired = wanting(asked)
    made = planned(desired, draw(WORKS, desired))
    assert actions_of(made) == []
    assert made.steps == ()
    assert told(desired, draw(WORKS, desired)).phase == "Offered"


def test_the_nonce_stands_for_the_cluster_and_for_all_that_is_asked_for() -> None:
    others = [
        msgspec.structs.replace(ASKED, to="end"),
        msgspec.structs.replace(ASKED, old_volumes="Delete"),
        msgspec.structs.replace(ASKED, backup="another"),
    ]
    nonces = {nonce_of(CLUSTER_ID, one) for one in [ASKED, *others]} | {nonce_of(NEW, ASKED)}
    assert len(nonces) == 5
    assert nonce_of(CLUSTER_ID, msgspec.structs.replace(ASKED, nonce="b" * 32)) in nonces


def test_it_is_recorded_before_anything_stops() -> None:
    desired = acknowledged()
    (begun,) = recorded(desired, draw(WORKS, desired))
    assert begun.phase is RecoveryPhase.HALTING
    assert begun.cluster_id not in ("", CLUSTER_ID)
    assert begun.restore == ASKED.source
    assert actions_of(planned(desired, draw(WORKS, desired))) == ["RecordRecovery"]


@pytest.mark.parametrize(
    ("spec", "facts", "why"),
    [
        ({"hibernate": True}, {}, "spec.hibernate is true"),
        ({}, {"backups": (backup(CLUSTER_ID), backup(NEW))}, "sourceCluster must be one of"),
        ({}, {"published": PublishedIdentity(cluster_id=NEW)}, "is not in its status yet"),
        ({}, {"recovery": record(RecoveryPhase.FORMING, restored_from="")}, "a recovery is under way"),
        ({}, {"recorded_revision": 1 << 41}, "revisions would go on above"),
    ],
)
def test_what_holds_it_back_is_said_and_nothing_is_recorded(
    spec: dict[str, Any], facts: dict[str, Any], why: str
) -> None:
    desired = acknowledged(**spec)
    observed = draw(WORKS, desired, **facts)
    assert recorded(desired, observed) == []
    found = told(desired, observed)
    assert found.phase == "Blocked"
    assert why in found.waiting_for
    assert found.nonce == ""


@pytest.mark.parametrize("protected", [True, False])
def test_none_begins_in_a_resource_that_is_being_deleted(protected: bool) -> None:  # noqa: FBT001
    """It is protected, or its final backup is awaited, which is to have what the cluster has now."""
    deletion = None if protected else Deletion(final_backup=FinalBackup(repository=Repository(url=URL)))
    desired = acknowledged(deletion_protection=protected, deletion=deletion)
    desired = msgspec.structs.replace(desired, deleting=True, uid="u1")
    observed = draw(WORKS, desired)
    assert recorded(desired, observed) == []
    found = told(desired, observed)
    assert (found.phase, found.nonce) == ("Blocked", "")
    assert "is being deleted" in found.waiting_for
    under_way = draw(WORKS, desired, recovery=record(RecoveryPhase.HALTING))
    assert "EnsureWorkload 0" in actions_of(planned(desired, under_way)), "what has begun must end"


def test_paused_holds_it_back() -> None:
    desired = acknowledged(paused=True)
    assert recorded(desired, draw(WORKS, desired)) == []


def test_a_restore_that_is_done_is_not_repeated_for_the_same_nonce() -> None:
    done = record(RecoveryPhase.FINISHED, nonce=nonce_of(CLUSTER_ID, ASKED), cluster_id=CLUSTER_ID, from_cluster="old")
    desired = acknowledged()
    observed = draw(WORKS, desired, recovery=done)
    assert planned(desired, observed).steps == ()
    assert told(desired, observed).phase == "Finished"


@pytest.mark.parametrize("phase", [RecoveryPhase.HALTING, RecoveryPhase.EMPTYING, RecoveryPhase.RESTORING])
def test_what_is_recorded_goes_on_without_the_field(phase: RecoveryPhase) -> None:
    desired = make_desired(3)
    facts: dict[str, Any] = {"recovery": record(phase)}
    if phase is RecoveryPhase.RESTORING:
        facts["cluster_id"] = NEW
    made = planned(desired, draw("0: gone\n1: gone\n2: gone", desired, workload=ABSENT, slots=(), **facts))
    assert made.actions, made.steps


def test_nothing_is_set_aside_while_anything_runs() -> None:
    desired = wanting()
    observed = draw(WORKS, desired, recovery=record(RecoveryPhase.EMPTYING))
    made = planned(desired, observed)
    assert actions_of(made) == []
    assert ["must terminate first" in one.blocked_by for one in made.steps] == [True]


def held(ordinal: int, **fields: Any) -> Volume:
    name, uid = f"data-demo-{ordinal}", f"claim-{ordinal}"
    usual: dict[str, Any] = {"persistent_volume": f"pv-{ordinal}", "reclaim_policy": "Retain"}
    return Volume(name=name, uid=uid, **(usual | fields))


def halting(desired: Desired, begun: RecoveryRecord, *volumes: Volume, picture: str = WORKS) -> Observed:
    """Return a cluster in the phase Halting whose first ordinals have these volumes."""
    drawn = draw(picture, desired, recovery=begun)
    slots = list(drawn.slots)
    for ordinal, volume in enumerate(volumes):
        slots[ordinal] = msgspec.structs.replace(slots[ordinal], volume=volume)
    return msgspec.structs.replace(drawn, slots=tuple(slots))


def test_a_volume_is_recorded_while_its_pod_keeps_its_claim_and_kept_before_that() -> None:
    """A claim that is being deleted goes with its pod: from then on nothing names its volume."""
    desired, begun = wanting(), record(RecoveryPhase.HALTING)
    volumes = [held(0, terminating=True), held(1), held(2)]
    doomed = halting(desired, begun, msgspec.structs.replace(volumes[0], reclaim_policy="Delete"), *volumes[1:])
    assert set(actions_of(planned(desired, doomed))) == {"SetReclaimPolicy"}
    observed = halting(desired, begun, *volumes)
    assert actions_of(planned(desired, observed)) == ["RecordRecovery"]
    (kept,) = recorded(desired, observed)
    assert kept.phase is RecoveryPhase.HALTING
    assert kept.old_volumes == tuple(OldVolume(name=f"pv-{one}", claim_uid=f"claim-{one}") for one in range(3))
    assert actions_of(planned(desired, halting(desired, kept, *volumes))) == ["EnsureWorkload 0"]
    gone = halting(desired, kept, picture="0: gone\n1: gone\n2: gone")
    gone = msgspec.structs.replace(gone, workload=Workload(replicas=0, revision="r"))
    (emptied,) = recorded(desired, gone)
    assert emptied.phase is RecoveryPhase.EMPTYING
    assert emptied.old_volumes == kept.old_volumes


def test_the_volume_of_a_member_that_was_removed_is_none_that_may_be_deleted() -> None:
    """It was kept when the member left: oldVolumes is about those that the restore replaces."""
    desired, begun = wanting(), record(RecoveryPhase.HALTING, delete_old=True)
    volumes = [held(0), held(1), held(2), held(3, removed=True)]
    observed = halting(desired, begun, *volumes, picture="0: free\n1: free\n2: free\n3: left")
    observed = msgspec.structs.replace(observed, workload=Workload(replicas=0, revision="r"))
    (kept,) = recorded(desired, observed)
    assert [one.name for one in kept.old_volumes] == ["pv-0", "pv-1", "pv-2"]


def test_an_unseen_volume_is_not_taken_for_an_absent_one() -> None:
    desired = wanting()
    slots = (Slot(ordinal=1, volume=Unknown("no answer")),)
    workload = Workload(replicas=0, revision="r")
    for phase in (RecoveryPhase.HALTING, RecoveryPhase.EMPTYING):
        observed = draw(WORKS, desired, recovery=record(phase), slots=slots, workload=workload)
        made = planned(desired, observed)
        assert actions_of(made) == []
        assert "no answer" in made.steps[0].blocked_by


def test_the_claim_is_recorded_before_the_pod_may_start() -> None:
    observed = waiting_pod("claim-1", "")
    (chosen,) = recorded(wanting(), observed)
    assert chosen.volume_uid == "claim-1"
    assert not any(isinstance(one, ReleasePod) for one in planned(wanting(), observed).actions)
    released = [
        one for one in planned(wanting(), waiting_pod("claim-1", "claim-1")).actions if isinstance(one, ReleasePod)
    ]
    assert [one.claim_uid for one in released] == ["claim-1"]


def test_a_pod_on_another_claim_is_never_let_start() -> None:
    made = planned(wanting(), waiting_pod("claim-2", "claim-1"))
    assert not any(isinstance(one, ReleasePod | RecordRecovery) for one in made.actions)
    assert any("the same revisions would be given twice" in one.blocked_by for one in made.steps)


def test_the_record_of_a_claim_is_never_replaced() -> None:
    present = record(RecoveryPhase.RESTORING, volume_uid="one")
    wanted = msgspec.structs.replace(present, volume_uid="two")
    assert not recoveries.precedes(present, wanted, RecoveryPhase.RESTORING, NEW)
    empty = msgspec.structs.replace(present, volume_uid="")
    assert recoveries.precedes(empty, wanted, RecoveryPhase.RESTORING, NEW)
    assert not recoveries.precedes(empty, wanted, RecoveryPhase.RESTORING, CLUSTER_ID)


def test_revisions_go_on_above_everything() -> None:
    desired = wanting()
    observed = draw(WORKS, desired, recorded_revision=7_000_000)
    assert revision_above(observed, 7_200_000, ASKED) >= 8_200_000
    assert revision_above(observed, 0, ASKED) >= 9_000_000
    assert revision_above(observed, 0, msgspec.structs.replace(ASKED, bump_revision=50_000_000)) == 50_000_000


def test_a_high_revision_is_recorded_once_in_a_million() -> None:
    desired = make_desired(3)
    usual = draw(WORKS, desired)

    def at(revision: int, recorded_revision: int) -> list[int]:
        slots = tuple(
            msgspec.structs.replace(slot, node=msgspec.structs.replace(slot.node, revision=revision))
            if not isinstance(slot.node, Unknown)
            else slot
            for slot in usual.slots
        )
        observed = msgspec.structs.replace(usual, slots=slots, recorded_revision=recorded_revision, stamps_volumes=True)
        return [one.revision for one in planned(desired, observed).actions if isinstance(one, RecordRevision)]

    assert at(999_999, 0) == []
    assert at(1_000_000, 0) == [1_000_000]
    assert at(1_999_999, 1_000_000) == []
    assert at(2_000_001, 1_000_000) == [2_000_001]


def test_what_is_not_known_of_the_backup_is_said() -> None:
    desired = wanting()
    assert "csctl backup verify" in told(desired, draw(WORKS, desired, backups=())).message
    known = told(desired, draw(WORKS, desired, backups=(backup(CLUSTER_ID, revision=40),)))
    assert (known.backup_revision, known.backup_completed) == (40, "2026-01-02")
    assert "revisions would be lost" in known.message


@pytest.mark.parametrize(("picture", "discarded"), [(WORKS, 1), ("0: leader\n1: voter\n2: fresh", 0)])
def test_old_volumes_go_only_when_every_voter_is_in_sync(picture: str, discarded: int) -> None:
    desired = make_desired(3)
    old = (OldVolume(name="pv-1", claim_uid="claim-1"),)
    done = record(RecoveryPhase.FINISHED, cluster_id=CLUSTER_ID, from_cluster="old", delete_old=True, old_volumes=old)
    made = planned(desired, draw(picture, desired, recovery=done))
    assert sum(isinstance(one, DiscardVolumes) for one in made.actions) == discarded
    kept = planned(desired, draw(picture, desired, recovery=msgspec.structs.replace(done, delete_old=False)))
    assert not any(isinstance(one, DiscardVolumes) for one in kept.actions)


@pytest.mark.parametrize(
    ("picture", "first"),
    [("0: leader\n1: voter old\n2: voter", "RestartPod demo-1"), (WORKS, "RecordPlannedWork")],
)
def test_nothing_waits_for_the_deletion_of_old_volumes(picture: str, first: str) -> None:
    """It may be refused each time: rollouts, and the stop of a cluster that is to be hibernated, go on."""
    desired = make_desired(3, hibernate=first == "RecordPlannedWork")
    old = (OldVolume(name="pv-1", claim_uid="claim-1"),)
    done = record(RecoveryPhase.FINISHED, cluster_id=CLUSTER_ID, from_cluster="old", delete_old=True, old_volumes=old)
    made = planned(desired, draw(picture, desired, recovery=done))
    assert actions_of(made) == [first]
    assert made.steps[-1].name == "DiscardVolumes"
    assert "must complete first" in made.steps[-1].blocked_by


def test_members_may_reach_the_store_of_the_restore_that_was_recorded() -> None:
    """The spec may name another one by then, or none: what has begun goes on without it."""
    store = Repository(url=URL, credentials_secret_name="s", options={"endpoint": "http://store:9000"})
    begun = record(RecoveryPhase.RESTORING, restored_from=written(Restore(repository=store)))
    desired = make_desired(3, network_policy=NetworkAccess(mode="Enabled"))

    def policy(recovery: RecoveryRecord) -> str:
        observed = draw("0: gone", desired, cluster_id=NEW, recovery=recovery, objects=())
        (found,) = [
            one.digest
            for one in planned(desired, observed).actions
            if isinstance(one, ApplyObject) and one.kind == "NetworkPolicy"
        ]
        return found

    open_to_store = networkpolicy.build(desired, Restore(repository=store))
    assert {"protocol": "TCP", "port": 9000} in open_to_store.body["spec"]["egress"][-1]["ports"]
    assert policy(begun) == open_to_store.digest
    finished = msgspec.structs.replace(begun, phase=RecoveryPhase.FINISHED)
    assert policy(finished) == networkpolicy.build(desired).digest != open_to_store.digest


OLD = (OldVolume(name="pv-1", claim_uid="claim-1"),)


@pytest.mark.parametrize("asked", [ASKED, msgspec.structs.replace(ASKED, old_volumes="Delete")])
@pytest.mark.parametrize("deletes", [True, False])
def test_what_is_to_be_deleted_is_taken_over_by_another_restore(asked: InPlaceRestore, deletes: bool) -> None:  # noqa: FBT001
    """And what is to be kept is not: each volume goes as it was acknowledged."""
    desired = acknowledged(asked)
    fields: dict[str, Any] = {"cluster_id": CLUSTER_ID, "from_cluster": "old", "old_volumes": OLD}
    before = record(RecoveryPhase.FINISHED, delete_old=deletes, **fields)
    (begun,) = recorded(desired, draw(WORKS, desired, recovery=before))
    assert begun.overdue == (OLD if deletes else ())
    set_aside = (OldVolume(name="pv-2", claim_uid="claim-2"),)
    done = msgspec.structs.replace(begun, phase=RecoveryPhase.FINISHED, cluster_id=CLUSTER_ID, old_volumes=set_aside)
    (gone,) = [
        one
        for one in planned(make_desired(3), draw(WORKS, desired, recovery=done)).actions
        if isinstance(one, DiscardVolumes)
    ] or [DiscardVolumes(volumes=(), record=done, reason="nothing")]
    assert gone.volumes == (*begun.overdue, *(set_aside if asked.deletes else ()))
    assert gone.record.old_volumes == (() if asked.deletes else set_aside)


def test_a_recovery_takes_over_what_is_to_be_deleted() -> None:
    before = record(RecoveryPhase.FINISHED, delete_old=True, old_volumes=OLD)
    assert recoveries.overdue(before) == OLD
    assert recoveries.overdue(msgspec.structs.replace(before, delete_old=False)) == ()
    formed_nothing = msgspec.structs.replace(before, phase=RecoveryPhase.RESTORING)
    assert recoveries.overdue(formed_nothing) == ()
    assert recoveries.overdue(None) == ()


@pytest.mark.parametrize(("retention", "discarded"), [("Delete", OLD), ("Retain", ())])
def test_a_teardown_that_deletes_the_volumes_deletes_those_as_well(
    retention: Any, discarded: tuple[OldVolume, ...]
) -> None:
    """With Retain the record stays beside the volumes, and a cluster of that name goes on with it."""
    desired = msgspec.structs.replace(make_desired(3, storage=Storage(retention=retention)), deleting=True)
    before = record(RecoveryPhase.FINISHED, delete_old=True, cluster_id=CLUSTER_ID, old_volumes=OLD)
    observed = draw("0: gone", desired, recovery=before, workload=Workload(replicas=0, revision="r"), finalizer=True)
    made = planned(desired, observed)
    assert [one.volumes for one in made.actions if isinstance(one, DiscardVolumes)] == [discarded][: len(discarded)]
    assert ("DeleteIdentity" in actions_of(made)) is not bool(discarded)
