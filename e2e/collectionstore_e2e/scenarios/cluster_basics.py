"""Prerequisites of the product's scenarios, tested without the product: nodes, volumes, DNS, PodDisruptionBudgets."""

from __future__ import annotations

import asyncio
from typing import Final

from collectionstore_e2e.harness.client import Objects
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import refusal
from collectionstore_e2e.harness.kinds import (
    CLAIM,
    DISRUPTION_BUDGET,
    NODE,
    POD,
    STATEFUL_SET,
    Object,
    condition,
    is_ready,
)
from collectionstore_e2e.harness.objects import (
    IDLE,
    START_S,
    claim,
    container,
    headless_service,
    one_per_node,
    pod,
    pod_spec,
    stateful_set,
)
from collectionstore_e2e.harness.scenario import scenario

ZONE: Final = "topology.kubernetes.io/zone"


@scenario(timeout_s=60)
async def nodes_are_ready_in_three_zones(context: Context) -> None:
    """Three nodes are Ready, each in another zone."""

    def complete(nodes: Objects) -> bool:
        return len({node["metadata"]["labels"].get(ZONE) for node in nodes.values() if is_ready(node)} - {None}) >= 3

    nodes = await context.client.until(NODE, complete, what="three Ready nodes in three zones", timeout_s=30)
    for node in nodes.values():
        labels, info = node["metadata"]["labels"], node["status"]["nodeInfo"]
        context.say(f"{node['metadata']['name']} {labels.get(ZONE)} {info['kubeletVersion']}")


@scenario(timeout_s=180)
async def a_volume_outlives_its_pod(context: Context) -> None:
    """A pod writes to its PersistentVolumeClaim and is deleted; the next pod that mounts the claim reads the data."""
    await context.client.apply(claim("data"))
    for name, command in (
        ("writer", "echo kept > /data/file && sync"),
        ("reader", 'test "$(cat /data/file)" = kept'),
    ):
        await context.client.apply(_volume_pod(name, context.images.toolbox, command))
        done = await context.client.until_one(
            POD, name, lambda one: one["status"].get("phase") in ("Succeeded", "Failed"), what="end", timeout_s=START_S
        )
        assert done["status"]["phase"] == "Succeeded", await context.client.logs(name)
        await context.client.delete(POD, name)
        await context.client.until_gone(POD, name, timeout_s=30)
    bound = await context.client.get(CLAIM, "data")
    assert bound["status"]["phase"] == "Bound", bound["status"]
    context.say(f"class {bound['spec']['storageClassName']}, volume {bound['spec']['volumeName']}")


def _volume_pod(name: str, image: str, command: str) -> Object:
    main = container("main", image, ["/bin/sh", "-c", command], volumeMounts=[{"name": "data", "mountPath": "/data"}])
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    return pod(name, pod_spec(main, restartPolicy="Never", volumes=volumes))


@scenario(timeout_s=180)
async def pods_on_different_nodes_resolve_each_other(context: Context) -> None:
    """Pods of a headless Service connect to each other by DNS name across nodes, also after one was recreated."""
    labels = {"app": "peers"}
    serve = ["python3", "-m", "http.server", "8080", "--directory", "/tmp"]
    main = container("main", context.images.toolbox, serve, workingDir="/")
    await context.client.apply(headless_service("peers", labels, {"http": 8080}))
    spec = pod_spec(main, affinity=one_per_node(labels))
    await context.client.apply(stateful_set("peers", labels, 3, spec, []))
    pods = await context.client.until(
        POD,
        lambda found: sum(map(is_ready, found.values())) == 3,
        what="three pods",
        timeout_s=START_S,
        labels="app=peers",
    )
    assert len({one["spec"]["nodeName"] for one in pods.values()}) == 3, "the pods do not run on three nodes"
    for source in pods:
        for target, found in pods.items():
            assert await _reached(context, source, target) == found["status"]["podIP"]

    before = pods["peers-0"]
    await context.client.delete(POD, "peers-0")
    after = await context.client.until_one(
        POD,
        "peers-0",
        lambda one: is_ready(one) and one["metadata"]["uid"] != before["metadata"]["uid"],
        what="its successor Ready",
        timeout_s=START_S,
    )
    assert await _reached(context, "peers-1", "peers-0", is_now=after["status"]["podIP"]) == after["status"]["podIP"]


