"""An API server with a cluster, and the rounds of backups and schedules on it, with a clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from collectionstore_operator.kubernetes.api import Kind, Kube
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.backups.backup import BackupRounds
from collectionstore_operator.kubernetes.backups.rounds import Outcome, Rounds
from collectionstore_operator.kubernetes.backups.schedule import ScheduleRounds
from collectionstore_operator.model.backups.observed import Lag
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.reconcile.backup_decisions import Decision
from collectionstore_operator.tests.kubernetes.fake_api_server import Body, FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.planning.backups.scenes import START, made

GROUP = "/apis/collectionstore.io/v1alpha1/namespaces/shop"
JOBS = "/apis/batch/v1/namespaces/shop/jobs"
PODS = "/api/v1/namespaces/shop/pods"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies"
DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
NAMESPACE = "/api/v1/namespaces/shop"


class World:
    """What happens to backups and schedules in one namespace."""

    def __init__(self, server: FakeApiServer, kube: Kube) -> None:
        self.server, self.kube = server, kube
        self.now = START
        self.leads = True
        self.lag: Lag | None = None
        self.reported: list[Decision[Any]] = []
        server.behave = self._select
        server.put(NAMESPACE, {"kind": "Namespace", "metadata": {"name": "shop"}})
        self.cluster()

    def cluster(
        self,
        *,
        initialized: bool = True,
        hibernate: bool = False,
        stopped: bool = False,
        cluster_id: str = "demo-1",
        available: str = "",
        policy: str = "",
    ) -> None:
        """Put the cluster; `available` is the status of its condition, `policy` the mode of its NetworkPolicy."""
        conditions: list[Body] = [{"type": "Hibernated", "status": str(stopped)}] if hibernate else []
        if available:
            waking = {"reason": "Waking", "message": "the members start"}
            conditions.append({"type": "Available", "status": available, **waking})
        spec: Body = {"hibernate": True} if hibernate else {}
        if policy:
            spec["networkPolicy"] = {"mode": policy}
        self.server.put(
            f"{GROUP}/collectionstoreclusters/demo",
            {
                "apiVersion": "collectionstore.io/v1alpha1",
                "kind": "CollectionStoreCluster",
                "metadata": {"name": "demo", "namespace": "shop", "uid": "c-1", "generation": 1},
                "spec": spec,
                "status": {"clusterID": cluster_id, "initialized": initialized, "conditions": conditions},
            },
        )

    def backup(self, name: str = "one", **spec: Any) -> str:
        """Put a backup; return its path."""
        return self._put("collectionstorebackups", "CollectionStoreBackup", name, spec)

    def schedule(self, name: str = "daily", **spec: Any) -> str:
        """Put a schedule; return its path."""
        given = {"schedule": "0 * * * *"} | spec
        return self._put("collectionstorebackupschedules", "CollectionStoreBackupSchedule", name, given)

    def archiving(self) -> str:
        """Put a schedule that archives and has made a backup; return its path."""
        path = self.schedule(archive=True)
        self.server.put(path, {**self.body(path), "status": {"lastSuccessTime": rfc3339(self.now)}})
        return path

    def _put(self, plural: str, kind: str, name: str, spec: dict[str, Any]) -> str:
        path = f"{GROUP}/{plural}/{name}"
        metadata = {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "generation": 1,
            "creationTimestamp": rfc3339(self.now),
        }
        place = {"url": "file:///repository", "claimName": "backups"}
        body = {
            "apiVersion": "collectionstore.io/v1alpha1",
            "kind": kind,
            "metadata": metadata,
            "spec": {"clusterName": "demo", "repository": place} | spec,
        }
        self.server.put(path, body)
        return path

    def rounds(self, kind: Kind, name: str) -> Rounds[Any]:
        """Return the rounds of a resource, as an operator that has just started."""
        kinds: dict[Kind, Any] = {
            Kind.BACKUP: BackupRounds(self.kube),
            Kind.BACKUP_SCHEDULE: ScheduleRounds(self.kube, self._ask),
        }
        return Rounds(
            kinds[kind],
            self.kube,
            Recorder(self.kube, "op"),
            namespace="shop",
            name=name,
            may_act=lambda: self.leads,
            reported=self.reported.append,
            clock=lambda: self.now,
        )

    async def run(self, kind: Kind, name: str) -> Outcome:
        """Run one round of an operator that has just started: it remembers nothing."""
        self.now += 1
        return await self.rounds(kind, name).once()

    async def run_backup(self, name: str = "one") -> Outcome:
        """Run one round of a backup."""
        return await self.run(Kind.BACKUP, name)

    async def run_schedule(self, name: str = "daily") -> Outcome:
        """Run one round of a schedule."""
        return await self.run(Kind.BACKUP_SCHEDULE, name)

    async def _ask(self, _address: str) -> Lag | None:
        return self.lag

    async def _select(self, request: web.Request) -> web.StreamResponse | None:
        """Answer a list with a label selector, which the server does not know."""
        wanted = [one.split("=", 1) for one in request.query.get("labelSelector", "").split(",") if one]
        if request.method != "GET" or not wanted:
            return None
        items = [
            body
            for path, body in sorted(self.server.objects.items())
            if path.rsplit("/", 1)[0] == request.path
            and all((body["metadata"].get("labels") or {}).get(key) == value for key, value in wanted)
        ]
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": items})

    async def complete(self, name: str, **told: Any) -> None:
        """Let a backup run to its end; `told` is said of what it has made."""
        body = self.server.objects[f"{GROUP}/collectionstorebackups/{name}"]
        body["metadata"].setdefault("creationTimestamp", rfc3339(self.now))
        body["metadata"].setdefault("generation", 1)
        before = set(self.jobs())
        await self.run_backup(name)
        (job,) = set(self.jobs()) - before
        self.end(job, 0, made(**told))
        await self.run_backup(name)

    def jobs(self) -> list[str]:
        """Return the names of all Jobs."""
        return [path.rsplit("/", 1)[1] for path in sorted(self.server.objects) if path.startswith(f"{JOBS}/")]

    def end(self, job: str, code: int, message: str, *, reason: str = "PodFailurePolicy") -> None:
        """End a Job, with one pod."""
        body = self.server.objects[f"{JOBS}/{job}"]
        kind = "Complete" if code == 0 else "Failed"
        moment = rfc3339(self.now)
        condition = {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": moment}
        status: Body = {"startTime": rfc3339(self.now - 5), "conditions": [condition]}
        if code == 0:
            status["completionTime"] = moment
        else:
            status["failed"] = 1
        self.server.put(f"{JOBS}/{job}", {**body, "status": status})
        self.pod(job, {"terminated": {"exitCode": code, "message": message}})

    def pod(self, job: str, state: Body, *, phase: str = "Running") -> None:
        """Put the pod of a Job."""
        uid = self.server.objects[f"{JOBS}/{job}"]["metadata"]["uid"]
        self.server.put(
            f"{PODS}/{job}-x",
            {
                "kind": "Pod",
                "metadata": {
                    "name": f"{job}-x",
                    "namespace": "shop",
                    "labels": {"batch.kubernetes.io/job-name": job, "batch.kubernetes.io/controller-uid": uid},
                    "creationTimestamp": rfc3339(self.now),
                },
                "status": {"phase": phase, "podIP": "10.0.0.9", "containerStatuses": [{"state": state}]},
            },
        )

    def body(self, path: str) -> Body:
        """Return an object."""
        return self.server.objects[path]

    def condition(self, path: str, kind: str) -> Body:
        """Return a condition of an object."""
        conditions: list[Body] = self.server.objects[path]["status"]["conditions"]
        return next(one for one in conditions if one["type"] == kind)

    def events(self) -> list[str]:
        """Return the reasons of the Events."""
        return [body["reason"] for path, body in self.server.objects.items() if "/events/" in path]


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    """Yield a world."""
    server, clock = FakeApiServer(), Clock()
    async with await server.start() as client:
        yield World(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    await server.stop()
