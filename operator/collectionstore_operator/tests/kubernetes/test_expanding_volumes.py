"""Expansion of volumes on a class that expands, played by a stub of its controller and of the kubelet.

The stub does what external-resizer and a kubelet do to a claim: conditions first, then the capacity; or an error, or
nothing. The decisions of the planner have tests of their own.
"""

from __future__ import annotations

import copy
from typing import Any, Final

import pytest

from collectionstore_operator.crd.transitions import SIZE
from collectionstore_operator.kubernetes.claims import FILE_SYSTEM_S
from collectionstore_operator.model.actions import GrowVolume
from collectionstore_operator.model.observed import Space
from collectionstore_operator.resource import labels
from collectionstore_operator.tests.kubernetes.test_runtime import CLUSTER, WORKLOAD, World
from collectionstore_operator.tests.kubernetes.test_runtime import world as world

CLAIMS: Final = "/api/v1/namespaces/shop/persistentvolumeclaims/data-demo"
PODS: Final = "/api/v1/namespaces/shop/pods/demo"
CLASS: Final = "/apis/storage.k8s.io/v1/storageclasses/fast"
LONG_AGO: Final = "2026-01-01T00:00:00Z"


class Provider:
    """The storage of three members: grows what is requested, unless it is told otherwise."""

    def __init__(self, world: World, *, expands: bool = True) -> None:
        self._world = world
        self._failing: dict[int, tuple[str, str]] = {}
        self._stuck: set[int] = set()
        world.server.put(CLASS, {"metadata": {"name": "fast"}, "allowVolumeExpansion": expands})
        for ordinal in range(3):
            world.pod(ordinal)
            template = world.server.objects[WORKLOAD]["spec"]["template"]["metadata"]
            world.server.objects[f"{PODS}-{ordinal}"]["metadata"]["annotations"] = template["annotations"]
            claim = self.claim(ordinal)
            claim["metadata"] |= {"uid": f"c{ordinal}", "labels": labels.object_labels("demo")}
            claim["spec"] |= {"storageClassName": "fast", "resources": {"requests": {"storage": "10Gi"}}}
            claim["status"] = {"phase": "Bound", "capacity": {"storage": "10Gi"}}

    def claim(self, ordinal: int) -> dict[str, Any]:
        found: dict[str, Any] = self._world.server.objects[f"{CLAIMS}-{ordinal}"]
        return found

    def requested(self) -> list[str]:
        return [self.claim(one)["spec"]["resources"]["requests"]["storage"] for one in range(3)]

    def fail(self, ordinal: int, condition: str, message: str) -> None:
        self._failing[ordinal] = (condition, message)

    def recover(self, ordinal: int) -> None:
        del self._failing[ordinal]

    def stay_behind(self, ordinal: int) -> None:
        """Never get beyond the disk: the file system waits for the next mount."""
        self._stuck.add(ordinal)

    def remount(self, ordinal: int) -> None:
        self._stuck.remove(ordinal)

    def work(self) -> None:
        """Do one step for every claim that is to be larger."""
        for ordinal in range(3):
            claim = self.claim(ordinal)
            wanted = claim["spec"]["resources"]["requests"]["storage"]
            if claim["status"]["capacity"]["storage"] == wanted:
                continue
            if ordinal in self._failing:
                condition, message = self._failing[ordinal]
                claim["status"]["conditions"] = [told(condition, message)]
            elif ordinal in self._stuck:
                claim["status"]["conditions"] = [told("FileSystemResizePending", "waiting for a remount")]
            else:
                claim["status"] |= {"capacity": {"storage": wanted}, "conditions": []}


def told(condition: str, message: str) -> dict[str, str]:
    return {"type": condition, "status": "True", "message": message, "lastTransitionTime": LONG_AGO}


async def plan_of(world: World) -> list[dict[str, Any]]:
    """Run a round, and return the published plan."""
    await world.rounds(1)
    found: list[dict[str, Any]] = world.server.objects[CLUSTER]["status"]["plan"]
    return [one for one in found if one["step"] == GrowVolume.__name__]


async def enlarged(world: World, **spec: Any) -> Provider:
    """Return the storage of a cluster whose size was raised from 10Gi to 20Gi."""
    world.create({"storage": {"size": "10Gi", "class": "fast"}, **spec})
    await world.rounds(2)
    provider = Provider(world)
    await world.rounds(1)
    world.server.objects[CLUSTER]["spec"]["storage"]["size"] = "20Gi"
    return provider


async def test_volumes_grow_one_after_the_other(world: World) -> None:
    provider = await enlarged(world)
    seen = []
    for _ in range(6):
        await world.rounds(1)
        seen.append(provider.requested())
        provider.work()
    first, second, third = ["20Gi", "10Gi", "10Gi"], ["20Gi", "20Gi", "10Gi"], ["20Gi", "20Gi", "20Gi"]
    assert [one for position, one in enumerate(seen) if position == 0 or one != seen[position - 1]] == [
        first,
        second,
        third,
    ]
    assert await plan_of(world) == []
    assert world.server.objects[CLUSTER]["spec"]["storage"]["size"] == "20Gi", "the spec is never written"


