"""Volumes of removed members are deleted by policy, after proof, and otherwise say why they are kept."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from collectionstore_operator.model.actions import DeleteReleased, MarkVolume, SetReclaimPolicy
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import Observed, Unknown, Volume
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.resource.storage import ReleasedVolumes, Storage
from collectionstore_operator.status.report import report
from collectionstore_operator.tests.planning.pictures import NOW, draw, make_desired

HEALTHY = "0: leader\n1: voter\n2: voter"
DAY = ReleasedVolumes(policy="Delete", after_seconds=86_400)
AT_ONCE = ReleasedVolumes(policy="Delete")
LONG_AGO = NOW - 100_000


def keeping(policy: ReleasedVolumes | None, replicas: int = 3, **spec: Any) -> Desired:
    return make_desired(replicas, storage=Storage(released_volumes=policy), **spec)


def scaled_down(desired: Desired, picture: str = HEALTHY, *, pod: Any = None, **volume: Any) -> Observed:
    """Return a cluster of three whose fourth member has left."""
    seen = draw(f"{picture}\n3: left", desired)
    *others, last = seen.slots
    assert isinstance(last.volume, Volume)
    given = {"released_at": LONG_AGO, "node_id": "old-3", "uid": "c3", "removed": True, **volume}
    slot = msgspec.structs.replace(last, volume=msgspec.structs.replace(last.volume, **given))
    if pod is not None:
        slot = msgspec.structs.replace(slot, pod=pod)
    workload = msgspec.structs.replace(seen.workload, replicas=3)
    return msgspec.structs.replace(seen, slots=(*others, slot), workload=workload)


def deleted(desired: Desired, observed: Observed) -> list[str]:
    return [one.name for one in plan(assess(desired, observed)).actions if isinstance(one, DeleteReleased)]


def shown(desired: Desired, observed: Observed) -> Any:
    assessment = assess(desired, observed)
    (only,) = report(assessment, plan(assessment), None).released_volumes
    return only


@pytest.mark.parametrize("policy", [None, ReleasedVolumes(policy="Keep")])
def test_volumes_are_kept_unless_the_resource_deletes_them(policy: ReleasedVolumes | None) -> None:
    desired = keeping(policy)
    assert deleted(desired, scaled_down(desired)) == []
    assert shown(desired, scaled_down(desired)).delete_at == ""


@pytest.mark.parametrize("policy", [DAY, AT_ONCE])
def test_volume_that_is_due_is_deleted(policy: ReleasedVolumes) -> None:
    desired = keeping(policy)
    (action,) = [one for one in plan(assess(desired, scaled_down(desired))).actions if isinstance(one, DeleteReleased)]
    assert (action.name, action.uid, action.node_id) == ("data-demo-3", "c3", "old-3")


def test_volume_that_is_not_due_waits_without_a_blocked_step() -> None:
    """A cluster that keeps a volume for a day is Ready for that day."""
    desired = keeping(DAY)
    observed = scaled_down(desired, released_at=NOW - 60)
    assert not plan(assess(desired, observed)).steps
    status = shown(desired, observed)
    assert status.message.startswith("it is deleted at ")
    assert status.delete_at in status.message


@pytest.mark.parametrize(
    ("picture", "facts", "why"),
    [
        (HEALTHY, {"node_id": Unknown("not recorded")}, "which member wrote it"),
        (HEALTHY, {"terminating": True}, "being deleted already"),
        (HEALTHY, {"mounted_by": "look"}, "the pod look mounts it"),
        (HEALTHY, {"pod": Unknown("500")}, "cannot be seen"),
        ("0: leader\n1: voter\n2: voter lag=9000", {}, "demo-2 must catch up first"),
        ("0: leader\n1: voter\n2: learner", {}, "2 of 3 members vote"),
        ("0: leader\n1: voter\n2: incoming", {}, "joint configuration"),
        ("0: voter\n1: voter\n2: voter", {}, "no leader"),
    ],
)
def test_volume_is_kept_until_everything_is_proved(picture: str, facts: dict[str, Any], why: str) -> None:
    desired = keeping(AT_ONCE)
    observed = scaled_down(desired, picture, **facts)
    assert deleted(desired, observed) == []
    assert why in shown(desired, observed).message


def test_volume_of_a_member_is_never_released() -> None:
    """Whatever its marks say: the configuration still has the one that wrote it."""
    desired = keeping(AT_ONCE)
    seen = scaled_down(desired)
    voter = next(iter(assess(desired, seen).view.configuration.voters))
    observed = scaled_down(desired, node_id=voter)
    assert deleted(desired, observed) == []
    assert "still has a member" in shown(desired, observed).message


def test_volume_of_an_ordinal_that_is_wanted_again_is_not_released() -> None:
    desired = keeping(AT_ONCE, replicas=5)
    observed = scaled_down(keeping(AT_ONCE))
    assert deleted(desired, observed) == []
    assert not report(assess(desired, observed), plan(assess(desired, observed)), None).released_volumes


def test_volume_that_is_not_marked_is_not_released() -> None:
    desired = keeping(AT_ONCE)
    assert deleted(desired, scaled_down(desired, removed=False)) == []


def test_mark_without_a_time_gets_one_and_the_time_runs_from_there() -> None:
    """Of an operator before this one; nothing is deleted for an age that nobody knows."""
    desired = keeping(AT_ONCE)
    observed = scaled_down(desired, released_at=0.0)
    actions = plan(assess(desired, observed)).actions
    assert [type(one) for one in actions] == [MarkVolume]
    assert not plan(assess(keeping(None), observed)).actions


def test_one_is_deleted_at_a_time() -> None:
    desired = keeping(AT_ONCE)
    seen = scaled_down(desired)
    last = seen.slots[-1]
    assert isinstance(last.volume, Volume)
    further = msgspec.structs.replace(
        last, ordinal=4, volume=msgspec.structs.replace(last.volume, name="data-demo-4", node_id="old-4")
    )
    observed = msgspec.structs.replace(seen, slots=(*seen.slots, further))
    assert deleted(desired, observed) == ["data-demo-3"]


def test_everything_else_comes_before_a_deletion() -> None:
    """One that is refused, as by a pod that mounts the volume, may hold nothing up: no stop, and no restart."""
    desired = keeping(AT_ONCE, hibernate=True)
    names = [step.name for step in plan(assess(desired, scaled_down(desired))).steps]
    assert names == ["RecordPlannedWork", "DeleteReleased"]
    assert deleted(desired, scaled_down(desired)) == []


def test_nothing_is_deleted_while_the_resource_is_paused() -> None:
    desired = keeping(AT_ONCE, paused=True)
    assert deleted(desired, scaled_down(desired)) == []


def test_volume_stays_protected_until_it_is_deleted() -> None:
    """An operator that ended between the two steps of the deletion left the policy Delete."""
    desired = keeping(DAY)
    observed = scaled_down(
        desired, released_at=NOW - 60, persistent_volume="pv-3", reclaim_policy="Delete", created_policy="Delete"
    )
    assert [type(one) for one in plan(assess(desired, observed)).actions] == [SetReclaimPolicy]


def test_volume_whose_claim_is_going_keeps_the_policy_of_its_deletion() -> None:
    """With Retain again, what was deleted by policy would stay as a volume that nothing names."""
    desired = keeping(AT_ONCE)
    facts = {"persistent_volume": "pv-3", "reclaim_policy": "Delete", "created_policy": "Delete"}
    assert not plan(assess(desired, scaled_down(desired, terminating=True, **facts))).actions
    # Of a member: deleted by mistake, and kept.
    member = scaled_down(desired, terminating=True, removed=False, **facts)
    assert SetReclaimPolicy in [type(one) for one in plan(assess(desired, member)).actions]
    # By hand, where released volumes stay.
    by_hand = scaled_down(keeping(None), terminating=True, **facts)
    assert [type(one) for one in plan(assess(keeping(None), by_hand)).actions] == [SetReclaimPolicy]
