"""A whole in-place restore through the real adapters, on an API server in this process; the operator dies in it.

The world and its objects are those of the recovery's procedure, the first pod's preparation that of a new cluster's
restore; the program that restores has tests of its own.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from collectionstore_operator import faults
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.manifests import restoring, statefulset
from collectionstore_operator.model.observed import Configuration
from collectionstore_operator.model.planned_work import Hibernation, PlannedWork, Replacement, Switchover, decode
from collectionstore_operator.model.recovery import RecoveryPhase
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import parse
from collectionstore_operator.tests.kubernetes.fake_api_server import Body, FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.kubernetes.test_recovery_procedure import (
    CLUSTER,
    NAMESPACE,
    RECORD,
    WORKLOAD,
    Procedure,
)

BACKUP: Final = "/apis/collectionstore.io/v1alpha1/namespaces/shop/collectionstorebackups/one"
FIRST: Final = f"{NAMESPACE}/pods/demo-0"
URL: Final = "file:///repository/demo"
SOURCE: Final[dict[str, Any]] = {"repository": {"url": URL, "claimName": "backups"}}
POINTS: Final = (
    *(
        f"{name}.{edge}"
        for name in ("RecordRecovery", "RetireVolume", "ReplaceWorkload", "EnsureWorkload", "ReleasePod")
        for edge in ("before", "after")
    ),
    "RetireVolume.kept",
    "RetireVolume.claim-deleted",
)


class InPlace(Procedure):
    """The first pod prepares its disk as its template says; what it is made of is checked."""

    def __init__(self, server: FakeApiServer, kube: Kube) -> None:
        super().__init__(server, kube)
        self.failing: Body | None = None
        self.prepared: list[tuple[str, int]] = []
        """Of each restore the cluster ID and what was added to the revision."""

    def show(self) -> None:
        known = FIRST in self.server.objects
        super().show()
        record = self.world.record
        if record is None or record.phase is not RecoveryPhase.RESTORING or 0 not in self.world.running:
            return
        assert set(self.world.running) == {0}, "another member runs beside the restore"
        disk = self.world.disks[0]
        spec = self.server.objects[FIRST]["spec"]
        if not known:
            self.world.running[0] = disk.index > 0
        elif not self.world.running[0] and not spec.get("schedulingGates") and self.failing is None:
            assert disk.uid == record.volume_uid, f"a backup is restored on {disk.uid}, {record.volume_uid} is recorded"
            assert not disk.index, "a backup is restored over data"
            arguments = spec["initContainers"][0]["args"]
            self.prepared.append((self.world.cluster_id, int(arguments[arguments.index("--bump-revision") + 1])))
            disk.term, disk.index = 4, 50 + self.prepared[-1][1]
            self.world.configuration = Configuration(index=3, voters=(disk.node_id,))
            self.world.running[0] = True
        super().show()

    def _pod(self, ordinal: int, runs: bool, workload: Body | None) -> Body:  # noqa: FBT001
        known = self.server.objects.get(f"{NAMESPACE}/pods/demo-{ordinal}")
        body = super()._pod(ordinal, runs, workload)
        template = known["spec"] if known else (workload or {})["spec"]["template"]["spec"]
        kept = ("schedulingGates", "initContainers")
        if known or (workload or {})["metadata"]["annotations"][labels.DIGEST] != self._ordinary():
            body["spec"] |= {key: copy.deepcopy(template[key]) for key in kept if key in template}
        if ordinal == 0 and self.failing is not None and body["spec"].get("initContainers"):
            body["status"]["initContainerStatuses"] = [{"name": restoring.CONTAINER, "lastState": self.failing}]
        return body

    def _ordinary(self) -> str:
        """Return the digest without a restore: the server in this process merges, and removes no field of an apply."""
        desired, world = parse(self.server.objects[CLUSTER]), self.world
        built = statefulset.build(desired, cluster_id=world.cluster_id, replicas=world.replicas, access="Enforced")
        return built.digest

    @property
    def told(self) -> Body:
        found: Body = self.status.get("restore", {})
        return found

    async def offered(self, **source: Any) -> str:
        """Ask for a restore; return the nonce that acknowledges it."""
        before = self.server.objects[CLUSTER]["spec"].get("restore", {}).get("nonce")
        self.want(restore={**SOURCE, **source})
        await self.round()  # the status may still offer what was asked for before
        await self.until(lambda: self.told.get("nonce") not in (None, "", before))
        return str(self.told["nonce"])

    async def acknowledge(self, **source: Any) -> str:
        nonce = await self.offered(**source)
        self.want(restore={**SOURCE, **source, "nonce": nonce})
        return nonce


@asynccontextmanager
async def procedure() -> AsyncIterator[InPlace]:
    """Start an API server, an operator, and a cluster of three that works, with one backup."""
    server, clock = FakeApiServer(), Clock()
    try:
        async with await server.start() as client:
            run = InPlace(server, Kube(client, clock=clock.time, sleep=clock.sleep))
            await run.settle()
            assert len(run.world.configuration.voters) == 3
            status = {
                "conditions": [{"type": "Complete", "status": "True"}],
                "backupID": "20260102T030405Z-0123abcd",
                "clusterID": run.world.cluster_id,
                "revision": 50,
                "completedAt": "2026-01-02T03:04:10Z",
            }
            spec = {"clusterName": "demo", "repository": {"url": URL}}
            server.put(BACKUP, {"metadata": {"name": "one"}, "spec": spec, "status": status})
            yield run
    finally:
        await server.stop()


def volumes(run: InPlace) -> dict[str, str]:
    """Return the reclaim policy of every PersistentVolume."""
    found = {path: body for path, body in run.server.objects.items() if "/persistentvolumes/" in path}
    return {one["metadata"]["name"]: one["spec"]["persistentVolumeReclaimPolicy"] for one in found.values()}


def check(run: InPlace, old: str, kept: int = 3) -> None:
    """Check that there is one new cluster, of the backup, with all members, and that what was is kept."""
    assert run.told["phase"] == "Finished", run.told
    assert run.status["clusterID"] == run.world.cluster_id == run.told["clusterID"] != old
    assert run.told["fromClusterID"] == old
    assert len(run.prepared) == 1, "restored exactly once"
    assert run.prepared[0][0] == run.world.cluster_id
    assert len(run.world.configuration.voters) == 3
    assert len(run.kept) == len(set(run.kept)) == kept
    claims = [body for path, body in run.server.objects.items() if "/persistentvolumeclaims/" in path]
    assert {one["metadata"]["annotations"][labels.CLUSTER_ID] for one in claims} == {run.world.cluster_id}
    assert "Bootstrap.before" not in run.reached, "an empty cluster was bootstrapped"
    ordinary = statefulset.build(
        parse(run.server.objects[CLUSTER]), cluster_id=run.world.cluster_id, replicas=3, access="Enforced"
    )
    assert run.server.objects[WORKLOAD]["metadata"]["annotations"][labels.DIGEST] == ordinary.digest


async def restored(kill_at: Collection[str] = (), **source: Any) -> InPlace:
    """Restore a cluster in place; the operator dies once at each of the points."""
    async with procedure() as run:
        old = run.status["clusterID"]
        nonce = await run.acknowledge(**source)
        with faults.armed(run.arrive):
            run.kill_at = set(kill_at)
            await run.settle()
        check(run, old)
        assert run.world.record is not None
        assert run.world.record.nonce == nonce
        # The nonce is still in the spec: nothing is restored again.
        for _ in range(5):
            assert await run.round() == "Settled"
        assert len(run.prepared) == 1
        return run


async def test_a_cluster_is_restored_in_place_and_its_volumes_are_kept() -> None:
    run = await restored()
    assert set(POINTS) <= run.reached
    assert set(volumes(run).values()) == {"Retain"}
    assert sorted(run.told["oldVolumes"]) == sorted(run.kept)
    # Above all that the cluster had, whatever the revision of the backup is.
    assert run.prepared[0][1] >= 100 + 1_000_000


@pytest.mark.parametrize("point", POINTS)
async def test_an_operator_that_dies_at_a_point_is_followed_by_one_that_finishes(point: str) -> None:
    run = await restored([point])
    assert run.deaths == {point}


async def test_an_operator_that_dies_at_every_point_once() -> None:
    run = await restored(POINTS)
    assert run.deaths == set(POINTS)


@pytest.mark.parametrize("point", ["", "DiscardVolumes.before", "DiscardVolumes.one", "DiscardVolumes.after"])
async def test_old_volumes_are_deleted_when_the_restored_cluster_is_whole_and_not_before(point: str) -> None:
    async with procedure() as run:
        old = run.status["clusterID"]
        await run.acknowledge(oldVolumes="Delete")
        with faults.armed(run.arrive):
            run.kill_at = {point} - {""}
            await run.until(lambda: run.told.get("phase") == "Finished")
            assert set(volumes(run).values()) == {"Retain"}, "deleted before the others have joined"
            assert "DiscardVolumes.before" not in run.reached
            await run.settle()
        assert run.deaths == {point} - {""}
        check(run, old)
        policies = volumes(run)
        assert {policies[name] for name in run.kept} == {"Delete"}
        assert {policy for name, policy in policies.items() if name not in run.kept} == {"Retain"}
        assert run.world.record is not None
        assert run.world.record.old_volumes == ()


async def test_an_old_volume_that_a_user_took_back_stays_and_the_others_go() -> None:
    """Init: one was made free, one has another claim, one counts as bound for a while. Check: none of them is lost."""
    async with procedure() as run:
        old = run.status["clusterID"]
        await run.acknowledge(oldVolumes="Delete")
        await run.until(lambda: run.told.get("phase") == "Finished")
        freed, rebound, late = (f"/api/v1/persistentvolumes/{name}" for name in run.kept)
        for path, change in ((freed, {"claimRef": None}), (rebound, {"claimRef": {"uid": "another"}}), (late, {})):
            body = run.server.objects[path]
            status = {"phase": "Bound"} if path == late else {}
            run.server.put(path, {**body, "spec": {**body["spec"], **change}, "status": status})
        await run.until(lambda: run.told["oldVolumes"] == run.kept[2:])
        assert set(volumes(run).values()) == {"Retain"}
        run.server.put(late, {**run.server.objects[late], "status": {"phase": "Released"}})
        run.operator = run._next()  # its backoff is over
        await run.settle()
        check(run, old)
        policies = volumes(run)
        assert [policies[name] for name in run.kept] == ["Retain", "Retain", "Delete"]
        assert run.told["oldVolumes"] == []


async def test_without_the_nonce_of_the_status_nothing_is_changed() -> None:
    async with procedure() as run:
        nonce = await run.offered()
        assert run.told["phase"] == "Offered"
        assert (run.told["backupRevision"], run.told["revision"]) == (50, 100)
        assert "50 revisions would be lost" in run.told["message"], run.told["message"]
        before = {path: one for path, one in run.server.objects.items() if "/pods/" in path or "claim" in path}
        # Of other volumes, of another backup, and none at all.
        for wrong in ({"oldVolumes": "Delete", "nonce": nonce}, {"to": "end", "nonce": nonce}, {"nonce": "f" * 32}):
            run.want(restore={**SOURCE, **wrong})
            for _ in range(4):
                assert await run.round() == "Settled"
            assert "is ignored" in run.told["message"]
        after = {path: one for path, one in run.server.objects.items() if "/pods/" in path or "claim" in path}
        assert before.keys() == after.keys()
        assert run.world.record is None


async def test_the_offer_goes_with_the_field() -> None:
    async with procedure() as run:
        await run.offered()
        spec = run.server.objects[CLUSTER]["spec"]
        run.server.put(CLUSTER, {**run.server.objects[CLUSTER], "spec": {k: spec[k] for k in spec if k != "restore"}})
        await run.until(lambda: not run.told.get("phase"))
        assert await run.round() == "Settled"


async def test_when_no_disk_survives_the_guide_names_the_restore_and_it_works() -> None:
    """Init: every claim is gone, one of them lost with its volume. Check: offered, told, restored."""
    async with procedure() as run:
        old = run.status["clusterID"]
        for ordinal in range(3):
            run.lose(ordinal)
        await run.until(lambda: run.status.get("recovery", {}).get("phase") == "Waiting")
        told = run.status["recovery"]["message"]
        assert "no disk survives" in told
        assert "spec.restore" in told
        assert "20260102T030405Z-0123abcd" in told or "the newest" not in told
        nonce = await run.until_offered()
        run.want(recovery={"nonce": nonce})
        await run.until(lambda: "spec.restore" in run.status["recovery"]["waitingFor"])
        assert run.world.record is None
        await run.acknowledge()
        with faults.armed(run.arrive):
            run.kill_at = set(POINTS)
            await run.settle()
        assert run.deaths == set(POINTS)
        check(run, old)


async def test_a_hibernated_cluster_whose_volumes_are_gone_is_restored_and_runs() -> None:
    """Init: stopped by spec.hibernate, then every claim is deleted. Check: restored, whole, and not frozen."""
    async with procedure() as run:
        old = run.status["clusterID"]
        run.want(hibernate=True)
        await run.settle()
        assert not run.world.running
        for ordinal in range(3):
            run.server.objects.pop(f"{NAMESPACE}/persistentvolumeclaims/data-demo-{ordinal}")
            run.world.take(ordinal)
        run.want(hibernate=False)
        await run.acknowledge()
        with faults.armed(run.arrive):
            run.kill_at = {"RecordRecovery.after", "RecordRecovery.before"}
            await run.settle()
        check(run, old, kept=0)
        assert "hibernation" not in run.server.objects[RECORD]["data"].get("planned-work", "")
        assert len(run.world.running) == 3


@pytest.mark.parametrize("name", ["hibernation", "replacement"])
async def test_work_that_was_planned_for_the_old_members_is_forgotten_with_their_cluster(name: str) -> None:
    """Init: recorded after the restore has begun. Check: another pod than the members' is never asked for."""
    async with procedure() as run:
        await run.acknowledge()
        await run.until(lambda: run.world.record is not None)
        planned = PlannedWork(
            switchover=Switchover(request="d" * 16, term=2, done=True),
            hibernation=Hibernation(term=4, commit_index=90, voters=("gone",), replicas=3, stopping=True),
            replacement=Replacement(ordinal=1, node_id="gone", surge=3),
        )
        body = run.server.objects[RECORD]
        run.server.put(RECORD, {**body, "data": {**body["data"], "planned-work": planned.encoded()}})
        await run.until(lambda: run.world.record is not None and run.world.record.phase is RecoveryPhase.RESTORING)
        left = decode(run.server.objects[RECORD]["data"]["planned-work"])
        assert getattr(left, name) is None
        assert left.switchover == planned.switchover
        await run.until(lambda: run.world.replicas > 0)
        assert run.world.replicas <= 3


