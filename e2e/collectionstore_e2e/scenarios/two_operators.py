"""Two operators that watch the same namespace by mistake."""

from __future__ import annotations

import asyncio
from typing import Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import LEASE, Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.helm import helm
from collectionstore_e2e.product.installation import CHART, NAME, START_S, image_settings, operator
from collectionstore_e2e.product.store import READY_S, Store

SECOND: Final = "op2"
TAKEN_S: Final = 120.0
"""The Lease of a cluster lasts 60 s, and a standing-by operator looks every 15 s."""


@scenario(timeout_s=600)
async def only_one_of_two_operators_acts(context: Context) -> None:
    """Both watch one namespace: one acts, members restart one by one; when it is uninstalled, the other takes over."""
    async with operator(context):
        store, loop = Store(context), asyncio.get_running_loop()
        await store.apply()
        await context.client.until_one(LEASE, "demo-operator", has_holder, what="a holder", timeout_s=READY_S)
        first = await _holder(context)
        assert first.endswith(f"/{NAME}"), first
        try:
            # The second one starts while the first one makes the cluster.
            await asyncio.gather(store.until_settled(3, timeout_s=READY_S), install_second(context, SECOND))
            assert await _holder(context) == first, "the Lease changed hands"
            async with clients(context) as load:
                began = load.now
                await context.kubectl("annotate", "csc", store.name, "collectionstore.io/restart=1")
                await store.until(lambda one: one["status"]["readyMembers"] < 3, what="a restart", timeout_s=60)
                await store.until_settled(3)
                await load.say_pauses("all restarted under two operators", began, longest_s=8.0)
                assert await _holder(context) == first, "the Lease changed hands"
                events = await context.kubectl("events", f"--for=csc/{store.name}")
                assert "HeldElsewhere" in events, events

                # Without a word: killed, and never started again.
                gone = loop.time()
                await context.kubectl("scale", f"deployment/{NAME}", "--replicas=0")
                await context.client.until_one(
                    LEASE,
                    "demo-operator",
                    lambda one: one["spec"]["holderIdentity"] != first,
                    what="another holder",
                    timeout_s=TAKEN_S,
                )
                context.say(f"taken over after {loop.time() - gone:.0f} s")
                await context.kubectl("annotate", "csc", store.name, "--overwrite", "collectionstore.io/restart=2")
                await store.scale(5)
                await store.until_settled(5)
                await load.working()
                events = await context.kubectl("events", f"--for=csc/{store.name}")
                assert "TookOver" in events, events
        finally:
            await helm(context)("uninstall", SECOND)
            await context.kubectl("scale", f"deployment/{NAME}", "--replicas=1", timeout_s=START_S)


async def install_second(context: Context, release: str) -> None:
    """Install another operator that watches the same namespace, as by mistake."""
    settings = (
        f"--set=watchNamespaces={{{context.namespace}}}",
        "--set=crds.install=false",
        "--set=refuseOverlap=false",
        "--set=admissionPolicies.enabled=false",
    )
    waiting = ("--wait", f"--timeout={START_S:.0f}s")
    await helm(context)("install", release, str(CHART), *image_settings(context.images.operator), *waiting, *settings)


def has_holder(lease: Object) -> bool:
    """Return whether an operator holds a Lease, or held it last."""
    return bool(lease["spec"].get("holderIdentity"))


async def _holder(context: Context) -> str:
    return str((await context.client.get(LEASE, "demo-operator"))["spec"]["holderIdentity"])
