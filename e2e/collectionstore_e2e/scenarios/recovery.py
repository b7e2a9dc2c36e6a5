"""Loss of the quorum for good, and the recovery by the guide."""

from __future__ import annotations

from typing import Any, Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import Object, condition
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import MEMBERS, READY_S, Store, condition_text, member_ids

GRACE_S: Final = 10
OFFERED_S: Final = 120.0
RECOVERED_S: Final = 240.0


@scenario(timeout_s=600)
async def two_of_three_lost_disks_are_recovered_by_the_guide(context: Context) -> None:
    """The claims of both followers are deleted under load: nothing happens without the nonce, then the leader's disk
    forms a new cluster. It had all that was acknowledged, so the clients' whole history stays linearizable.
    """
    async with operator(context):
        store = Store(context)
        await store.apply(failedMember={"graceSeconds": GRACE_S})
        before = await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            began, leader = load.now, await store.leader()
            lost = sorted(set(MEMBERS) - {leader})
            await lose(context, lost)
            found = await store.until(
                lambda one: bool(recovery(one).get("nonce")), what="an offer", timeout_s=OFFERED_S
            )
            text = condition_text(found, "QuorumLost")
            assert "2 of 3 disks are gone" in text, text
            context.say(text)
            offered = recovery(found)
            assert offered["lost"] == lost, offered
            assert [one["name"] for one in offered["survivors"]] == [leader], offered
            assert [one["step"] for one in found["status"]["plan"]] == ["RecoverQuorum"], found["status"]["plan"]
            # Frozen: a change of the spec has no effect. A copy of a member whose claim was seen going may have begun.
            pods = set(await store.pods())
            await store.scale(5)
            frozen = await store.until(
                lambda one: one["status"]["observedGeneration"] == one["metadata"]["generation"], what="a look at it"
            )
            assert [one["step"] for one in frozen["status"]["plan"]] == ["RecoverQuorum"], frozen["status"]["plan"]
            assert set(await store.pods()) == pods
            await store.scale(3)
            await store.change(recovery={"nonce": "f" * 32})
            refused = await store.until(lambda one: "of another loss" in recovery(one)["waitingFor"], what="a refusal")
            assert refused["status"]["clusterID"] == before["status"]["clusterID"]

            await store.change(recovery={"nonce": offered["nonce"]})
            await store.until(lambda one: recovery(one)["phase"] == "Finished", what="Finished", timeout_s=RECOVERED_S)
            found = await store.until_settled(3, timeout_s=RECOVERED_S)
            await load.working()
            context.say(f"{recovery(found)['message']}; writes again {load.now - began:.0f} s after the loss")
            await check(store, found, before, leader)


async def lose(context: Context, members: list[str]) -> None:
    """Delete the claims of members, and their pods, which hold them."""
    claims = [f"data-{name}" for name in members]
    await context.kubectl("delete", "pvc", *claims, "--wait=false")
    await context.kubectl("delete", "pod", *members, "--force", "--grace-period=0")


async def check(store: Store, found: Object, before: Object, survivor: str) -> None:
    """Check that there is one new cluster, of new incarnations only."""
    status = found["status"]
    told = recovery(found)
    assert told["survivor"] == survivor, told
    assert told["fromClusterID"] == before["status"]["clusterID"] != status["clusterID"] == told["clusterID"], told
    assert condition(found, "QuorumLost") == "False", condition_text(found, "QuorumLost")
    assert not set(member_ids(found).values()) & set(member_ids(before).values()), "an old incarnation is a member"
    stamps = {
        name: one["metadata"]["annotations"]["collectionstore.io/cluster-id"]
        for name, one in (await store.claims()).items()
    }
    assert set(stamps.values()) == {status["clusterID"]}, stamps
    for name, pod in (await store.pods()).items():
        told_to = [one for one in pod["spec"]["containers"][0]["env"] if one["name"] == "COLLECTIONSTORE_RECOVER"]
        assert all(one["value"].startswith(f"{survivor}/") for one in told_to), name


def recovery(found: Object) -> dict[str, Any]:
    """Return status.recovery, with all fields that are waited for."""
    return {"phase": "", "waitingFor": "", "nonce": "", **found.get("status", {}).get("recovery", {})}
