"""Objects of others under the names of a cluster: neither used, changed nor deleted; the cluster waits and says so."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from collectionstore_operator import manifests
from collectionstore_operator.errors import ActionRefused, HeldElsewhere
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.children import Children
from collectionstore_operator.kubernetes.ownership import foreign
from collectionstore_operator.kubernetes.record import Record
from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import ApplyObject, DeleteObject, RestoreLabels
from collectionstore_operator.model.observed import Pod, Unknown
from collectionstore_operator.model.pods import outdated
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.kubernetes.test_runtime import CLUSTER, RECORD, WORKLOAD, World, living

CORE = "/api/v1/namespaces/shop"
PLACES = {
    "Service demo": f"{CORE}/services/demo",
    "Service demo-peers": f"{CORE}/services/demo-peers",
    "ServiceAccount demo-node": f"{CORE}/serviceaccounts/demo-node",
    "PodDisruptionBudget demo": "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/demo",
    "NetworkPolicy demo": "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/demo",
    "StatefulSet demo": WORKLOAD,
    "ConfigMap demo-record": RECORD,
    "Secret demo-authority": f"{CORE}/secrets/demo-authority",
    "Secret demo-operator": f"{CORE}/secrets/demo-operator",
}
LEASE = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/demo-operator"
WEB = [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "w9", "controller": True}]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server, clock = FakeApiServer(), Clock()
    async with await server.start() as client:
        yield World(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    await server.stop()


def take(world: World, subject: str, **metadata: Any) -> dict[str, Any]:
    """Have an object of another owner under a name of the cluster."""
    body: dict[str, Any] = {"metadata": {"name": subject.split()[1], "namespace": "shop", **metadata}}
    if subject.startswith("StatefulSet"):
        body["spec"] = {"replicas": 1, "template": {"metadata": {}}}
    return world.server.put(PLACES[subject], body)


def condition(world: World, kind: str) -> dict[str, str]:
    conditions = world.server.objects[CLUSTER]["status"]["conditions"]
    return next(one for one in conditions if one["type"] == kind)


@pytest.mark.parametrize("subject", PLACES)
async def test_new_cluster_waits_for_a_foreign_object_and_goes_on_by_itself(world: World, subject: str) -> None:
    """Nothing is created beside it; once it is gone, no hand is needed."""
    theirs = copy.deepcopy(take(world, subject, ownerReferences=WEB))
    world.create()
    assert (await world.rounds(3))[-1] == "Waiting"
    made = {path for path in world.server.objects if "/events/" not in path}
    assert made == {CLUSTER, LEASE, PLACES[subject]}
    assert world.server.objects[PLACES[subject]] == theirs
    said = condition(world, "ObjectsApplied")
    assert (said["status"], said["reason"]) == ("False", "ForeignObject")
    assert f"the {subject} belongs to the Deployment web" in said["message"]
    assert condition(world, "Ready")["status"] == "False"
    (step,) = world.server.objects[CLUSTER]["status"]["plan"]
    assert (step["subject"], step["blockedBy"]) == (subject, f"the {subject} belongs to the Deployment web")
    del world.server.objects[PLACES[subject]]
    await world.rounds(3)
    assert set(PLACES.values()) <= world.server.objects.keys()
    assert condition(world, "ObjectsApplied")["reason"] in ("AllApplied", "ApplyPending")


@pytest.mark.parametrize("subject", PLACES)
async def test_resource_that_waits_can_be_deleted_and_takes_nothing_along(world: World, subject: str) -> None:
    theirs = copy.deepcopy(take(world, subject, ownerReferences=WEB))
    world.create({"storage": {"retention": "Delete"}})
    await world.rounds(2)
    metadata = world.server.objects[CLUSTER]["metadata"]
    metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    await world.rounds(3)
    assert labels.FINALIZER not in world.server.objects[CLUSTER]["metadata"]["finalizers"]
    assert world.server.objects[PLACES[subject]] == theirs


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [({"ownerReferences": WEB}, "the Deployment web"), ({"labels": {"app": "web"}}, "another owner")],
)
async def test_lease_of_somebody_else_is_not_taken(world: World, metadata: dict[str, Any], owner: str) -> None:
    """Programs of others elect their leader by Leases, too."""
    spec = {"holderIdentity": ""}
    body = {"metadata": {"name": "demo-operator", "namespace": "shop", **metadata}, "spec": spec}
    theirs = copy.deepcopy(world.server.put(LEASE, body))
    world.create()
    desired = await world.runtime.desired()
    assert desired is not None
    with pytest.raises(HeldElsewhere, match=f"the Lease demo-operator belongs to {owner}: rename or delete it"):
        await world.runtime.hold(desired)
    assert world.server.objects[LEASE] == theirs
    assert (await world.rounds(1))[-1] == "Standby"
    assert not [path for path in PLACES.values() if path in world.server.objects]


async def test_claim_of_somebody_else_is_neither_stamped_nor_labelled_nor_deleted(world: World) -> None:
    """A StatefulSet starts a pod on a claim by name alone, so its data would become a member's."""
    path = f"{CORE}/persistentvolumeclaims/data-demo-1"
    body = {"metadata": {"name": "data-demo-1", "namespace": "shop"}, "spec": {"volumeName": "pv-9"}}
    theirs = copy.deepcopy(world.server.put(path, body))
    world.create({"storage": {"retention": "Delete"}})
    await world.rounds(3)
    assert WORKLOAD not in world.server.objects
    assert (
        "the PersistentVolumeClaim data-demo-1 belongs to another owner"
        in condition(world, "ObjectsApplied")["message"]
    )
    world.server.objects[CLUSTER]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    await world.rounds(3)
    assert labels.FINALIZER not in world.server.objects[CLUSTER]["metadata"]["finalizers"]
    assert world.server.objects[path] == theirs


