"""Upgrade of operator, chart and nodes from an older commit to this checkout."""

from __future__ import annotations

from collections.abc import Mapping

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import READY_S, Store, condition_text, container_images
from collectionstore_e2e.scenarios.rollouts import HAND_OVER_S
from collectionstore_testkit.tools import older_version


@scenario(timeout_s=600)
async def an_older_version_is_upgraded(context: Context) -> None:
    """The operator and its chart are upgraded first and restart nothing; then nodes are upgraded: no request fails."""
    older, today = context.images.node_older, context.images.node
    chart = older_version.check_out().path / "charts" / "collectionstore-operator"
    async with operator(context, image=context.images.operator_older, chart=chart) as product:
        store = Store(context)
        # Without spec.access, which the older operator would refuse: the cluster stays open, and says so.
        await store.apply(image=older, access=None)
        await store.until_settled(3, timeout_s=READY_S)
        members, pods = await store.members(), _uids(await store.pods())
        async with clients(context) as load:
            began = load.now
            await product.upgrade(context.images.operator)
            # A change that needs no restart: the status of its generation comes from the new operator.
            await store.change(paused=True)
            await store.change(paused=False)
            await store.until_settled(3)
            assert _uids(await store.pods()) == pods, "the new operator restarted a member"
            await load.say_pauses("operator upgraded", began, longest_s=HAND_OVER_S)
            # Not back again: the feature level is raised as soon as all are upgraded, and the older version refuses it.
            for image in (today,):
                began = load.now
                await store.apply(image=image, access=None)
                await store.until_settled(3)
                await load.say_pauses(f"nodes to {image.rpartition(':')[2]}", began, longest_s=HAND_OVER_S)
                assert container_images(await store.pods()) == {image}
                assert await store.members() == members, "a member was replaced"
                await load.working(writes=100)
            found = await store.until(
                lambda one: "NotChosen" in condition_text(one, "AccessConfigured"),
                what="an open cluster that says so",
            )
            assert "Permissive" not in str(found["spec"].get("access")), found["spec"]
        totals = load.recorded.totals
        assert (totals.failed, totals.unknown) == (0, 0), totals


def _uids(pods: Mapping[str, Object]) -> set[str]:
    return {pod["metadata"]["uid"] for pod in pods.values()}
