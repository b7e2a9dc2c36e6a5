"""Pods stuck on lost Kubernetes nodes: force-deleted if the cluster has a quorum without their members."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_operator.model.actions import RestartPod
from collectionstore_operator.model.observed import Pod, Unknown
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.tests.planning.pictures import blocked_steps, draw, make_desired, planned

GOING = Unknown("it is being deleted")


def made(picture: str, *stuck: int, replicas: int = 3) -> Plan:
    """Return the plan for a picture in which these pods are stuck."""
    desired = make_desired(replicas)
    observed = draw(picture, desired)
    slots = []
    for slot in observed.slots:
        if slot.ordinal in stuck and isinstance(slot.pod, Pod):
            pod = msgspec.structs.replace(slot.pod, stuck_terminating=True, terminating=True)
            slot = msgspec.structs.replace(slot, pod=pod, volume=GOING)
        slots.append(slot)
    return planned(desired, msgspec.structs.replace(observed, slots=tuple(slots)))


def forgotten(plan: Plan) -> list[str]:
    return [one.name for one in plan.actions if isinstance(one, RestartPod) and one.force]


def test_stuck_pod_is_force_deleted_and_the_plan_says_so() -> None:
    found = made("0: leader\n1: voter\n2: voter down=60 failure=Machine", 2)
    assert forgotten(found) == ["demo-2"]
    assert ("ReplaceMember", "demo-2") in [(step.name, step.subject) for step in found.steps]


@pytest.mark.parametrize(
    ("picture", "blocker"),
    [
        ("0: voter\n1: voter\n2: voter down=60 failure=Machine", "no leader is known"),
        ("0: leader\n1: voter down=60\n2: voter down=60 failure=Machine", "has no quorum of in-sync voters"),
        ("0: leader\n1: voter\n2: voter failure=Machine", "the leader is still in contact with demo-2"),
    ],
)
def test_stuck_pod_stays_while_its_member_may_be_needed(picture: str, blocker: str) -> None:
    """A returning kubelet stops a force-deleted pod, and its volume is deleted: it may hold the last majority."""
    found = made(picture, 2)
    assert not forgotten(found)
    assert any(line.startswith("ReplaceMember demo-2: ") and blocker in line for line in blocked_steps(found))


def test_one_at_a_time() -> None:
    picture = "0: leader\n1: voter\n2: voter\n3: voter down=60 failure=Machine\n4: voter down=60 failure=Machine"
    assert len(forgotten(made(picture, 3, 4, replicas=5))) == 1