async def test_pods_of_a_foreign_workload_of_our_name_are_not_ours(world: World) -> None:
    """Their owner has kind and name of our StatefulSet: only its uid tells them apart."""
    metadata = {"name": "demo", "namespace": "shop", "uid": "s9", "ownerReferences": WEB}
    world.server.put(WORKLOAD, {"metadata": metadata, "spec": {"replicas": 1, "template": {"metadata": {}}}})
    owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "demo", "uid": "s9", "controller": True}
    claimed = [{"persistentVolumeClaim": {"claimName": "data-demo-0"}}]
    pod = {"metadata": {"name": "demo-0", "uid": "p9", "ownerReferences": [owner]}, "spec": {"volumes": claimed}}
    claim = {"metadata": {"name": "data-demo-0", "uid": "c9"}, "spec": {"volumeName": "pv-9"}}
    for path, body in ((f"{CORE}/pods/demo-0", pod), (f"{CORE}/persistentvolumeclaims/data-demo-0", claim)):
        world.server.put(path, body)
    world.create()
    _, observed = await world.look()
    assert {(one.kind, one.name) for one in observed.foreign} == {
        ("StatefulSet", "demo"),
        ("Pod", "demo-0"),
        ("PersistentVolumeClaim", "data-demo-0"),
    }
    assert isinstance(observed.slot(0).pod, Unknown)
    assert isinstance(observed.slot(0).volume, Unknown)
    action = RestoreLabels(kind="Pod", name="demo-0", uid="p9", reason="x")
    with pytest.raises(ActionRefused, match="the Pod demo-0 belongs to the StatefulSet demo"):
        await Children(world.kube).restore_labels(action, Desired(name="demo", namespace="shop", uid="u1"))


async def test_living_cluster_goes_on_without_a_budget_of_its_own(world: World) -> None:
    """Members still need repair; only the object that is not ours is left out."""
    await living(world)
    theirs = copy.deepcopy(take(world, "PodDisruptionBudget demo"))
    del world.server.objects[PLACES["Service demo-peers"]]
    await world.rounds(1)
    assert PLACES["Service demo-peers"] in world.server.objects
    assert world.server.objects[PLACES["PodDisruptionBudget demo"]] == theirs
    assert condition(world, "ObjectsApplied")["reason"] == "ForeignObject"


async def test_living_cluster_whose_service_is_another_one_is_not_available(world: World) -> None:
    await living(world)
    take(world, "Service demo", ownerReferences=WEB)
    await world.rounds(1)
    said = condition(world, "Available")
    assert (said["status"], said["reason"]) == ("False", "ServiceMisdirected")
    assert "belongs to the Deployment web" in said["message"]


async def test_object_that_is_taken_between_plan_and_action_is_not_changed(world: World) -> None:
    world.create()
    desired, _ = await world.look()
    children = Children(world.kube)
    for kind, name in (("Service", "demo"), ("NetworkPolicy", "demo")):
        subject = f"{kind} {name}"
        theirs = copy.deepcopy(take(world, subject))
        with pytest.raises(ActionRefused, match=f"the {subject} belongs to another owner"):
            await children.apply(_planned(kind, name, desired), desired)
        if kind == "NetworkPolicy":
            with pytest.raises(ActionRefused, match="belongs to another owner"):
                await children.delete(DeleteObject(kind=kind, name=name, reason="x"), desired)
        assert world.server.objects[PLACES[subject]] == theirs


