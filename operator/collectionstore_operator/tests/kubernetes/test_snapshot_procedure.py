"""A new cluster of a VolumeSnapshot through the real adapters, on an API server in this process; the operator dies.

The CSI driver's part, and that of the init container, is done by the procedure: the claim is bound when its pod may
start, as with a class that waits for the first consumer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Final

import pytest
from aiohttp import web

from collectionstore_operator import faults
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.resource import labels
from collectionstore_operator.tests.kubernetes.fake_api_server import Body, FakeApiServer, status
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.kubernetes.test_recovery_procedure import CLUSTER, NAMESPACE, RECORD, WORKLOAD
from collectionstore_operator.tests.kubernetes.test_restore_procedure import POINTS as OF_A_BACKUP
from collectionstore_operator.tests.kubernetes.test_restore_procedure import RestoreProcedure
from collectionstore_operator.tests.planning.lost_quorum import Disk

POINTS: Final = (*OF_A_BACKUP, "CreateClaim.before", "CreateClaim.after")
CLAIM: Final = f"{NAMESPACE}/persistentvolumeclaims/data-demo-0"
SNAPSHOT: Final = "/apis/snapshot.storage.k8s.io/v1/namespaces/shop/volumesnapshots/before"
SOURCE: Final = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "before"}


class SnapshotProcedure(RestoreProcedure):
    """The first claim is made by the operator, and its volume of the snapshot."""

    def __init__(self, server: FakeApiServer, kube: Kube) -> None:
        super().__init__(server, kube)
        self.want(bootstrap={"restore": {"volumeSnapshot": {"name": "before"}}})

    def snapshot(self, **status: object) -> None:
        self.server.put(SNAPSHOT, {"metadata": {"name": "before", "namespace": "shop"}, "status": status})

    def show(self) -> None:
        claim = self.server.objects.get(CLAIM)
        if claim is not None and 0 not in self.world.disks:
            self.world.disks[0] = Disk(uid=claim["metadata"]["uid"])
        super().show()

    def _prepare(self) -> None:
        claim = self.server.objects[CLAIM]
        assert claim["spec"]["dataSource"] == SOURCE, "the first member starts on a volume of something else"
        name = f"pv-{claim['metadata']['uid']}"
        self.server.put(CLAIM, {**claim, "spec": {**claim["spec"], "volumeName": name}, "status": {"phase": "Bound"}})
        bound: Body = {"persistentVolumeReclaimPolicy": "Retain", "claimRef": {"uid": claim["metadata"]["uid"]}}
        self.server.put(f"/api/v1/persistentvolumes/{name}", {"metadata": {"name": name}, "spec": bound})
        super()._prepare()

    def said(self, condition: str) -> str:
        found = {one["type"]: one for one in self.status.get("conditions", ())}[condition]
        return f"{found['status']} {found['reason']}: {found['message']}"


@asynccontextmanager
async def procedure() -> AsyncIterator[SnapshotProcedure]:
    """Start an API server, and the first operator."""
    server, clock = FakeApiServer(), Clock()
    try:
        async with await server.start() as client:
            yield SnapshotProcedure(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    finally:
        await server.stop()


async def restored(kill_at: Collection[str] = ()) -> SnapshotProcedure:
    """Create a cluster of a snapshot; the operator dies once at each of the points."""
    async with procedure() as run:
        run.snapshot(readyToUse=True, restoreSize="1Gi")
        with faults.armed(run.arrive):
            run.kill_at = set(kill_at)
            await run.settle()
        assert run.prepared == 1
        assert len(run.world.configuration.voters) == 3
        assert run.world.disks[0].node_id in run.world.configuration.voters
        assert "Bootstrap.before" not in run.reached, "an empty cluster was bootstrapped"
        claims = {path: one for path, one in run.server.objects.items() if "/persistentvolumeclaims/" in path}
        assert [path for path, one in claims.items() if "dataSource" in one["spec"]] == [CLAIM]
        annotations = claims[CLAIM]["metadata"]["annotations"]
        assert annotations[labels.CLUSTER_ID] == run.world.cluster_id
        assert annotations[labels.NODE_ID] == run.world.disks[0].node_id
        return run


async def test_a_new_cluster_begins_with_a_snapshot() -> None:
    run = await restored()
    assert set(POINTS) <= run.reached


@pytest.mark.parametrize("point", POINTS)
async def test_an_operator_that_dies_at_a_point_is_followed_by_one_that_finishes(point: str) -> None:
    run = await restored([point])
    assert run.deaths == {point}


async def test_an_operator_that_dies_at_every_point_once() -> None:
    run = await restored(POINTS)
    assert run.deaths == set(POINTS)


async def test_what_keeps_a_snapshot_from_being_used_is_said_and_nothing_is_begun() -> None:
    """Init: no snapshot. Step: it appears, fails, and is made after all. Check: each is said; then the cluster is."""
    async with procedure() as run:
        await run.until(lambda: bool(run.status.get("conditions")))
        for _ in range(3):
            await run.round()
        assert run.said("Available").startswith("False RestoreFailed: SnapshotNotFound: ")
        assert run.said("Ready") == run.said("Available")

        run.snapshot(error={"message": "the pool\nis full"}, readyToUse=False)
        failed = "SnapshotFailed: the VolumeSnapshot before was not made: the pool is full"
        await run.until(lambda: failed in run.said("Available"))
        run.snapshot(readyToUse=False)
        await run.until(lambda: run.said("Available").startswith("False Restoring: SnapshotNotReady: "))
        run.snapshot(readyToUse=True, restoreSize="11Gi")
        await run.until(lambda: "SnapshotTooLarge: " in run.said("Available"))
        assert "needs a volume of 11811160064 bytes; spec.storage.size is 10Gi" in run.said("Available")
        assert not run.server.objects[RECORD]["data"].get("restore")
        assert WORKLOAD not in run.server.objects
        assert CLAIM not in run.server.objects

        run.snapshot(readyToUse=True, restoreSize="10Gi")
        await run.settle()
        assert run.prepared == 1
        assert run.said("Available").startswith("True ")


async def test_a_snapshot_that_the_operator_may_not_read_stops_this_cluster_alone() -> None:
    async with procedure() as run:

        async def refuse(request: web.Request) -> web.Response | None:
            return status(403, "Forbidden", "no") if request.path == SNAPSHOT else None

        run.server.behave = refuse
        await run.until(lambda: bool(run.status.get("conditions")) and "SnapshotUnknown: " in run.said("Available"))
        assert CLAIM not in run.server.objects
        run.server.behave = None
        run.snapshot(readyToUse=True)
        await run.settle()
        assert run.prepared == 1


async def test_a_claim_that_exists_before_is_neither_used_nor_replaced() -> None:
    async with procedure() as run:
        run.snapshot(readyToUse=True)
        claim: Body = {
            "metadata": {"name": "data-demo-0", "uid": "earlier", "labels": labels.object_labels("demo")},
            "spec": {},
        }
        run.server.put(CLAIM, claim)
        await run.until(lambda: any("exists already" in one["blockedBy"] for one in run.status.get("plan", ())))
        assert run.server.objects[CLAIM]["metadata"]["uid"] == "earlier"
        assert WORKLOAD not in run.server.objects


async def test_a_claim_that_another_creates_in_the_last_moment_is_not_taken_for_the_snapshot() -> None:
    """Between the observation and the action."""
    async with procedure() as run:
        run.snapshot(readyToUse=True)

        def occupy(point: str) -> None:
            if point == "CreateClaim.before" and not run.deaths:
                run.deaths.add(point)
                marks = {"name": "data-demo-0", "uid": "theirs", "labels": labels.object_labels("demo")}
                run.server.put(CLAIM, {"metadata": marks, "spec": {}})

        with faults.armed(occupy):
            await run.until(lambda: bool(run.deaths))
            for _ in range(6):
                await run.round()
        assert run.prepared == 0
        assert run.server.objects[CLAIM]["metadata"]["uid"] == "theirs"
        assert not run.server.objects[RECORD]["data"].get("restore-claim")
        assert any("is not made of the VolumeSnapshot before" in one["blockedBy"] for one in run.status["plan"])


@pytest.mark.parametrize("point", ["RecordInitialized.before", "ReleasePod.after"])
async def test_a_volume_that_is_lost_is_not_made_of_the_snapshot_again(point: str) -> None:
    """The same revisions would be given twice."""
    async with procedure() as run:
        run.snapshot(readyToUse=True)
        with faults.armed(run.arrive):
            run.kill_at = {point}
            await run.until(lambda: point in run.deaths and run.prepared == 1)
        run.lose(0)
        for _ in range(10):
            await run.round()
        assert run.prepared == 1
        assert "dataSource" not in run.server.objects[CLAIM]["spec"]
        assert "Bootstrap.before" not in run.reached
        assert not run.said("Available").startswith("True")


async def test_a_snapshot_that_is_deleted_once_the_volume_is_there_is_not_missed() -> None:
    async with procedure() as run:
        run.snapshot(readyToUse=True)
        await run.until(lambda: run.prepared == 1)
        del run.server.objects[SNAPSHOT]
        await run.settle()
        assert len(run.world.configuration.voters) == 3
        assert run.said("Available").startswith("True ")


async def test_a_cluster_without_a_snapshot_asks_for_none() -> None:
    async with procedure() as run:
        run.want(bootstrap=None)
        run.server.put(CLUSTER, {**run.server.objects[CLUSTER], "spec": {"failedMember": {"graceSeconds": 5}}})
        await run.settle()
        assert not [one for one in run.server.requests if "volumesnapshots" in one[1]]
