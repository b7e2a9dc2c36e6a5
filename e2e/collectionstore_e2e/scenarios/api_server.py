"""The API server hangs: clusters keep serving, and the operator completes the change in progress afterwards."""

from __future__ import annotations

import asyncio
from typing import Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import READY_S, Store

HANG_S: Final = 20.0
"""Longer than the operator may go without renewing its Lease."""
PAUSE_S: Final = 8.0


@scenario(timeout_s=420, needs_machines=True)
async def a_hanging_api_server_harms_no_cluster(context: Context) -> None:
    """The API server hangs for 20 s during a scale-up: clients see no outage, and the scale-up completes afterwards."""
    async with operator(context) as product:
        store, loop = Store(context), asyncio.get_running_loop()
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            members, began = await store.members(), load.now
            await store.scale(5)
            await store.until_pods(lambda pods: len(pods) == 5, what="two more pods")
            await context.own_machines.hang_api_server()
            try:
                # The clients do not depend on it; their log cannot be read meanwhile.
                await asyncio.sleep(HANG_S)
            finally:
                await context.own_machines.resume_api_server()
            resumed = loop.time()
            await store.until_settled(5)
            context.say(f"five members {loop.time() - resumed:.0f} s after the API server was back")
            await load.say_pauses("the API server hung", began, longest_s=PAUSE_S)
            after = await store.members()
            assert {name: after[name] for name in members} == members, "a member has another node ID"
            for name, one in (await store.pods()).items():
                restarts = sum(status["restartCount"] for status in one["status"]["containerStatuses"])
                assert restarts == 0, f"{name} was restarted {restarts} times"
            context.say(await _restart_reason(context, await product.until_ready()))


async def _restart_reason(context: Context, pod: Object) -> str:
    """Return the log line with the reason of its exit: without its Lease it must exit, and the kubelet restarts it."""
    (status,) = pod["status"]["containerStatuses"]
    assert status["restartCount"] > 0, "the operator continued without its Lease"
    log = await context.client.logs(pod["metadata"]["name"], previous=True)
    reasons = [line for line in log.splitlines() if "lease.lost" in line or "api_server.unavailable" in line]
    assert reasons, f"the operator exited without logging a reason:\n{log[-2000:]}"
    return f"the operator was restarted {status['restartCount']} times: {reasons[-1]}"
