"""Read replicas on Kubernetes: their objects appear, are observed apart from the voters', and go again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes import by_name
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.model.actions import DeleteObject
from collectionstore_operator.model.observed import Configuration, Member, NodeStatus, Unknown, Workload
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.kubernetes.test_runtime import CLUSTER, RECORD, WORKLOAD, World

VOTER = "/api/v1/namespaces/shop/pods/demo-0"
READS = f"{WORKLOAD}-read"
SERVICE = "/api/v1/namespaces/shop/services/demo-read"
PEERS = "/api/v1/namespaces/shop/services/demo-read-peers"
BUDGET = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/demo-read"
POLICY = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/demo-read"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server, clock = FakeApiServer(), Clock()
    async with await server.start() as client:
        yield World(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    await server.stop()


async def led(world: World, **spec: Any) -> None:
    """Have a cluster of one voter, which leads, with these fields of the spec."""
    world.create({"replicas": 1, "unsafe": {"allowSingleReplica": True}, **spec})
    await world.rounds(2)
    world.pod(0)
    template = world.server.objects[WORKLOAD]["spec"]["template"]["metadata"]
    world.server.objects[VOTER]["metadata"]["annotations"] = {labels.REVISION: template["annotations"][labels.REVISION]}
    me = Member("node-0", name="demo-0", match_index=5, lag=0, active=True)
    configuration = Configuration(index=3, voters=("node-0",))
    world.node(0, state="Member", last_index=5, term=1, role="Leader", configuration=configuration, members=(me,))
    await world.rounds(1)


def labelled(name: str, **metadata: Any) -> dict[str, Any]:
    return {"name": name, "uid": f"uid-{name}", "labels": labels.object_labels("demo", "demo-read"), **metadata}


def put_pod(world: World, name: str = "demo-read-0") -> None:
    """Have the pod of a read replica, on its claim, and its node, which answers under its own Service."""
    claim = f"data-{name}"
    world.server.put(
        f"/api/v1/namespaces/shop/persistentvolumeclaims/{claim}", {"metadata": labelled(claim), "spec": {}}
    )
    body = {
        "metadata": labelled(name, creationTimestamp="2026-01-01T00:00:00Z"),
        "spec": {"nodeName": "n1", "volumes": [{"persistentVolumeClaim": {"claimName": claim}}]},
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "containerStatuses": [{"state": {"running": {}}}],
            "podIP": "10.0.0.9",
        },
    }
    world.server.put(f"/api/v1/namespaces/shop/pods/{name}", body)
    cluster_id = world.server.objects[RECORD]["data"]["cluster-id"]
    url = f"https://{name}.demo-read-peers.shop.svc:7400"
    world.nodes.answers[url] = NodeStatus(cluster_id=cluster_id, node_id="read-0", name=name, staleness_ms=40)


async def test_a_cluster_without_them_has_none_of_their_objects(world: World) -> None:
    await led(world)
    await world.rounds(3)
    _, observed = await world.look()
    assert observed.reads is None
    assert not any("demo-read" in path for path in world.server.objects)


async def test_their_objects_are_an_instance_of_their_own(world: World) -> None:
    await led(world, readReplicas=2)
    voters = world.server.objects[WORKLOAD]["spec"]["template"]
    await world.rounds(4)
    for path in (READS, SERVICE, PEERS, BUDGET, POLICY):
        assert path in world.server.objects, path
    spec = world.server.objects[READS]["spec"]
    assert (spec["replicas"], spec["serviceName"]) == (2, "demo-read-peers")
    assert spec["selector"]["matchLabels"] == labels.selector("demo-read")
    assert world.server.objects[SERVICE]["spec"]["selector"] == labels.selector("demo-read")
    assert spec["template"]["spec"]["serviceAccountName"] == "demo-node"
    assert world.server.objects[WORKLOAD]["spec"]["template"] == voters


async def test_they_are_observed_apart(world: World) -> None:
    await led(world, readReplicas=1)
    await world.rounds(4)
    put_pod(world)
    _, observed = await world.look()
    assert [slot.ordinal for slot in observed.slots] == [0]
    assert observed.reads is not None
    assert isinstance(observed.reads.workload, Workload)
    (slot,) = observed.reads.slots
    assert isinstance(slot.node, NodeStatus)
    assert slot.node.staleness_ms == 40
    assert world.nodes.located("demo-read-0.demo-read-peers.shop.svc") == "10.0.0.9"
    assert world.nodes.located("demo-0.demo-peers.shop.svc") == "10.0.0.0", "voters are still reached"


async def test_down_to_none_everything_of_theirs_goes(world: World) -> None:
    await led(world, readReplicas=1)
    await world.rounds(4)
    world.server.objects[CLUSTER]["spec"]["readReplicas"] = 0
    await world.rounds(6)
    left = [path for path in (READS, SERVICE, PEERS, BUDGET, POLICY) if path in world.server.objects]
    assert not left


async def test_a_statefulset_with_pods_is_not_deleted(world: World) -> None:
    await led(world, readReplicas=1)
    await world.rounds(4)
    desired, observed = await world.look()
    action = DeleteObject(kind="StatefulSet", name="demo-read", group="reads", reason="a test")
    with pytest.raises(ActionRefused, match="has pods"):
        await world.runtime.execute(action, desired, observed)


async def test_a_cluster_of_their_name_keeps_its_own(world: World) -> None:
    """Made before the name was reserved: its StatefulSet and pods are no read replicas of ours."""
    await led(world)
    foreign = {"metadata": {"name": "demo-read", "uid": "x", "labels": labels.object_labels("demo-read")}, "spec": {}}
    world.server.put(READS, foreign)
    pod = {"metadata": {"labels": labels.object_labels("demo-read")}}
    assert not by_name.is_selected(pod, Desired(name="demo").reads())
    world.server.objects[CLUSTER]["spec"]["readReplicas"] = 1
    await world.rounds(4)
    _, observed = await world.look()
    assert observed.reads is not None
    assert isinstance(observed.reads.workload, Unknown)
    assert world.server.objects[READS]["metadata"]["uid"] == "x"
