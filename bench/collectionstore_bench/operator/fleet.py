"""The clusters that the operator reconciles: create them, wait until all are ready, change one and see what follows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from collectionstore_bench.operator.api import GROUP, Api, Refused
from collectionstore_bench.program import say
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.places import REPOSITORY

PER_NAMESPACE: Final = 20
DEFINITION: Final = REPOSITORY / "crds" / "collectionstoreclusters.collectionstore.io.yaml"
VERSION: Final = (REPOSITORY / "VERSION").read_text().strip()


class Fleet:
    """`count` clusters of three members, PER_NAMESPACE in a namespace."""

    def __init__(self, api: Api, count: int) -> None:
        self._api = api
        self.names = [(f"stores-{number // PER_NAMESPACE}", f"store-{number}") for number in range(count)]

    async def define(self) -> None:
        """Create the CustomResourceDefinition and the namespaces."""
        await self._api.create_yaml("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", DEFINITION.read_bytes())
        for namespace in sorted({namespace for namespace, _ in self.names} | {"default"}):
            if await self._api.find(f"/api/v1/namespaces/{namespace}") is None:
                body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
                await self._api.call("POST", "/api/v1/namespaces", body)
        while True:
            if await self._is_served():
                return
            await asyncio.sleep(0.2)

    async def _is_served(self) -> bool:
        """Return whether the API server serves the new kind: it takes a moment."""
        try:
            return await self._api.find(f"{GROUP}/namespaces/default/collectionstoreclusters") is not None
        except Refused as error:
            if error.status != 429:
                raise
            return False

    async def create(self, timeout_s: float) -> float:
        """Create all clusters; return the seconds until each was ready. Raises ClusterFailed."""
        started = time.monotonic()
        for namespace, name in self.names:
            body = {
                "apiVersion": "collectionstore.io/v1alpha1",
                "kind": "CollectionStoreCluster",
                "metadata": {"name": name},
                "spec": {"replicas": 3, "version": VERSION},
            }
            await self._api.call("POST", _path(namespace), body)
        reported, ready = 0.0, set[str]()
        while True:
            ready |= await self._ready()
            elapsed = time.monotonic() - started
            if len(ready) == len(self.names):
                return elapsed
            if elapsed > timeout_s:
                raise ClusterFailed(f"{len(ready)} of {len(self.names)} clusters were ready after {timeout_s:.0f} s")
            if elapsed - reported >= 20:
                reported = elapsed
                say(f"{len(ready)} of {len(self.names)} clusters are ready after {elapsed:.0f} s")
            await asyncio.sleep(2.0)

    async def _ready(self) -> set[str]:
        found = await self._api.call("GET", f"{GROUP}/collectionstoreclusters")
        return {one["metadata"]["name"] for one in found["items"] if _is_ready(one.get("status") or {})}

    async def reaction_s(self, namespace: str, name: str, timeout_s: float = 300.0) -> float:
        """Change the spec; return the seconds until the first object follows: the NetworkPolicy, on or off.

        The change is undone before the return, and its effect awaited, too.
        """
        path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
        there = await self._api.find(f"{path}/{name}") is not None
        taken = await self._switch(path, namespace, name, on=not there, timeout_s=timeout_s)
        await self._switch(path, namespace, name, on=there, timeout_s=timeout_s)
        return taken

    async def _switch(self, path: str, namespace: str, name: str, *, on: bool, timeout_s: float) -> float:
        listed = await self._api.call("GET", path)
        spec = {"spec": {"networkPolicy": {"mode": "Enabled" if on else "Disabled"}}}
        sought = "ADDED" if on else "DELETED"
        async with asyncio.timeout(timeout_s):
            started = time.monotonic()
            await self._api.patch(f"{_path(namespace)}/{name}", spec)
            async for event in self._api.watch(path, listed["metadata"]["resourceVersion"]):
                if (event["type"], event["object"]["metadata"].get("name")) == (sought, name):
                    return time.monotonic() - started
        raise Refused(0, f"the watch of {path} ended")


def sample(names: Sequence[tuple[str, str]], count: int) -> Sequence[tuple[str, str]]:
    """Return `count` clusters, spread over all."""
    step = max(1, len(names) // count)
    return names[::step][:count]


def _path(namespace: str) -> str:
    return f"{GROUP}/namespaces/{namespace}/collectionstoreclusters"


def _is_ready(status: dict[str, object]) -> bool:
    conditions = status.get("conditions")
    found = {one["type"]: one["status"] for one in conditions} if isinstance(conditions, list) else {}
    return found.get("Ready") == "True" and not status.get("plan")
