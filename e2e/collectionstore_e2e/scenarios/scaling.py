"""Scaling: up, down, and a scale-up that is reverted."""

from __future__ import annotations

from typing import Final

from collectionstore_e2e.clients.pod import Clients, clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import CHANGE_S, MEMBERS, READY_S, Store, member_ids

ELECTION_S: Final = 8.0
"""Longest time without an acknowledged write during a leadership transfer or election, on a busy machine."""
LATER: Final = ("demo-3", "demo-4")


@scenario(timeout_s=600)
async def kubectl_scale_adds_and_removes_members(context: Context) -> None:
    """kubectl scale to 5, to 3 and to 5 again: members added the second time have new node IDs and empty disks."""
    async with operator(context):
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            first = await store.members()
            five = await _scale(context, store, load, 5)
            assert {name: five[name] for name in MEMBERS} == first, "a member was replaced while others were added"
            three = await _scale(context, store, load, 3)
            assert three == first, f"members after scaling down: {three}; before scaling up: {first}"
            await store.until_pods(lambda pods: set(pods) == set(MEMBERS), what="three pods")
            kept = {name for name, one in (await store.claims()).items() if one["spec"].get("volumeName")}
            assert {f"data-{name}" for name in LATER} <= kept, f"claims that were kept: {kept}"
            again = await _scale(context, store, load, 5)
            assert not {again[name] for name in LATER} & {five[name] for name in LATER}, (
                "a removed member returned with its old disk"
            )
            assert {name: again[name] for name in MEMBERS} == first


async def _scale(context: Context, store: Store, load: Clients, replicas: int) -> dict[str, str]:
    began = load.now
    await store.scale(replicas)
    found = await store.until_settled(replicas)
    await load.say_pauses(f"to {replicas}", began, longest_s=ELECTION_S)
    return member_ids(found)


@scenario(timeout_s=420)
async def a_scale_up_is_reverted_midway(context: Context) -> None:
    """Scaled to 5 and back to 3 before the new members are voters: once before they are learners, once after."""
    async with operator(context):
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            first, began = await store.members(), load.now

            await store.scale(5)
            await store.until_pods(lambda pods: len(pods) == 5, what="two more pods", timeout_s=CHANGE_S)
            await _revert(store, first)

            await store.scale(5)
            met = await store.until(_has_begun, what="learners")
            context.say(f"reverted with the learners {', '.join(met['status']['configuration']['learners']) or '-'}")
            await _revert(store, first)
            await load.say_pauses("reverted twice", began, longest_s=ELECTION_S)


async def _revert(store: Store, first: dict[str, str]) -> None:
    await store.scale(3)
    found = await store.until_settled(3)
    assert member_ids(found) == first, f"members afterwards: {member_ids(found)}; before: {first}"
    assert not found["status"]["configuration"]["learners"]
    await store.until_pods(lambda pods: set(pods) == set(MEMBERS), what="three pods")


def _has_begun(found: Object) -> bool:
    configuration = found["status"]["configuration"]
    return bool(configuration["learners"]) or len(configuration["voters"]) > len(MEMBERS)
