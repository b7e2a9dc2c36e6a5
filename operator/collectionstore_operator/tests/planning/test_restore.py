"""A new cluster that begins with a backup: in which order, and that nothing else begins beside it."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import EnsureWorkload, RecordRestore, RecordRestoreClaim, ReleasePod
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import (
    ABSENT,
    Observed,
    Pod,
    Preparation,
    Slot,
    Unknown,
    Volume,
    Workload,
)
from collectionstore_operator.model.restore import written
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.resource.bootstrap import Beginning, Origin
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.resource.repository import Repository
from collectionstore_operator.status.conditions import evaluate
from collectionstore_operator.status.history import History
from collectionstore_operator.tests.planning.pictures import (
    CLUSTER_ID,
    actions_of,
    blocked_steps,
    draw,
    make_desired,
    planned,
)

WANTED = Origin(repository=Repository(url="s3://backups/shop"), to="revision:7")
OTHER = Origin(repository=Repository(url="s3://backups/other"))
EMPTY = "0: gone\n1: gone\n2: gone"


def restored(restore: Origin | None = WANTED, replicas: int = 3) -> Desired:
    return make_desired(replicas, bootstrap=Beginning(restore=restore))


def new(**facts: object) -> Observed:
    """Return a cluster that has its ID and nothing else."""
    usual: dict[str, object] = {"initialized_recorded": False, "workload": ABSENT, "slots": ()}
    return draw(EMPTY, restored(), **(usual | facts))


def preparing(desired: Desired, preparation: Preparation | None = None, unready_s: float = 0.0) -> Observed:
    """Return a cluster whose only pod is in its init container."""
    pod = Pod(
        uid="u", running=False, ready=False, revision=revision(desired), preparation=preparation, unready_s=unready_s
    )
    slot = Slot(
        ordinal=0, pod=pod, node=Unknown("its pod does not run"), volume=Volume(name="data-demo-0", uid="claim-0")
    )
    return new(
        restore=WANTED,
        restore_claim="claim-0",
        workload=Workload(replicas=1, revision=revision(desired)),
        slots=(slot,),
    )


def conditions(desired: Desired, observed: Observed) -> dict[str, str]:
    assessment = assess(desired, observed)
    states = evaluate(assessment, plan(assessment), History())
    return {kind: f"{one.status} {one.reason}: {one.message}" for kind, one in states.items()}


def test_what_is_restored_is_recorded_before_anything_else() -> None:
    made = planned(restored(), new())
    assert [one for one in made.actions if isinstance(one, RecordRestore)] == [
        RecordRestore(
            restore=written(WANTED.source),
            reason="the cluster is new, and begins with the backup latest of s3://backups/shop to revision:7",
        )
    ]
    assert "EnsureWorkload 1" not in actions_of(made)


def test_one_pod_begins_and_nothing_is_bootstrapped() -> None:
    made = planned(restored(), new(restore=WANTED))
    (started,) = (one for one in made.actions if isinstance(one, EnsureWorkload))
    assert started.replicas == 1
    assert not any(text.startswith("Bootstrap") for text in actions_of(made))


@pytest.mark.parametrize("spec", [restored(), make_desired(3)], ids=["as it was", "the field was removed"])
@pytest.mark.parametrize("unready_s", [0.0, 100_000.0])
def test_while_it_is_restored_nothing_changes_however_long_it_takes(spec: Desired, unready_s: float) -> None:
    made = planned(spec, preparing(spec, unready_s=unready_s))
    assert actions_of(made) == []
    waits = [text for text in blocked_steps(made) if text.startswith("Restore demo-0: ")]
    assert len(waits) == 1, blocked_steps(made)


def test_a_restore_that_was_recorded_goes_on_without_the_field() -> None:
    """An empty cluster of the same ID beside the restored data would be a second history."""
    observed = draw("0: fresh\n1: fresh\n2: fresh", make_desired(3), initialized_recorded=False, restore=WANTED)
    made = planned(make_desired(3), observed)
    assert not any(text.startswith("Bootstrap") for text in actions_of(made))


def test_when_the_member_leads_the_others_are_started_and_join() -> None:
    spec = restored()
    observed = draw("0: leader\n1: gone\n2: gone", spec, restore=WANTED)
    assert "EnsureWorkload 3" in actions_of(planned(spec, observed))
    observed = draw("0: leader\n1: fresh\n2: fresh", spec, restore=WANTED)
    assert "AddLearners demo-1 demo-2" in actions_of(planned(spec, observed))


def test_that_it_has_data_is_recorded() -> None:
    observed = draw("0: leader\n1: gone\n2: gone", restored(), restore=WANTED, initialized_recorded=False)
    assert actions_of(planned(restored(), observed))[0] == "RecordInitialized"


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"workload": Workload(replicas=3, revision="r")}, "the workload exists already"),
        ({"workload": Unknown("no answer")}, "the workload exists already"),
        ({"bootstrap_node": "a"}, "a bootstrap was begun already"),
        ({"slots": (Slot(ordinal=1, pod=Unknown("no answer")),)}, "the pod demo-1 exists"),
        ({"slots": (Slot(ordinal=0, volume=Volume(name="v", node_id="a")),)}, "the volume of demo-0 may hold data"),
        ({"slots": (Slot(ordinal=2, volume=Volume(name="v")),)}, "the volume of demo-2 may hold data"),
        ({"slots": (Slot(ordinal=2, volume=Unknown("?")),)}, "the volume of demo-2 may hold data"),
    ],
)
def test_what_is_not_new_is_neither_restored_nor_bootstrapped(facts: dict[str, object], why: str) -> None:
    made = planned(restored(), new(**facts))
    steps = [one for one in made.steps if one.name == "Restore"]
    assert [one.blocked_by.startswith(why) for one in steps] == [True], steps
    assert not any(isinstance(one, RecordRestore | EnsureWorkload) for one in made.actions)
    assert not any(text.startswith("Bootstrap") for text in actions_of(made))


def test_the_volume_of_an_interrupted_restore_is_no_obstacle() -> None:
    """The program itself knows what an interrupted restore leaves, and refuses everything else."""
    observed = new(slots=(Slot(ordinal=0, volume=Volume(name="data-demo-0")),), restore=OTHER)
    made = planned(restored(), observed)
    assert [one.restore for one in made.actions if isinstance(one, RecordRestore)] == [written(WANTED.source)]


@pytest.mark.parametrize("recorded", [None, WANTED, OTHER])
def test_a_cluster_that_has_had_data_ignores_the_field(recorded: Origin | None) -> None:
    spec = restored()
    made = planned(spec, draw("0: leader\n1: voter\n2: voter", spec, restore=recorded))
    assert actions_of(made) == []
    assert made.steps == ()


def test_before_the_cluster_has_its_id_nothing_is_recorded() -> None:
    made = planned(restored(), new(cluster_id=""))
    assert not any(isinstance(one, RecordRestore) for one in made.actions)


def test_paused_holds_it_back() -> None:
    spec = make_desired(3, bootstrap=Beginning(restore=WANTED), paused=True)
    assert not any(isinstance(one, RecordRestore) for one in planned(spec, new()).actions)


@pytest.mark.parametrize(
    ("preparation", "text"),
    [
        (Preparation(exit_code=5, message="there is no backup"), "BackupNotFound: there is no backup"),
        (Preparation(exit_code=10, message="no answer"), "StoreUnreachable: no answer"),
        (Preparation(exit_code=9, message="another key"), "CredentialsRefused: another key"),
        (Preparation(exit_code=8, message="a hash differs"), "Corrupt: a hash differs"),
        (Preparation(exit_code=7, message="no room"), "Refused: no room"),
        (Preparation(exit_code=137), "Failed: exit code 137"),
        (Preparation(exit_code=None, message="ErrImagePull: x"), "NotStarted: ErrImagePull: x"),
    ],
)
def test_a_failure_is_said_in_the_conditions_and_the_plan(preparation: Preparation, text: str) -> None:
    spec = restored()
    observed = preparing(spec, preparation, unready_s=500.0)
    found = conditions(spec, observed)
    expected = f"False RestoreFailed: the backup latest of s3://backups/shop to revision:7: {text}; it is tried again"
    assert found["Available"] == expected
    assert found["Ready"] == expected
    assert any(text in one for one in blocked_steps(planned(spec, observed)))
    assert actions_of(planned(spec, observed)) == []


def test_without_a_failure_the_conditions_say_that_it_is_restored() -> None:
    assert conditions(restored(), preparing(restored()))["Available"].startswith("False Restoring: ")


def test_the_revision_does_not_change() -> None:
    assert revision(restored()) == revision(make_desired(3))


def test_an_observation_with_a_restore_can_be_stored() -> None:
    observed = new(restore=WANTED)
    assert observed.cluster_id == CLUSTER_ID
    assert msgspec.json.decode(msgspec.json.encode(observed), type=Observed) == observed


def test_a_wrong_image_can_be_corrected_while_it_is_restored() -> None:
    """Not the restore, but what it runs in: the template first, then the pod, which has nothing to lose."""
    spec = restored()
    seen = preparing(spec, Preparation(exit_code=None, message="ErrImagePull: x"), unready_s=500.0)
    (slot,) = seen.slots
    assert isinstance(slot.pod, Pod)
    pod = msgspec.structs.replace(slot.pod, revision="earlier")
    seen = msgspec.structs.replace(seen, slots=(msgspec.structs.replace(slot, pod=pod),))
    before = msgspec.structs.replace(seen, workload=Workload(replicas=1, revision="earlier"))
    assert actions_of(planned(spec, before)) == ["EnsureWorkload 1"]
    assert actions_of(planned(spec, seen)) == ["RestartPod demo-0"]


@pytest.mark.parametrize(("claim", "released"), [("claim-0", ["claim-0"]), ("another", []), ("", [])])
def test_a_pod_is_let_restore_on_the_recorded_claim_alone(claim: str, released: list[str]) -> None:
    spec = restored()
    seen = preparing(spec)
    (slot,) = seen.slots
    assert isinstance(slot.pod, Pod)
    pod = msgspec.structs.replace(slot.pod, gated=True, awaits_restore=True)
    seen = msgspec.structs.replace(seen, slots=(msgspec.structs.replace(slot, pod=pod),), restore_claim=claim)
    actions = planned(spec, seen).actions
    assert [one.claim_uid for one in actions if isinstance(one, ReleasePod)] == released
    assert [one.uid for one in actions if isinstance(one, RecordRestoreClaim)] == ([] if claim else ["claim-0"])


def test_a_pod_that_waits_in_a_cluster_with_data_restores_nothing_and_is_replaced() -> None:
    spec = make_desired(3)
    usual = draw("0: leader\n1: voter\n2: voter", spec)
    waiting = Pod(uid="p", running=False, ready=False, gated=True, awaits_restore=True, revision=revision(spec))
    slots = (*usual.slots[:2], msgspec.structs.replace(usual.slots[2], pod=waiting, node=Unknown("it waits")))
    made = planned(spec, msgspec.structs.replace(usual, slots=slots))
    assert "RestartPod demo-2" in actions_of(made)
    assert not any(isinstance(one, ReleasePod) for one in made.actions)
