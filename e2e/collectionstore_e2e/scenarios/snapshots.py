"""A new cluster of a VolumeSnapshot, on a driver that copies: claims, scheduler and kubelets are real."""

from __future__ import annotations

from typing import Final

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import Object, condition
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.copying_driver import copying_driver
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import CHANGE_S, READY_S, Store, condition_text
from collectionstore_e2e.scenarios.points_in_time import change, difference, export

SNAPSHOT: Final = "tuesday"
SAID_S: Final = 90.0


@scenario(timeout_s=900, needs_machines=True, exclusive=False, long=True)
async def a_new_cluster_begins_with_a_volume_snapshot(context: Context) -> None:
    """Of a follower of a hibernated cluster: until the snapshot is ready the status says why nothing begins; then every
    document, value and revision is there, under a new identity, and the cluster that it is of wakes as it was.
    """
    async with operator(context), copying_driver(context) as driver:
        old, new = Store(context), Store(context, "copy")
        storage = {"size": "64Mi", "class": driver.class_name}
        await old.apply(storage=storage)
        first = await old.until_settled(3, timeout_s=READY_S)
        revision = await change(context, "all")
        kept = await export(context, "demo-0")
        await old.change(hibernate=True)
        await old.until(lambda one: condition(one, "Hibernated") == "True", what="hibernated")

        await new.apply(storage=storage, bootstrap={"restore": {"volumeSnapshot": {"name": SNAPSHOT}}})
        await _held(context, new, "SnapshotNotFound")
        await driver.announce(SNAPSHOT)
        await _held(context, new, "SnapshotNotReady")
        assert not await new.pods()
        await driver.take(SNAPSHOT, "data-demo-1")
        made = await new.until_settled(3, timeout_s=CHANGE_S)

        for name in sorted(await new.pods()):
            found = await export(context, name)
            assert found == kept, f"{name}: {difference(found, kept)}"
        assert made["status"]["clusterID"] != first["status"]["clusterID"]
        written = await change(context, "after", pod="copy-0")
        assert written > revision + 1_000_000, (written, revision)
        context.say(f"{len(kept)} documents and values of revision {revision}; the next revisions end with {written}")

        await old.change(hibernate=False)
        await old.until_settled(3, timeout_s=CHANGE_S)
        assert await export(context, "demo-0") == kept
        assert (await old.read())["status"]["clusterID"] == first["status"]["clusterID"]


async def _held(context: Context, store: Store, reason: str) -> None:
    def said(found: Object) -> bool:
        return reason in condition_text(found, "Available")

    found = await store.until(said, what=reason, timeout_s=SAID_S)
    context.say(condition_text(found, "Available"))
