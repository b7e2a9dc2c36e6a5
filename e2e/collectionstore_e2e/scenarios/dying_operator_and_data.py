"""The operator dies at every fault point of a backup, of a restore into a new cluster, and of a recovery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.objects import claim
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.points import Points, assert_met, faulty_operator
from collectionstore_e2e.product.store import MEMBERS, READY_S, Store, member_ids
from collectionstore_e2e.scenarios.backups import VOLUME_REPOSITORY, backup, ended, succeeded
from collectionstore_e2e.scenarios.fault_points import PROCEDURE_S, RESTARTER
from collectionstore_e2e.scenarios.recovery import GRACE_S, check, lose, recovery

COPY: Final = "copy"
BACKUP_POINTS: Final = frozenset({"BackupRound.observed", "BackupRound.published", "StartRun.before", "StartRun.after"})
"""A backup changes nothing about its cluster: there need not be a round that publishes anything."""


@scenario(timeout_s=900, long=True)
async def an_operator_that_dies_everywhere_backs_up_restores_and_recovers(context: Context) -> None:
    """Backup, restore and recovery from a lost quorum complete, with the operator killed at every point of each."""
    async with faulty_operator(context, "kill", RESTARTER) as deaths:
        store, copy = Store(context), Store(context, COPY)
        await deaths.disarm()
        await store.apply(failedMember={"graceSeconds": GRACE_S})
        before = await store.until_settled(3, timeout_s=READY_S)
        await context.client.apply(claim(str(VOLUME_REPOSITORY["claimName"])))
        async with clients(context) as load:

            async def make_backup() -> None:
                await context.client.apply(backup("one", VOLUME_REPOSITORY))
                found = await ended(context, "one", timeout_s=PROCEDURE_S)
                assert succeeded(found), found["status"]

            await _through(context, deaths, "backup", BACKUP_POINTS, make_backup)

            async def restore() -> None:
                await copy.apply(replicas=3, bootstrap={"restore": {"repository": VOLUME_REPOSITORY}})
                await copy.until_settled(3, timeout_s=PROCEDURE_S)

            await _through(
                context, deaths, "restore", ("EstablishIdentity", "EnsureWorkload", "RecordRestore"), restore
            )
            restored = (await copy.read())["status"]["clusterID"]
            assert restored != before["status"]["clusterID"], "the copy has the identity of the original"

            leader, began = await store.leader(), load.now
            lost = sorted(set(MEMBERS) - {leader})

            async def recover() -> None:
                await lose(context, lost)
                found = await store.until(
                    lambda one: bool(recovery(one).get("nonce")), what="an offer", timeout_s=PROCEDURE_S
                )
                await store.change(recovery={"nonce": recovery(found)["nonce"]})
                await store.until(
                    lambda one: recovery(one)["phase"] == "Finished", what="Finished", timeout_s=PROCEDURE_S
                )
                await store.until_settled(3, timeout_s=PROCEDURE_S)

            await _through(context, deaths, "recovery", ("RecordRecovery",), recover)
            await load.working()
            context.say(f"writes again {load.now - began:.0f} s after the loss")
            found = await store.read()
            await check(store, found, before, leader)
            assert member_ids(await copy.read()).keys() == {f"{COPY}-{number}" for number in range(3)}


async def _through(
    context: Context,
    deaths: Points,
    what: str,
    expected: tuple[str, ...] | frozenset[str],
    procedure: Callable[[], Awaitable[None]],
) -> None:
    """Run a procedure to its end. The operator died at least around all `expected` actions, or at those points."""
    await deaths.forget()
    await procedure()
    met = await deaths.met()
    context.say(f"{what}: complete, the operator died {len(met)} times: {', '.join(sorted(met))}")
    if isinstance(expected, frozenset):
        assert met >= expected, f"{what}: never reached: {sorted(expected - met)}"
    else:
        assert_met(what, met, expected)
    await deaths.disarm()
