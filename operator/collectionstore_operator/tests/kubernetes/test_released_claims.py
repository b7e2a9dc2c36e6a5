"""Claims of removed members on an API server: marked with a time once, and deleted only while nothing mounts them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
import pytest

from collectionstore_operator import faults
from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes import volumes
from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.caches.caches import Caches
from collectionstore_operator.kubernetes.caches.reads import Reads
from collectionstore_operator.kubernetes.claims import read_claim
from collectionstore_operator.kubernetes.mounts import REMEMBERED_S, Mounts
from collectionstore_operator.model.actions import DeleteReleased, MarkVolume
from collectionstore_operator.model.observed import Volume
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.reconcile.reading import Reading
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired, Spec
from collectionstore_operator.resource.storage import ReleasedVolumes, Storage
from collectionstore_operator.tests.kubernetes.test_runtime import World
from collectionstore_operator.tests.kubernetes.test_runtime import world as world

CLAIM = "/api/v1/namespaces/shop/persistentvolumeclaims/data-demo-3"
PV = "/api/v1/persistentvolumes/pv-3"
POD = "/api/v1/namespaces/shop/pods/look"
DESIRED = Desired(name="demo", namespace="shop", uid="u1")
DELETE = DeleteReleased(ordinal=3, name="data-demo-3", uid="c3", node_id="old-3", reason="x")
MARK = MarkVolume(ordinal=3, name="data-demo-3", node_id="old-3", reason="x")


def put(world: World, *, created: str = "Delete", **annotations: str) -> None:
    """Have the claim of a removed member, bound to a volume that we had set to Retain."""
    marks = {labels.NODE_ID: "old-3", labels.REMOVED: "old-3", labels.RELEASED_AT: "2026-01-01T00:00:00Z"}
    claim = {
        "metadata": {"name": "data-demo-3", "uid": "c3", "annotations": {**marks, **annotations}},
        "spec": {"volumeName": "pv-3"},
    }
    world.server.put(CLAIM, claim)
    volume: dict[str, Any] = {
        "metadata": {"name": "pv-3", "annotations": {labels.CREATED_POLICY: created} if created else {}},
        "spec": {"persistentVolumeReclaimPolicy": "Retain", "claimRef": {"uid": "c3"}},
    }
    world.server.put(PV, volume)


def keeping(policy: ReleasedVolumes | None) -> Desired:
    return msgspec.structs.replace(DESIRED, spec=Spec(storage=Storage(released_volumes=policy)))


class NoCaches:
    """Watch nothing."""

    def store(self, *_: Any) -> None:
        return None

    def watches(self, *_: Any) -> bool:
        return False


def mount(world: World, phase: str) -> None:
    """Have a pod of another owner that mounts the claim."""
    spec = {"volumes": [{"name": "x", "persistentVolumeClaim": {"claimName": "data-demo-3"}}]}
    world.server.put(POD, {"metadata": {"name": "look", "uid": "p"}, "spec": spec, "status": {"phase": phase}})


async def test_claim_goes_and_its_data_with_it(world: World) -> None:
    put(world)
    await volumes.delete_released(world.kube, DELETE, DESIRED)
    assert CLAIM not in world.server.objects
    assert world.server.objects[PV]["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    await volumes.delete_released(world.kube, DELETE, DESIRED)  # its answer was lost


async def test_volume_that_its_class_retains_stays(world: World) -> None:
    put(world, created="")
    await volumes.delete_released(world.kube, DELETE, DESIRED)
    assert CLAIM not in world.server.objects
    assert world.server.objects[PV]["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


@pytest.mark.parametrize("phase", ["Running", "Pending", "Unknown"])
async def test_claim_that_a_pod_mounts_is_kept(world: World, phase: str) -> None:
    """Of whoever it is: to look at the data, for instance."""
    put(world)
    mount(world, phase)
    with pytest.raises(ActionRefused, match="the pod look mounts the claim"):
        await volumes.delete_released(world.kube, DELETE, DESIRED)
    assert CLAIM in world.server.objects
    assert world.server.objects[PV]["spec"]["persistentVolumeReclaimPolicy"] == "Retain"


@pytest.mark.parametrize(("phase", "by"), [("Running", "look"), ("Succeeded", "")])
async def test_pod_that_mounts_a_claim_is_seen_before_its_deletion_is_planned(
    world: World, phase: str, by: str
) -> None:
    world.create({"storage": {"releasedVolumes": {"policy": "Delete"}}})
    put(world)
    world.server.objects[CLAIM]["metadata"]["labels"] = labels.object_labels("demo")
    mount(world, phase)
    _, observed = await world.look()
    (slot,) = [one for one in observed.slots if one.ordinal == 3]
    assert isinstance(slot.volume, Volume)
    assert slot.volume.mounted_by == by


class CountingKube:
    """Counts the lists of pods."""

    def __init__(self, kube: Kube) -> None:
        self.lists = 0
        self._kube = kube

    async def find_all(self, kind: Kind, namespace: str | None = None, *_: Any, **__: Any) -> list[Body]:
        self.lists += 1
        return await self._kube.find_all(kind, namespace)


async def test_pods_are_listed_only_while_a_claim_is_due(world: World) -> None:
    """All pods of a namespace can be thousands, and an idle cluster is looked at every two seconds."""
    put(world)
    mount(world, "Running")
    claim = world.server.objects[CLAIM]
    kube, now = CountingKube(world.kube), 0.0
    reads = Reads(cast("Kube", kube), cast("Caches", NoCaches()))
    mounts = Mounts(reads, clock=lambda: now)
    day = ReleasedVolumes(policy="Delete", after_seconds=86_400)
    for policy, marks in (
        (None, {}),
        (ReleasedVolumes(policy="Keep"), {}),
        (day, {labels.RELEASED_AT: rfc3339(time.time())}),
    ):
        metadata = {**claim["metadata"], "annotations": {**claim["metadata"]["annotations"], **marks}}
        assert await mounts.of_due([{**claim, "metadata": metadata}], keeping(policy)) == {}
    assert kube.lists == 0
    assert await mounts.of_due([claim], keeping(day)) == {"data-demo-3": "look"}
    reads.begin(Reading.CACHED)
    assert await mounts.of_due([claim], keeping(day)) == {"data-demo-3": "look"}
    assert (kube.lists, reads.from_cache) == (1, True)
    now = REMEMBERED_S
    await mounts.of_due([claim], keeping(day))
    reads.begin(Reading.NEWEST)
    await mounts.of_due([claim], keeping(day))
    assert kube.lists == 3


async def test_pod_that_has_ended_holds_nothing(world: World) -> None:
    put(world)
    mount(world, "Succeeded")
    await volumes.delete_released(world.kube, DELETE, DESIRED)
    assert CLAIM not in world.server.objects


@pytest.mark.parametrize("change", [{"uid": "other"}, {"annotations": {}}, {"annotations": {labels.NODE_ID: "n"}}])
async def test_another_claim_than_was_planned_is_kept(world: World, change: dict[str, Any]) -> None:
    put(world)
    world.server.objects[CLAIM]["metadata"] |= change
    with pytest.raises(ActionRefused):
        await volumes.delete_released(world.kube, DELETE, DESIRED)
    assert CLAIM in world.server.objects


async def test_operator_that_dies_between_the_steps_deletes_at_the_next_attempt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(world)

    def die(point: str) -> None:
        if point == "DeleteReleased.policy-restored":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(faults, "reach", die)
        with pytest.raises(KeyboardInterrupt):
            await volumes.delete_released(world.kube, DELETE, DESIRED)
    assert CLAIM in world.server.objects
    await volumes.delete_released(world.kube, DELETE, DESIRED)
    assert CLAIM not in world.server.objects


async def test_mark_has_a_time_that_a_second_mark_does_not_renew(world: World) -> None:
    put(world)
    annotations = world.server.objects[CLAIM]["metadata"]["annotations"]
    await volumes.mark(world.kube, MARK, DESIRED)
    assert world.server.objects[CLAIM]["metadata"]["annotations"] == annotations
    put(world, **{labels.RELEASED_AT: ""})
    before = datetime.now(UTC).replace(microsecond=0)
    await volumes.mark(world.kube, MARK, DESIRED)
    told = world.server.objects[CLAIM]["metadata"]["annotations"][labels.RELEASED_AT]
    assert datetime.fromisoformat(told) >= before


@pytest.mark.parametrize(("told", "since"), [("2026-01-01T00:00:00Z", 1_767_225_600.0), ("soon", 0.0), ("", 0.0)])
def test_time_of_a_mark_is_read(told: str, since: float) -> None:
    claim = {
        "metadata": {"name": "data-demo-3", "annotations": {labels.REMOVED: "old-3", labels.RELEASED_AT: told}},
        "spec": {"volumeName": "pv-3"},
    }
    volume = read_claim(claim, None, "")
    assert isinstance(volume, Volume)
    assert volume.released_at == since
