"""A new cluster that is made of a VolumeSnapshot: one claim of it, once, and what is said while it cannot be made."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import (
    CreateClaim,
    EnsureWorkload,
    RecordRestore,
    RecordRestoreClaim,
    ReleasePod,
)
from collectionstore_operator.model.observed import (
    ABSENT,
    Absent,
    Observed,
    Pod,
    Preparation,
    Slot,
    SourceSnapshot,
    Unknown,
    Volume,
    Workload,
)
from collectionstore_operator.model.restore import written
from collectionstore_operator.resource.bootstrap import Beginning, Origin, VolumeSnapshot
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.tests.planning.pictures import actions_of, blocked_steps, draw, make_desired, planned
from collectionstore_operator.tests.planning.test_restore import conditions

WANTED = Origin(volume_snapshot=VolumeSnapshot(name="before"))
READY = SourceSnapshot(ready=True, restore_bytes=1 << 30)
EMPTY = "0: gone\n1: gone\n2: gone"
CLAIM = Volume(name="data-demo-0", uid="claim-0", made_of="before", node_id=Unknown("it is made of a snapshot"))
STARTS = (CreateClaim, EnsureWorkload, RecordRestoreClaim, ReleasePod)


def desired(**spec: object) -> Desired:
    return make_desired(3, bootstrap=Beginning(restore=WANTED), **spec)


def new(**facts: object) -> Observed:
    """Return a cluster that has its ID and nothing else."""
    usual: dict[str, object] = {"initialized_recorded": False, "workload": ABSENT, "slots": (), "snapshot": READY}
    return draw(EMPTY, desired(), **(usual | facts))


def begun(volume: Volume | Absent = CLAIM, **facts: object) -> Observed:
    """Return a cluster whose restore is recorded, with this volume of its first member."""
    return new(restore=WANTED, slots=(Slot(ordinal=0, volume=volume),), **facts)


def waiting(volume: Volume = CLAIM, preparation: Preparation | None = None, **facts: object) -> Observed:
    """Return the same with a pod that waits at the gate."""
    pod = Pod(
        uid="u",
        running=False,
        ready=False,
        gated=True,
        awaits_restore=True,
        revision=revision(desired()),
        preparation=preparation,
    )
    slots = (Slot(ordinal=0, pod=pod, node=Unknown("its pod does not run"), volume=volume),)
    return new(restore=WANTED, workload=Workload(replicas=1, revision=revision(desired())), slots=slots, **facts)


def test_one_thing_after_the_other() -> None:
    """Recorded, then the claim, then the workload of one pod, then the uid of the claim, then the pod may start."""
    made = planned(desired(), new())
    assert [one.restore for one in made.actions if isinstance(one, RecordRestore)] == [written(WANTED.source)]
    assert not any(isinstance(one, STARTS) for one in made.actions)

    made = planned(desired(), begun(ABSENT))
    assert [(one.name, one.snapshot) for one in made.actions if isinstance(one, CreateClaim)] == [
        ("data-demo-0", "before")
    ]
    assert not any(isinstance(one, EnsureWorkload) for one in made.actions)
    assert any("must be made of the VolumeSnapshot before first" in one for one in blocked_steps(made))

    made = planned(desired(), begun())
    assert [one.replicas for one in made.actions if isinstance(one, EnsureWorkload)] == [1]
    assert not any(isinstance(one, CreateClaim) for one in made.actions)

    made = planned(desired(), waiting())
    assert [one.uid for one in made.actions if isinstance(one, RecordRestoreClaim)] == ["claim-0"]
    assert not any(isinstance(one, ReleasePod) for one in made.actions)

    made = planned(desired(), waiting(restore_claim="claim-0"))
    assert [one.claim_uid for one in made.actions if isinstance(one, ReleasePod)] == ["claim-0"]


OBSTACLES = [
    (ABSENT, "RestoreFailed", "SnapshotNotFound: there is no VolumeSnapshot before in the namespace "),
    (Unknown("403"), "RestoreFailed", "SnapshotUnknown: the VolumeSnapshot before cannot be read: 403"),
    (SourceSnapshot(), "Restoring", "SnapshotNotReady: the VolumeSnapshot before is not ready to use yet"),
    (SourceSnapshot(error="full"), "RestoreFailed", "SnapshotFailed: the VolumeSnapshot before was not made: full"),
    (SourceSnapshot(ready=True, terminating=True), "RestoreFailed", "SnapshotNotFound: the VolumeSnapshot before is "),
    (SourceSnapshot(ready=True, restore_bytes=(10 << 30) + 1), "RestoreFailed", "SnapshotTooLarge: "),
]


@pytest.mark.parametrize(("snapshot", "reason", "text"), OBSTACLES)
@pytest.mark.parametrize("recorded", [False, True])
def test_what_keeps_it_from_being_made_is_said_and_nothing_starts(
    snapshot: SourceSnapshot | Absent | Unknown,
    reason: str,
    text: str,
    recorded: bool,  # noqa: FBT001
) -> None:
    observed = begun(ABSENT, snapshot=snapshot) if recorded else new(snapshot=snapshot)
    made = planned(desired(), observed)
    assert not any(isinstance(one, (*STARTS, RecordRestore)) for one in made.actions)
    assert not any(one.startswith("Bootstrap") for one in actions_of(made))
    assert any(text in one for one in blocked_steps(made)), blocked_steps(made)
    assert conditions(desired(), observed)["Available"].startswith(f"False {reason}: {text}")
    assert conditions(desired(), observed)["Ready"].startswith(f"False {reason}: {text}")


def test_an_error_of_a_snapshot_that_is_ready_after_all_is_none() -> None:
    made = planned(desired(), begun(ABSENT, snapshot=SourceSnapshot(ready=True, error="once")))
    assert any(isinstance(one, CreateClaim) for one in made.actions)


def test_a_snapshot_is_not_missed_once_the_volume_is_there() -> None:
    bound = msgspec.structs.replace(CLAIM, persistent_volume="pv-1")
    observed = waiting(bound, snapshot=ABSENT, restore_claim="claim-0")
    assert any(isinstance(one, ReleasePod) for one in planned(desired(), observed).actions)
    assert conditions(desired(), observed)["Available"].startswith("False Restoring: the first member is made of ")


def test_data_that_the_node_refuses_are_said() -> None:
    bound = msgspec.structs.replace(CLAIM, persistent_volume="pv-1")
    refused = Preparation(exit_code=65, message="collectionstore-node: /data has no data of a member")
    observed = waiting(bound, preparation=refused, restore_claim="claim-0")
    said = conditions(desired(), observed)["Available"]
    assert said == (
        "False RestoreFailed: the VolumeSnapshot before: DataRefused: /data has no data of a member; it is tried again"
    )


@pytest.mark.parametrize("volume", [Volume(name="data-demo-0", uid="x"), Unknown("it belongs to the cluster a")])
def test_a_claim_that_is_there_before_is_left_alone(volume: Volume | Unknown) -> None:
    made = planned(desired(), new(slots=(Slot(ordinal=0, volume=volume),)))
    assert not any(isinstance(one, (*STARTS, RecordRestore)) for one in made.actions)
    assert any("the claim data-demo-0 exists already" in one for one in blocked_steps(made))


@pytest.mark.parametrize("made_of", ["", "another"])
def test_no_pod_starts_on_a_claim_of_something_else(made_of: str) -> None:
    other = msgspec.structs.replace(CLAIM, made_of=made_of)
    for recorded in ("", "claim-0"):
        made = planned(desired(), waiting(other, restore_claim=recorded))
        assert not any(isinstance(one, ReleasePod | RecordRestoreClaim | CreateClaim) for one in made.actions)
        assert any("is not made of the VolumeSnapshot before" in one for one in blocked_steps(made))


def test_no_second_claim_is_made_of_it() -> None:
    """What clients were told was stored on the first one would get the same revisions."""
    observed = waiting(restore_claim="claim-0")
    lost = msgspec.structs.replace(observed, slots=())
    made = planned(desired(), lost)
    assert not any(isinstance(one, CreateClaim) for one in made.actions)
    assert any("the same revisions would be given twice" in one for one in blocked_steps(made))


@pytest.mark.parametrize("facts", [{}, {"restore": WANTED}, {"snapshot": None}])
def test_a_cluster_that_has_had_data_ignores_the_field(facts: dict[str, object]) -> None:
    made = planned(desired(), draw("0: leader\n1: voter\n2: voter", desired(), **facts))
    assert actions_of(made) == []
    assert made.steps == ()


def test_paused_holds_it_back() -> None:
    for observed in (new(), begun(ABSENT)):
        assert not any(
            isinstance(one, (*STARTS, RecordRestore)) for one in planned(desired(paused=True), observed).actions
        )


def test_the_revision_does_not_change() -> None:
    assert revision(desired()) == revision(make_desired(3))


def test_an_observation_of_it_can_be_stored() -> None:
    for snapshot in (READY, ABSENT, Unknown("403"), None):
        observed = begun(snapshot=snapshot)
        assert msgspec.json.decode(msgspec.json.encode(observed), type=Observed) == observed
