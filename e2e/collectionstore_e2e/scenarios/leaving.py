"""What becomes of data when a cluster or a member leaves for good: a last backup, and volumes that go by a policy."""

from __future__ import annotations

from typing import Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import BACKUP, CLUSTER, VOLUME, Object
from collectionstore_e2e.harness.objects import claim
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import CHANGE_S, MEMBERS, READY_S, Store, condition_text
from collectionstore_e2e.scenarios.backups import VOLUME_REPOSITORY, succeeded
from collectionstore_e2e.scenarios.points_in_time import change, difference, export

GONE_S: Final = 240.0


@scenario(timeout_s=900, long=True)
async def a_deleted_cluster_leaves_a_last_backup_behind(context: Context) -> None:
    """kubectl delete waits for a backup that is verified; then everything goes, and a new cluster begins with it."""
    async with operator(context):
        await context.client.apply(claim("backups", "64Mi"))
        old, new = Store(context), Store(context, "copy")
        await old.apply(deletion={"finalBackup": {"repository": VOLUME_REPOSITORY, "deadlineSeconds": 300}})
        await old.until_settled(3, timeout_s=READY_S)
        await change(context, "all")
        kept = await export(context, "demo-0")
        await context.kubectl("delete", "csc", old.name, "--wait=false")
        found = await old.until(
            lambda one: bool(condition_text(one, "FinalBackup")), what="why it is not gone yet", timeout_s=60
        )
        context.say(condition_text(found, "FinalBackup"))
        await context.client.until_gone(CLUSTER, old.name, timeout_s=GONE_S)
        await old.until_pods(lambda pods: not pods, what="no pods")
        (made,) = await context.client.list_all(BACKUP)
        assert succeeded(made), made["status"]
        assert made["metadata"]["name"].startswith("demo-final-")

        await new.apply(bootstrap={"restore": {"repository": VOLUME_REPOSITORY}})
        await new.until_settled(3, timeout_s=CHANGE_S)
        restored = await export(context, "copy-0")
        assert restored == kept, difference(restored, kept)


@scenario(timeout_s=600, long=True)
async def volumes_of_removed_members_go_by_a_policy(context: Context) -> None:
    """Scaled to 3 under load: the claims of the two others go with their volumes, those of the members stay."""
    async with operator(context):
        store = Store(context)
        await store.apply(
            replicas=5, storage={"size": "64Mi", "releasedVolumes": {"policy": "Delete", "afterSeconds": 0}}
        )
        await store.until_settled(5, timeout_s=READY_S)
        before = {name: one["spec"]["volumeName"] for name, one in (await store.claims()).items()}
        assert len(before) == 5
        async with clients(context) as load:
            await store.scale(3)
            await store.until_settled(3)
            gone = {volume for name, volume in before.items() if name.removeprefix("data-") not in MEMBERS}
            await context.client.until(
                VOLUME,
                lambda volumes: not gone & set(volumes),
                what="the volumes of removed members to be gone",
                timeout_s=GONE_S,
            )
            await load.working()
        after: dict[str, Object] = await store.claims()
        assert {name: one["spec"]["volumeName"] for name, one in after.items()} == {
            f"data-{name}": before[f"data-{name}"] for name in MEMBERS
        }