CONNECT: Final = """
import socket, sys, time
name, expected, deadline = sys.argv[1], sys.argv[2], time.monotonic() + 20
while True:
    try:
        address = socket.gethostbyname(name)
        if address == expected or not expected:
            with socket.create_connection((address, 8080), 2):
                break
    except OSError as error:
        address = str(error)
    if time.monotonic() > deadline:
        break
    time.sleep(0.2)
print(address, end="")
"""


async def _reached(context: Context, source: str, target: str, *, is_now: str = "") -> str:
    """Return the address at which one pod connects to another by its DNS name, or the error."""
    name = f"{target}.peers.{context.namespace}.svc.cluster.local"
    return await context.kubectl.exec(source, "python3", "-c", CONNECT, name, is_now)


@scenario(timeout_s=180)
async def a_disruption_budget_blocks_evictions(context: Context) -> None:
    """With minAvailable 1, one of two pods is evicted; the second eviction is rejected until the first is Ready."""
    labels = {"app": "guarded"}
    spec = pod_spec(container("main", context.images.toolbox, IDLE))
    await context.client.apply(stateful_set("guarded", labels, 2, spec, []))
    await _until_ready(context, "guarded", 2)
    budget = {"minAvailable": 1, "selector": {"matchLabels": labels}}
    await context.client.apply(
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "guarded"}, "spec": budget}
    )
    await context.client.until_one(
        DISRUPTION_BUDGET,
        "guarded",
        lambda one: one.get("status", {}).get("disruptionsAllowed") == 1,
        what="one disruption allowed",
        timeout_s=30,
    )
    # No node matches the selector, so the evicted pod stays Pending and the second eviction must be rejected.
    hold = {"spec": {"template": {"spec": {"nodeSelector": {"e2e": context.namespace}}}}}
    await context.client.patch(STATEFUL_SET, "guarded", hold)
    await _evict(context, "guarded-1")
    await context.client.until_one(
        DISRUPTION_BUDGET,
        "guarded",
        lambda one: one["status"]["disruptionsAllowed"] == 0,
        what="no disruption allowed",
        timeout_s=30,
    )
    refused = await refusal(_evict(context, "guarded-0"))
    assert refused.status == 429, refused
    context.say(f"rejected: {refused.message}")
    assert (await context.client.get(POD, "guarded-0"))["metadata"].get("deletionTimestamp") is None


async def _evict(context: Context, name: str) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": context.namespace}}
    await context.client.post(POD, name, "eviction", body)


async def _until_ready(context: Context, name: str, replicas: int) -> None:
    await context.client.until_one(
        STATEFUL_SET,
        name,
        lambda one: one.get("status", {}).get("readyReplicas", 0) == replicas,
        what=f"{replicas} ready replicas",
        timeout_s=START_S,
    )


@scenario(timeout_s=240, needs_machines=True)
async def a_killed_node_becomes_unknown_and_recovers(context: Context) -> None:
    """A killed node has Ready=Unknown within 30 s; after a restart its pod is Ready again with its volume."""
    labels = {"app": "kept"}
    mount = [{"name": "data", "mountPath": "/data"}]
    main = container("main", context.images.toolbox, IDLE, volumeMounts=mount)
    await context.client.apply(stateful_set("kept", labels, 1, pod_spec(main), [claim("data")]))
    await _until_ready(context, "kept", 1)
    await context.kubectl.exec("kept-0", "sh", "-c", "echo here > /data/file && sync")
    node = (await context.client.get(POD, "kept-0"))["spec"]["nodeName"]

    loop = asyncio.get_running_loop()
    killed = loop.time()
    await context.own_machines.kill(node)
    await context.client.until_one(
        NODE, node, lambda one: condition(one, "Ready") == "Unknown", what="Ready=Unknown", timeout_s=30
    )
    context.say(f"{node} was Ready=Unknown after {loop.time() - killed:.1f} s")
    started = loop.time()
    await context.own_machines.start(node)
    await context.client.until_one(POD, "kept-0", is_ready, what="Ready again", timeout_s=90)
    context.say(f"its pod was Ready {loop.time() - started:.1f} s after its start")
    assert await context.kubectl.exec("kept-0", "cat", "/data/file") == "here\n"
