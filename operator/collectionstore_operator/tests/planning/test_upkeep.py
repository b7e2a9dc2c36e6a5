"""The finalizer and the records of what was seen: first of all and in every state, and the release last of all."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_operator.model.actions import StampVolume, StartPod, StopPod
from collectionstore_operator.model.observed import NodeStatus, Observed, Unknown, Volume, Workload
from collectionstore_operator.resource.desired import Desired, Storage
from collectionstore_operator.tests.planning.pictures import (
    CLUSTER_ID,
    NOW,
    actions_of,
    blocked_steps,
    draw,
    make_desired,
    planned,
)

HEALTHY = "0: leader\n1: voter\n2: voter"
STOPPED = "0: free\n1: free\n2: free"
GONE = "0: gone\n1: gone\n2: gone"
PAUSED = make_desired(3, paused=True)


def deleted(**spec: object) -> Desired:
    """Return a resource that is being deleted."""
    return msgspec.structs.replace(make_desired(3, **spec), deleting=True)


def held(picture: str, desired: Desired, **facts: object) -> Observed:
    """Return the look at a cluster whose resource has our finalizer and whose workload is at 0."""
    given = {"finalizer": True, "initialized": True, "workload": Workload(replicas=0, revision=""), **facts}
    return draw(picture, desired, **given)


@pytest.mark.parametrize("desired", [make_desired(3), PAUSED], ids=["running", "paused"])
def test_finalizer_is_added_before_anything_is_created(desired: Desired) -> None:
    """First in the plan, and the loop stops at the first action that fails; also while paused."""
    made = planned(desired, Observed(now=NOW, finalizer=False))
    assert actions_of(made)[0] == "AddFinalizer"
    assert actions_of(made)[1:] == ([] if desired.spec.paused else ["EstablishIdentity"])


@pytest.mark.parametrize(
    ("finalizer", "deleting"),
    [(True, False), (None, False), (False, True)],
    ids=["there already", "no such thing", "deleted: the API server accepts none"],
)
def test_finalizer_is_not_added(*, finalizer: bool | None, deleting: bool) -> None:
    desired = msgspec.structs.replace(make_desired(3), deleting=deleting)
    assert "AddFinalizer" not in actions_of(planned(desired, Observed(now=NOW, finalizer=finalizer)))


@pytest.mark.parametrize(
    ("picture", "spec", "actions"),
    [
        (GONE, {}, ["DeleteIdentity", "RemoveFinalizer"]),
        (STOPPED, {}, ["RemoveFinalizer"]),
        (STOPPED, {"storage": Storage(retention="Delete")}, ["RetireVolume data-demo-0 delete"]),
        ("0: free\n1: voter stopping\n2: free", {}, []),
        (GONE, {"deletion_protection": True}, None),
        (GONE, {"paused": True}, ["DeleteIdentity", "RemoveFinalizer"]),
    ],
    ids=["nothing left", "volumes kept", "volumes to delete", "a pod left", "protected", "paused, nothing left"],
)
def test_resource_is_released_last_of_all(picture: str, spec: dict[str, object], actions: list[str] | None) -> None:
    """Record and keys go before it, with the last volume only."""
    desired = deleted(**spec)
    made = actions_of(planned(desired, held(picture, desired)))
    if actions is None:
        assert not {"RemoveFinalizer", "DeleteIdentity"} & set(made)
    else:
        assert made == actions


@pytest.mark.parametrize("picture", [STOPPED, GONE], ids=["volumes to delete", "nothing left"])
def test_nothing_is_deleted_while_the_workload_cannot_be_observed(picture: str) -> None:
    """Unknown is never "gone": it may start pods on these volumes, and the resource must wait for it."""
    desired = deleted(storage=Storage(retention="Delete"))
    made = planned(desired, held(picture, desired, workload=Unknown("the StatefulSet demo has another owner")))
    assert not made.actions
    assert blocked_steps(made) == [
        "EnsureWorkload: the workload cannot be observed: the StatefulSet demo has another owner",
    ]


def test_record_and_keys_stay_while_a_volume_cannot_be_seen() -> None:
    """Unknown is never "gone": what is on it could not be read again without them."""
    desired = deleted()
    observed = held(GONE, desired)
    first = msgspec.structs.replace(observed.slots[0], volume=Unknown("it is being deleted"))
    observed = msgspec.structs.replace(observed, slots=(first, *observed.slots[1:]))
    assert actions_of(planned(desired, observed)) == ["RemoveFinalizer"]


def test_resource_without_finalizer_has_nothing_to_release() -> None:
    """On one machine there are none."""
    desired = deleted()
    assert planned(desired, held(GONE, desired, finalizer=None)).converged


@pytest.mark.parametrize("spec", [{}, {"deletion_protection": True}, {"paused": True}], ids=str)
def test_resource_goes_with_its_namespace_whatever_it_says(spec: dict[str, object]) -> None:
    """The namespace waits for us, and our role in it may be gone: nothing else could be done."""
    desired = deleted(**spec)
    observed = draw(HEALTHY, desired, finalizer=True, namespace_terminating=True)
    assert actions_of(planned(desired, observed)) == ["RemoveFinalizer"]


def test_nothing_is_recorded_in_a_namespace_that_is_being_deleted() -> None:
    """It could not be created there; the steps say why."""
    desired = make_desired(3)
    observed = draw(HEALTHY, desired, finalizer=False, initialized_recorded=False, namespace_terminating=True)
    made = planned(desired, observed)
    assert not made.actions
    assert blocked_steps(made)[:2] == [
        "AddFinalizer demo: the namespace default is terminating",
        "RecordInitialized demo: the namespace default is terminating",
    ]


@pytest.mark.parametrize(
    "desired", [make_desired(5), msgspec.structs.replace(PAUSED, generation=2)], ids=["running", "paused"]
)
def test_data_is_recorded_before_any_change(desired: Desired) -> None:
    made = planned(desired, draw(HEALTHY, desired, initialized_recorded=False))
    assert actions_of(made)[0] == "RecordInitialized"
    assert "RecordInitialized" not in actions_of(planned(desired, draw(HEALTHY, desired)))


def test_nothing_is_recorded_of_a_cluster_without_identity() -> None:
    """What answers is not known to be of this cluster."""
    desired = make_desired(3)
    observed = draw(HEALTHY, desired, cluster_id="", initialized_recorded=False, stamps_volumes=True)
    assert actions_of(planned(desired, observed)) == ["EstablishIdentity"]


def stamped(observed: Observed, ordinal: int, **volume: object) -> Observed:
    """Return the look in which volumes carry stamps, that of one ordinal as given."""
    slots = list(observed.slots)
    found = slots[ordinal].volume
    assert isinstance(found, Volume)
    slots[ordinal] = msgspec.structs.replace(slots[ordinal], volume=msgspec.structs.replace(found, **volume))
    return msgspec.structs.replace(observed, slots=tuple(slots), stamps_volumes=True)


@pytest.mark.parametrize("node_id", [Unknown("no node has been seen on it yet"), "old-7"], ids=["none", "another"])
def test_volume_is_stamped_with_the_node_that_runs_on_it(node_id: str | Unknown) -> None:
    desired = make_desired(3)
    (action,) = planned(desired, stamped(draw(HEALTHY, desired), 1, node_id=node_id)).actions
    assert action == StampVolume(
        ordinal=1, name="data-demo-1", node_id="old-1", reason="the node old-1 of demo-1 runs on it"
    )
    assert planned(desired, stamped(draw(HEALTHY, desired), 1)).converged


def test_volume_is_not_stamped_with_a_node_of_another_cluster() -> None:
    """It was put there by mistake, and must not look as if it were ours afterwards."""
    desired = make_desired(3)
    observed = stamped(draw(HEALTHY, desired), 1, node_id=Unknown("no node has been seen on it yet"))
    slots = list(observed.slots)
    node = slots[1].node
    assert isinstance(node, NodeStatus)
    assert node.cluster_id == CLUSTER_ID
    slots[1] = msgspec.structs.replace(slots[1], node=msgspec.structs.replace(node, cluster_id="another"))
    made = planned(desired, msgspec.structs.replace(observed, slots=tuple(slots)))
    assert not [one for one in made.actions if isinstance(one, StampVolume)]


@pytest.mark.parametrize("desired", [make_desired(3), PAUSED], ids=["running", "paused"])
def test_process_that_the_workload_includes_is_started(desired: Desired) -> None:
    """As a StatefulSet's controller would, which knows no pause."""
    observed = draw(HEALTHY, desired, idle=(2,))
    assert [one for one in planned(desired, observed).actions if isinstance(one, StartPod)] == [
        StartPod(ordinal=2, name="demo-2", reason="the workload includes it, and nothing has started it")
    ]


@pytest.mark.parametrize("desired", [make_desired(2), PAUSED], ids=["running", "paused"])
def test_process_beyond_the_workload_is_stopped(desired: Desired) -> None:
    """Left over by a crash between the record of a smaller workload and the stop."""
    observed = draw(HEALTHY, desired, surplus=(2,))
    (stopped,) = [one for one in planned(desired, observed).actions if isinstance(one, StopPod)]
    assert (stopped.ordinal, stopped.uid) == (2, getattr(observed.slot(2).pod, "uid", None))


def test_process_of_a_cluster_that_is_torn_down_is_not_started() -> None:
    desired = deleted()
    assert actions_of(planned(desired, draw(HEALTHY, desired, idle=(2,)))) == ["EnsureWorkload 0"]
