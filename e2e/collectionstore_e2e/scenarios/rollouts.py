"""Rollouts: a new image, an image that cannot be pulled, and the rollback."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import READY_S, Store, condition_text, container_image, container_images

HAND_OVER_S: Final = 8.0
REPORTED_S: Final = 30.0
"""How soon a condition names the pod and the reason."""
BROKEN_IMAGE: Final = "localhost/collectionstore-node:does-not-exist"


@scenario(timeout_s=420)
async def an_upgrade_fails_no_request(context: Context) -> None:
    """A new image for all members, the leader last: every request succeeds, if need be after a retry."""
    async with operator(context):
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            leader, members, began = await store.leader(), await store.members(), load.now
            order = asyncio.create_task(_order(store, context.images.node_next))
            await store.apply(image=context.images.node_next)
            await store.until_settled(3)
            await load.say_pauses("upgrade", began, longest_s=HAND_OVER_S)
            replaced = await order
            context.say(f"leader {leader}; upgraded: {', '.join(replaced)}")
            assert replaced[-1] == leader, f"the leader {leader} was not the last: {replaced}"
            assert await store.members() == members, "a member has another node ID"
            images = container_images(await store.pods())
            assert images == {context.images.node_next}, images
        totals = load.recorded.totals
        assert (totals.failed, totals.unknown) == (0, 0), totals


async def _order(store: Store, image: str) -> list[str]:
    """Return the pods in the order in which they came to run an image."""
    replaced: list[str] = []

    def all_replaced(pods: Mapping[str, Object]) -> bool:
        for name in sorted(pods):
            if container_image(pods[name]) == image and name not in replaced:
                replaced.append(name)
        return len(replaced) == 3

    await store.until_pods(all_replaced, what="three pods of the new image")
    return replaced


@scenario(timeout_s=420)
async def a_broken_image_is_reported_and_rolled_back(context: Context) -> None:
    """A missing image stops one member only; a condition names it within 30 s; the old image repairs it."""
    async with operator(context):
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            members, began = await store.members(), load.now
            loop = asyncio.get_running_loop()
            asked = loop.time()
            await store.apply(image=BROKEN_IMAGE)
            found = await store.until(_names_image, what="a condition that names the pod", timeout_s=REPORTED_S)
            context.say(f"reported after {loop.time() - asked:.1f} s: Degraded={condition_text(found, 'Degraded')}")
            await load.working(writes=100)
            broken = [name for name, one in (await store.pods()).items() if container_image(one) == BROKEN_IMAGE]
            assert len(broken) == 1, f"pods with the broken image: {broken}"
            await store.apply()
            await store.until_settled(3)
            await load.say_pauses("broken and rolled back", began, longest_s=HAND_OVER_S)
            assert await store.members() == members, "a member has another node ID"


def _names_image(found: Object) -> bool:
    text = condition_text(found, "Degraded")
    return text.startswith("True") and "demo-" in text and "image" in text.lower()
