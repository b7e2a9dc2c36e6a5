"""A zone is lost: every node and every pod with one label, at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import NODE, condition
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import READY_S, Store, condition_text

ZONE: Final = "topology.kubernetes.io/zone"
ZONE_LOSS_S: Final = 12.0
"""Longest time without an acknowledged write: an election, and connections that end only by their timeout."""
GRACE_S: Final = 1_800
"""Longer than the loss: a zone comes back, and its members with their disks."""
BACK_S: Final = 240.0


@scenario(timeout_s=600, needs_machines=True, long=True)
async def a_lost_zone_leaves_a_majority_and_comes_back(context: Context) -> None:
    """The zone with two of five members, the leader if it has it, and the operator if it runs there is lost at once:
    clients go on; it comes back, and with it the same members. Nothing is replaced meanwhile.
    """
    async with operator(context):
        store = Store(context)
        await store.apply(replicas=5, failedMember={"graceSeconds": GRACE_S}, spread={"zones": "Required"})
        await store.until_settled(5, timeout_s=2 * READY_S)
        members, leader = await store.members(), await store.leader()
        zones = {
            one["metadata"]["name"]: one["metadata"]["labels"][ZONE] for one in await context.client.list_all(NODE)
        }
        where = {name: zones[one["spec"]["nodeName"]] for name, one in (await store.pods()).items()}
        sizes = Counter(where.values())
        assert sorted(sizes.values()) == [1, 2, 2], where
        lost = where[leader] if sizes[where[leader]] == 2 else max(sizes, key=sizes.__getitem__)
        nodes = sorted(name for name, zone in zones.items() if zone == lost)
        gone = sorted(name for name, zone in where.items() if zone == lost)
        stays = next(name for name, zone in sorted(zones.items()) if zone != lost)
        async with clients(context, node=stays) as load:
            began = load.now
            await asyncio.gather(*map(context.own_machines.kill, nodes))
            await load.say_pauses(f"{lost} lost with {', '.join(gone)}, leader {leader}", began, longest_s=ZONE_LOSS_S)
            for node in nodes:
                await context.client.until_one(
                    NODE, node, lambda one: condition(one, "Ready") == "Unknown", what="Ready=Unknown", timeout_s=60
                )
            found = await store.until(
                lambda one: all(name in condition_text(one, "Degraded") for name in gone),
                what=f"Degraded to name {', '.join(gone)}",
            )
            context.say(f"Degraded={condition_text(found, 'Degraded')}")
            assert condition(found, "Available") == "True", condition_text(found, "Available")
            assert condition(found, "QuorumSafe") == "False", condition_text(found, "QuorumSafe")
            await load.working(writes=100)
            await asyncio.gather(*map(context.own_machines.start, nodes))
            await store.until_settled(5, timeout_s=BACK_S)
            assert await store.members() == members, "a member was replaced though its zone came back in time"
            await load.say_pauses("from the loss to the end", began, longest_s=ZONE_LOSS_S)
