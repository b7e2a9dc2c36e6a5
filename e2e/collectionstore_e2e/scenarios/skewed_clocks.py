"""Two operators whose clocks are minutes apart: the right to act on a cluster passes by what is seen, not by times."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import LEASE, POD, Object, is_ready
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.helm import helm
from collectionstore_e2e.product.installation import NAME, START_S, operator
from collectionstore_e2e.product.store import READY_S, Store
from collectionstore_e2e.scenarios.two_operators import has_holder, install_second

SECOND: Final = "late"
SECOND_NAME: Final = f"{SECOND}-collectionstore-operator"
CLUSTER_LEASE: Final = "demo-operator"
SKEW_S: Final = 240.0
"""Of each clock, in opposite directions: eight minutes between them, eight times what a Lease lasts."""
LEASE_S: Final = 60.0
STALE_S: Final = 35.0
"""How old the renewal is at most that the other one has seen last: renewed when older than 20 s, at a round of 15 s."""
TAKEN_S: Final = 120.0
PAUSE_S: Final = 8.0
SKEWED: Final = """\
import sys, time
real = time.time
time.time = lambda: real() + {skew}
from collectionstore_operator.__main__ import main
sys.exit(main())
"""
"""The operator with another clock: it reads the time by this function alone, which is replaced before it is loaded."""


@scenario(timeout_s=720)
async def operators_with_skewed_clocks_take_turns(context: Context) -> None:
    """One clock is 4 minutes slow, the other 4 minutes fast: the Lease of the first looks long over, and is not taken;
    members restart one by one. Killed for good, it is succeeded, and not earlier than by right clocks.
    """
    async with operator(context):
        await _skew(context, NAME, -SKEW_S)
        store, loop = Store(context), asyncio.get_running_loop()
        await store.apply()
        first = _holder(
            await context.client.until_one(LEASE, CLUSTER_LEASE, has_holder, what="a holder", timeout_s=READY_S)
        )
        assert first.endswith(f"/{NAME}"), first
        try:
            await asyncio.gather(store.until_settled(3, timeout_s=READY_S), install_second(context, SECOND))
            await _skew(context, SECOND_NAME, SKEW_S)
            async with clients(context) as load:
                began, members = load.now, await store.members()
                await context.kubectl("annotate", "csc", store.name, "collectionstore.io/restart=1")
                await store.until(lambda one: one["status"]["readyMembers"] < 3, what="a restart", timeout_s=60)
                await store.until_settled(3)
                await load.say_pauses("all restarted under two clocks", began, longest_s=PAUSE_S)
                held = await context.client.get(LEASE, CLUSTER_LEASE)
                assert _holder(held) == first, "the Lease changed hands"
                apart = _renewed(await _own_lease(context, SECOND_NAME)) - _renewed(await _own_lease(context, NAME))
                context.say(f"{apart:.0f} s between the clocks, by what they write")
                assert apart > 1.9 * SKEW_S, "the clocks are not skewed: the scenario tested nothing"
                assert "HeldElsewhere" in await context.kubectl("events", f"--for=csc/{store.name}")

                gone = loop.time()
                await context.kubectl("scale", f"deployment/{NAME}", "--replicas=0")
                await context.client.until_one(
                    LEASE, CLUSTER_LEASE, lambda one: _holder(one) != first, what="another holder", timeout_s=TAKEN_S
                )
                took = loop.time() - gone
                context.say(f"taken over after {took:.0f} s")
                assert took >= LEASE_S - STALE_S, "taken over while the first could still act"
                # The first comes back, and is now the one that must wait, though its clock says that all is young.
                second = _holder(await context.client.get(LEASE, CLUSTER_LEASE))
                await context.kubectl("scale", f"deployment/{NAME}", "--replicas=1", timeout_s=START_S)
                await store.scale(5)
                await store.until_settled(5)
                after = await store.members()
                # A pod that has just started looks four minutes older to the fast clock: not older than the grace time.
                assert {name: after[name] for name in members} == members, "a member was replaced"
                await load.working()
                assert _holder(await context.client.get(LEASE, CLUSTER_LEASE)) == second, "the Lease changed hands"
        finally:
            await helm(context)("uninstall", SECOND)
            await context.kubectl("scale", f"deployment/{NAME}", "--replicas=1", timeout_s=START_S)


async def _skew(context: Context, deployment: str, skew_s: float) -> None:
    """Start the operator again with another clock, and wait until it is the only one of its installation."""
    command = ["python3", "-c", SKEWED.format(skew=skew_s)]
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "operator", "command": command}]}}}}
    await context.kubectl("patch", "deployment", deployment, "--type=strategic", f"--patch={json.dumps(patch)}")
    await context.kubectl("rollout", "status", f"deployment/{deployment}", "--timeout=90s", timeout_s=120)
    release = deployment.partition("-")[0]
    await context.client.until(
        POD,
        lambda found: len(found) == 1 and all(map(is_ready, found.values())),
        what="one operator alone",
        timeout_s=START_S,
        labels=f"app.kubernetes.io/instance={release},app.kubernetes.io/name=collectionstore-operator",
    )


async def _own_lease(context: Context, name: str) -> Object:
    return await context.client.get(LEASE, name)


def _holder(lease: Object) -> str:
    return str(lease["spec"]["holderIdentity"])


def _renewed(lease: Object) -> float:
    return datetime.fromisoformat(lease["spec"]["renewTime"]).timestamp()
