"""A second namespace for a scenario, beside the one that the runner creates."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import NAMESPACE, Object


def namespace_manifest(name: str) -> Object:
    """Return a namespace with the pod security of the scenarios."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "app.kubernetes.io/part-of": "e2e"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


@asynccontextmanager
async def second_namespace(context: Context) -> AsyncIterator[Context]:
    """Create a second namespace for the duration of the block."""
    name = f"{context.namespace}-2"
    await context.client.create(namespace_manifest(name))
    try:
        yield context.within(name)
    finally:
        if await context.client.find(NAMESPACE, name) is not None:
            await context.client.delete(NAMESPACE, name)
