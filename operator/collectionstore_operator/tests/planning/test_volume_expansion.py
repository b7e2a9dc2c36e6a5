"""Volume expansion: one at a time, volumes are never deleted, and blockers are reported."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_operator.model.actions import EnsureWorkload, GrowVolume, ReplaceWorkload
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import ABSENT, Observed, Unknown, Volume, Workload
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.resource.desired import Desired, Spec, Storage
from collectionstore_operator.status.report import report
from collectionstore_operator.tests.planning.pictures import actions_of, blocked_steps, draw, planned

GI = 1 << 30
HEALTHY = "0: leader\n1: voter\n2: voter"
DESIRED = Desired(name="demo", spec=Spec(storage=Storage(size="20Gi")))


def sized(observed: Observed, *sizes: int, template: int = 20, **fields: object) -> Observed:
    """Return observed state with volumes of these sizes in Gi, and the size of the claim template."""
    slots = []
    for slot, size in zip(observed.slots, sizes, strict=True):
        volume = slot.volume
        if isinstance(volume, Volume):
            given = {"size_bytes": size * GI, "capacity_bytes": size * GI, **fields}
            volume = msgspec.structs.replace(volume, **given)
        slots.append(msgspec.structs.replace(slot, volume=volume))
    workload = observed.workload
    if isinstance(workload, Workload):
        workload = msgspec.structs.replace(workload, volume_bytes=template * GI)
    return msgspec.structs.replace(observed, slots=tuple(slots), workload=workload)


def grown(made: Plan) -> list[str]:
    """Return the volumes that are expanded now."""
    return [one.name for one in made.actions if isinstance(one, GrowVolume)]


def test_volumes_are_expanded_one_at_a_time() -> None:
    made = planned(DESIRED, sized(draw(HEALTHY, DESIRED), 10, 10, 10))
    assert made.actions == (GrowVolume(ordinal=0, name="data-demo-0", size="20Gi", reason="spec.storage.size is 20Gi"),)
    assert blocked_steps(made) == [
        "GrowVolume demo-1: one at a time, after demo-0",
        "GrowVolume demo-2: one at a time, after demo-0",
    ]
    assert grown(planned(DESIRED, sized(draw(HEALTHY, DESIRED), 20, 10, 10))) == ["data-demo-1"]


def test_expansion_in_progress_blocks_the_next_and_reports_its_status() -> None:
    observed = sized(draw(HEALTHY, DESIRED), 20, 10, 10)
    first = msgspec.structs.replace(
        observed.slots[0].volume, capacity_bytes=10 * GI, resize_status="Resizing: half-way"
    )
    slots = (msgspec.structs.replace(observed.slots[0], volume=first), *observed.slots[1:])
    made = planned(DESIRED, msgspec.structs.replace(observed, slots=slots))
    assert not made.actions
    assert blocked_steps(made)[0] == "GrowVolume demo-0: data-demo-0: Resizing: half-way"
    assert blocked_steps(made)[1] == "GrowVolume demo-1: one at a time, after demo-0"


def test_volume_that_cannot_be_expanded_is_unchanged_and_the_condition_says_why() -> None:
    """The spec is not changed, and the pods keep running."""
    observed = sized(
        draw(HEALTHY, DESIRED), 10, 10, 10, not_expandable_reason="the StorageClass local does not allow it"
    )
    made = planned(DESIRED, observed)
    assert not made.actions
    progressing = report(assess(DESIRED, observed), made, None).condition("Progressing")
    assert progressing is not None
    assert progressing.reason == "Blocked"
    assert "data-demo-0: the StorageClass local does not allow it" in progressing.message


def test_unbound_claim_is_not_expanded() -> None:
    """The API server would reject it; the volume is provisioned with the requested size."""
    made = planned(DESIRED, sized(draw(HEALTHY, DESIRED), 10, 10, 10, capacity_bytes=0))
    assert not grown(made)
    assert blocked_steps(made)[0] == "GrowVolume demo-0: data-demo-0 is not bound yet"


@pytest.mark.parametrize("sizes", [(20, 20, 20), (30, 20, 40)])
def test_large_enough_volumes_are_unchanged(sizes: tuple[int, ...]) -> None:
    assert planned(DESIRED, sized(draw(HEALTHY, DESIRED), *sizes)).converged


def test_volumes_without_sizes_are_unchanged() -> None:
    """The local runtime has no sizes."""
    assert planned(DESIRED, draw(HEALTHY, DESIRED)).converged


def test_volumes_of_removed_members_are_unchanged() -> None:
    observed = sized(draw(HEALTHY + "\n3: left", DESIRED), 20, 20, 20, 10)
    assert planned(DESIRED, observed).converged


def test_volumes_are_expanded_without_a_leader() -> None:
    """Full volumes may be the reason for the loss of quorum."""
    assert grown(planned(DESIRED, sized(draw("0: voter\n1: voter\n2: voter", DESIRED), 10, 10, 10))) == ["data-demo-0"]


def test_workload_is_recreated_for_larger_volumes_and_its_pods_stay() -> None:
    observed = sized(draw(HEALTHY, DESIRED), 20, 20, 20, template=10)
    made = planned(DESIRED, observed)
    assert [type(one) for one in made.actions] == [ReplaceWorkload]
    assert made.actions[0].replicas == 3  # type: ignore[union-attr]
    after = planned(DESIRED, msgspec.structs.replace(observed, workload=ABSENT))
    assert [(type(one), one.replicas) for one in after.actions] == [(EnsureWorkload, 3)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("picture", "blocker"),
    [
        ("0: leader\n1: voter\n2: voter down=5", "demo-2 is not running"),
        ("0: voter\n1: voter\n2: voter", "no leader is known"),
        ("0: leader\n1: voter\n2: voter unready=5", "demo-2 is not ready"),
        ("0: leader\n1: voter\n2: voter\n3: voter", "the workload has 4 pods, spec.replicas is 3"),
    ],
)
def test_workload_is_not_deleted_while_a_pod_may_need_it(picture: str, blocker: str) -> None:
    """No controller would restart a pod that terminates in between."""
    looked = draw(picture, DESIRED)
    made = planned(DESIRED, sized(looked, *[20] * len(looked.slots), template=10))
    assert not [one for one in made.actions if isinstance(one, ReplaceWorkload)]
    assert f"ReplaceWorkload demo: {blocker}" in blocked_steps(made)


def test_recreated_workload_never_terminates_an_existing_pod() -> None:
    """Whatever deleted it and whatever is unknown: it covers all pods, or it is not created."""
    five = "0: leader\n1: voter\n2: voter\n3: voter\n4: voter"
    desired = Desired(name="demo", spec=Spec(replicas=3))
    lost = draw(five, desired, workload=ABSENT)
    assert actions_of(planned(desired, lost))[0] == "EnsureWorkload 5"
    silent = draw("\n".join(f"{ordinal}: voter mute" for ordinal in range(5)), desired, workload=ABSENT)
    assert actions_of(planned(desired, silent)) == ["EnsureWorkload 5"]


def test_workload_is_not_recreated_over_a_gap_that_must_not_be_filled() -> None:
    """The missing pod must not start yet, and fewer replicas would terminate the pods above it."""
    desired = Desired(name="demo", spec=Spec(replicas=5))
    picture = "0: leader\n1: voter\n2: left\n3: voter\n4: voter"
    observed = draw(picture, desired, workload=ABSENT)
    slots = list(observed.slots)
    slots[2] = msgspec.structs.replace(slots[2], volume=Unknown("it is being deleted"))
    made = planned(desired, msgspec.structs.replace(observed, slots=tuple(slots)))
    assert not [one for one in made.actions if isinstance(one, EnsureWorkload)]
    assert "EnsureWorkload demo-2: the volume of demo-2 cannot be observed: it is being deleted" in blocked_steps(made)
