"""Obstacles are reported: missing permissions, unschedulable pods, unbound claims, terminating namespaces."""

from __future__ import annotations

import asyncio
from typing import Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import NAMESPACE, POD, Object
from collectionstore_e2e.harness.namespaces import second_namespace
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.helm import helm
from collectionstore_e2e.product.installation import LABELS, RELEASE, install, operator
from collectionstore_e2e.product.store import READY_S, Store, condition_text, member_ids

REPORTED_S: Final = 30.0
REPLACE: Final = "collectionstore.io/replace"
WAITING: Final = "demo-4"
NO_SUCH_CLASS: Final = "no-such-class"
GONE_S: Final = 90.0


@scenario(timeout_s=180)
async def missing_permissions_are_reported_at_startup(context: Context) -> None:
    """Without its roles, the operator logs the missing verbs and resources, and exits."""
    settings = ("--set=crds.install=false", f"--set=watchNamespaces={{{context.namespace}}}", "--set=rbac.create=false")
    await install(context, *settings, wait=False)
    try:
        pods = await context.client.until(
            POD, lambda found: any(map(_ended, found.values())), what="the operator's end", timeout_s=60, labels=LABELS
        )
        one = next(filter(_ended, pods.values()))
        status = one["status"]["containerStatuses"][0]
        ended = status["state"].get("terminated") or status["lastState"]["terminated"]
        log = await context.client.logs(one["metadata"]["name"], previous="terminated" not in status["state"])
        missing = [line for line in log.splitlines() if "permission.missing" in line]
        context.say(f"exit code {ended['exitCode']}; {len(missing)} lines such as {missing[0] if missing else log}")
        assert ended["exitCode"] == 77, ended
        assert any("list" in line and "pods" in line for line in missing), log
        assert any("patch" in line and "statefulsets.apps" in line for line in missing), log
        assert any(context.namespace in line for line in missing), log
    finally:
        await helm(context)("uninstall", RELEASE)


def _ended(pod: Object) -> bool:
    for one in pod["status"].get("containerStatuses") or ():
        if "terminated" in one["state"] or "terminated" in one.get("lastState", {}):
            return True
    return False


@scenario(timeout_s=300)
async def conditions_name_an_unschedulable_pod(context: Context) -> None:
    """No matching node, no volume: a condition names pod and reason within 30 s; a corrected spec is enough."""
    async with operator(context):
        loop, store = asyncio.get_running_loop(), Store(context)
        began = loop.time()
        await store.apply(pod={"nodeSelector": {"e2e": context.namespace}})
        found = await store.until(
            lambda one: "demo-0" in _says(one) and "node" in _says(one).lower(),
            what="conditions that name it",
            timeout_s=REPORTED_S,
        )
        context.say(f"no node, reported after {loop.time() - began:.1f} s: {condition_text(found, 'Ready')}")
        await store.apply()
        await store.until_settled(3)

        unbound = Store(context, "unbound")
        began = loop.time()
        await unbound.apply(storage={"size": "64Mi", "class": NO_SUCH_CLASS})
        found = await unbound.until(
            lambda one: "unbound-0" in _says(one) and NO_SUCH_CLASS in _says(one),
            what="conditions that name it",
            timeout_s=REPORTED_S,
        )
        context.say(f"no volume, reported after {loop.time() - began:.1f} s: {condition_text(found, 'Ready')}")


@scenario(timeout_s=420, needs_machines=True)
async def an_unschedulable_pod_blocks_no_replacement(context: Context) -> None:
    """One of five members is Pending, because its node is cordoned; another one is replaced on request meanwhile."""
    async with operator(context):
        store = Store(context)
        await store.apply(replicas=5)
        await store.until_settled(5, timeout_s=2 * READY_S)
        async with clients(context) as load:
            members, began = await store.members(), load.now
            node = (await store.pods())[WAITING]["spec"]["nodeName"]
            await context.kubectl("cordon", node)
            try:
                await context.client.delete(POD, WAITING)
                found = await store.until(
                    lambda one: WAITING in condition_text(one, "Degraded"),
                    what="conditions that name it",
                    timeout_s=REPORTED_S,
                )
                context.say(f"Degraded={condition_text(found, 'Degraded')}")
                leader = await store.leader()
                replaced = next(name for name in sorted(members) if name not in (WAITING, leader))
                await context.kubectl("annotate", "pod", replaced, f"{REPLACE}=now")
                await store.until(
                    lambda one: _votes(one, replaced) and member_ids(one)[replaced] != members[replaced],
                    what=f"{replaced} replaced",
                )
                waiting = (await store.pods())[WAITING]
                assert "nodeName" not in waiting["spec"], f"{WAITING} was scheduled: the scenario tested nothing"
            finally:
                await context.kubectl("uncordon", node)
            await store.until_settled(5)
            await load.say_pauses(f"{WAITING} pending, {replaced} replaced", began, longest_s=8.0)
            after = await store.members()
            others = {name: one for name, one in members.items() if name != replaced}
            assert {name: after[name] for name in others} == others, "more than one member was replaced"


def _votes(found: Object, name: str) -> bool:
    configuration = found["status"]["configuration"]
    return name in configuration["voters"] and not configuration["joint"] and name in member_ids(found)


def _says(found: Object) -> str:
    """Return the messages of the conditions that report obstacles."""
    return f"{condition_text(found, 'Ready')} {condition_text(found, 'Degraded')}"


@scenario(timeout_s=300)
async def a_namespace_with_a_cluster_can_be_deleted(context: Context) -> None:
    """A namespace is deleted with a cluster in it: the operator creates nothing there, and the deletion completes."""
    async with second_namespace(context) as other, operator(context, watched=[other.namespace]) as product:
        store = Store(other)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await context.client.delete(NAMESPACE, other.namespace)
        await context.client.until_gone(NAMESPACE, other.namespace, timeout_s=GONE_S)
        context.say(f"deleted after {loop.time() - began:.1f} s")
        one = await product.until_ready()
        log = await context.client.logs(one["metadata"]["name"])
        refused = [line for line in log.splitlines() if "being terminated" in line]
        assert not refused, f"the operator tried to create objects: {refused[:3]}"
        restarts = sum(status["restartCount"] for status in one["status"]["containerStatuses"])
        assert restarts == 0, f"the operator was restarted {restarts} times"
