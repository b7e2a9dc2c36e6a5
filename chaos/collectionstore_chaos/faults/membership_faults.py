"""Changes of the membership meanwhile: two members more, and then as before."""

from __future__ import annotations

import asyncio
import random

from collectionstore_chaos.lab import Lab, until

MORE = 2
"""An even number, so that the size stays odd and the budget of the first size holds throughout."""
CSCTL_TIMEOUT_S = 60.0
SETTLED_TIMEOUT_S = 120.0


async def scale(lab: Lab, randomness: random.Random) -> None:
    """Scale up by two, and down again after a while, whether or not the first has come about by then."""
    nodes = lab.cluster.size
    with lab.budget.member("the size"), lab.inject("scale", f"{nodes} to {nodes + MORE} and back"):
        await _ask(lab, nodes + MORE)
        await asyncio.sleep(randomness.uniform(3.0, 20.0))
        await _ask(lab, nodes)

        async def settled() -> bool:
            leader = await lab.cluster.leader()
            return leader is not None and len(leader.configuration.voters) == nodes and lab.cluster.members.is_ready()

        await until(settled, SETTLED_TIMEOUT_S)


async def _ask(lab: Lab, replicas: int) -> None:
    await lab.cluster.local.csctl("scale", "--replicas", str(replicas), "--no-wait", timeout_s=CSCTL_TIMEOUT_S)
