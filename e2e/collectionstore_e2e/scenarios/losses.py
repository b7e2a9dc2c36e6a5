"""Loss of pods and nodes: deletion, power loss, network partition, drain."""

from __future__ import annotations

import asyncio
from typing import Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import command_refusal
from collectionstore_e2e.harness.kinds import DISRUPTION_BUDGET
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import READY_S, Store, condition_text, member_ids

ELECTION_S: Final = 8.0
"""Longest time without an acknowledged write during an election, on a busy machine."""
NODE_LOSS_S: Final = 12.0
"""The same if connections to a lost node end only by their timeout."""
GRACE_S: Final = 10
REPLACED_S: Final = 180.0
REFUSED_S: Final = 8
OWN: Final = "e2e"
"""Label of the pods that a drain evicts: pods of other scenarios may run on the node."""


@scenario(timeout_s=420)
async def deleted_pods_return_as_the_same_members(context: Context) -> None:
    """The leader's pod is deleted, then each in turn: writes resume within seconds, and node IDs do not change."""
    async with operator(context):
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            members = await store.members()
            leader = await store.leader()
            for name in (leader, *sorted(members)):
                began = load.now
                await store.delete_pod(name)
                await store.until_settled(3)
                await load.say_pauses(f"{name} deleted", began, longest_s=ELECTION_S)
            assert await store.members() == members, "a member has another node ID"


@scenario(timeout_s=480, needs_machines=True)
async def members_of_a_lost_node_are_replaced(context: Context) -> None:
    """The leader's node is lost with its disk: after the grace time a new member replaces it on another node."""
    async with operator(context) as product:
        store = Store(context)
        await store.apply(failedMember={"graceSeconds": GRACE_S})
        await store.until_settled(3, timeout_s=READY_S)
        leader, before = await store.leader(), await store.members()
        nodes = await _nodes(store)
        lost = nodes[leader]
        stays = next(node for name, node in sorted(nodes.items()) if node != lost)
        on_it = sorted(name for name, node in nodes.items() if node == lost)
        async with clients(context, node=stays) as load:
            with_operator = any(one["spec"]["nodeName"] == lost for one in await product.pods())
            loop, began = asyncio.get_running_loop(), load.now
            killed = loop.time()
            await context.own_machines.kill(lost)
            await load.say_pauses(f"{lost} killed, node of leader {leader}", began, longest_s=NODE_LOSS_S)
            await store.until(
                lambda one: all(member_ids(one).get(name, before[name]) != before[name] for name in on_it),
                what="a replacement of each lost member",
                timeout_s=REPLACED_S,
            )
            found = await store.until_settled(3, timeout_s=REPLACED_S)
            context.say(
                f"replaced {loop.time() - killed:.0f} s after the loss, including {GRACE_S} s of grace time"
                f"{'; the operator was lost as well' if with_operator else ''}"
            )
            assert lost not in (await _nodes(store)).values(), await _nodes(store)
            unharmed = {name: member for name, member in before.items() if name not in on_it}
            after = {name: one for name, one in member_ids(found).items() if name in unharmed}
            assert after == unharmed, f"members that were not on {lost} have other node IDs: {after}"
            await load.say_pauses("from the loss to the end", began, longest_s=NODE_LOSS_S)


@scenario(timeout_s=360, needs_machines=True)
async def a_partitioned_leader_triggers_an_election(context: Context) -> None:
    """The leader's node is partitioned: another member is elected; after rejoining, all node IDs are unchanged."""
    async with operator(context):
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        leader, before, nodes = await store.leader(), await store.members(), await _nodes(store)
        stays = next(node for name, node in sorted(nodes.items()) if node != nodes[leader])
        async with clients(context, node=stays) as load:
            began = load.now
            await context.own_machines.cut(nodes[leader])
            await load.say_pauses(f"{nodes[leader]} partitioned, node of leader {leader}", began, longest_s=NODE_LOSS_S)
            await store.until(lambda one: one["status"]["leader"] not in ("", leader), what="another leader")
            await store.until(lambda one: leader in condition_text(one, "Degraded"), what=f"Degraded to name {leader}")
            await context.own_machines.rejoin(nodes[leader])
            await store.until_settled(3)
            assert await store.members() == before, "a member has another node ID"
            await load.say_pauses("from the partition to the end", began, longest_s=NODE_LOSS_S)


async def _nodes(store: Store) -> dict[str, str]:
    """Return the node of each pod."""
    return {name: one["spec"].get("nodeName", "") for name, one in (await store.pods()).items()}


@scenario(timeout_s=480, needs_machines=True)
async def nodes_are_drained_one_at_a_time(context: Context) -> None:
    """kubectl drain of the leader's node succeeds; the PodDisruptionBudget blocks the next until all are Ready."""
    async with operator(context, f"--set=podLabels.{OWN}={context.namespace}"):
        store = Store(context)
        await store.apply(spread={"nodes": "Required"}, pod={"labels": {OWN: context.namespace}})
        await store.until_settled(3, timeout_s=READY_S)
        leader, members, nodes = await store.leader(), await store.members(), await _nodes(store)
        first = nodes[leader]
        second, third = (node for name, node in sorted(nodes.items()) if name != leader)
        async with clients(context, node=third) as load:
            began = load.now
            try:
                await _drain(context, first)
                await load.say_pauses(f"{first} drained, node of leader {leader}", began, longest_s=ELECTION_S)
                refused = await command_refusal(_drain(context, second, timeout_s=REFUSED_S))
                assert "disruption budget" in refused.output, refused.output
                context.say(f"{second} meanwhile: {refused.output.splitlines()[0]}")
                budget = await context.client.get(DISRUPTION_BUDGET, store.name)
                assert budget["status"]["disruptionsAllowed"] == 0, budget["status"]
                await context.kubectl("uncordon", first)
                await store.until_settled(3)
                began = load.now
                await _drain(context, second)
                await load.say_pauses(f"{second} drained", began, longest_s=ELECTION_S)
            finally:
                await context.kubectl("uncordon", first, second)
            await store.until_settled(3)
            assert await store.members() == members, "a member has another node ID"


async def _drain(context: Context, node: str, *, timeout_s: int = 90) -> None:
    """Drain this scenario's pods from a node, as before maintenance."""
    options = ["--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={timeout_s}s"]
    options.append(f"--pod-selector={OWN}={context.namespace}")
    await context.kubectl("drain", node, *options, timeout_s=timeout_s + 30)
