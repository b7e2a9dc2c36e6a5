"""A whole recovery through the real adapters, on an API server in this process; the operator dies at every point of it.

The cluster is `lost_quorum.World`, which judges what is asked: its pods and claims are objects, and what happens to
those objects happens to it. The node's part, the rewrite of its data, has tests of its own.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from collectionstore_operator import faults
from collectionstore_operator.errors import OperatorError
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.runtime import ClusterRuntime
from collectionstore_operator.manifests.node_environment import PREFIX
from collectionstore_operator.model import recovery as recoveries
from collectionstore_operator.model.actions import AddLearners, ChangeVoters, MemberRef
from collectionstore_operator.model.observed import Configuration, NodeStatus, Unknown
from collectionstore_operator.model.recovery import RecoveryPhase
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.reconcile.loop import Reconciler
from collectionstore_operator.reconcile.node_client import Answer, ChangeResult, Done, MemberChange, NodeClient, Refused
from collectionstore_operator.resource import labels
from collectionstore_operator.tests.kubernetes.fake_api_server import Body, FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.planning.lost_quorum import World

NAMESPACE: Final = "/api/v1/namespaces/shop"
CLUSTER: Final = "/apis/collectionstore.io/v1alpha1/namespaces/shop/collectionstoreclusters/demo"
WORKLOAD: Final = "/apis/apps/v1/namespaces/shop/statefulsets/demo"
RECORD: Final = f"{NAMESPACE}/configmaps/demo-record"
ROUNDS_MAX: Final = 120


class Members(NodeClient):
    """What the members answer."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    async def call(self, method: str, url: str, body: bytes | None = None) -> Answer | Unknown:
        """Have no access control, as older versions."""
        return Answer(404, b"{}", (0.0, 0.0))

    async def status(self, metrics_url: str) -> NodeStatus | Unknown:
        name = metrics_url.partition("demo-")[2].partition(".")[0]
        ordinal = int(name) if name.isdecimal() else -1  # a read replica does not answer
        disk = self.world.disks.get(ordinal)
        if disk is None or not self.world.running.get(ordinal):
            return Unknown("no answer in time")
        return self.world._node(ordinal, disk, self.world._leader())

    async def bootstrap(self, client_url: str, *, epoch: int) -> ChangeResult:
        if self.world.configuration.voters:
            return Refused("already_bootstrapped", "", retryable=False)
        disk = self.world.disks[0]
        disk.term, disk.index = 4, 100
        self.world.configuration = Configuration(index=1, voters=(disk.node_id,))
        return Done()

    async def change_members(
        self, client_url: str, changes: tuple[MemberChange, ...], *, expected_index: int, epoch: int
    ) -> ChangeResult:
        if expected_index != self.world.configuration.index:
            return Refused("configuration_changed", "", retryable=False)

        def refs(kind: str) -> tuple[MemberRef, ...]:
            return tuple(MemberRef(node_id=one.node_id, name=one.name) for one in changes if one.action == kind)

        if refs("add"):
            self.world.perform(AddLearners(members=refs("add"), expected_index=expected_index, reason="asked"))
        else:
            change = ChangeVoters(add=refs("promote"), remove=refs("remove"), expected_index=expected_index, reason="x")
            self.world.perform(change)
        return Done()


class Killed(asyncio.CancelledError):
    """The process ends here."""


