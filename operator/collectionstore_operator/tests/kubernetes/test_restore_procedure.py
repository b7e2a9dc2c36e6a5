"""A new cluster from a backup through the real adapters, on an API server in this process; the operator dies in it.

The world and its objects are those of the recovery's procedure. The init container's part is done by `_prepare`: the
program itself has tests of its own.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import pytest

from collectionstore_operator import faults
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.manifests import restoring, statefulset
from collectionstore_operator.model.observed import Configuration
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import parse
from collectionstore_operator.tests.kubernetes.fake_api_server import Body, FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.kubernetes.test_recovery_procedure import (
    CLUSTER,
    NAMESPACE,
    RECORD,
    ROUNDS_MAX,
    WORKLOAD,
    Procedure,
)

POINTS: Final = tuple(
    f"{name}.{edge}"
    for name in ("RecordRestore", "RecordRestoreClaim", "ReleasePod", "EnsureWorkload", "RecordInitialized")
    for edge in ("before", "after")
)
FIRST: Final = f"{NAMESPACE}/pods/demo-0"
RESTORE: Final[dict[str, Any]] = {
    "repository": {"url": "file:///repository/shop", "claimName": "backups"},
    "to": "revision:7",
}


class RestoreProcedure(Procedure):
    """The first pod prepares its disk as its template says, and may fail."""

    def __init__(self, server: FakeApiServer, kube: Kube) -> None:
        super().__init__(server, kube)
        self.failing: Body | None = None
        """The state of the init container, while it fails."""
        self.prepared = 0
        self.want(bootstrap={"restore": RESTORE})

    def show(self) -> None:
        workload = self.server.objects.get(WORKLOAD)
        preparing = bool(workload and workload["spec"]["template"]["spec"].get("initContainers"))
        if preparing and not self.prepared:
            assert workload is not None
            assert workload["spec"]["replicas"] == 1, "a second pod starts beside the restore"
            assert self.server.objects[RECORD]["data"].get("restore"), "a pod starts before the restore is recorded"
        new = preparing and 0 not in self.world.running
        super().show()
        if new:
            self.world.running[0] = False
        elif self.world.running.get(0) is False and not self._gates() and self._initial():
            self._prepare()
        super().show()

    def _initial(self) -> bool:
        """Return whether the first pod was created with the init container."""
        return bool(self.server.objects.get(FIRST, {}).get("spec", {}).get("initContainers"))

    def _gates(self) -> list[Body]:
        gates: list[Body] = self.server.objects.get(FIRST, {}).get("spec", {}).get("schedulingGates") or []
        return gates

    def _prepare(self) -> None:
        disk = self.world.disks[0]
        recorded = self.server.objects[RECORD]["data"].get("restore-claim")
        assert disk.uid == recorded, f"a backup is restored on {disk.uid}, {recorded} is recorded"
        if self.failing is None:
            self.prepared += 1
            disk.term, disk.index = 4, 100
            self.world.configuration = Configuration(index=100, voters=(disk.node_id,))
            self.world.running[0] = True

    def _pod(self, ordinal: int, runs: bool, workload: Body | None) -> Body:  # noqa: FBT001
        body = super()._pod(ordinal, runs, workload)
        known = self.server.objects.get(FIRST)
        if ordinal == 0:
            template = known["spec"] if known else (workload or {})["spec"]["template"]["spec"]
            kept = ("schedulingGates", "initContainers")
            body["spec"] |= {key: copy.deepcopy(template[key]) for key in kept if key in template}
        if ordinal == 0 and self.failing is not None:
            body["status"]["initContainerStatuses"] = [{"name": restoring.CONTAINER, "lastState": self.failing}]
        return body


@asynccontextmanager
async def procedure() -> AsyncIterator[RestoreProcedure]:
    """Start an API server, and the first operator."""
    server, clock = FakeApiServer(), Clock()
    try:
        async with await server.start() as client:
            yield RestoreProcedure(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    finally:
        await server.stop()


async def restored(kill_at: Collection[str] = ()) -> RestoreProcedure:
    """Create a cluster from a backup; the operator dies once at each of the points."""
    async with procedure() as run:
        with faults.armed(run.arrive):
            run.kill_at = set(kill_at)
            await run.settle()
        assert run.prepared == 1
        assert len(run.world.configuration.voters) == 3
        assert run.world.disks[0].node_id in run.world.configuration.voters
        assert "Bootstrap.before" not in run.reached, "an empty cluster was bootstrapped"
        # By its digest: the server in this process merges, and removes no field as an apply does.
        ordinary = statefulset.build(
            parse(run.server.objects[CLUSTER]), cluster_id=run.world.cluster_id, replicas=3, access="Enforced"
        )
        assert run.server.objects[WORKLOAD]["metadata"]["annotations"][labels.DIGEST] == ordinary.digest
        assert "initContainers" not in ordinary.body["spec"]["template"]["spec"]
        return run


async def test_a_new_cluster_begins_with_a_backup() -> None:
    run = await restored()
    assert set(POINTS) <= run.reached


@pytest.mark.parametrize("point", POINTS)
async def test_an_operator_that_dies_at_a_point_is_followed_by_one_that_finishes(point: str) -> None:
    run = await restored([point])
    assert run.deaths == {point}


async def test_an_operator_that_dies_at_every_point_once() -> None:
    run = await restored(POINTS)
    assert run.deaths == set(POINTS)


async def test_a_failure_is_said_and_what_succeeds_later_is_taken() -> None:
    """Init: a repository without the backup. Step: the backup comes. Check: said before, restored after."""
    async with procedure() as run:
        message = "reading\ncollectionstore-backup: there is no backup"
        run.failing = {"terminated": {"exitCode": 5, "message": message}}
        for _ in range(ROUNDS_MAX):
            await run.round()
            said = {one["type"]: one for one in run.status.get("conditions", ())}
            if said.get("Available", {}).get("reason") == "RestoreFailed":
                break
        assert "BackupNotFound: there is no backup" in said["Available"]["message"]
        assert said["Ready"]["reason"] == "RestoreFailed"
        assert f"{NAMESPACE}/pods/demo-1" not in run.server.objects
        run.failing = None
        await run.settle()
        assert run.prepared == 1
        assert len(run.world.configuration.voters) == 3


async def test_a_spec_that_changes_after_the_record_changes_nothing() -> None:
    async with procedure() as run:
        run.failing = {"terminated": {"exitCode": 10, "message": "no answer"}}
        for _ in range(ROUNDS_MAX):
            await run.round()
            if WORKLOAD in run.server.objects:
                break
        before = msgspec.json.encode(run.server.objects[WORKLOAD]["spec"]["template"])
        spec = run.server.objects[CLUSTER]["spec"]
        run.server.put(CLUSTER, {**run.server.objects[CLUSTER], "spec": {k: spec[k] for k in spec if k != "bootstrap"}})
        for _ in range(5):
            await run.round()
        assert msgspec.json.encode(run.server.objects[WORKLOAD]["spec"]["template"]) == before
        assert "Bootstrap.before" not in run.reached


@pytest.mark.parametrize("point", ["RecordInitialized.before", "RecordInitialized.after", "ReleasePod.after"])
async def test_a_volume_that_is_lost_before_the_template_is_switched_is_not_restored_again(point: str) -> None:
    """The same revisions would be given twice, of what clients were told was stored on the first volume."""
    async with procedure() as run:
        with faults.armed(run.arrive):
            run.kill_at = {point}
            await run.until(lambda: point in run.deaths and run.prepared == 1)
        run.lose(0)
        for _ in range(10):
            await run.round()
        assert run.prepared == 1, "restored twice"
        assert "Bootstrap.before" not in run.reached
        said = {one["type"]: one for one in run.status["conditions"]}
        if not run.server.objects[RECORD]["data"].get("initialized"):
            assert said["Available"]["reason"] == "RestoreFailed"
            assert "the same revisions would be given twice" in said["Available"]["message"]
            assert f"{NAMESPACE}/pods/demo-1" not in run.server.objects
        else:
            assert said["Available"]["status"] != "True"


async def test_a_pod_whose_claim_is_replaced_while_it_is_let_start_stays_at_its_gate() -> None:
    """Between the observation and the action; the claim is read once more by it."""
    async with procedure() as run:

        def replace(point: str) -> None:
            run.reached.add(point)
            if point == "ReleasePod.before" and point not in run.deaths:
                run.deaths.add(point)
                claim = f"{NAMESPACE}/persistentvolumeclaims/data-demo-0"
                found = run.server.objects[claim]
                run.server.put(claim, {**found, "metadata": {**found["metadata"], "uid": "another"}})

        with faults.armed(replace):
            await run.until(lambda: "ReleasePod.before" in run.deaths)
        assert run._gates()
        assert run.prepared == 0