async def test_expansion_that_fails_is_told_and_holds_the_others_until_it_succeeds(world: World) -> None:
    provider = await enlarged(world)
    provider.fail(0, "ControllerResizeError", "quota\n of the project exceeded")
    await world.rounds(1)
    provider.work()
    first, *others = await plan_of(world)
    assert first["blockedBy"] == "data-demo-0: ControllerResizeError: quota of the project exceeded"
    assert {one["blockedBy"] for one in others} == {"one at a time, after demo-0"}
    assert provider.requested() == ["20Gi", "10Gi", "10Gi"]
    assert world.server.objects[CLUSTER]["spec"]["storage"]["size"] == "20Gi"
    provider.recover(0)
    provider.work()
    await world.rounds(1)
    assert provider.requested() == ["20Gi", "20Gi", "10Gi"]


async def test_file_system_that_waits_for_a_mount_restarts_its_pod_alone(world: World) -> None:
    """The other volumes wait, since a second member must not restart at the same time."""
    provider = await enlarged(world)
    provider.stay_behind(0)
    await world.rounds(1)
    provider.work()
    claim = copy.deepcopy(provider.claim(0))
    step, *_ = await plan_of(world)
    assert "FileSystemResizePending" in step["blockedBy"]
    world.seconds += FILE_SYSTEM_S
    await world.rounds(2)
    assert [one for one in range(3) if f"{PODS}-{one}" not in world.server.objects] == [0]
    assert provider.requested() == ["20Gi", "10Gi", "10Gi"]
    world.pod(0)  # by the StatefulSet's controller, on the same claim
    provider.claim(0).update(claim)
    provider.remount(0)
    provider.work()
    await world.rounds(1)
    assert provider.requested() == ["20Gi", "20Gi", "10Gi"]


async def test_class_that_does_not_expand_is_named_and_nothing_is_requested(world: World) -> None:
    provider = await enlarged(world)
    world.server.objects[CLASS]["allowVolumeExpansion"] = False
    steps = await plan_of(world)
    assert {one["blockedBy"].partition(": ")[2] for one in steps} == {
        "the StorageClass fast does not allow volumes to grow"
    }
    assert provider.requested() == ["10Gi", "10Gi", "10Gi"]


async def test_smaller_size_shrinks_nothing(world: World) -> None:
    """The API server refuses it; an older definition may have let it through."""
    provider = await enlarged(world)
    for _ in range(4):
        await world.rounds(1)
        provider.work()
    world.server.objects[CLUSTER]["spec"]["storage"]["size"] = "10Gi"
    await world.rounds(3)
    assert provider.requested() == ["20Gi", "20Gi", "20Gi"]
    assert "compareTo" in SIZE.cel
    assert world.server.objects[CLUSTER]["status"]["largestVolume"] == 20 * 2**30


async def test_full_volume_lets_all_grow_and_the_spec_stays(world: World) -> None:
    """By spec.storage.growth, as long as a member tells that it is almost full: one at a time, up to the maximum."""
    storage = {"size": "10Gi", "class": "fast", "growth": {"maxSize": "20Gi"}}
    world.create({"storage": storage})
    await world.rounds(2)
    provider = Provider(world)
    await world.rounds(1)
    assert provider.requested() == ["10Gi", "10Gi", "10Gi"]
    world.node(1, space=Space(free_bytes=1 << 30, used_bytes=8 << 30))
    seen = [provider.requested()]
    for _ in range(12):
        await world.rounds(1)
        if provider.requested() != seen[-1]:
            seen.append(provider.requested())
        provider.work()
    steps = [
        [larger] * done + [smaller] * (3 - done)
        for smaller, larger in (("10Gi", "13Gi"), ("13Gi", "17Gi"), ("17Gi", "20Gi"))
        for done in (1, 2, 3)
    ]
    assert seen == [["10Gi"] * 3, *steps]
    assert await plan_of(world) == []
    assert world.server.objects[CLUSTER]["spec"]["storage"] == storage, "the spec is never written"


@pytest.mark.parametrize("ordinal", [0, 1, 2])
async def test_member_that_stays_behind_is_the_one_that_is_named(world: World, ordinal: int) -> None:
    provider = await enlarged(world)
    provider.fail(ordinal, "NodeResizeError", "the file system is damaged")
    for _ in range(4):
        await world.rounds(1)
        provider.work()
    first, *_ = await plan_of(world)
    assert first["subject"] == f"demo-{ordinal}"
    assert "NodeResizeError: the file system is damaged" in first["blockedBy"]
    assert provider.requested() == ["20Gi"] * (ordinal + 1) + ["10Gi"] * (2 - ordinal)
