"""Members that a user keeps from running: never at the cost of the quorum, and their volumes stay."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import EnsureWorkload, GateWorkload, RestartPod, StopPod
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.fences import fenced_members, is_fenced
from collectionstore_operator.model.observed import Absent, Observed, Workload
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.status.report import report
from collectionstore_operator.tests.planning.pictures import actions_of, blocked_steps, draw, make_desired, planned

HEALTHY = "0: leader\n1: voter\n2: voter"
GATED = "0: leader\n1: voter\n2: voter down=900 failure=Scheduling gated"


def fenced(members: str = "demo-2", replicas: int = 3, **spec: object) -> Desired:
    return msgspec.structs.replace(make_desired(replicas, **spec), annotations={labels.FENCE: members})


def seen(picture: str, desired: Desired, *, gated: bool | None = False, settled: bool = True) -> Observed:
    """Return the look at a cluster whose pods a controller starts, unless `gated` is None."""
    size = len(picture.splitlines())
    workload = Workload(replicas=size, revision=revision(desired), gated=gated, settled=settled)
    return draw(picture, desired, workload=workload)


def conditions(desired: Desired, observed: Observed) -> dict[str, str]:
    status = report(assess(desired, observed), planned(desired, observed), None)
    return {one.type: f"{one.status} {one.reason}" for one in status.conditions}


def kinds(made: Plan) -> list[str]:
    return [action.split()[0] for action in actions_of(made)]


def test_template_is_gated_before_the_pod_is_stopped() -> None:
    """A pod that is deleted before comes back and runs."""
    desired = fenced()
    assert kinds(planned(desired, seen(HEALTHY, desired))) == ["GateWorkload"]
    waits = planned(desired, seen(HEALTHY, desired, gated=True, settled=False))
    assert not waits.actions
    assert blocked_steps(waits) == ["FenceMember demo-2: the controller of the pods must have seen the gate first"]
    (action,) = planned(desired, seen(HEALTHY, desired, gated=True)).actions
    assert isinstance(action, RestartPod)
    assert (action.name, action.evict) == ("demo-2", True)


@pytest.mark.parametrize("picture", ["0: leader\n1: voter\n2: voter stopping", "0: leader\n1: voter\n2: free"])
def test_template_stays_gated_until_the_next_pod_waits(picture: str) -> None:
    """Without the gate the next pod would start."""
    desired = fenced()
    assert not planned(desired, seen(picture, desired, gated=True)).actions


def test_template_loses_its_gate_when_the_pod_waits() -> None:
    """The one that is gated by now, and no other one."""
    desired = fenced()
    observed = seen(GATED, desired, gated=True)
    workload = msgspec.structs.replace(observed.workload, revision="")
    made = planned(desired, msgspec.structs.replace(observed, workload=workload))
    assert [one for one in made.actions if isinstance(one, EnsureWorkload)]


def test_fenced_member_is_neither_replaced_nor_restarted() -> None:
    """For however long, and whatever else is asked for."""
    desired = fenced()
    assert planned(desired, seen(GATED, desired)).converged
    newer = fenced(version="0.9.0")
    made = planned(newer, seen(GATED.replace("gated", "gated old"), newer))
    assert not [one for one in made.actions if getattr(one, "ordinal", None) == 2]


def test_end_of_the_fence_lets_the_pod_start() -> None:
    desired = make_desired(3)
    assert kinds(planned(desired, seen(GATED, desired))) == ["ReleasePod"]


def test_pod_of_another_member_that_met_the_gate_is_let_through() -> None:
    """It was created between the gate and its removal."""
    desired = fenced("demo-1")
    assert "ReleasePod" in kinds(planned(desired, seen(GATED, desired)))


def test_pod_that_was_deleted_by_hand_is_gated_again() -> None:
    desired = fenced()
    assert kinds(planned(desired, seen(HEALTHY, desired))) == ["GateWorkload"]


def test_leader_hands_over_before_it_is_stopped() -> None:
    desired = fenced("demo-0")
    made = planned(desired, seen(HEALTHY, desired))
    assert actions_of(made) == ["TransferLeadership demo-0 to demo-1"]
    assert blocked_steps(made) == ["FenceMember demo-0: it must transfer leadership first"]


@pytest.mark.parametrize(
    ("picture", "members", "blocker"),
    [
        ("0: leader\n1: voter down=900\n2: voter", "demo-2", "demo-1 must be in sync first"),
        ("0: leader\n1: voter lag=9000\n2: voter", "demo-2", "demo-1 must be in sync first"),
        ("0: leader\n1: voter unready=3\n2: voter", "demo-2", "demo-1 is not ready"),
        (GATED, "demo-2,demo-1", "demo-2 must be in sync first"),
        ("0: leader\n1: voter", "demo-1", "the others are no quorum without it"),
        ("0: leader", "demo-0", "the others are no quorum without it"),
        ("0: voter\n1: voter\n2: voter", "demo-2", "no leader is known"),
        (HEALTHY, "demo-7", "'demo-7' is not a member; allowed: demo-0, demo-1, demo-2"),
        (HEALTHY, "x" * 300_000, f"'{'x' * 64}' is not a member; allowed: demo-0, demo-1, demo-2"),
    ],
)
@pytest.mark.parametrize("gated", [False, True, None])
def test_no_member_is_stopped_that_the_others_need(
    picture: str, members: str, blocker: str, *, gated: bool | None
) -> None:
    desired = fenced(members, len(picture.splitlines()))
    observed = seen(picture, desired, gated=gated)
    made = planned(desired, observed)
    assert not [one for one in made.actions if isinstance(one, GateWorkload | StopPod | RestartPod)]
    assert blocker in " ".join(blocked_steps(made))
    if any(step.name == "FenceMember" for step in made.steps):
        assert conditions(desired, observed)["MembersFenced"] == "False FenceBlocked"


def test_gate_is_taken_back_when_the_fence_is_blocked() -> None:
    """Other pods must start without us."""
    desired = fenced()
    observed = seen("0: leader\n1: voter down=5\n2: voter", desired, gated=True)
    observed = msgspec.structs.replace(observed, workload=msgspec.structs.replace(observed.workload, revision=""))
    assert "EnsureWorkload" in kinds(planned(desired, observed))


def test_at_most_one_member_is_stopped_in_a_round() -> None:
    desired = fenced("demo-3 demo-4", 5)
    made = planned(desired, seen("0: leader\n1: voter\n2: voter\n3: voter\n4: voter", desired, gated=True))
    assert [one.name for one in made.actions if isinstance(one, RestartPod)] == ["demo-3"]


def test_process_is_stopped_where_no_controller_starts_it() -> None:
    """And it is not started, as what is left of a stop otherwise is."""
    desired = fenced()
    assert kinds(planned(desired, seen(HEALTHY, desired, gated=None))) == ["StopPod"]
    stopped = msgspec.structs.replace(seen("0: leader\n1: voter\n2: free", desired, gated=None), idle=(2,))
    assert isinstance(stopped.slot(2).pod, Absent)
    assert not planned(desired, stopped).actions
    assert kinds(planned(make_desired(3), stopped)) == ["StartPod"]


def test_conditions_of_a_fenced_member() -> None:
    """It is missing, and not ill: the quorum says what one more failure would cost."""
    desired = fenced()
    found = conditions(desired, seen(GATED, desired))
    assert found["MembersFenced"] == "True Fenced"
    assert found["Degraded"] == "False AllMembersWork"
    assert found["QuorumSafe"] == "False NoTolerance"
    assert found["Available"] == "True QuorumWorks"
    assert conditions(desired, seen(HEALTHY, desired))["MembersFenced"] == "False Fencing"
    assert "MembersFenced" not in conditions(make_desired(3), seen(HEALTHY, make_desired(3)))


def test_paused_resource_fences_nothing() -> None:
    desired = fenced(paused=True)
    assert not planned(desired, seen(HEALTHY, desired)).actions


def test_annotation_is_a_list_of_names() -> None:
    desired = fenced(" demo-1, demo-2,,demo-1 ")
    assert fenced_members(desired) == ("demo-1", "demo-2")
    assert is_fenced(desired, "demo-1")
    assert not is_fenced(desired, "demo-10")
    assert fenced_members(make_desired(3)) == ()
    assert len(fenced_members(fenced(",".join(f"demo-{n}" for n in range(100_000))))) == 9
