"""The API server hangs: clusters serve on, nothing is half done, and what was asked for is done afterwards."""

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
async def an_api_server_that_hangs_harms_nobody(context: Context) -> None:
    """For 20 s amid a scale-up no answer comes from the API server: clients notice nothing, and then it is finished."""
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
                # The clients go on without it; their log cannot be read meanwhile.
                await asyncio.sleep(HANG_S)
            finally:
                await context.own_machines.resume_api_server()
            resumed = loop.time()
            await store.until_settled(5)
            context.say(f"five members {loop.time() - resumed:.0f} s after the API server was back")
            await load.say_pauses("the API server hung", began, longest_s=PAUSE_S)
            after = await store.members()
            assert {name: after[name] for name in members} == members, "a member became another one"
            for name, one in (await store.pods()).items():
                restarts = sum(status["restartCount"] for status in one["status"]["containerStatuses"])
                assert restarts == 0, f"{name} was restarted {restarts} times"
            context.say(await _told(context, await product.until_ready()))


async def _told(context: Context, pod: Object) -> str:
    """Return what the operator said of it: it ends by itself, or another could act beside it, and is started again."""
    (status,) = pod["status"]["containerStatuses"]
    assert status["restartCount"] > 0, "the operator went on without its Lease"
    log = await context.client.logs(pod["metadata"]["name"], previous=True)
    told = [line for line in log.splitlines() if "lease.lost" in line or "api_server.unavailable" in line]
    assert told, f"the operator ended without a word on why:\n{log[-2000:]}"
    return f"the operator was restarted {status['restartCount']} times: {told[-1]}"