class Procedure:
    """The resource, the world behind its objects, and one operator after the other."""

    def __init__(self, server: FakeApiServer, kube: Kube) -> None:
        self.server = server
        self.kube = kube
        self.world = World(cluster_id="", configuration=Configuration(), replicas=0)
        self.members = Members(self.world)
        self.operators = 0
        self.operator = self._next()
        self.reached: set[str] = set()
        self.kill_at: set[str] = set()
        self.deaths: set[str] = set()
        self.kept: list[str] = []
        """Names of the PersistentVolumes whose claims were released, all with the policy Retain."""
        self.server.put(
            CLUSTER,
            {
                "apiVersion": labels.API_VERSION,
                "kind": labels.KIND,
                "metadata": {"name": "demo", "namespace": "shop", "generation": 1, "uid": "u1"},
                "spec": {"failedMember": {"graceSeconds": 5}},
            },
        )

    @property
    def status(self) -> Body:
        found: Body = self.server.objects[CLUSTER].get("status", {})
        return found

    def _next(self) -> Reconciler:
        self.operators += 1
        recorder = Recorder(self.kube, f"op-{self.operators}")
        runtime = ClusterRuntime(self.kube, self.members, recorder, namespace="shop", name="demo", holder="ops/op")
        return Reconciler(runtime)

    def arrive(self, point: str) -> None:
        self.reached.add(point)
        if point in self.kill_at:
            self.kill_at.remove(point)
            self.deaths.add(point)
            raise Killed

    async def round(self) -> str:
        """Run one round, let an operator that died be followed by another one, and let the controllers work."""
        try:
            result: str = (await asyncio.create_task(self.operator.once())).result
        except OperatorError as error:
            result = type(error).__name__
        except asyncio.CancelledError:
            result, self.operator = "Died", self._next()
        self.take_over()
        self.show()
        return result

    async def settle(self) -> None:
        quiet = 0
        for _ in range(ROUNDS_MAX):
            quiet = quiet + 1 if await self.round() == "Settled" else 0
            if quiet == 2:
                return
        raise AssertionError(f"did not settle: {self.status.get('plan')} {self.status.get('recovery')}")

    async def until(self, done: Callable[[], bool]) -> None:
        for _ in range(ROUNDS_MAX):
            if done():
                return
            await self.round()
        raise AssertionError(f"not reached: {self.status.get('plan')} {self.status.get('recovery')}")

    async def until_offered(self) -> str:
        """Run until the recovery is offered, with the grace time taken for over; return the nonce."""
        for _ in range(ROUNDS_MAX):
            await self.round()
            recovery = self.status.get("recovery", {})
            if recovery.get("nonce"):
                return str(recovery["nonce"])
            if recovery.get("phase") == "Waiting":
                recovery["since"] = rfc3339(time.time() - 60)
                self.operator = self._next()
        raise AssertionError(f"not offered: {self.status.get('conditions')}")

    def want(self, **spec: Any) -> None:
        found = self.server.objects[CLUSTER]
        self.server.put(CLUSTER, {**found, "spec": {**found["spec"], **spec}})

    def lose(self, ordinal: int) -> None:
        """Delete a claim and its pod, as a person does; their controller makes new ones."""
        for kind in (f"pods/demo-{ordinal}", f"persistentvolumeclaims/data-demo-{ordinal}"):
            self.server.objects.pop(f"{NAMESPACE}/{kind}")
        self.world.take(ordinal)
        self.show()

    def take_over(self) -> None:
        """Let what was written to the API server happen to the world."""
        objects, world = self.server.objects, self.world
        data = objects.get(RECORD, {}).get("data", {})
        world.cluster_id, world.record = data.get("cluster-id", ""), recoveries.read(data.get("recovery", ""))
        for ordinal in sorted(world.running):
            if f"{NAMESPACE}/pods/demo-{ordinal}" not in objects:
                world.running.pop(ordinal)
        for ordinal in sorted(world.disks):
            claim = f"{NAMESPACE}/persistentvolumeclaims/data-demo-{ordinal}"
            if claim not in objects and ordinal not in world.running:
                survivor = world.record is not None and world.record.restore is None and world.record.ordinal
                assert survivor is False or ordinal != survivor, "the survivor's claim was deleted"
                volume = objects[f"/api/v1/persistentvolumes/pv-{world.disks[ordinal].uid}"]
                assert volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
                self.kept.append(volume["metadata"]["name"])
                world.kept.append(world.disks.pop(ordinal))
        workload = objects.get(WORKLOAD)
        world.replicas = workload["spec"]["replicas"] if workload else 0
        if workload is None:
            return  # nothing starts pods, and nothing stops them
        for ordinal in sorted(world.running):
            if ordinal >= world.replicas:
                world.running.pop(ordinal)
                objects.pop(f"{NAMESPACE}/pods/demo-{ordinal}")
        told = [one.get("value") for one in _environment(workload) if one["name"] == f"{PREFIX}RECOVER"]
        if world.replicas:
            assert told == [one for one in [recoveries.instruction(world.record)] if one] or not _forming(world)

    def show(self) -> None:
        """Let the controllers start pods, and the objects be what the world is."""
        objects, world = self.server.objects, self.world
        workload = objects.get(WORKLOAD)
        for ordinal in range(world.replicas if workload else 0):
            if ordinal not in world.running:
                world._start(ordinal)
        for ordinal, disk in world.disks.items():
            path = f"{NAMESPACE}/persistentvolumeclaims/data-demo-{ordinal}"
            if path not in objects and workload is not None:
                template = workload["spec"]["volumeClaimTemplates"][0]["metadata"]
                metadata = {"name": f"data-demo-{ordinal}", "uid": disk.uid, **copy.deepcopy(template)}
                spec = {"volumeName": f"pv-{disk.uid}", "resources": {"requests": {"storage": "10Gi"}}}
                metadata["name"] = f"data-demo-{ordinal}"
                self.server.put(path, {"metadata": metadata, "spec": spec, "status": {"phase": "Bound"}})
                bound = {"persistentVolumeReclaimPolicy": "Retain", "claimRef": {"uid": disk.uid}}
                self.server.put(
                    f"/api/v1/persistentvolumes/pv-{disk.uid}", {"metadata": {"name": f"pv-{disk.uid}"}, "spec": bound}
                )
        for ordinal, runs in world.running.items():
            self.server.put(f"{NAMESPACE}/pods/demo-{ordinal}", self._pod(ordinal, runs, workload))

    def _pod(self, ordinal: int, runs: bool, workload: Body | None) -> Body:  # noqa: FBT001
        path = f"{NAMESPACE}/pods/demo-{ordinal}"
        known = self.server.objects.get(path)
        template = known["metadata"] if known else (workload or {})["spec"]["template"]["metadata"]
        ready = runs and self.world._leader() is not None
        since = rfc3339(time.time() - 600)
        condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}
        container = {"state": {"running": {}} if runs else {"waiting": {"reason": ""}}, "restartCount": 0}
        return {
            "metadata": {
                "name": f"demo-{ordinal}",
                "uid": known["metadata"]["uid"] if known else f"pod-{ordinal}-{self.world.serial}",
                "creationTimestamp": since,
                "annotations": template["annotations"],
                "labels": labels.object_labels("demo"),
            },
            "spec": {"nodeName": ""},
            "status": {"conditions": [condition], "containerStatuses": [container]},
        }


