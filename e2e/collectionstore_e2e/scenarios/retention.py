"""Volume retention: a cluster that is deleted and created again has its data."""

from __future__ import annotations

import asyncio
from typing import Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import CLUSTER
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import READY_S, Store, condition_text

GONE_S: Final = 90.0
BACK_S: Final = 30.0
"""How soon clients write again after the new resource is Ready."""


@scenario(timeout_s=420)
async def a_recreated_cluster_reuses_its_volumes(context: Context) -> None:
    """deletionProtection blocks deletion; without it pods are deleted, volumes kept, and a new resource reuses them."""
    async with operator(context):
        store, loop = Store(context), asyncio.get_running_loop()
        await store.apply(deletionProtection=True)
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            members = await store.members()
            await context.kubectl("delete", "csc", store.name, "--wait=false")
            found = await store.until(
                lambda one: "rotect" in condition_text(one, "Progressing"),
                what="Progressing to report the protection",
                timeout_s=30,
            )
            context.say(f"protected: {condition_text(found, 'Progressing')}")
            await load.working()
            assert set(await store.pods()) == set(members)

            deleted = loop.time()
            await store.change(deletionProtection=False)
            await context.client.until_gone(CLUSTER, store.name, timeout_s=GONE_S)
            await store.until_pods(lambda pods: not pods, what="no pods")
            context.say(f"deleted after {loop.time() - deleted:.1f} s")
            claims = {name: one["spec"]["volumeName"] for name, one in (await store.claims()).items()}
            assert set(claims) == {f"data-{name}" for name in members}, claims

            began = loop.time()
            await store.apply()
            await store.until_settled(3, timeout_s=READY_S)
            context.say(f"Ready again after {loop.time() - began:.1f} s")
            assert await store.members() == members, "the members have other node IDs than before"
            await load.working(timeout_s=BACK_S)
            kept = {name: one["spec"]["volumeName"] for name, one in (await store.claims()).items()}
            assert kept == claims, f"volumes before: {claims}; now: {kept}"
