"""Why a pod fails or is missing is in the condition after one observation, in the words of its component."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.api.permissions import PERMISSIONS
from collectionstore_operator.kubernetes.claims import FILE_SYSTEM_S
from collectionstore_operator.model.actions import GrowVolume, ReplaceWorkload
from collectionstore_operator.model.observed import Unknown, Volume
from collectionstore_operator.resource import labels
from collectionstore_operator.status.ailments import STARTING_S
from collectionstore_operator.status.events import Event
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer, status
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.kubernetes.test_runtime import CLUSTER, RECORD, WORKLOAD, World
from collectionstore_operator.tests.planning.pictures import planned

NAMESPACE = "/api/v1/namespaces/shop"
CLAIM = f"{NAMESPACE}/persistentvolumeclaims/data-demo-0"
CLASS = "/apis/storage.k8s.io/v1/storageclasses/fast"
EVENTS = "/apis/events.k8s.io/v1/namespaces/shop/events"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server, clock = FakeApiServer(), Clock()
    async with await server.start() as client:
        yield World(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    await server.stop()


async def formed(world: World, spec: dict[str, Any] | None = None) -> None:
    """Create a resource with its objects, and a pod on a bound claim of 10Gi."""
    world.create(spec)
    await world.rounds(2)
    world.server.put("/api/v1/nodes/n1", {"metadata": {"name": "n1"}})
    world.pod(0)
    template = world.server.objects[WORKLOAD]["spec"]["template"]["metadata"]
    world.server.objects[f"{NAMESPACE}/pods/demo-0"]["metadata"]["annotations"] = template["annotations"]
    claim(world)


def claim(world: World, *, size: str = "10Gi", capacity: str = "10Gi", **reported: Any) -> None:
    requests = {"resources": {"requests": {"storage": size}}, "storageClassName": "fast", "volumeName": "pv-0"}
    body = {
        "metadata": {"name": "data-demo-0", "namespace": "shop", "labels": labels.object_labels("demo")},
        "spec": requests,
        "status": {"phase": "Bound", "capacity": {"storage": capacity}, **reported},
    }
    world.server.put(CLAIM, body)


def resize(world: World, size: str) -> None:
    """Edit the resource."""
    found = world.server.objects[CLUSTER]
    world.server.put(CLUSTER, {**found, "spec": {**found["spec"], "storage": {"size": size}}})


def condition(world: World, kind: str) -> tuple[str, str]:
    """Return status and message of a condition as published."""
    found = {one["type"]: one for one in world.server.objects[CLUSTER]["status"]["conditions"]}
    return found[kind]["status"], found[kind]["message"]


async def test_larger_size_reaches_the_claim_and_its_pod_stays(world: World) -> None:
    await formed(world)
    world.server.put(CLASS, {"metadata": {"name": "fast"}, "allowVolumeExpansion": True})
    resize(world, "20Gi")
    world.server.requests.clear()
    await world.rounds(1)
    assert world.server.objects[CLAIM]["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert not [path for method, path in world.server.requests if method == "DELETE"]
    await world.rounds(1)
    plans = world.server.objects[CLUSTER]["status"]["plan"]
    assert "the storage provider has not expanded it yet" in "".join(one.get("blockedBy", "") for one in plans)
    claim(world, size="20Gi", capacity="20Gi")
    await world.rounds(1)
    plans = world.server.objects[CLUSTER]["status"]["plan"]
    assert not [one for one in plans if one["step"] == "GrowVolume"]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({"metadata": {"name": "fast"}}, "the StorageClass fast does not allow volumes to grow"),
        (None, "the StorageClass fast does not exist"),
    ],
)
async def test_class_without_volume_expansion_is_named(world: World, found: dict[str, Any] | None, reason: str) -> None:
    await formed(world)
    if found is not None:
        world.server.put(CLASS, found)
    resize(world, "20Gi")
    await world.rounds(1)
    assert world.server.objects[CLAIM]["spec"]["resources"]["requests"]["storage"] == "10Gi"
    plans = world.server.objects[CLUSTER]["status"]["plan"]
    assert f"data-demo-0: {reason}" in [one.get("blockedBy") for one in plans]


async def test_file_system_resize_that_needs_a_restart_gets_one(world: World) -> None:
    """After a delay: most drivers resize online."""
    await formed(world)
    pending = {"type": "FileSystemResizePending", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    claim(world, size="10Gi", capacity="5Gi", conditions=[pending])
    _, observed = await world.look()
    assert observed.slot(0).pod.restart_reason == ""  # type: ignore[union-attr]
    world.seconds += FILE_SYSTEM_S
    _, observed = await world.look()
    assert "only be made larger by a restart" in observed.slot(0).pod.restart_reason  # type: ignore[union-attr]
    volume = observed.slot(0).volume
    assert isinstance(volume, Volume)
    assert volume.resize_status == "FileSystemResizePending"


async def test_expansion_of_a_changed_claim_is_requested_again(world: World) -> None:
    await formed(world)
    desired, observed = await world.look()

    async def behave(request: Any) -> None:
        if request.method == "PATCH" and "persistentvolumeclaims" in request.path:
            claim(world)

    world.server.behave = behave
    with pytest.raises(ActionRefused, match="resourceVersion"):
        await world.runtime.execute(
            GrowVolume(ordinal=0, name="data-demo-0", size="20Gi", reason="x"), desired, observed
        )


async def test_workload_is_deleted_and_its_pods_are_orphaned(world: World) -> None:
    await formed(world)
    desired, observed = await world.look()
    with pytest.raises(ActionRefused, match="has changed since it was observed"):
        await world.runtime.execute(ReplaceWorkload(replicas=5, reason="x"), desired, observed)
    await world.runtime.execute(ReplaceWorkload(replicas=3, reason="x"), desired, observed)
    assert world.server.bodies[-1]["propagationPolicy"] == "Orphan"
    assert world.server.bodies[-1]["preconditions"].keys() == {"uid", "resourceVersion"}
    assert WORKLOAD not in world.server.objects
    assert f"{NAMESPACE}/pods/demo-0" in world.server.objects


async def test_workload_that_is_being_deleted_is_not_changed(world: World) -> None:
    """Its pods are being orphaned."""
    await formed(world)
    world.server.objects[WORKLOAD]["metadata"]["deletionTimestamp"] = "x"
    _, observed = await world.look()
    assert observed.workload == Unknown("the StatefulSet demo is being deleted")


@pytest.mark.parametrize(
    ("reported", "name", "message"),
    [
        ({"phase": "Pending"}, "fast", "the claim data-demo-0 is not bound: the StorageClass fast does not exist"),
        ({"phase": "Pending"}, "", "it names no StorageClass, and there is no default"),
        ({"phase": "Lost"}, "fast", "the volume of the claim data-demo-0 is lost"),
    ],
)
async def test_claim_that_is_not_bound_is_named_with_its_pod(
    world: World, reported: dict[str, str], name: str, message: str
) -> None:
    await formed(world)
    metadata = {"name": "data-demo-0", "labels": labels.object_labels("demo")}
    body = {"metadata": metadata, "spec": {"storageClassName": name}, "status": reported}
    world.server.put(CLAIM, body)
    waiting(world, 0, "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims")
    await world.rounds(1)
    state, text = condition(world, "Degraded")
    assert state == "True"
    assert "demo-0 is not running: Unschedulable: 0/3 nodes" in text
    assert message in text


async def test_volume_that_is_being_provisioned_does_not_degrade_the_cluster(world: World) -> None:
    """Every new volume is unbound for a moment, and its pod unschedulable: a fault only if it lasts."""
    await formed(world)
    world.server.put(CLASS, {"metadata": {"name": "fast"}})
    body = {
        "metadata": {"name": "data-demo-0", "labels": labels.object_labels("demo")},
        "spec": {"storageClassName": "fast"},
        "status": {"phase": "Pending"},
    }
    world.server.put(CLAIM, body)
    waiting(world, 0, "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims")
    pod = world.server.objects[f"{NAMESPACE}/pods/demo-0"]
    await world.rounds(1)
    assert condition(world, "Degraded")[0] == "False"
    world.seconds += STARTING_S
    world.server.put(f"{NAMESPACE}/pods/demo-0", pod)
    await world.rounds(1)
    state, message = condition(world, "Degraded")
    assert state == "True"
    assert "the claim data-demo-0 is not bound to a volume of the StorageClass fast" in message


def waiting(world: World, ordinal: int, message: str) -> None:
    """Create a pod that cannot be scheduled."""
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    name = f"demo-{ordinal}"
    world.server.put(
        f"{NAMESPACE}/pods/{name}",
        {
            "metadata": {
                "name": name,
                "uid": "w",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": labels.object_labels("demo"),
            },
            "spec": {},
            "status": {"phase": "Pending", "conditions": [scheduled]},
        },
    )


async def test_pod_that_cannot_be_created_names_the_reason(world: World) -> None:
    """The StatefulSet controller reports it only in Events; the newest counts."""
    await formed(world)
    text = 'create Pod demo-1 in StatefulSet demo failed error: pods "demo-1" is forbidden: '
    tell(world, text + "exceeded quota: small, limited: pods=1", second=2)
    tell(world, text + "x", second=1)
    await world.rounds(1)
    state, message = condition(world, "Degraded")
    assert state == "True"
    assert message == "demo-1 has not been started: exceeded quota: small, limited: pods=1"
    assert condition(world, "Ready") == ("False", message)
    asked = zip(world.server.requests, world.server.queries, strict=True)
    query = next(query for request, query in asked if request == ("GET", EVENTS))
    assert query["fieldSelector"] == "regarding.kind=StatefulSet,regarding.name=demo"
    # The members name the cause without its detail.
    status = world.server.objects[CLUSTER]["status"]
    assert status["members"][1]["message"] == "demo-1 has not been started: exceeded quota"


def tell(world: World, note: str, *, second: int, reason: str = "FailedCreate") -> None:
    """Create an Event about the StatefulSet."""
    name = f"e{second}-{len(world.server.objects)}"
    body = {"note": note, "reason": reason, "eventTime": f"2026-01-01T00:00:0{second}.000000Z"}
    world.server.put(f"{EVENTS}/{name}", {"metadata": {"name": name}, **body})


async def test_missing_priority_class_is_named_and_not_the_claim(world: World) -> None:
    """A claim that waits for its first consumer is an effect. The same cause of several pods is told once."""
    await formed(world)
    for ordinal in (1, 2):
        name = f"demo-{ordinal}"
        cause = "no PriorityClass with name urgent was found"
        tell(
            world, f'create Pod {name} in StatefulSet demo failed error: pods "{name}" is forbidden: {cause}', second=1
        )
        claim = {"metadata": {"name": f"data-{name}"}, "spec": {}, "status": {"phase": "Pending"}}
        world.server.put(CLAIM.replace("demo-0", name), claim)
    await world.rounds(1)
    state, message = condition(world, "Degraded")
    assert (state, message) == (
        "True",
        "demo-1, demo-2: has not been started: no PriorityClass with name urgent was found",
    )


async def test_refusal_before_the_last_creation_explains_no_restart(world: World) -> None:
    """Events stay for an hour: the quota of then is not why the pod is missing now."""
    await formed(world)
    for second in (1, 2):  # in the same second too
        tell(world, 'create Pod demo-1 in StatefulSet demo failed error: pods "demo-1" is forbidden: x', second=second)
    tell(world, "create Pod demo-1 in StatefulSet demo successful", second=2, reason="SuccessfulCreate")
    _, observed = await world.look()
    assert observed.slot(1).pending_reason == ""


async def test_broken_image_of_a_new_cluster_is_named(world: World) -> None:
    """Also before the cluster is bootstrapped."""
    await formed(world)
    body = world.server.objects[f"{NAMESPACE}/pods/demo-0"]
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}
    body["status"] = {"containerStatuses": [{"state": state, "restartCount": 0}]}
    await world.rounds(1)
    for kind in ("Degraded", "Ready"):
        assert condition(world, kind)[1] == "demo-0 is not running: ImagePullBackOff: no such tag"


async def test_starting_pods_do_not_degrade_the_cluster(world: World) -> None:
    await formed(world)
    assert condition(world, "Degraded")[0] == "False"


async def test_nothing_is_created_in_a_terminating_namespace(world: World) -> None:
    """Not even attempted: every request would be refused."""
    await formed(world)
    world.server.put(NAMESPACE, {"metadata": {"name": "shop", "deletionTimestamp": "x"}})
    for path in (WORKLOAD, RECORD, f"{NAMESPACE}/pods/demo-0", CLAIM):
        del world.server.objects[path]
    before = set(world.server.objects)
    world.server.requests.clear()
    await world.rounds(3)
    assert set(world.server.objects) == before
    written = {path for method, path in world.server.requests if method != "GET"}
    assert written <= {f"{CLUSTER}/status"}
    assert "the namespace shop is terminating" in condition(world, "Progressing")[1]


async def test_objects_deleted_with_a_namespace_are_not_recreated(world: World) -> None:
    """The record is deleted during the observation: the status keeps the identity, and nothing is created."""
    await formed(world)
    identity = world.server.objects[CLUSTER]["status"]["clusterID"]

    async def behave(request: Any) -> web.Response | None:
        if request.path == RECORD:
            world.server.put(NAMESPACE, {"metadata": {"name": "shop", "deletionTimestamp": "x"}})
            world.server.objects.pop(RECORD, None)
        return None

    world.server.behave = behave
    world.server.requests.clear()
    await world.rounds(1)
    assert {path for method, path in world.server.requests if method != "GET"} <= {f"{CLUSTER}/status"}
    assert world.server.objects[CLUSTER]["status"]["clusterID"] == identity


async def test_no_event_is_attempted_in_a_terminating_namespace(world: World) -> None:
    await formed(world)
    world.server.put(NAMESPACE, {"metadata": {"name": "shop", "deletionTimestamp": "x"}})
    await world.rounds(1)
    world.server.requests.clear()
    await world.runtime.record(Event(time=1.0, reason="RoundFailed", message="its role is gone"))
    assert world.server.requests == []


async def test_resource_in_a_terminating_namespace_is_released(world: World) -> None:
    """Or the namespace would wait for our finalizer for ever: our Role in it may be deleted before the resource."""
    await formed(world, {"deletionProtection": True})
    world.server.put(NAMESPACE, {"metadata": {"name": "shop", "deletionTimestamp": "x"}})
    world.server.objects[CLUSTER]["metadata"]["deletionTimestamp"] = "x"

    async def behave(request: Any) -> web.Response | None:
        allowed = request.path.startswith(CLUSTER) or request.path == NAMESPACE
        return None if allowed else status(403, "Forbidden", "no role any more")

    world.server.behave = behave
    assert await world.rounds(2) == ["Acted", "Gone"]
    assert labels.FINALIZER not in world.server.objects[CLUSTER]["metadata"]["finalizers"]


def test_permissions_to_release_a_resource_outlive_its_namespace() -> None:
    """They come from a ClusterRole, which is not deleted with the namespace."""
    everywhere = {(one.resource, verb) for one in PERMISSIONS if one.everywhere for verb in one.verbs}
    assert {("namespaces", "get"), *((labels.PLURAL, verb) for verb in ("get", "list", "watch", "patch"))} <= everywhere


async def test_invalid_resource_can_be_deleted(world: World) -> None:
    """It was stored before a rule existed: the condition says why it is invalid, and its volumes are retained."""
    await formed(world)
    found = world.server.objects[CLUSTER]
    world.server.put(CLUSTER, {**found, "spec": {"replicas": 4, "colour": "green", "storage": {"size": "big"}}})
    assert await world.rounds(1) == ["Refused"]
    assert "spec.colour" in condition(world, "Accepted")[1]
    assert world.server.objects[WORKLOAD]["spec"]["replicas"] == 3
    world.server.objects[CLUSTER]["metadata"]["deletionTimestamp"] = "x"
    assert await world.rounds(1) == ["Acted"]
    assert world.server.objects[WORKLOAD]["spec"]["replicas"] == 0
    del world.server.objects[f"{NAMESPACE}/pods/demo-0"]
    assert await world.rounds(2) == ["Acted", "Gone"]
    assert CLAIM in world.server.objects


async def test_deletion_protection_of_an_invalid_resource_holds(world: World) -> None:
    await formed(world)
    found = world.server.objects[CLUSTER]
    world.server.put(CLUSTER, {**found, "spec": {"replicas": 4, "deletionProtection": True}})
    world.server.objects[CLUSTER]["metadata"]["deletionTimestamp"] = "x"
    assert await world.rounds(2) == ["Refused", "Refused"]
    assert world.server.objects[WORKLOAD]["spec"]["replicas"] == 3


async def test_failing_pod_does_not_block_other_actions(world: World) -> None:
    """Missing objects are created though one pod cannot start."""
    await formed(world)
    waiting(world, 0, "0/3 nodes are available")
    service = f"{NAMESPACE}/services/demo-peers"
    del world.server.objects[service]
    desired, observed = await world.look()
    assert "Service demo-peers" in [step.subject for step in planned(desired, observed).steps]
    await world.rounds(1)
    assert service in world.server.objects
