"""A simulated cluster behind an API server: its pods and disks are objects, and what is asked of those happens to it.

Stands for the controllers, the kubelets and the members. Whatever the operator does goes through its real adapters;
`simulated_actions` judges every effect against the truth. Requests to the API server and calls to members can be lost
before or after they took effect, and the operator can die at each of them.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from collectionstore_operator.model.actions import (
    Action,
    AddLearners,
    Bootstrap,
    ChangeVoters,
    EnsureWorkload,
    MemberRef,
    RemoveLearners,
    RestartPod,
    RetireVolume,
    ScaleWorkload,
    TransferLeadership,
)
from collectionstore_operator.model.observed import Certificate, CertificateKind, Failure, NodeStatus, Unknown
from collectionstore_operator.model.planned_work import decode
from collectionstore_operator.reconcile.node_client import Answer, ChangeResult, Done, MemberChange, NodeClient, Refused
from collectionstore_operator.resource import labels
from collectionstore_operator.tests.kubernetes.fake_api_server import Body, FakeApiServer, status
from collectionstore_operator.tests.simulation.simulated_actions import execute
from collectionstore_operator.tests.simulation.simulated_cluster import EPOCH_S, Disk, Process, SimulatedCluster
from collectionstore_operator.tests.simulation.simulated_look import seen_node

NAMESPACE: Final = "/api/v1/namespaces/shop"
WORKLOAD: Final = "/apis/apps/v1/namespaces/shop/statefulsets/demo"
RECORD: Final = f"{NAMESPACE}/configmaps/demo-record"
FAULTS: Final = (429, 500, 503, 409, 0)
"""Answers that come instead of the right one; 0 is a connection that breaks."""


class Killed(Exception):
    """The operator died here."""


class Trouble:
    """What goes wrong with requests and calls, drawn for each."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.faults = 0.0
        self.deaths = 0.0
        self.log_lines: list[str] = []
        self.kill: Callable[[], object] = lambda: None
        self.dead = False

    def strikes(self, likelihood: float) -> bool:
        return self.random.random() < likelihood

    def death(self, where: str) -> bool:
        """Return whether the operator dies here, and see to it."""
        if not self.dead and self.strikes(self.deaths):
            self.dead = True
            self.log_lines.append(f"the operator is killed {where}")
            self.kill()
        return self.dead


class Members(NodeClient):
    """What the members of a simulated cluster answer."""

    def __init__(self, cluster: SimulatedCluster, trouble: Trouble) -> None:
        super().__init__()
        self.cluster = cluster
        self.trouble = trouble
        self.epoch = 0
        self.access: dict[str, Any] | None = None
        """The configuration of access control; None before it has one."""

    async def call(self, method: str, url: str, body: bytes | None = None) -> Answer | Unknown:
        """Answer as to the configuration of access control, the only route that the loop of a cluster calls so."""
        assert url.endswith("/api/v1/access"), url
        if self.trouble.strikes(self.trouble.faults):
            return Unknown("no answer in time")
        if method == "PUT":
            if self.trouble.death("before ConfigureAccess"):
                await asyncio.Event().wait()
            self.access = json.loads(body or b"{}")
            if self.trouble.death("after ConfigureAccess"):
                await asyncio.Event().wait()
        told = {"mode": "Enforced", **(self.access or {}), "configured": self.access is not None}
        return Answer(200, json.dumps(told).encode(), (0.0, 0.0))

    async def status(self, metrics_url: str) -> NodeStatus | Unknown:
        ordinal = int(metrics_url.partition("demo-")[2].partition(".")[0])
        pod = self.cluster.pods.get(ordinal)
        if pod is None or not pod.running or self.trouble.strikes(self.trouble.faults):
            return Unknown("no answer in time")
        return seen_node(self.cluster, ordinal, epoch=self.epoch)

    async def bootstrap(self, client_url: str, *, epoch: int) -> ChangeResult:
        if self.cluster.bootstraps:
            return Refused("already_bootstrapped", "", retryable=False)
        ordinal = int(client_url.partition("demo-")[2].partition(".")[0])
        action = Bootstrap(ordinal=ordinal, node_id=self.cluster.disks[ordinal].node_id, reason="asked")
        return await self._perform(action, epoch)

    async def change_members(
        self, client_url: str, changes: tuple[MemberChange, ...], *, expected_index: int, epoch: int
    ) -> ChangeResult:
        if expected_index != self.cluster.configuration.index:
            return Refused("configuration_changed", "", retryable=False)
        return await self._perform(self._asked(changes, expected_index), epoch)

    async def transfer_leadership(self, client_url: str, to: str | None, *, epoch: int) -> ChangeResult:
        leader = MemberRef(node_id=self.cluster.leader, name="")
        return await self._perform(
            TransferLeadership(leader=leader, to=MemberRef(node_id=to or "", name=""), reason="asked"), epoch
        )

    def _asked(self, changes: tuple[MemberChange, ...], index: int) -> Action:
        refs = {
            action: tuple(
                MemberRef(node_id=one.node_id, name=one.name, address=one.address)
                for one in changes
                if one.action == action
            )
            for action in ("add", "promote", "remove")
        }
        if refs["add"]:
            return AddLearners(members=refs["add"], expected_index=index, reason="asked")
        voters = {one.node_id for one in refs["remove"]} & self.cluster.voters()
        if refs["promote"] or voters:
            return ChangeVoters(add=refs["promote"], remove=refs["remove"], expected_index=index, reason="asked")
        return RemoveLearners(members=refs["remove"], expected_index=index, reason="asked")

    async def _perform(self, action: Action, epoch: int) -> ChangeResult:
        name = type(action).__name__
        if self.trouble.death(f"before {name}"):
            await asyncio.Event().wait()
        if epoch < self.epoch:
            return Refused("stale_epoch", f"{epoch} is behind {self.epoch}", retryable=False)
        self.epoch = epoch
        execute(self.cluster, action)
        if self.trouble.death(f"after {name}"):
            await asyncio.Event().wait()
        return Unknown("no answer in time") if self.trouble.strikes(self.trouble.faults) else Done()


