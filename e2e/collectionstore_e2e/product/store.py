"""A cluster as its users see it: the resource, its status, its pods and its volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import CLAIM, CLUSTER, POD, Object, condition, is_ready

NAME: Final = "demo"
MEMBERS: Final = (f"{NAME}-0", f"{NAME}-1", f"{NAME}-2")
"""Members of a cluster with three replicas."""
READY_S: Final = 120.0
"""Time limit for a new cluster of three while others start beside it; what it takes alone has a scenario of its own."""
CHANGE_S: Final = 180.0
"""Time limit for a change of every member, on a busy machine."""


OPEN: Final = {"unsafe": {"anonymous": ["admin"]}}
"""spec.access of scenarios that are about something else: who has no credential may do everything."""


class Store:
    """A CollectionStoreCluster in a scenario's namespace."""

    def __init__(self, context: Context, name: str = NAME) -> None:
        self._context = context
        self.name = name
        self._selector = f"app.kubernetes.io/instance={name},app.kubernetes.io/component=node"

    def manifest(self, **spec: Any) -> Object:
        """Return the resource: small, with the image under test; fields in `spec` override, None omits a field."""
        usual = {
            "replicas": 3,
            "image": self._context.images.node,
            "storage": {"size": "64Mi"},
            "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
            "access": OPEN,
        }
        fields = {**usual, **spec}
        return {
            "apiVersion": CLUSTER.api_version,
            "kind": CLUSTER.name,
            "metadata": {"name": self.name},
            "spec": {key: value for key, value in fields.items() if value is not None},
        }

    def metadata(self, namespace: str) -> Object:
        """Return its metadata as the operator reads them, without a uid."""
        return {"name": self.name, "namespace": namespace}

    async def apply(self, **spec: Any) -> None:
        """`kubectl apply` the resource. Raises `CommandRefused` with the API server's message."""
        text = msgspec.json.encode(self.manifest(**spec)).decode()
        await self._context.kubectl("apply", "--filename=-", stdin=text)

    async def scale(self, replicas: int) -> None:
        """`kubectl scale` the resource."""
        await self._context.kubectl("scale", "csc", self.name, f"--replicas={replicas}")

    async def change(self, **spec: Any) -> None:
        """Patch fields of its spec."""
        await self._context.client.patch(CLUSTER, self.name, {"spec": spec})

    async def read(self) -> Object:
        """Return the resource."""
        return await self._context.client.get(CLUSTER, self.name)

    async def until(self, holds: Callable[[Object], bool], *, what: str, timeout_s: float = CHANGE_S) -> Object:
        """Wait until `holds` is true of the resource."""
        return await self._context.client.until_one(CLUSTER, self.name, holds, what=what, timeout_s=timeout_s)

    async def until_settled(self, replicas: int, *, timeout_s: float = CHANGE_S) -> Object:
        """Wait until its current generation is reconciled: Ready, with this number of members and an empty plan."""
        return await self.until(
            lambda one: is_settled(one, replicas), what=f"{replicas} members, settled", timeout_s=timeout_s
        )

    async def leader(self) -> str:
        """Wait for a leader and return it."""
        found = await self.until(lambda one: bool(one.get("status", {}).get("leader")), what="a leader", timeout_s=30)
        return str(found["status"]["leader"])

    async def members(self) -> dict[str, str]:
        """Return the node IDs of the members in the Raft configuration, by name."""
        return member_ids(await self.read())

    async def pods(self) -> dict[str, Object]:
        """Return its pods by name."""
        return {one["metadata"]["name"]: one for one in await self._context.client.list_all(POD, labels=self._selector)}

    async def until_pods(
        self, holds: Callable[[Mapping[str, Object]], bool], *, what: str, timeout_s: float = CHANGE_S
    ) -> dict[str, Object]:
        """Wait until `holds` is true of its pods."""
        return await self._context.client.until(POD, holds, what=what, timeout_s=timeout_s, labels=self._selector)

    async def claims(self) -> dict[str, Object]:
        """Return its PersistentVolumeClaims by name."""
        labels = f"collectionstore.io/cluster={self.name}"
        return {one["metadata"]["name"]: one for one in await self._context.client.list_all(CLAIM, labels=labels)}

    async def delete_pod(self, name: str) -> None:
        """Delete a pod, and wait until its successor of the same name is Ready."""
        before = (await self._context.client.get(POD, name))["metadata"]["uid"]
        await self._context.client.delete(POD, name)
        await self._context.client.until_one(
            POD,
            name,
            lambda one: is_ready(one) and one["metadata"]["uid"] != before,
            what="its successor Ready",
            timeout_s=READY_S,
        )


def is_settled(found: Object, replicas: int) -> bool:
    """Return whether the status is of the current generation, all members are ready, and the plan is empty."""
    status = found.get("status", {})
    return (
        status.get("observedGeneration") == found["metadata"]["generation"]
        and found["spec"]["replicas"] == replicas
        and is_ready(found)
        and condition(found, "Progressing") == "False"
        and condition(found, "Degraded") == "False"
        and condition(found, "MembersUpdated") == "True"
        and status.get("readyMembers") == replicas
        and len(status.get("configuration", {}).get("voters", ())) == replicas
    )


def container_image(pod: Object) -> str:
    """Return the image of a pod's first container."""
    return str(pod["spec"]["containers"][0]["image"])


def container_images(pods: Mapping[str, Object]) -> set[str]:
    """Return the images of these pods."""
    return {container_image(pod) for pod in pods.values()}


def member_ids(found: Object) -> dict[str, str]:
    """Return the node IDs of voters and learners in the status, by name."""
    members = found.get("status", {}).get("members", ())
    return {one["name"]: one["nodeID"] for one in members if one.get("role") not in (None, "", "None", "Unknown")}


def condition_text(found: Object, kind: str) -> str:
    """Return status, reason and message of a condition; empty if there is none of that type."""
    for one in found.get("status", {}).get("conditions") or ():
        if one["type"] == kind:
            return f"{one['status']} {one['reason']}: {one['message']}"
    return ""
