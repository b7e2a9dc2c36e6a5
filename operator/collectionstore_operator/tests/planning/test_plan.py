"""The planner as a table of scenarios: desired state, observed state, actions, and blocked steps.

The stories are in scenarios/plan_*.txt; `pictures` says how they are drawn. `do` lists all that is done now, in order,
`wait` all that remains and what holds it up.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from collectionstore_operator import manifests
from collectionstore_operator.model.actions import IssueCertificate
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import (
    ABSENT,
    AppliedObject,
    Configuration,
    NodeStatus,
    Observed,
    Unknown,
    Workload,
)
from collectionstore_operator.planning.disruption_budget import max_unavailable
from collectionstore_operator.resource.desired import Desired, Storage
from collectionstore_operator.tests.planning.pictures import (
    CLUSTER_ID,
    NOW,
    Story,
    actions_of,
    blocked_steps,
    draw,
    make_desired,
    planned,
    read_stories,
)

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("plan_*.txt"))
HEALTHY = "0: leader\n1: voter\n2: voter"
FIVE = "0: leader\n1: voter\n2: voter\n3: voter\n4: voter"

STORIES = [
    pytest.param(story, id=f"{file.stem.removeprefix('plan_')}: {story.title}")
    for file in SCENARIOS
    for story in read_stories(file.read_text())
]


def test_there_are_stories() -> None:
    """An empty folder would let everything below pass."""
    assert len(STORIES) > 80


@pytest.mark.parametrize("story", STORIES)
def test_plan_acts_as_the_story_says(story: Story) -> None:
    """Each scenario yields exactly these actions and exactly these blocked steps."""
    made = planned(story.desired, draw(story.picture, story.desired))
    assert actions_of(made) == story.actions
    assert blocked_steps(made) == story.waits


@pytest.mark.parametrize("story", STORIES)
def test_paused_plan_announces_and_does_nothing(story: Story) -> None:
    """Paused: no action, and every step is blocked by `spec.paused`."""
    desired = story.desired
    paused = msgspec.structs.replace(desired, spec=msgspec.structs.replace(desired.spec, paused=True))
    made = planned(paused, draw(story.picture, desired))
    assert not made.actions
    assert not story.actions or any(line.endswith(": spec.paused is true") for line in blocked_steps(made))


@pytest.mark.parametrize("story", STORIES)
def test_plan_never_disrupts_a_pod_that_is_unknown(story: Story) -> None:
    """Make each pod unknown in turn: it is neither restarted nor is its volume retired."""
    desired = story.desired
    observed = draw(story.picture, desired)
    for hidden in observed.slots:
        slots = tuple(
            msgspec.structs.replace(slot, pod=Unknown("not seen")) if slot is hidden else slot
            for slot in observed.slots
        )
        made = planned(desired, msgspec.structs.replace(observed, slots=slots))
        touched = {line.split()[1] for line in actions_of(made) if line.split()[0] in ("RestartPod", "RetireVolume")}
        assert not touched & {f"demo-{hidden.ordinal}", f"data-demo-{hidden.ordinal}"}


@pytest.mark.parametrize("story", STORIES)
def test_plan_from_a_recording_is_the_same(story: Story) -> None:
    """Observed state survives JSON, so that a plan can be reproduced elsewhere and later."""
    observed = draw(story.picture, story.desired)
    recorded = msgspec.json.decode(msgspec.json.encode(observed), type=Observed)
    assert planned(story.desired, recorded) == planned(story.desired, observed)


def test_plan_establishes_the_identity_first() -> None:
    """Without a recorded cluster ID no pod starts: volumes and certificates are stamped with it."""
    desired = make_desired(3)
    nothing = Observed(now=NOW, workload=ABSENT, certificates=())
    assert actions_of(planned(desired, nothing)) == ["EstablishIdentity"]


def test_plan_issues_certificates_before_pods_start() -> None:
    """The CA signs, so it comes first; members cannot start without a certificate."""
    desired = make_desired(3)
    new = Observed(now=NOW, cluster_id=CLUSTER_ID, workload=ABSENT, certificates=())
    made = planned(desired, new)
    assert actions_of(made) == ["IssueCertificate"] * 5 + ["EnsureWorkload 3"]
    issued = [action.name for action in made.actions if isinstance(action, IssueCertificate)]
    assert issued == ["demo", "operator", "demo-0", "demo-1", "demo-2"]


def test_plan_does_not_bootstrap_again_on_another_volume() -> None:
    """A bootstrap was started and its volume is lost: it may have succeeded, so a human has to decide."""
    desired = make_desired(3)
    observed = draw("0: fresh\n1: fresh\n2: fresh", desired, bootstrap_node="f00")
    assert actions_of(planned(desired, observed)) == []
    assert "bootstrap was started on a volume that is lost (node f00)" in blocked_steps(planned(desired, observed))[0]


def test_plan_repeats_a_bootstrap_whose_response_was_lost() -> None:
    """The same node responds and is empty: the request did not arrive, and is sent again."""
    desired = make_desired(3)
    observed = draw("0: fresh\n1: fresh\n2: fresh", desired, bootstrap_node="old-0")
    assert actions_of(planned(desired, observed)) == ["Bootstrap demo-0"]


def test_plan_does_not_bootstrap_what_was_initialized() -> None:
    """All volumes are empty, yet the cluster has had data: it is not bootstrapped again."""
    desired = make_desired(3)
    assert actions_of(planned(desired, draw("0: fresh\n1: fresh\n2: fresh", desired, initialized=True))) == []


def test_plan_does_not_bootstrap_beside_a_foreign_volume() -> None:
    """A node of another cluster responds at an ordinal: its volume was attached by mistake."""
    desired = make_desired(3)
    observed = draw("0: fresh\n1: fresh\n2: fresh", desired)
    foreign = msgspec.structs.replace(_node(observed, 2), cluster_id="another")
    observed = _with_node(observed, 2, foreign)
    assert actions_of(planned(desired, observed)) == []
    assert blocked_steps(planned(desired, observed)) == [
        "Bootstrap demo-0: demo-2 runs on a volume of another cluster, another"
    ]


@pytest.mark.parametrize("changed", [{"term": 8}, {"configuration": Configuration(index=13, voters=("old-1",))}])
def test_plan_waits_while_a_node_contradicts_the_leader(changed: dict[str, object]) -> None:
    """A higher term, or a newer configuration elsewhere: the observed leader may be deposed."""
    desired = make_desired(3)
    observed = draw(FIVE, desired)
    observed = _with_node(observed, 1, msgspec.structs.replace(_node(observed, 1), **changed))
    assert actions_of(planned(desired, observed)) == []


def test_plan_takes_a_higher_epoch_first_when_a_node_has_seen_one() -> None:
    """Of an earlier holder of the Lease, or of an operator that knows none: nothing else until it is fenced."""
    desired = make_desired(5)
    observed = draw(HEALTHY, desired)
    observed = _with_node(observed, 1, msgspec.structs.replace(_node(observed, 1), epoch=2))
    made = planned(desired, observed)
    assert actions_of(made) == ["RaiseEpoch"]
    assert made.actions[0].epoch == 3  # type: ignore[union-attr]
    assert blocked_steps(made) == [
        "EnsureWorkload demo: another operator has taken over: demo-1 has seen epoch 2, ours is 1",
        "AddLearners demo-3: demo-3 has not been started",
        "AddLearners demo-4: demo-4 has not been started",
        "ChangeVoters demo-3, demo-4: demo-3 must join first",
    ]


def test_plan_scales_up_a_workload_that_was_scaled_down_manually() -> None:
    """Members above the number of pods are started again, whatever spec.replicas is meanwhile."""
    desired = make_desired(3)
    observed = draw("0: leader\n1: voter\n2: voter down=5\n3: voter\n4: voter down=5", desired)
    observed = msgspec.structs.replace(observed, workload=msgspec.structs.replace(_workload(observed), replicas=4))
    assert actions_of(planned(desired, observed)) == ["EnsureWorkload 5"]


def test_plan_starts_every_volume_that_may_hold_a_member() -> None:
    """The workload is absent and no node responds: five pods start on the five volumes, though spec.replicas is 3."""
    desired = make_desired(3)
    picture = "0: free\n1: free\n2: free\n3: free\n4: free\n5: left"
    observed = draw(picture, desired, initialized=True, workload=ABSENT)
    assert actions_of(planned(desired, observed)) == ["EnsureWorkload 5"]


def test_plan_does_not_change_an_unknown_workload() -> None:
    """An unknown workload is neither absent nor of any size."""
    desired = make_desired(5)
    observed = draw(HEALTHY, desired, workload=Unknown("the API server timed out"))
    assert actions_of(planned(desired, observed)) == []
    assert "EnsureWorkload: the workload cannot be observed: the API server timed out" in blocked_steps(
        planned(desired, observed)
    )


def test_plan_updates_the_workload_before_it_restarts_pods() -> None:
    """A pod restarted too early would start at the old revision."""
    desired = make_desired(3)
    observed = draw("0: leader old\n1: voter old\n2: voter old", desired)
    observed = msgspec.structs.replace(observed, workload=Workload(replicas=3, revision="earlier"))
    made = planned(desired, observed)
    assert actions_of(made) == ["EnsureWorkload 3"]
    assert "RestartPod demo-2: the workload must be updated first" in blocked_steps(made)


def test_plan_applies_objects_that_are_missing_or_differ() -> None:
    """Every object is compared by the digest of the manifest it was applied from."""
    desired = make_desired(3)
    observed = draw(HEALTHY, desired, objects=(AppliedObject(kind="Service", name="demo", digest="other"),))
    made = planned(desired, observed)
    assert [step.subject for step in made.steps] == [
        "ServiceAccount demo-node",
        "Service demo",
        "Service demo-peers",
        "PodDisruptionBudget demo",
        "NetworkPolicy demo",
    ]
    done = as_applied(desired, observed)
    assert planned(desired, msgspec.structs.replace(observed, objects=done)).converged


def as_applied(desired: Desired, observed: Observed) -> tuple[AppliedObject, ...]:
    """Return all objects as they are after they were applied."""
    budget = max_unavailable(assess(desired, observed))
    made = manifests.build(desired, disruptions=budget)
    return tuple(AppliedObject(kind=one.kind, name=one.name, digest=one.digest, live=one.body) for one in made)


def test_plan_keeps_a_protected_cluster() -> None:
    """Deletion is blocked by `spec.deletionProtection`, and reconciliation continues."""
    desired = msgspec.structs.replace(make_desired(5, deletion_protection=True), deleting=True)
    made = planned(desired, draw(HEALTHY, desired))
    assert actions_of(made) == ["EnsureWorkload 5"]
    assert blocked_steps(made)[0] == "EnsureWorkload: spec.deletionProtection is true"


@pytest.mark.parametrize(
    ("picture", "retention", "actions"),
    [
        (HEALTHY, "Retain", ["EnsureWorkload 0"]),
        ("0: free\n1: free\n2: free", "Retain", []),
        ("0: free\n1: free\n2: free", "Delete", ["RetireVolume data-demo-0 delete"]),
    ],
)
def test_plan_deletes_the_pods_of_a_deleted_cluster(picture: str, retention: str, actions: list[str]) -> None:
    """Pods terminate first, all at once; volumes are deleted only if retention is Delete."""
    desired = msgspec.structs.replace(make_desired(3, storage=Storage(retention=retention)), deleting=True)  # type: ignore[arg-type]
    observed = draw(picture, desired, initialized=True)
    assert actions_of(planned(desired, observed)) == actions


def test_plan_waits_until_the_pods_of_a_deleted_cluster_are_gone() -> None:
    """The workload has 0 replicas and a pod still exists: its volume is not deleted."""
    desired = msgspec.structs.replace(make_desired(3, storage=Storage(retention="Delete")), deleting=True)
    observed = draw("0: free\n1: voter stopping", desired, workload=Workload(replicas=0, revision=""))
    made = planned(desired, observed)
    assert not made.actions
    assert blocked_steps(made) == ["EnsureWorkload: demo-1 must terminate first"]


def test_converged_plan_is_empty() -> None:
    """A healthy cluster of the desired size: neither actions nor steps."""
    desired = make_desired(3)
    assert planned(desired, draw(HEALTHY, desired)).converged


def _node(observed: Observed, ordinal: int) -> NodeStatus:
    node = observed.slot(ordinal).node
    assert isinstance(node, NodeStatus)
    return node


def _with_node(observed: Observed, ordinal: int, node: NodeStatus) -> Observed:
    slots = (msgspec.structs.replace(slot, node=node) if slot.ordinal == ordinal else slot for slot in observed.slots)
    return msgspec.structs.replace(observed, slots=tuple(slots))


def _workload(observed: Observed) -> Workload:
    assert isinstance(observed.workload, Workload)
    return observed.workload


def test_plan_deletes_an_object_that_is_no_longer_required() -> None:
    """Optional kinds only: a budget that cannot be computed now is still required."""
    desired = make_desired(3)
    monitor = AppliedObject(kind="PodMonitor", name="demo", digest="d")
    blind = draw("0: voter mute\n1: voter mute\n2: voter mute", desired, initialized=True, objects=(monitor,))
    assert actions_of(planned(desired, blind))[-1:] == ["DeleteObject"]
    budget = AppliedObject(kind="PodDisruptionBudget", name="demo", digest="d")
    blind = msgspec.structs.replace(blind, objects=(budget,))
    assert "DeleteObject" not in actions_of(planned(desired, blind))
