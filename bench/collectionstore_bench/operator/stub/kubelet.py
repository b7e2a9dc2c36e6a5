"""Plays scheduler, kubelets and volume provisioner: claims bind at once, pods run at once and end at once."""

from __future__ import annotations

import asyncio
import base64
import itertools
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from collectionstore_bench.operator.api import Api, Body, Refused
from collectionstore_bench.operator.stub.members import Group, Member
from collectionstore_bench.operator.stub.server import Members, tls_context

MACHINES: Final = ("machine-0", "machine-1", "machine-2")
INSTANCE: Final = "app.kubernetes.io/instance"
NETWORK: Final = "127.77"
"""Pods have loopback addresses: no other program listens on them."""
AT_ONCE: Final = 16


class Kubelet:
    """All machines."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._members = Members()
        self._addresses = itertools.count(256)
        self._running: set[str] = set()
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Run until cancelled, or until a watch ends."""
        for machine in MACHINES:
            await self._register(machine)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow("/api/v1/persistentvolumeclaims", self._bind))
            group.create_task(self._follow("/api/v1/pods", self._run))

    async def _follow(self, path: str, act: Callable[[str, Body], Awaitable[None]]) -> None:
        listed = await self._api.call("GET", path)
        for body in listed["items"]:
            self._start(act("ADDED", body))
        version = listed["metadata"]["resourceVersion"]
        while True:
            async for event in self._api.watch(path, version):
                if event["type"] == "ERROR":
                    raise RuntimeError(f"the watch of {path} failed: {event['object']}")
                version = event["object"]["metadata"]["resourceVersion"]
                self._start(act(event["type"], event["object"]))

    def _start(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Awaitable[None]) -> None:
        async with self._gate:
            try:
                await work
            except Refused as error:
                if error.status not in (404, 409):  # it has gone or changed meanwhile: its next event follows
                    sys.stderr.write(f"stub: {error}\n")

    async def _register(self, machine: str) -> None:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": machine}}
        if await self._api.find(f"/api/v1/nodes/{machine}") is None:
            await self._api.call("POST", "/api/v1/nodes", node)
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": _now()}
        await self._api.patch(f"/api/v1/nodes/{machine}/status", {"status": {"conditions": [ready]}})

    async def _bind(self, kind: str, claim: Body) -> None:
        metadata = claim["metadata"]
        if kind == "DELETED" or "deletionTimestamp" in metadata or claim["spec"].get("volumeName"):
            return
        name, path = f"pv-{metadata['uid']}", f"/api/v1/namespaces/{metadata['namespace']}/persistentvolumeclaims"
        reference = {"kind": "PersistentVolumeClaim", "apiVersion": "v1"} | {
            key: metadata[key] for key in ("namespace", "name", "uid")
        }
        capacity = claim["spec"]["resources"]["requests"]
        spec = {
            "capacity": capacity,
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/nowhere"},
            "claimRef": reference,
            "persistentVolumeReclaimPolicy": "Delete",
        }
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
        if await self._api.find(f"/api/v1/persistentvolumes/{name}") is None:
            await self._api.call("POST", "/api/v1/persistentvolumes", volume)
        await self._api.patch(f"{path}/{metadata['name']}", {"spec": {"volumeName": name}})
        await self._api.patch(f"{path}/{metadata['name']}/status", {"status": {"phase": "Bound", "capacity": capacity}})

    async def _run(self, kind: str, pod: Body) -> None:
        metadata = pod["metadata"]
        namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        if kind == "DELETED" or "deletionTimestamp" in metadata:
            self._stop(namespace, name, uid)
            if kind != "DELETED":
                await self._api.call("DELETE", path, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})
            return
        if uid in self._running:
            return
        self._running.add(uid)
        machine = MACHINES[int(name.rpartition("-")[2]) % len(MACHINES)]
        if not pod["spec"].get("nodeName"):
            target = {"target": {"kind": "Node", "name": machine}}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, **target}
            await self._api.call("POST", f"{path}/binding", binding)
        address = await self._serve(pod)
        await self._api.patch(f"{path}/status", {"status": _running(pod, address)})

    def _stop(self, namespace: str, name: str, uid: str) -> None:
        if uid in self._running:
            self._running.discard(uid)
            self._members.close(namespace, name)
            group = self._members.group(namespace, name.rpartition("-")[0])
            if group is not None:
                group.present.pop(name, None)

    async def _serve(self, pod: Body) -> str:
        metadata, container = pod["metadata"], pod["spec"]["containers"][0]
        namespace, name, cluster = metadata["namespace"], metadata["name"], metadata["labels"][INSTANCE]
        settings = {one["name"]: one.get("value", "") for one in container["env"]}
        prefix = f"/api/v1/namespaces/{namespace}"
        secret = await self._api.call("GET", f"{prefix}/secrets/{cluster}-authority")
        claim = await self._api.call("GET", f"{prefix}/persistentvolumeclaims/data-{name}")
        host = f"{name}.{cluster}-peers.{namespace}.svc"
        authority, key = (base64.b64decode(secret["data"][one]) for one in ("tls.crt", "tls.key"))
        group = self._members.group(namespace, cluster)
        if group is None:
            version = container["image"].rpartition(":")[2]
            group = Group(settings["COLLECTIONSTORE_CLUSTER_ID"], version)
            self._members.add(namespace, cluster, group)
        # One incarnation per volume, as a node draws it once for its data directory.
        node_id = claim["metadata"]["uid"].replace("-", "")[:16]
        group.present[name] = Member(name, node_id, f"{host}:7401", f"https://{host}:7400")
        number = next(self._addresses)
        address = f"{NETWORK}.{number // 256}.{number % 256}"
        await self._members.listen(namespace, name, address, group, tls_context(host, authority, key))
        return address


def _running(pod: Body, address: str) -> Body:
    now = _now()
    conditions = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    container = {
        "name": "node",
        "image": pod["spec"]["containers"][0]["image"],
        "imageID": "",
        "ready": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": now}},
    }
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "conditions": [{"type": one, "status": "True", "lastTransitionTime": now} for one in conditions],
        "containerStatuses": [container],
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
