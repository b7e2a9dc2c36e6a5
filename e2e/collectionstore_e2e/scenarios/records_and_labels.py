"""What people edit by hand and must not: the record, the keys, labels of pods and claims, and a claim in use."""

from __future__ import annotations

import asyncio
import base64
from typing import Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import CLAIM, CLUSTER, CONFIG_MAP, POD, SECRET, VOLUME, Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import READY_S, Store, condition_text, member_ids

RESTORED_S: Final = 45.0
"""Two idle rounds of 15 s, on a busy machine."""
RECORD: Final = "demo-record"
LABEL: Final = "app.kubernetes.io/instance"


@scenario(timeout_s=420)
async def edited_records_are_restored(context: Context) -> None:
    """CA and cluster ID in the record are overwritten, then the CA's Secret is deleted: restored, or reported."""
    async with operator(context):
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        before = (await context.client.get(CONFIG_MAP, RECORD))["data"]
        async with clients(context) as load:
            for edit in ({"ca.crt": "garbage"}, {"cluster-id": "0123456789abcdef"}):
                await context.client.patch(CONFIG_MAP, RECORD, {"data": edit})
                await _until_record(context, before)
                await store.until_settled(3)
                context.say(f"restored: {', '.join(edit)}")
            leader = await store.leader()
            await store.delete_pod(next(name for name in sorted(await store.pods()) if name != leader))
            await store.until_settled(3)
            await _lose_authority(context, store)
            await load.working()


async def _until_record(context: Context, data: dict[str, str]) -> None:
    await context.client.until_one(
        CONFIG_MAP, RECORD, lambda one: one["data"] == data, what="the record restored", timeout_s=RESTORED_S
    )


async def _lose_authority(context: Context, store: Store) -> None:
    """Delete the authority: reported, not replaced by one that no member trusts; stored again, all is well."""
    secret = await context.client.get(SECRET, "demo-authority")
    await context.client.delete(SECRET, "demo-authority")
    found = await store.until(
        lambda one: condition_text(one, "RecordsValid").startswith("False AuthorityLost"),
        what="RecordsValid=False",
        timeout_s=RESTORED_S,
    )
    context.say(f"RecordsValid={condition_text(found, 'RecordsValid')}")
    assert await context.client.find(SECRET, "demo-authority") is None, "a new authority was made"
    metadata = {key: secret["metadata"][key] for key in ("name", "labels")}
    again = {"apiVersion": "v1", "kind": "Secret", "type": secret["type"], "metadata": metadata, "data": secret["data"]}
    await context.client.create(again)
    await store.until_settled(3)
    assert base64.b64decode(secret["data"]["tls.crt"]).decode() == (await _record(context))["ca.crt"]


async def _record(context: Context) -> dict[str, str]:
    data: dict[str, str] = (await context.client.get(CONFIG_MAP, RECORD))["data"]
    return data


@scenario(timeout_s=300)
async def lost_labels_are_restored(context: Context) -> None:
    """The leader's pod and a claim are relabelled: the cluster stays available in the status, and they are restored."""
    async with operator(context):
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        leader = await store.leader()
        uid = (await context.client.get(POD, leader))["metadata"]["uid"]
        async with clients(context) as load:
            for kind, name in ((POD, leader), (CLAIM, f"data-{leader}")):
                await context.client.patch(kind, name, {"metadata": {"labels": {LABEL: "other"}}})
                await context.client.until_one(
                    kind,
                    name,
                    lambda one: one["metadata"]["labels"].get(LABEL) == "demo",
                    what="its label restored",
                    timeout_s=RESTORED_S,
                )
                found = await store.read()
                assert condition_text(found, "Available").startswith("True"), condition_text(found, "Available")
            await store.until_settled(3)
            await load.working()
        assert (await context.client.get(POD, leader))["metadata"]["uid"] == uid, "the pod was restarted"
        owners = (await context.client.get(POD, leader))["metadata"].get("ownerReferences") or ()
        assert [one["kind"] for one in owners] == ["StatefulSet"], owners


@scenario(timeout_s=420)
async def a_claim_deleted_under_a_member_is_reported_and_its_member_replaced(context: Context) -> None:
    """The leader's claim is deleted: the condition says it, no restart takes the volume, the member is replaced."""
    async with operator(context):
        store, loop = Store(context), asyncio.get_running_loop()
        await store.apply(failedMember={"replacement": "Manual"})
        await store.until_settled(3, timeout_s=READY_S)
        members, leader = await store.members(), await store.leader()
        volume = (await context.client.get(CLAIM, f"data-{leader}"))["spec"]["volumeName"]
        pods = {name: one["metadata"]["uid"] for name, one in (await store.pods()).items()}
        async with clients(context) as load:
            await context.client.delete(CLAIM, f"data-{leader}")
            found = await store.until(
                lambda one: leader in condition_text(one, "VolumesSafe"), what="VolumesSafe=False", timeout_s=RESTORED_S
            )
            context.say(f"VolumesSafe={condition_text(found, 'VolumesSafe')}")
            # A restart that is due for another reason does not take the volume away meanwhile.
            await context.kubectl("annotate", "csc", store.name, "collectionstore.io/restart=now")
            await store.until(lambda one: _waits(one, leader), what=f"{leader} not restarted", timeout_s=120)
            assert (await context.client.get(POD, leader))["metadata"]["uid"] == pods[leader]
            began, replaced = load.now, loop.time()
            await store.change(failedMember={"replacement": "Automatic"})
            await store.until(
                lambda one: member_ids(one).get(leader, members[leader]) != members[leader], what=f"{leader} replaced"
            )
            await store.until_settled(3)
            context.say(f"replaced after {loop.time() - replaced:.1f} s")
            await load.say_pauses(f"{leader} replaced", began, longest_s=8.0)
        kept = await context.client.get(VOLUME, volume)
        assert kept["spec"]["persistentVolumeReclaimPolicy"] == "Retain", kept["spec"]
        assert kept["status"]["phase"] == "Released", kept["status"]
        assert await context.client.find(CLUSTER, store.name) is not None


def _waits(found: Object, name: str) -> bool:
    """Return whether only the restart of this member remains, and waits because of its claim."""
    plan = found["status"].get("plan") or ()
    restarts = [one for one in plan if one["step"] == "RestartPod"]
    return [one["subject"] for one in restarts] == [name] and "is being deleted" in restarts[0].get("blockedBy", "")