async def test_a_backup_that_cannot_be_restored_is_said_and_another_one_can_be_named() -> None:
    """The cluster is stopped by then: what it had is kept, and a second acknowledgement names another backup."""
    async with procedure() as run:
        old = run.status["clusterID"]
        run.failing = {"terminated": {"exitCode": 8, "message": "collectionstore-backup: a hash differs"}}
        await run.acknowledge()
        await run.until(lambda: "Corrupt: a hash differs" in run.told.get("waitingFor", ""))
        said = {one["type"]: one for one in run.status["conditions"]}
        assert said["Available"]["reason"] == "RestoreFailed", said["Available"]
        assert run.told["phase"] == "Restoring"
        first = run.status["clusterID"]
        assert first != old
        await run.acknowledge(backup="20260101T030405Z-0123abcd")
        run.failing = None
        await run.settle()
        check(run, first, kept=4)
        # Above the first attempt, too: it might have served.
        assert run.prepared[0][1] >= 2_000_000 + 100


async def test_a_restored_volume_that_is_lost_before_it_leads_is_not_restored_again() -> None:
    async with procedure() as run:
        await run.acknowledge()
        with faults.armed(run.arrive):
            run.kill_at = {"RecordRecovery.before"}
            await run.until(lambda: bool(run.prepared))
        run.lose(0)
        for _ in range(8):
            await run.round()
        assert len(run.prepared) == 1
        assert "the same revisions would be given twice" in run.told["waitingFor"]
        first, bump = run.prepared.pop()
        await run.acknowledge()
        await run.settle()
        check(run, first, kept=4)
        assert run.prepared[0][1] > bump


