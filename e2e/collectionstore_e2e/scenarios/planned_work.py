"""Planned work on a healthy cluster: another leader, a sleep, while clients work and remember what they were told."""

from __future__ import annotations

import statistics
from typing import Any, Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import CLUSTER, STATEFUL_SET, Object, condition
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import MEMBERS, READY_S, Store, condition_text, container_images

TRANSFER: Final = "collectionstore.io/transfer-leader"
APPROVE: Final = "collectionstore.io/approve-update"
FENCE: Final = "collectionstore.io/fence"
TRANSFERS: Final = 5
TRANSFER_S: Final = 30.0
GAP_S_MAX: Final = 2.0
"""Far above what a transfer takes, and below what an election takes: the machine is shared."""
SLEEP_S: Final = 90.0


async def annotate(context: Context, store: Store, annotations: dict[str, str | None]) -> None:
    """Annotate the resource, as `kubectl annotate --overwrite`."""
    await context.client.patch(CLUSTER, store.name, {"metadata": {"annotations": annotations}})


def is_done(found: Object) -> bool:
    """Return whether nothing waits and a leader is known."""
    return bool(found["status"].get("leader")) and not found["status"].get("plan")


@scenario(timeout_s=420, exclusive=True)
async def leadership_is_transferred_under_load(context: Context) -> None:
    """To each named member and to any: once for each value, no request fails, no write is lost."""
    async with operator(context):
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            gaps = []
            for number in range(TRANSFERS):
                before = await store.leader()
                others = [name for name in MEMBERS if name != before]
                target = others[1] if number % 2 else "any"
                allowed = [target] if number % 2 else others
                began = load.now
                await annotate(context, store, {TRANSFER: f"{target} {number}"})
                found = await store.until(
                    lambda one, allowed=allowed: is_done(one) and one["status"]["leader"] in allowed,  # type: ignore[misc]
                    what=f"{target} leading instead of {before}",
                    timeout_s=TRANSFER_S,
                )
                await load.working()
                gaps.append(max(load.recorded.pauses(began)))
                context.say(f"{before} to {found['status']['leader']}: longest pause {gaps[-1]:.3f} s")
            # The same value again is no new request.
            leader = await store.leader()
            await annotate(context, store, {TRANSFER: f"{target} {number}", "note": "again"})
            await load.working()
            assert await store.leader() == leader
            context.say(f"{TRANSFERS} transfers: pauses of {statistics.median(gaps):.3f} s (median), {max(gaps):.3f} s")
            assert max(gaps) < GAP_S_MAX, gaps
        totals = load.recorded.totals
        assert (totals.failed, totals.unknown) == (0, 0), totals


@scenario(timeout_s=600)
async def a_cluster_sleeps_and_wakes_with_everything(context: Context) -> None:
    """Stopped under load and by an operator that ends meanwhile; scaling waits; every acknowledged write is there."""
    async with operator(context) as running:
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            await load.working(writes=200)
            members, claims = await store.members(), _volumes(await store.claims())
            await store.change(hibernate=True)
            await store.until(lambda one: bool(_phase(one)), what="the condition Hibernated", timeout_s=SLEEP_S)
            await running.stop()
            await running.start()
            found = await store.until(
                lambda one: _phase(one) == "True Hibernated", what="a hibernated cluster", timeout_s=SLEEP_S
            )
            assert condition(found, "Degraded") == "False"
            assert condition_text(found, "Available").startswith("False Hibernated")
            assert not await store.pods()
            await store.scale(5)
            found = await store.until(
                lambda one: "spec.replicas is 5" in str(one["status"].get("plan")), what="a step that waits"
            )
            workload = await context.client.get(STATEFUL_SET, store.name)
            assert workload["spec"]["replicas"] == 0
            assert _volumes(await store.claims()) == claims
            await store.scale(3)
            await store.change(hibernate=None)
            found = await store.until_settled(3)
            assert not condition_text(found, "Hibernated")
            assert await store.members() == members
            assert _volumes(await store.claims()) == claims
            # The clients go on, read every key once more at their end, and check the whole history.
            await load.working()


@scenario(timeout_s=480)
async def a_fenced_member_stays_away_and_comes_back(context: Context) -> None:
    """The leader is fenced under load: its pod waits, its volume stays, a second fence is refused; then it is back."""
    async with operator(context):
        store = Store(context)
        await store.apply(failedMember={"graceSeconds": 5})
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            members, claims = await store.members(), _volumes(await store.claims())
            fenced = await store.leader()
            other = next(name for name in MEMBERS if name != fenced)
            await annotate(context, store, {FENCE: fenced})
            await store.until(
                lambda one: condition_text(one, "MembersFenced").startswith("True"), what="a fenced member"
            )
            assert _gates(await store.pods()) == [fenced]
            await load.working(writes=100)
            await annotate(context, store, {FENCE: f"{fenced},{other}"})
            await store.until(
                lambda one: condition_text(one, "MembersFenced").startswith("False FenceBlocked"),
                what="a second fence that is refused",
            )
            # Longer than the grace time after which a member that is down is replaced.
            await load.working(writes=400)
            found = await store.read()
            assert condition(found, "Degraded") == "False"
            assert condition(found, "QuorumSafe") == "False"
            assert _gates(await store.pods()) == [fenced]
            # Another pod that is deleted meanwhile is not held by the gate: the template has none any more.
            template = (await context.client.get(STATEFUL_SET, store.name))["spec"]["template"]["spec"]
            assert "schedulingGates" not in template
            await annotate(context, store, {FENCE: None})
            await store.until_settled(3)
            assert await store.members() == members
            assert _volumes(await store.claims()) == claims


@scenario(timeout_s=480)
async def a_supervised_update_waits_for_its_approval(context: Context) -> None:
    """A new image waits, for another revision, too; a member that fails is repaired; the approval lets the rest go."""
    async with operator(context):
        store = Store(context)
        await store.apply(updates={"mode": "Supervised"})
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            before = {name: one["metadata"]["uid"] for name, one in (await store.pods()).items()}
            await store.change(image=context.images.node_next)
            found = await store.until(
                lambda one: condition_text(one, "MembersUpdated").startswith("False UpdateHeld"),
                what="an update that waits",
            )
            revision = found["status"]["revision"]
            assert revision in condition_text(found, "MembersUpdated")
            await annotate(context, store, {APPROVE: "another"})
            await load.working(writes=100)
            assert {name: one["metadata"]["uid"] for name, one in (await store.pods()).items()} == before
            assert condition(await store.read(), "Ready") == "True"
            await store.delete_pod("demo-1")
            assert container_images(await store.pods()) == {context.images.node, context.images.node_next}
            began = load.now
            await annotate(context, store, {APPROVE: revision})
            await store.until_settled(3)
            await load.say_pauses("approved update", began, longest_s=8.0)
            assert container_images(await store.pods()) == {context.images.node_next}


def _gates(pods: dict[str, Any]) -> list[str]:
    """Return the pods that wait at a scheduling gate."""
    return [name for name, one in sorted(pods.items()) if one["spec"].get("schedulingGates")]


def _phase(found: Object) -> str:
    return condition_text(found, "Hibernated").partition(":")[0]


def _volumes(claims: dict[str, Any]) -> dict[str, str]:
    return {name: one["spec"]["volumeName"] for name, one in claims.items()}
