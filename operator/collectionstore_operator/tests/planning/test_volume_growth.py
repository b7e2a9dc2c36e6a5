"""Volumes that grow when they become full: when, by how much, up to where, and one step at a time."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.model.actions import GrowVolume
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import NodeStatus, Observed, Slot, Space, Unknown, Volume
from collectionstore_operator.planning.volume_growth import GIB, MIB, target
from collectionstore_operator.resource.desired import Desired, Runtime, Spec, Storage, parse
from collectionstore_operator.resource.storage import Growth
from collectionstore_operator.tests.planning.pictures import blocked_steps, draw, planned

HEALTHY = "0: leader\n1: voter\n2: voter"
PLENTY, LITTLE = 60, 19


def wanted(size: str = "8Gi", maximum: str = "40Gi", **growth: int) -> Desired:
    """Return a resource whose volumes may grow."""
    return Desired(name="demo", spec=Spec(storage=Storage(size=size, growth=Growth(max_size=maximum, **growth))))


def seen(
    desired: Desired,
    *sizes: int,
    free: tuple[int | None, ...] = (PLENTY, PLENTY, PLENTY),
    capacities: tuple[int, ...] = (),
) -> Observed:
    """Return observed state: sizes and capacities of the volumes in MiB, and what is free of each in percent."""
    observed = draw(HEALTHY, desired)
    slots = []
    for slot, size, capacity, share in zip(observed.slots, sizes, capacities or sizes, free, strict=True):
        assert isinstance(slot.volume, Volume)
        assert isinstance(slot.node, NodeStatus)
        volume = msgspec.structs.replace(slot.volume, size_bytes=size * MIB, capacity_bytes=capacity * MIB)
        space = None if share is None else Space(free_bytes=capacity * MIB * share // 100, used_bytes=1)
        slots.append(msgspec.structs.replace(slot, volume=volume, node=msgspec.structs.replace(slot.node, space=space)))
    workload = msgspec.structs.replace(observed.workload, volume_bytes=desired.spec.storage.size_bytes)
    return msgspec.structs.replace(observed, slots=tuple(slots), workload=workload)


def size_of(desired: Desired, observed: Observed) -> str:
    return target(assess(desired, observed)).size


def grown(desired: Desired, observed: Observed) -> list[tuple[str, str]]:
    """Return which volumes are made larger now, and to what."""
    return [(one.name, one.size) for one in planned(desired, observed).actions if isinstance(one, GrowVolume)]


def test_enough_space_changes_nothing() -> None:
    desired = wanted()
    assert planned(desired, seen(desired, 8192, 8192, 8192)).converged


def test_one_full_volume_lets_all_grow_one_after_the_other() -> None:
    """Whichever is full; a report that was read before the volume has grown lets none take a second step."""
    desired = wanted()
    free = (PLENTY, LITTLE, PLENTY)
    first = planned(desired, seen(desired, 8192, 8192, 8192, free=free))
    assert first.actions == (
        GrowVolume(
            ordinal=0,
            name="data-demo-0",
            size="10Gi",
            reason="spec.storage.growth: less than 20 % is free on the volume of demo-1",
        ),
    )
    assert blocked_steps(first) == [
        "GrowVolume demo-1: one at a time, after demo-0",
        "GrowVolume demo-2: one at a time, after demo-0",
    ]
    growing = seen(desired, 10240, 8192, 8192, free=free, capacities=(8192, 8192, 8192))
    assert grown(desired, growing) == []
    assert grown(desired, seen(desired, 10240, 8192, 8192, free=free)) == [("data-demo-1", "10Gi")]
    assert grown(desired, seen(desired, 10240, 10240, 8192, free=free)) == [("data-demo-2", "10Gi")]
    assert planned(desired, seen(desired, 10240, 10240, 10240)).converged
    assert grown(desired, seen(desired, 10240, 10240, 10240, free=free)) == [("data-demo-0", "13Gi")]


def test_share_and_step_are_those_of_the_resource() -> None:
    desired = wanted("1Gi", "40Gi", when_free_percent=30, step_percent=100)
    assert size_of(desired, seen(desired, 1024, 1024, 1024, free=(31, 31, 31))) == "1Gi"
    assert size_of(desired, seen(desired, 1024, 1024, 1024, free=(31, 31, 29))) == "2048Mi"


def test_greatest_size_is_reached_exactly_and_never_exceeded() -> None:
    desired = wanted("8Gi", "9000Mi")
    assert size_of(desired, seen(desired, 8192, 8192, 8192, free=(LITTLE,) * 3)) == "9000Mi"
    assert planned(desired, seen(desired, 9000, 9000, 9000, free=(0, 0, 0))).converged


@pytest.mark.parametrize("space", [None, Space(), Space(free_bytes=0), Space(used_bytes=5)])
def test_member_that_told_nothing_is_not_full(space: Space | None) -> None:
    """Of an older version, or not measured yet: its report has no bytes free."""
    desired = wanted()
    observed = seen(desired, 8192, 8192, 8192)
    slots = tuple(
        msgspec.structs.replace(one, node=msgspec.structs.replace(one.node, space=space)) for one in observed.slots
    )
    assert planned(desired, msgspec.structs.replace(observed, slots=slots)).converged


def test_member_that_does_not_answer_is_not_full() -> None:
    desired = wanted()
    observed = seen(desired, 8192, 8192, 8192, free=(LITTLE, PLENTY, PLENTY))
    silent = msgspec.structs.replace(observed.slots[0], node=Unknown("no answer"))
    assert size_of(desired, msgspec.structs.replace(observed, slots=(silent, *observed.slots[1:]))) == "8Gi"


def test_volume_of_a_new_member_follows_the_others() -> None:
    """It begins with spec.storage.size; nothing has to be full for it to get what the others have."""
    desired = wanted()
    assert grown(desired, seen(desired, 20480, 20480, 8192)) == [("data-demo-2", "20Gi")]


def test_claim_that_is_not_bound_holds_nobody() -> None:
    """A pod that cannot be scheduled for days must not let the disks of the others become full."""
    desired = wanted()
    observed = seen(desired, 8192, 8192, 8192, free=(LITTLE, LITTLE, None), capacities=(8192, 8192, 0))
    assert grown(desired, observed) == [("data-demo-0", "10Gi")]


def test_volume_that_cannot_grow_holds_the_next_step_and_is_named() -> None:
    desired = wanted()
    observed = seen(desired, 10240, 8192, 10240, free=(LITTLE,) * 3)
    slots: list[Slot] = list(observed.slots)
    stuck = msgspec.structs.replace(slots[1].volume, not_expandable_reason="the class does not allow it")
    slots[1] = msgspec.structs.replace(slots[1], volume=stuck)
    found = planned(desired, msgspec.structs.replace(observed, slots=tuple(slots)))
    assert not found.actions
    assert blocked_steps(found) == ["GrowVolume demo-1: data-demo-1: the class does not allow it"]


def test_lower_maximum_or_no_growth_shrinks_nothing() -> None:
    lower = wanted("8Gi", "10Gi")
    assert planned(lower, seen(lower, 20480, 20480, 20480, free=(LITTLE,) * 3)).converged
    without = Desired(name="demo", spec=Spec(storage=Storage(size="8Gi")))
    assert planned(without, seen(without, 20480, 10240, 8192, free=(LITTLE,) * 3)).converged


def test_one_that_is_larger_than_permitted_is_no_measure_for_the_others() -> None:
    """A claim that was enlarged by hand: the others follow up to the maximum."""
    desired = wanted("8Gi", "10Gi")
    assert grown(desired, seen(desired, 102400, 8192, 8192)) == [("data-demo-1", "10Gi")]


@given(
    st.integers(64, 1 << 20),
    st.integers(0, 1 << 20),
    st.integers(5, 50),
    st.integers(10, 100),
    st.lists(st.integers(0, 100), min_size=3, max_size=3),
)
def test_steps_end_at_the_maximum_whatever_is_free(
    size: int, more: int, share: int, step: int, free: list[int]
) -> None:
    """Each step is larger than the one before and at most the maximum; with nothing free, some end there."""
    desired = wanted(f"{size}Mi", f"{size + more}Mi", when_free_percent=share, step_percent=step)
    at = size
    for _ in range(200):
        found = target(assess(desired, seen(desired, at, at, at, free=(free[0], free[1], free[2])))).bytes
        if found == at * MIB:
            break
        assert at * MIB < found <= (size + more) * MIB
        assert found % MIB == 0
        at = found // MIB
    full = any(100 * (at * MIB * one // 100) < share * at * MIB for one in free)
    assert at == size + more or not full, "it stopped early"


def test_steps_of_large_volumes_are_whole_gi() -> None:
    desired = wanted("15Gi", "1Ti")
    found = target(assess(desired, seen(desired, 15360, 15360, 15360, free=(LITTLE,) * 3)))
    assert (found.size, found.bytes) == ("19Gi", 19 * GIB)


@pytest.mark.parametrize(
    ("storage", "runtime", "field", "words"),
    [
        ({"size": "10Gi", "growth": {"maxSize": "9Gi"}}, Runtime.KUBERNETES, "growth", "at least spec.storage.size"),
        ({"growth": {"maxSize": "20Gi", "stepPercent": 101}}, Runtime.KUBERNETES, "growth.stepPercent", "100"),
        ({"growth": {"maxSize": "20Gi", "whenFreePercent": 4}}, Runtime.KUBERNETES, "growth.whenFreePercent", "5"),
        ({"growth": {"maxSize": "1.5Gi"}}, Runtime.KUBERNETES, "growth.maxSize", "whole size"),
        ({"growth": {}}, Runtime.KUBERNETES, "growth.maxSize", ""),
        ({"growth": {"maxSize": "20Gi"}}, Runtime.LOCAL, "growth", "absent"),
    ],
)
def test_senseless_growth_is_refused(storage: dict[str, object], runtime: Runtime, field: str, words: str) -> None:
    resource = {
        "apiVersion": "collectionstore.io/v1alpha1",
        "kind": "CollectionStoreCluster",
        "metadata": {"name": "demo"},
        "spec": {"storage": storage},
    }
    with pytest.raises(InvalidResource) as raised:
        parse(resource, runtime=runtime)
    found = {one.path: one.allowed for one in raised.value.errors}
    assert words in found[f"spec.storage.{field}"], found