class SimulatedKube:
    """The API server in front of a simulated cluster."""

    def __init__(self, seed: int) -> None:
        self.cluster = SimulatedCluster("demo", seed)
        self.trouble = Trouble(seed)
        self.server = FakeApiServer()
        self.members = Members(self.cluster, self.trouble)
        self.server.behave = self._before
        self.server.spoil = self._after
        self.unsafe: AssertionError | None = None
        # Members get their certificates by their own requests, which are another test's matter.
        for ordinal in range(16):
            name = f"demo-{ordinal}"
            found = Certificate(kind=CertificateKind.MEMBER, name=name, not_before=0, not_after=2 * EPOCH_S)
            self.cluster.certificates["Member", name] = found

    async def _before(self, request: web.Request) -> web.StreamResponse | None:
        trouble = self.trouble
        if trouble.dead or trouble.death(f"before {request.method} {request.path}"):
            return status(503, "Dead")
        if trouble.strikes(trouble.faults):
            return self._fault(request)
        return None

    def _after(self, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        trouble = self.trouble
        if request.method != "GET":
            try:
                self.take_over()
            except AssertionError as error:
                self.unsafe = self.unsafe or error
            if trouble.death(f"after {request.method} {request.path}"):
                return status(503, "Dead")
            if trouble.strikes(trouble.faults):
                return self._fault(request)
        return answer

    def _fault(self, request: web.Request) -> web.StreamResponse:
        code = self.trouble.random.choice(FAULTS)
        if not code and request.transport is not None:
            request.transport.close()
        return status(code or 504, "Conflict" if code == 409 else "Trouble")

    def take_over(self) -> None:
        """Let what was written to the API server happen to the cluster, and judge it."""
        objects, cluster = self.server.objects, self.cluster
        record = objects.get(RECORD, {}).get("data", {})
        cluster.cluster_id = record.get("cluster-id", "")
        cluster.planned_work = decode(record.get("planned-work", ""))
        for ordinal in list(cluster.disks):
            claim, pod = objects.get(_claim(ordinal)), cluster.pods.get(ordinal)
            stopped = pod is not None and _pod(ordinal) not in objects
            going = claim is None or "deletionTimestamp" in claim["metadata"]
            if claim is not None:
                cluster.disks[ordinal].removed = labels.REMOVED in (claim["metadata"].get("annotations") or {})
            if going and (pod is None or stopped):
                uid = pod.uid if pod is not None else ""
                name = f"data-demo-{ordinal}"
                execute(cluster, RetireVolume(ordinal=ordinal, name=name, uid=uid, reason="asked"))
                objects.pop(_claim(ordinal), None)
            elif stopped and pod is not None:
                execute(cluster, RestartPod(ordinal=ordinal, name=f"demo-{ordinal}", uid=pod.uid, reason="asked"))
        self._take_over_workload()

    def _take_over_workload(self) -> None:
        found, cluster = self.server.objects.get(WORKLOAD), self.cluster
        if found is None:
            return
        replicas = found["spec"]["replicas"]
        revision = found["spec"]["template"]["metadata"]["annotations"][labels.REVISION]
        known = cluster.workload
        if known is None or (known.replicas, known.revision) != (replicas, revision):
            stopped = cluster.planned_work.hibernation
            if known is not None and known.replicas != replicas and stopped is not None and not cluster.deleting:
                execute(cluster, ScaleWorkload(replicas=replicas, was=known.replicas, reason="asked"))
                return
            shrinks = known is not None and replicas < known.replicas
            execute(cluster, EnsureWorkload(replicas=replicas, revision=revision, shrinks=shrinks, reason="asked"))

    def show(self) -> None:
        """Make the objects be what the cluster is."""
        objects = self.server.objects
        for path in [one for one in objects if one.startswith(f"{NAMESPACE}/pods/")]:
            if int(path.rpartition("-")[2]) not in self.cluster.pods:
                del objects[path]
        for ordinal, pod in self.cluster.pods.items():
            disk, body = self.cluster.disks[ordinal], _pod_body(self.cluster, ordinal, pod)
            known = objects.get(_pod(ordinal), {}).get("metadata", {})
            if "deletionTimestamp" in known and known["uid"] == pod.uid:
                body["metadata"]["deletionTimestamp"] = known["deletionTimestamp"]
            self.server.put(_pod(ordinal), body)
            self.server.held.add(_claim(ordinal))
            if not disk.stranded:
                self.server.held.discard(_pod(ordinal))
                self.server.put(f"/api/v1/nodes/n{ordinal}", {"metadata": {"name": f"n{ordinal}"}})
            else:
                # The kubelet that would say that the pod has stopped is gone with the machine.
                self.server.held.add(_pod(ordinal))
                objects.pop(f"/api/v1/nodes/n{ordinal}", None)
        for ordinal, disk in self.cluster.disks.items():
            if _claim(ordinal) not in objects:
                self.server.put(_claim(ordinal), _claim_body(self.cluster, ordinal, disk))
            elif disk.node_id and "volumeName" not in objects[_claim(ordinal)]["spec"]:
                objects[_claim(ordinal)]["spec"]["volumeName"] = f"pv-{ordinal}"

    def tick(self) -> None:
        """Let a second pass."""
        if self.unsafe is not None:
            raise self.unsafe
        self.cluster.tick()
        for path in [one for one in self.server.held if int(one.rpartition("-")[2]) not in self.cluster.pods]:
            self.server.held.discard(path)
        self.show()


def _pod(ordinal: int) -> str:
    return f"{NAMESPACE}/pods/demo-{ordinal}"


def _claim(ordinal: int) -> str:
    return f"{NAMESPACE}/persistentvolumeclaims/data-demo-{ordinal}"


def _pod_body(cluster: SimulatedCluster, ordinal: int, pod: Process) -> Body:
    # By a clock that is not the operator's: a time that stays, and that says nothing else.
    since = datetime.fromtimestamp(cluster.time if pod.ready else pod.unready_since, UTC).isoformat()
    state: dict[str, Any] = {"running": {}} if pod.running else {"waiting": {"reason": _REASONS.get(pod.failure, "")}}
    container: dict[str, Any] = {"state": state, "restartCount": 9}
    if pod.failure is Failure.DAMAGED:
        container["lastState"] = {"terminated": {"exitCode": 65}}
    ready = {"type": "Ready", "status": "True" if pod.ready else "False", "lastTransitionTime": since}
    metadata = {"name": f"demo-{ordinal}", "uid": pod.uid, "creationTimestamp": since}
    return {
        "metadata": {
            **metadata,
            "annotations": {labels.REVISION: pod.revision},
            "labels": labels.object_labels(cluster.name),
        },
        "spec": {"nodeName": f"n{ordinal}"},
        "status": {"conditions": [ready], "containerStatuses": [container]},
    }


_REASONS: Final = {Failure.IMAGE: "ImagePullBackOff", Failure.CRASH: "CrashLoopBackOff"}


def _claim_body(cluster: SimulatedCluster, ordinal: int, disk: Disk) -> Body:
    annotations = {labels.CLUSTER_ID: cluster.cluster_id} if cluster.cluster_id else {}
    spec: dict[str, Any] = {"volumeName": f"pv-{ordinal}"} if disk.node_id else {}
    metadata = {"name": f"data-demo-{ordinal}", "annotations": annotations, "labels": labels.object_labels("demo")}
    return {"metadata": metadata, "spec": spec}
