"""A StorageClass that expands. Its volumes are folders, so what its controller does is played here, step by step.

As kubernetes-csi/external-resizer does it (KEP-1790, RecoverVolumeExpansionFailure): what is allocated in the status of
the claim, then the size of the PersistentVolume, then NodeResizePending. The rest is the kubelet's, which is a real
one: it expands a local volume, and writes the capacity of the claim.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import CLAIM, STORAGE_CLASS, VOLUME, Object

PROVISIONER: Final = "rancher.io/local-path"
WATCH_S: Final = 3_600.0
ERROR: Final = "the pool of disks is exhausted"
"""What is said of a volume that cannot be expanded."""


class Expander:
    """Expands the volumes of one class, unless they are refused."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.class_name = f"{context.namespace}-expands"
        self.expanded: list[str] = []
        """Claims in the order in which they were expanded."""
        self.under_way = 0
        """The most claims that were to be larger at one time."""
        self._refused: set[str] = set()
        self._working = asyncio.Lock()

    def refuse(self, claim: str) -> None:
        """Fail to expand the volume of a claim from now on."""
        self._refused.add(claim)

    async def allow(self, claim: str) -> None:
        """Expand it after all, if it is requested already."""
        self._refused.discard(claim)
        await self._expand(claim)

    async def run(self) -> None:
        """Do it whenever a claim requests more than it has; until it is cancelled."""
        while True:
            found = await self._context.client.until(CLAIM, self._any, what="a claim to expand", timeout_s=WATCH_S)
            self.under_way = max(self.under_way, sum(map(is_growing, found.values())))
            for name, one in found.items():
                if not is_due(one):
                    continue
                if name in self._refused:
                    await self._tell(one, conditions=[_condition("ControllerResizeError", ERROR)])
                else:
                    await self._expand(name)

    def _any(self, claims: Mapping[str, Object]) -> bool:
        return any(is_due(one) and not (name in self._refused and _is_told(one)) for name, one in claims.items())

    async def _expand(self, name: str) -> None:
        async with self._working:
            claim = await self._context.client.get(CLAIM, name)
            if is_due(claim):  # what was seen may be done by now
                await self._steps(claim)

    async def _steps(self, claim: Object) -> None:
        size = requested(claim)
        self.expanded.append(claim["metadata"]["name"])
        await self._tell(
            claim,
            allocatedResources={"storage": size},
            allocatedResourceStatuses={"storage": "ControllerResizeInProgress"},
            conditions=[_condition("Resizing", "")],
        )
        await self._context.client.patch(VOLUME, claim["spec"]["volumeName"], {"spec": {"capacity": {"storage": size}}})
        await self._tell(
            claim,
            allocatedResourceStatuses={"storage": "NodeResizePending"},
            conditions=[_condition("FileSystemResizePending", "Waiting for user to (re-)start a pod")],
        )

    async def _tell(self, claim: Object, **status: Any) -> None:
        await self._context.client.patch(CLAIM, claim["metadata"]["name"], {"status": status}, subresource="status")


@asynccontextmanager
async def expanding(context: Context) -> AsyncIterator[Expander]:
    """Have such a class for the duration of the block, and its controller run."""
    expander = Expander(context)
    await context.client.apply(
        {
            "apiVersion": STORAGE_CLASS.api_version,
            "kind": STORAGE_CLASS.name,
            # Volumes of the type `local`: kubelets do not expand those of `hostPath`.
            "metadata": {"name": expander.class_name, "annotations": {"defaultVolumeType": "local"}},
            "provisioner": PROVISIONER,
            "volumeBindingMode": "WaitForFirstConsumer",
            "reclaimPolicy": "Delete",
            "allowVolumeExpansion": True,
        }
    )
    # Not before the volumes of the scenario are gone, which the provisioner deletes by it.
    context.later.push_async_callback(context.client.delete, STORAGE_CLASS, expander.class_name)
    task = asyncio.create_task(expander.run())
    try:
        yield expander
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def requested(claim: Object) -> str:
    """Return the size that a claim requests."""
    return str(claim["spec"]["resources"]["requests"]["storage"])


def capacity(claim: Object) -> str:
    """Return the size that a claim has; empty while it has none."""
    return str(((claim.get("status") or {}).get("capacity") or {}).get("storage", ""))


def is_growing(claim: Object) -> bool:
    """Return whether a claim has a volume, and requests another size than it has."""
    return claim["status"].get("phase") == "Bound" and capacity(claim) != requested(claim)


def is_due(claim: Object) -> bool:
    """Return whether the controller has to do something for a claim."""
    pending = (claim["status"].get("allocatedResourceStatuses") or {}).get("storage", "")
    allocated = (claim["status"].get("allocatedResources") or {}).get("storage", "")
    return is_growing(claim) and not (pending.startswith("Node") and allocated == requested(claim))


def _is_told(claim: Object) -> bool:
    return any(one["type"] == "ControllerResizeError" for one in claim["status"].get("conditions") or ())


def _condition(kind: str, message: str) -> Object:
    return {"type": kind, "status": "True", "message": message, "lastTransitionTime": None}