async def test_object_that_appears_with_our_write_is_not_overwritten(world: World) -> None:
    """Created, not applied: the API server refuses a second object of the name."""
    world.create()
    desired, _ = await world.look()

    async def behave(request: Any) -> None:
        if request.method == "POST":
            world.server.behave = None
            take(world, "Service demo")

    world.server.behave = behave
    with pytest.raises(ActionRefused, match="belongs to another owner"):
        await Children(world.kube).apply(_planned("Service", "demo", desired), desired)


async def test_two_clusters_do_not_share_a_service(world: World) -> None:
    """`a-peers` that existed before the name was reserved: the second one is told whose the Service is."""
    owner = {"kind": labels.KIND, "name": "demo-before", "uid": "u9", "controller": True}
    take(world, "Service demo", ownerReferences=[owner], labels=labels.object_labels("demo-before"))
    world.create()
    await world.rounds(2)
    assert "belongs to the CollectionStoreCluster demo-before" in condition(world, "ObjectsApplied")["message"]


async def test_facts_recorded_meanwhile_are_not_lost(world: World) -> None:
    world.create()
    await world.rounds(2)
    desired, _ = await world.look()

    async def behave(request: Any) -> None:
        if request.method == "PATCH" and request.path == RECORD:
            world.server.behave = None
            world.server.put(RECORD, world.server.objects[RECORD])

    world.server.behave = behave
    with pytest.raises(Exception, match="resourceVersion is"):
        await Record(world.kube).change(desired, initialized="true")


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        ({"ownerReferences": [{"kind": labels.KIND, "name": "demo", "uid": "u1"}]}, ""),
        ({"labels": labels.object_labels("demo")}, ""),
        ({"labels": {labels.MANAGED_BY: labels.FIELD_MANAGER, labels.CLUSTER: "demo"}}, ""),
        ({"labels": {labels.CLUSTER: "demo"}}, "another owner"),
        ({"labels": labels.object_labels("other")}, "another owner"),
        ({"labels": labels.object_labels("demo"), "ownerReferences": WEB}, "the Deployment web"),
        ({"managedFields": [{"manager": "helm"}, {"manager": "x", "subresource": "status"}]}, "written by helm"),
        (
            {
                "labels": labels.object_labels("demo"),
                "ownerReferences": [{"kind": labels.KIND, "name": "demo", "uid": "u0"}],
            },
            "an earlier CollectionStoreCluster demo",
        ),
    ],
)
def test_owner_is_proved_by_uid_or_by_our_labels_without_an_owner(metadata: dict[str, Any], owner: str) -> None:
    desired = Desired(name="demo", namespace="shop", uid="u1")
    found = foreign("Service", {"metadata": {"name": "demo", **metadata}}, desired)
    assert (found is None) == (not owner)
    if found is not None:
        assert owner in found.owner


def _planned(kind: str, name: str, desired: Desired) -> ApplyObject:
    (found,) = [one for one in manifests.build(desired, disruptions=None) if (one.kind, one.name) == (kind, name)]
    return ApplyObject(kind=kind, name=name, digest=found.digest, reason="x")


async def test_pod_of_a_changed_template_is_restarted(world: World) -> None:
    """It carries the desired revision and runs another image: the controller's record of its template shows it."""
    await living(world)
    desired, _ = await world.look()
    stored = world.server.objects[f"{CORE}/pods/demo-0"]
    current = revision(desired)
    stored["metadata"] |= {
        "annotations": {labels.REVISION: current},
        "labels": {"controller-revision-hash": "demo-bad"},
    }
    template = copy.deepcopy(world.server.objects[WORKLOAD]["spec"]["template"])
    record = "/apis/apps/v1/namespaces/shop/controllerrevisions/demo-bad"
    world.server.put(record, {"metadata": {"name": "demo-bad"}, "data": {"spec": {"template": template}}})
    pod = await _pod_of(world)
    assert pod.revision == current, "another rendering of the same settings restarts nothing"
    template["spec"]["containers"][0]["image"] = "evil"
    world.server.put(record, {"metadata": {"name": "demo-bad"}, "data": {"spec": {"template": template}}})
    assert outdated(await _pod_of(world), current) == "it was created from a pod template that somebody had changed"


async def _pod_of(world: World) -> Pod:
    """Observe demo-0 as an operator that has just started."""
    _, observed = await World(world.server, world.kube).look()
    pod = observed.slot(0).pod
    assert isinstance(pod, Pod)
    return pod
