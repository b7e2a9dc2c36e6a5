"""A store of backups that is slow: what takes long is waited for, what takes too long is no backup."""

from __future__ import annotations

from typing import Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import BACKUP
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.object_store import object_store
from collectionstore_e2e.product.slow_store import slowed
from collectionstore_e2e.product.store import READY_S, Store
from collectionstore_e2e.scenarios.backups import backup, ended, reason, succeeded

SLOW: Final = 3_000.0
"""Bytes a second: a backup takes long, and is made."""
STUCK: Final = 100.0
"""Bytes a second: not even a request is carried in time."""
DEADLINE_S: Final = 60
SAID_S: Final = DEADLINE_S + 60.0
HELD_S: Final = 3.0
"""The slow way must have held back that much, or nothing was tested."""
PAUSE_S: Final = 8.0


@scenario(timeout_s=600, needs_machines=True, exclusive=False, long=True)
async def a_slow_backup_store_delays_a_backup_and_nothing_else(context: Context) -> None:
    """At 3 kB/s a backup under load is complete and verified; at 100 B/s it fails by its deadline and leaves none that
    could pass for one; with the store quick again the next one is made. Clients notice nothing.
    """
    async with operator(context), object_store(context) as store, slowed(store, SLOW) as (slow, way):
        cluster = Store(context)
        await cluster.apply()
        await cluster.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            began = load.now
            await context.client.apply(backup("slow", slow.repository("store", "slow")))
            found = await ended(context, "slow")
            assert succeeded(found), found["status"]
            context.say(f"{way.carried:,} bytes held back for {way.held_s:.1f} s")
            assert way.held_s > HELD_S, "the store was not slow: the scenario tested nothing"

            way.bytes_per_s, before = STUCK, way.carried
            await context.client.apply(backup("stuck", slow.repository("store", "stuck"), deadlineSeconds=DEADLINE_S))
            found = await ended(context, "stuck", timeout_s=SAID_S)
            assert not succeeded(found), f"a false success: {found['status']}"
            assert reason(found, "Failed") in {"StoreUnreachable", "DeadlineExceeded"}, found["status"]["conditions"]
            assert not found["status"]["backupID"], found["status"]
            assert way.carried > before, "the store was never asked"
            manifests = [key for key in await store.keys("stuck") if key.endswith("manifest.json")]
            assert not manifests, f"something that failed passes for a backup: {manifests}"

            way.bytes_per_s = 100 * SLOW
            await context.client.apply(backup("again", slow.repository("store", "stuck")))
            found = await ended(context, "again")
            assert succeeded(found), found["status"]
            await load.say_pauses("backups to a slow store", began, longest_s=PAUSE_S)
        assert {one["metadata"]["name"] for one in await context.client.list_all(BACKUP)} == {"slow", "stuck", "again"}