async def test_revisions_that_members_write_before_they_stop_are_recorded_first() -> None:
    async with procedure() as run:
        await run.acknowledge()
        await run.until(lambda: run.world.record is not None)
        for disk in run.world.disks.values():
            disk.index += 3_000_000
        await run.settle()
        assert run.prepared[0][1] >= 100 + 3_000_000 + 1_000_000


async def test_a_volume_that_would_go_with_its_claim_is_kept_before_its_pod_stops() -> None:
    async with procedure() as run:
        run.want(storage={"retention": "Delete"})
        for path, body in list(run.server.objects.items()):
            if "/persistentvolumes/" in path:
                run.server.put(path, {**body, "spec": {**body["spec"], "persistentVolumeReclaimPolicy": "Delete"}})
        await run.acknowledge()
        await run.until(lambda: run.world.record is not None)
        with faults.armed(run.arrive):
            await run.until(lambda: "EnsureWorkload.before" in run.reached)
        assert set(volumes(run).values()) == {"Retain"}


def test_what_an_operator_without_it_reads_is_refused() -> None:
    """An older operator cannot read the phase, and changes nothing."""
    assert {one.value for one in (RecoveryPhase.HALTING, RecoveryPhase.EMPTYING, RecoveryPhase.RESTORING)}.isdisjoint(
        {"Stopping", "SettingAside", "Forming", "Finished"}
    )
