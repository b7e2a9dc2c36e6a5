"""A storage driver that makes volumes, and snapshots of them, by copying folders of the machines of `make kube-up`.

What a CSI driver, its provisioner and the snapshot controller do with the API server: volumes for claims whose pod has
a node (WaitForFirstConsumer), of the snapshot that is their `dataSource`, and VolumeSnapshots with a status. A folder
is not copied in one moment, so nothing may write to it meanwhile.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import CLAIM, STORAGE_CLASS, VOLUME, Object
from collectionstore_e2e.kube.machines.machine import Machine

GROUP: Final = "snapshot.storage.k8s.io"
WATCH_S: Final = 3_600.0
DEFINITION: Final[Object] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": f"volumesnapshots.{GROUP}",
        "annotations": {
            "api-approved.kubernetes.io": "https://github.com/kubernetes-csi/external-snapshotter/pull/814"
        },
    },
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"kind": "VolumeSnapshot", "plural": "volumesnapshots", "singular": "volumesnapshot"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
"""The kind by its names alone: what the operator reads of it is what is written here."""


class CopyingDriver:
    """Makes the volumes of one class."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.class_name = f"{context.namespace}-copies"
        self._volumes: dict[str, Path] = {}
        """Folders on this host, by the claim that they were made for."""
        self._snapshots: dict[str, Path] = {}
        self._made: set[str] = set()

    async def run(self) -> None:
        """Make the volume of each claim of the class whose pod has a node; until it is cancelled."""
        while True:
            found = await self._context.client.until(CLAIM, self._any, what="a claim to bind", timeout_s=WATCH_S)
            for one in found.values():
                if self._is_due(one):
                    await self._provision(one)

    async def announce(self, name: str, *, error: str = "") -> None:
        """Create a snapshot that is not ready, or has failed."""
        status = {"readyToUse": False} | ({"error": {"message": error}} if error else {})
        await self._context.client.apply(_snapshot(name, "", status))

    async def take(self, name: str, claim: str) -> None:
        """Make a snapshot of the volume of a claim that nothing writes to."""
        source = self._volumes[claim]
        target = source.with_name(f"{self._context.namespace}-snapshot-{name}")
        self._snapshots[name] = target
        await asyncio.to_thread(_copy, source, target)
        size = (await self._context.client.get(CLAIM, claim))["status"]["capacity"]["storage"]
        await self._context.client.apply(_snapshot(name, claim, {"readyToUse": True, "restoreSize": size}))

    async def clear(self) -> None:
        """Delete all volumes and snapshots."""
        for name in sorted(self._made):
            await self._context.client.delete(VOLUME, name)
        for folder in (*self._volumes.values(), *self._snapshots.values()):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _any(self, claims: Mapping[str, Object]) -> bool:
        return any(map(self._is_due, claims.values()))

    def _is_due(self, claim: Object) -> bool:
        return (
            claim["spec"].get("storageClassName") == self.class_name
            and not claim["spec"].get("volumeName")
            and self._volume_name(claim) not in self._made
            and bool(_node(claim))
        )

    def _volume_name(self, claim: Object) -> str:
        return f"{self._context.namespace}-{claim['metadata']['uid']}"

    async def _provision(self, claim: Object) -> None:
        name, node = self._volume_name(claim), _node(claim)
        folder = Machine(node).lib / "volumes" / name
        wanted = claim["spec"].get("dataSource") or {}
        if wanted:
            assert (wanted["apiGroup"], wanted["kind"]) == (GROUP, "VolumeSnapshot"), wanted
            await asyncio.to_thread(_copy, self._snapshots[wanted["name"]], folder)
        else:
            await asyncio.to_thread(_empty, folder)
        self._volumes[claim["metadata"]["name"]] = folder
        self._made.add(name)
        term = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
        await self._context.client.apply(
            {
                "apiVersion": "v1",
                "kind": VOLUME.name,
                "metadata": {"name": name},
                "spec": {
                    "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
                    "accessModes": claim["spec"]["accessModes"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "storageClassName": self.class_name,
                    "local": {"path": f"/var/lib/volumes/{name}"},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}},
                    "claimRef": {
                        "apiVersion": "v1",
                        "kind": CLAIM.name,
                        "namespace": self._context.namespace,
                        **{field: claim["metadata"][field] for field in ("name", "uid")},
                    },
                },
            }
        )


@asynccontextmanager
async def copying_driver(context: Context) -> AsyncIterator[CopyingDriver]:
    """Have a class of this driver, and the kind of its snapshots, for the duration of the block."""
    driver = CopyingDriver(context)
    await context.client.apply(DEFINITION)
    await context.kubectl("wait", "--for=condition=Established", f"crd/volumesnapshots.{GROUP}", "--timeout=30s")
    await context.client.apply(
        {
            "apiVersion": STORAGE_CLASS.api_version,
            "kind": STORAGE_CLASS.name,
            "metadata": {"name": driver.class_name},
            "provisioner": "copying.e2e.collectionstore.io",
            "volumeBindingMode": "WaitForFirstConsumer",
            "reclaimPolicy": "Retain",
        }
    )
    context.later.push_async_callback(driver.clear)
    context.later.push_async_callback(context.client.delete, STORAGE_CLASS, driver.class_name)
    task = asyncio.create_task(driver.run())
    try:
        yield driver
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _snapshot(name: str, claim: str, status: Object) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"name": name},
        "spec": {"source": {"persistentVolumeClaimName": claim}},
        "status": status,
    }


def _node(claim: Object) -> str:
    """Return the node that the scheduler has chosen for the first pod of a claim; empty before."""
    return str((claim["metadata"].get("annotations") or {}).get("volume.kubernetes.io/selected-node", ""))


def _copy(source: Path, target: Path) -> None:
    # With owners and modes, as a storage system copies.
    subprocess.run(["cp", "--archive", "--no-target-directory", source, target], check=True)


def _empty(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