def _environment(workload: Body) -> list[Body]:
    found: list[Body] = workload["spec"]["template"]["spec"]["containers"][0]["env"]
    return found


def _forming(world: World) -> bool:
    return world.record is not None and world.record.phase is RecoveryPhase.FORMING


@asynccontextmanager
async def procedure(kind: type[Procedure] = Procedure) -> AsyncIterator[Procedure]:
    """Start an API server, and the first operator."""
    server, clock = FakeApiServer(), Clock()
    try:
        async with await server.start() as client:
            yield kind(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    finally:
        await server.stop()


async def recovered(kill_at: Collection[str] = ()) -> Procedure:
    """Create a cluster, lose two of its disks, and recover it; the operator dies once at each of the points."""
    async with procedure() as run:
        await run.settle()
        assert len(run.world.configuration.voters) == 3
        old = run.status["clusterID"]
        run.lose(0)
        run.lose(1)
        nonce = await run.until_offered()
        assert run.status["clusterID"] == old
        run.want(recovery={"nonce": nonce})
        with faults.armed(run.arrive):
            run.kill_at = set(kill_at)
            await run.settle()
        assert run.status["recovery"]["phase"] == "Finished"
        assert run.status["clusterID"] == run.world.cluster_id == run.status["recovery"]["clusterID"] != old
        assert run.world.formed == [run.world.cluster_id], "exactly one survivor formed exactly one cluster"
        assert len(run.world.configuration.voters) == 3
        assert len(run.kept) == len(set(run.kept)) == 2
        assert run.world.record is not None
        assert (run.world.record.survivor, run.world.record.lost) == ("demo-2", ("demo-0", "demo-1"))
        claims = [body for path, body in run.server.objects.items() if "/persistentvolumeclaims/" in path]
        assert {one["metadata"]["annotations"][labels.CLUSTER_ID] for one in claims} == {run.world.cluster_id}
        workload = run.server.objects[WORKLOAD]
        assert not [one for one in _environment(workload) if one["name"] == f"{PREFIX}RECOVER"]
        return run


_ACTIONS: Final = ("RecordRecovery", "AdoptVolume", "RetireVolume", "ReplaceWorkload", "EnsureWorkload")
POINTS: Final = (
    *(f"{name}.{edge}" for name in _ACTIONS for edge in ("before", "after")),
    "RetireVolume.kept",
    "RetireVolume.claim-deleted",
)


async def test_a_lost_quorum_is_recovered_on_kubernetes() -> None:
    run = await recovered()
    assert set(POINTS) <= run.reached


@pytest.mark.parametrize("point", POINTS)
async def test_an_operator_that_dies_at_a_point_is_followed_by_one_that_finishes(point: str) -> None:
    run = await recovered([point])
    assert run.deaths == {point}
    assert run.operators > 2


async def test_an_operator_that_dies_at_every_point_once() -> None:
    run = await recovered(POINTS)
    assert run.deaths == set(POINTS)


async def test_a_wrong_nonce_changes_nothing() -> None:
    async with procedure() as run:
        await run.settle()
        run.lose(0)
        run.lose(1)
        await run.until_offered()
        run.want(recovery={"nonce": "f" * 32}, replicas=5)
        before = copy.deepcopy(
            {path: one for path, one in run.server.objects.items() if "/pods/" in path or "claim" in path}
        )
        for _ in range(5):
            assert await run.round() in ("Waiting", "Acted")
        after = {path: one for path, one in run.server.objects.items() if "/pods/" in path or "claim" in path}
        assert before.keys() == after.keys()
        assert run.server.objects[WORKLOAD]["spec"]["replicas"] == 3
        assert run.world.record is None


READS: Final = f"{WORKLOAD}-read"
COPY: Final = f"{NAMESPACE}/pods/demo-read-0"
COPY_CLAIM: Final = f"{NAMESPACE}/persistentvolumeclaims/data-demo-read-0"
COPY_VOLUME: Final = "/api/v1/persistentvolumes/pv-read-0"


class Copied(Procedure):
    """A cluster with one read replica, whose controller is here."""

    def show(self) -> None:
        super().show()
        objects, found = self.server.objects, self.server.objects.get(READS)
        replicas = found["spec"]["replicas"] if found else 0
        if found and replicas and COPY not in objects:
            template = found["spec"]["volumeClaimTemplates"][0]["metadata"]
            metadata = {"name": "data-demo-read-0", "uid": f"claim-{self.world.serial}", **copy.deepcopy(template)}
            metadata["name"] = "data-demo-read-0"
            if COPY_CLAIM not in objects:
                spec = {"volumeName": "pv-read-0", "resources": {"requests": {"storage": "10Gi"}}}
                self.server.put(COPY_CLAIM, {"metadata": metadata, "spec": spec, "status": {"phase": "Bound"}})
                bound = {"persistentVolumeReclaimPolicy": "Delete", "claimRef": {"uid": metadata["uid"]}}
                self.server.put(COPY_VOLUME, {"metadata": {"name": "pv-read-0"}, "spec": bound})
            annotations = found["spec"]["template"]["metadata"]["annotations"]
            labelled = {"labels": labels.object_labels("demo", "demo-read"), "annotations": annotations}
            status = {"containerStatuses": [{"state": {"running": {}}, "restartCount": 0}]}
            named = {"name": "demo-read-0", "uid": "copy", "creationTimestamp": rfc3339(time.time()), **labelled}
            self.server.put(COPY, {"metadata": named, "spec": {}, "status": status})
        elif found and not replicas:
            objects.pop(COPY, None)


async def test_read_replicas_are_set_aside_and_start_again_as_copies_of_the_new_cluster() -> None:
    async with procedure(Copied) as run:
        server = run.server
        await run.settle()
        run.want(readReplicas=1)
        await run.until(lambda: COPY in server.objects)
        run.lose(0)
        run.lose(1)
        nonce = await run.until_offered()
        old, voters = server.objects[COPY_CLAIM]["metadata"]["annotations"][labels.CLUSTER_ID], {*run.world.disks}
        assert old == run.status["clusterID"]
        run.want(recovery={"nonce": nonce})
        await run.until(lambda: run.world.record is not None or COPY_CLAIM not in server.objects)
        assert run.world.record is None
        assert {*run.world.disks} == voters
        assert server.objects[COPY_VOLUME]["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
        await run.until(lambda: COPY in server.objects)
        assert run.status["recovery"]["phase"] == "Finished"
        assert run.world.formed == [run.world.cluster_id]
        assert server.objects[COPY_CLAIM]["metadata"]["annotations"][labels.CLUSTER_ID] == run.world.cluster_id != old
