"""The loop on Kubernetes, on an API server in this process: from the resource to objects, and away again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from collectionstore_operator.errors import ActionRefused, ActionUnfinished, InvalidResource
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.runtime import ClusterRuntime
from collectionstore_operator.model.actions import (
    AddFinalizer,
    Bootstrap,
    EnsureWorkload,
    EstablishIdentity,
    RemoveFinalizer,
    RestartPod,
)
from collectionstore_operator.model.observed import NodeStatus, Observed, Pod, Slot, Unknown, Volume, Workload
from collectionstore_operator.reconcile.loop import Reconciler
from collectionstore_operator.reconcile.node_client import Answer, Done, NodeClient
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.status.events import Event
from collectionstore_operator.status.published import Status
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer, status
from collectionstore_operator.tests.kubernetes.test_client import Clock

CLUSTER = "/apis/collectionstore.io/v1alpha1/namespaces/shop/collectionstoreclusters/demo"
RECORD = "/api/v1/namespaces/shop/configmaps/demo-record"
WORKLOAD = "/apis/apps/v1/namespaces/shop/statefulsets/demo"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/shop/leases/demo-operator"
SECRETS = "/api/v1/namespaces/shop/secrets"


class Nodes(NodeClient):
    """The members' side: what they answer, and what they were asked to do."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, NodeStatus] = {}
        self.calls: list[str] = []

    async def call(self, method: str, url: str, body: bytes | None = None) -> Answer | Unknown:
        """Have no access control, as older versions."""
        return Answer(404, b"{}", (0.0, 0.0))

    async def status(self, metrics_url: str) -> NodeStatus | Unknown:
        return self.answers.get(metrics_url, Unknown("no answer"))

    async def bootstrap(self, client_url: str, *, epoch: int) -> Done:
        self.calls.append(f"bootstrap {client_url} {epoch}")
        return Done()


class World:
    """An API server, members, and the runtime between them."""

    def __init__(self, server: FakeApiServer, kube: Kube) -> None:
        self.server = server
        self.kube = kube
        self.nodes = Nodes()
        self.holds = True
        self.seconds = 0.0
        """The operator's monotonic clock."""
        self.runtime = ClusterRuntime(
            kube,
            self.nodes,
            Recorder(kube, "op"),
            namespace="shop",
            name="demo",
            holder="ops/op",
            may_act=lambda: self.holds,
            clock=lambda: self.seconds,
        )

    def create(self, spec: dict[str, Any] | None = None, **metadata: Any) -> None:
        """Apply the resource, as a user does."""
        body = {
            "apiVersion": labels.API_VERSION,
            "kind": labels.KIND,
            "metadata": {"name": "demo", "namespace": "shop", "generation": 1, "uid": "u1", **metadata},
            "spec": spec or {},
        }
        self.server.put(CLUSTER, body)

    def pod(self, ordinal: int, *, uid: str = "p") -> None:
        """Have a pod that runs, on a bound claim."""
        name = f"demo-{ordinal}"
        body = {
            "metadata": {
                "name": name,
                "uid": f"{uid}{ordinal}",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": labels.object_labels("demo"),
            },
            "spec": {"nodeName": "n1"},
            "status": {
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                "containerStatuses": [{"state": {"running": {}}}],
                "podIP": f"10.0.0.{ordinal}",
            },
        }
        self.server.put(f"/api/v1/namespaces/shop/pods/{name}", body)
        claim = {
            "metadata": {"name": f"data-{name}", "labels": labels.object_labels("demo")},
            "spec": {"volumeName": f"pv-{ordinal}"},
        }
        self.server.put(f"/api/v1/namespaces/shop/persistentvolumeclaims/data-{name}", claim)

    def stamp(self, ordinal: int, cluster_id: str) -> None:
        """Have a claim stamped with a cluster ID."""
        claim = self.server.objects[f"/api/v1/namespaces/shop/persistentvolumeclaims/data-demo-{ordinal}"]
        claim["metadata"]["annotations"] = {labels.CLUSTER_ID: cluster_id}

    def node(self, ordinal: int, **fields: Any) -> None:
        """Have a member answer."""
        cluster_id = self.server.objects[RECORD]["data"]["cluster-id"]
        url = f"https://demo-{ordinal}.demo-peers.shop.svc:7400"
        answer = NodeStatus(cluster_id=cluster_id, node_id=f"node-{ordinal}", name=f"demo-{ordinal}", **fields)
        self.nodes.answers[url] = answer

    async def look(self) -> tuple[Desired, Observed]:
        """Return the resource and everything there is of it."""
        desired = await self.runtime.desired()
        assert desired is not None
        await self.runtime.hold(desired)
        return desired, await self.runtime.observe(desired)

    async def rounds(self, count: int) -> list[str]:
        """Run rounds of the loop and return what came of each."""
        reconciler = Reconciler(self.runtime)
        return [(await reconciler.once()).result for _ in range(count)]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server, clock = FakeApiServer(), Clock()
    async with await server.start() as client:
        yield World(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    await server.stop()


async def living(world: World) -> None:
    """Have a cluster of which one member was seen to have data."""
    world.create()
    await world.rounds(2)
    world.pod(0)
    world.node(0, state="Member", last_index=5, term=1)
    await world.rounds(1)


async def test_new_resource_gets_identity_keys_objects_and_pods(world: World) -> None:
    world.create()
    assert await world.rounds(2) == ["Acted", "Acted"]
    names = {path.rpartition("/")[2] for path in world.server.objects}
    assert {"demo-record", "demo-authority", "demo-operator", "demo-node", "demo-peers"} <= names
    assert world.server.objects[WORKLOAD]["spec"]["replicas"] == 3
    assert world.server.objects[CLUSTER]["metadata"]["finalizers"] == [labels.FINALIZER]
    reported = world.server.objects[CLUSTER]["status"]
    assert reported["clusterID"] == world.server.objects[RECORD]["data"]["cluster-id"]
    assert reported["observedGeneration"] == 1


async def test_an_idle_operator_writes_nothing(world: World) -> None:
    """Neither the status nor any object: resourceVersions stand still."""
    world.create()
    await world.rounds(4)
    before = dict(world.server.objects)
    world.server.requests.clear()
    await world.rounds(3)
    assert {method for method, _ in world.server.requests} == {"GET"}
    assert world.server.objects == before


async def test_invalid_resource_is_reported_and_nothing_is_created(world: World) -> None:
    world.create({"replicas": 4})
    assert await world.rounds(2) == ["Refused", "Refused"]
    assert world.server.objects.keys() == {CLUSTER}
    conditions = {one["type"]: one for one in world.server.objects[CLUSTER]["status"]["conditions"]}
    assert conditions["Accepted"]["status"] == "False"
    assert "spec.replicas" in conditions["Accepted"]["message"]
    with pytest.raises(InvalidResource):
        await world.runtime.desired()


async def test_resource_that_is_gone_ends_the_loop(world: World) -> None:
    assert await world.rounds(1) == ["Gone"]


async def test_members_are_observed_by_ordinal(world: World) -> None:
    world.create()
    await world.rounds(2)
    world.pod(0)
    world.pod(4)
    world.node(0)
    _, observed = await world.look()
    assert [slot.ordinal for slot in observed.slots] == [0, 1, 2, 4]
    assert isinstance(observed.slot(0).node, NodeStatus)
    assert observed.slot(1) == Slot(ordinal=1, node=Unknown("its pod does not run"))
    assert observed.slot(4).node == Unknown("no answer")
    assert isinstance(observed.workload, Workload)
    assert (observed.workload.replicas, observed.workload.volume_bytes) == (3, 10 << 30)
    assert observed.epoch == 1
    assert observed.requests == ()


async def test_chosen_member_is_recorded_before_it_is_called(world: World) -> None:
    """After a crash between the two, no other node may be chosen."""
    world.create()
    await world.rounds(2)
    for ordinal in range(3):
        world.pod(ordinal)
        world.node(ordinal)
    desired, observed = await world.look()
    seen: list[str] = []

    async def behave(request: web.Request) -> None:
        if request.method == "PATCH":
            seen.append(f"{request.path} {len(world.nodes.calls)}")

    world.server.behave = behave
    await world.runtime.execute(Bootstrap(ordinal=0, node_id="node-0", reason="x"), desired, observed)
    assert seen == [f"{RECORD} 0"]
    assert world.nodes.calls == ["bootstrap https://demo-0.demo-peers.shop.svc:7400 1"]
    assert world.server.objects[RECORD]["data"]["bootstrap-node"] == "node-0"


async def test_initialized_is_latched(world: World) -> None:
    """Also while no member responds, and when the status was lost."""
    await living(world)
    world.nodes.answers.clear()
    del world.server.objects[CLUSTER]["status"]
    _, observed = await world.look()
    assert observed.initialized
    volume = observed.slot(0).volume
    assert isinstance(volume, Volume)
    assert volume.node_id == "node-0"


async def test_identity_is_adopted_from_the_volumes_that_exist(world: World) -> None:
    """A resource created again finds its data, though the record was deleted with it."""
    world.create()
    world.pod(0)
    world.stamp(0, "feed")
    await world.rounds(1)
    assert world.server.objects[RECORD]["data"]["cluster-id"] == "feed"


async def test_identity_that_is_recorded_is_kept(world: World) -> None:
    """An action whose answer was lost is done again; one that was planned from another record is refused."""
    world.create()
    desired, observed = await world.look()
    await world.runtime.execute(EstablishIdentity(reason="x"), desired, observed)
    drawn = world.server.objects[RECORD]["data"]["cluster-id"]
    for cluster_id in ("", drawn):
        await world.runtime.execute(EstablishIdentity(cluster_id=cluster_id, reason="x"), desired, observed)
    with pytest.raises(ActionRefused, match=f"names the cluster {drawn} by now, not feed"):
        await world.runtime.execute(EstablishIdentity(cluster_id="feed", reason="x"), desired, observed)
    assert world.server.objects[RECORD]["data"]["cluster-id"] == drawn


async def test_volumes_of_several_clusters_are_left_to_people(world: World) -> None:
    """The plan says which clusters they are of, and nothing is created."""
    world.create()
    for ordinal, cluster_id in enumerate(("feed", "beef")):
        world.pod(ordinal)
        world.stamp(ordinal, cluster_id)
    assert await world.rounds(2) == ["Acted", "Waiting"]
    assert RECORD not in world.server.objects
    (step,) = world.server.objects[CLUSTER]["status"]["plan"]
    assert step["step"] == "EstablishIdentity"
    assert step["blockedBy"] == "the existing volumes belong to several clusters: beef, feed"


async def test_deleted_record_is_restored(world: World) -> None:
    """Deleted by mistake under a running cluster: no new identity, no new bootstrap, the same CA."""
    await living(world)
    await world.rounds(1)
    record, reported = world.server.objects.pop(RECORD)["data"], world.server.objects[CLUSTER]["status"]
    assert record["initialized"] == "true"
    assert await world.rounds(1) == ["Acted"]
    assert world.server.objects[CLUSTER]["status"]["clusterID"] == reported["clusterID"]
    # What a cluster enforces is in the cluster, and not taken from the record again.
    assert world.server.objects[RECORD]["data"] == {key: value for key, value in record.items() if key != "access"}


async def test_volumes_of_another_cluster_are_not_adopted_by_a_living_one(world: World) -> None:
    world.create()
    await world.rounds(2)
    identity = world.server.objects[CLUSTER]["status"]["clusterID"]
    world.pod(0)
    world.stamp(0, "feed")
    del world.server.objects[RECORD]
    assert await world.rounds(1) == ["Waiting"]
    (step,) = world.server.objects[CLUSTER]["status"]["plan"]
    assert step["blockedBy"] == f"the existing volumes belong to the cluster feed, the resource to {identity}"
    assert RECORD not in world.server.objects


async def test_queries_change_nothing(world: World) -> None:
    """Neither reading the resource nor observing the cluster sends a write, whatever there is to be done."""
    await living(world)
    del world.server.objects[CLUSTER]["metadata"]["finalizers"]
    world.server.objects[RECORD]["data"].pop("initialized")
    world.server.requests.clear()
    await world.look()
    await world.runtime.last_status()
    assert {method for method, _ in world.server.requests} == {"GET"}


async def test_finalizer_is_on_the_resource_before_anything_is_created(world: World) -> None:
    world.create()
    written: list[str] = []

    async def behave(request: web.Request) -> None:
        # The Lease comes first, and goes with the resource by itself: it has an owner.
        if request.method in ("PATCH", "POST") and not {"events", "leases"} & set(request.path.split("/")):
            written.append(request.path)

    world.server.behave = behave
    await world.rounds(1)
    assert written[:3] == [f"{CLUSTER}/status", CLUSTER, RECORD.rpartition("/")[0]]


async def test_nothing_is_created_while_the_finalizer_cannot_be_added(world: World) -> None:
    world.create()

    async def behave(request: web.Request) -> web.Response | None:
        refused = request.method == "PATCH" and request.path == CLUSTER
        return status(403, "Forbidden", "not allowed") if refused else None

    world.server.behave = behave
    # After its backoff the action is tried and refused again; until then the round only waits for that.
    first, *later = await world.rounds(3)
    assert first == "Failed"
    assert set(later) <= {"Failed", "Waiting"}
    assert {path for path in world.server.objects if "/events/" not in path} == {CLUSTER, LEASE}


async def test_what_was_seen_is_recorded_by_actions_with_events(world: World) -> None:
    """Data and the node of a volume; both also while the resource is paused, or the proof could be lost."""
    world.create()
    await world.rounds(2)
    world.create({"paused": True}, finalizers=[labels.FINALIZER])
    world.pod(0)
    world.node(0, state="Member", last_index=5, term=1)
    assert await world.rounds(2) == ["Acted", "Waiting"]
    assert world.server.objects[RECORD]["data"]["initialized"] == "true"
    claim = world.server.objects["/api/v1/namespaces/shop/persistentvolumeclaims/data-demo-0"]
    assert claim["metadata"]["annotations"][labels.NODE_ID] == "node-0"
    events = {one["reason"]: one["note"] for path, one in world.server.objects.items() if "/events/" in path}
    assert events["RecordInitialized"] == "demo: a member has data: the cluster must never be bootstrapped again"
    assert events["StampVolume"] == "data-demo-0: the node node-0 of demo-0 runs on it"


async def test_authority_is_published_though_an_operator_ended_before_that(world: World) -> None:
    """Its Secret was stored and the record was not written: pods would wait for their trust anchor for ever."""
    world.create()
    await world.rounds(2)
    before = world.server.objects[RECORD]["data"].pop("ca.crt")
    assert await world.rounds(1) == ["Acted"]
    assert world.server.objects[RECORD]["data"]["ca.crt"] == before


async def test_pod_that_was_replaced_meanwhile_is_not_restarted(world: World) -> None:
    world.create()
    world.pod(1)
    desired, observed = await world.look()
    with pytest.raises(ActionRefused, match="uid"):
        await world.runtime.execute(RestartPod(ordinal=1, name="demo-1", uid="p9", reason="x"), desired, observed)
    await world.runtime.execute(RestartPod(ordinal=1, name="demo-1", uid="p1", reason="x"), desired, observed)
    _, observed = await world.look()
    assert not isinstance(observed.slot(1).pod, Pod)


async def test_pod_of_a_lost_machine_is_force_deleted(world: World) -> None:
    """Its claim is being deleted and waits for it, and no kubelet will confirm that it has stopped."""
    world.create()
    world.pod(1)
    pod, claim = (f"/api/v1/namespaces/shop/{name}" for name in ("pods/demo-1", "persistentvolumeclaims/data-demo-1"))
    for path in (pod, claim):
        world.server.objects[path]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.server.objects[pod]["status"]["conditions"][0]["status"] = "False"
    unheard = {"conditions": [{"type": "Ready", "status": "Unknown"}]}
    world.server.put("/api/v1/nodes/n1", {"metadata": {"name": "n1"}, "status": unheard})
    desired, observed = await world.look()
    found = observed.slot(1).pod
    assert isinstance(found, Pod)
    assert found.stuck_terminating
    action = RestartPod(ordinal=1, name="demo-1", uid=found.uid, force=True, reason="x")
    await world.runtime.execute(action, desired, observed)
    assert world.server.requests[-1] == ("DELETE", pod)
    assert world.server.bodies[-1]["gracePeriodSeconds"] == 0
    assert world.server.bodies[-1]["preconditions"] == {"uid": found.uid}


@pytest.mark.parametrize(("code", "kind"), [(503, ActionUnfinished), (422, ActionRefused), (403, ActionRefused)])
async def test_error_of_the_api_server_is_no_success(world: World, code: int, kind: type[Exception]) -> None:
    """Without a response the outcome is unknown; an error response means that nothing was done."""
    world.create()
    desired, observed = await world.look()

    async def behave(request: web.Request) -> web.Response | None:
        return status(code, "Trouble") if request.method in ("PATCH", "POST") else None

    world.server.behave = behave
    with pytest.raises(kind, match="Trouble"):
        await world.runtime.execute(EnsureWorkload(replicas=3, revision="r", reason="x"), desired, observed)


async def test_nothing_is_done_without_the_lease(world: World) -> None:
    """Neither to objects nor to members: another operator may be acting."""
    world.create()
    await world.rounds(2)
    world.pod(0)
    world.node(0)
    desired, observed = await world.look()
    world.holds = False
    world.server.requests.clear()
    actions = (
        Bootstrap(ordinal=0, node_id="node-0", reason="x"),
        RestartPod(ordinal=0, name="demo-0", uid="p0", reason="x"),
        EnsureWorkload(replicas=0, revision="r", shrinks=True, reason="x"),
    )
    for action in actions:
        with pytest.raises(ActionRefused, match="another operator may be acting"):
            await world.runtime.execute(action, desired, observed)
    assert not world.server.requests
    assert not world.nodes.calls


async def test_deleted_resource_retains_volumes_and_keys(world: World) -> None:
    world.create()
    await world.rounds(2)
    world.pod(0)
    world.server.objects[CLUSTER]["metadata"]["deletionTimestamp"] = "x"
    assert (await world.rounds(1)) == ["Acted"]
    assert world.server.objects[WORKLOAD]["spec"]["replicas"] == 0
    assert (await world.rounds(1)) == ["Waiting"]
    assert labels.FINALIZER in world.server.objects[CLUSTER]["metadata"]["finalizers"]
    del world.server.objects["/api/v1/namespaces/shop/pods/demo-0"]
    assert (await world.rounds(2)) == ["Acted", "Gone"]
    assert world.server.objects[CLUSTER]["metadata"]["finalizers"] == []
    kept = {RECORD, f"{SECRETS}/demo-authority", f"{SECRETS}/demo-operator"}
    assert kept <= world.server.objects.keys()


async def test_deleted_resource_without_retention_deletes_volumes_and_keys(world: World) -> None:
    world.create({"storage": {"retention": "Delete"}})
    await world.rounds(2)
    world.pod(0)
    world.server.objects[CLUSTER]["metadata"]["deletionTimestamp"] = "x"
    await world.rounds(1)
    del world.server.objects["/api/v1/namespaces/shop/pods/demo-0"]
    deleted: list[str] = []

    async def behave(request: web.Request) -> None:
        if request.method == "DELETE":
            deleted.append(request.path.rpartition("/")[2])

    world.server.behave = behave
    assert (await world.rounds(3)) == ["Acted", "Acted", "Gone"]
    # The record last of all: as long as it is there, an interrupted deletion is seen and repeated.
    assert deleted == ["data-demo-0", "demo-operator", "demo-authority", "demo-record"]
    left = {path.rpartition("/")[2] for path in world.server.objects if path != LEASE}
    assert not {"demo-record", "demo-authority", "demo-operator", "data-demo-0"} & left


async def test_protected_resource_is_not_released(world: World) -> None:
    world.create({"deletionProtection": True})
    await world.rounds(2)
    world.server.objects[CLUSTER]["metadata"]["deletionTimestamp"] = "x"
    await world.rounds(2)
    assert labels.FINALIZER in world.server.objects[CLUSTER]["metadata"]["finalizers"]
    assert world.server.objects[WORKLOAD]["spec"]["replicas"] == 3


async def test_finalizers_of_others_survive_a_race(world: World) -> None:
    """kopf adds its own at the same time."""
    world.create()
    first = iter([True])

    async def behave(request: web.Request) -> None:
        if request.method == "PATCH" and next(first, False):
            found = world.server.objects[CLUSTER]
            world.server.put(CLUSTER, {**found, "metadata": {**found["metadata"], "finalizers": ["other"]}})

    desired, observed = await world.look()
    world.server.behave = behave
    await world.runtime.execute(AddFinalizer(reason="x"), desired, observed)
    assert world.server.objects[CLUSTER]["metadata"]["finalizers"] == ["other", labels.FINALIZER]
    await world.runtime.execute(RemoveFinalizer(reason="x"), desired, observed)
    assert world.server.objects[CLUSTER]["metadata"]["finalizers"] == ["other"]


async def test_resource_that_is_gone_counts_as_released(world: World) -> None:
    """The first attempt took effect and its answer was lost: the API server deleted the resource at once."""
    world.create(finalizers=[labels.FINALIZER], deletionTimestamp="x")
    desired, observed = await world.look()
    lost = iter([True])

    def spoil(request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        if request.method == "PATCH" and next(lost, False):
            del world.server.objects[CLUSTER]
            return status(503, "Unavailable")
        return answer

    async def behave(request: web.Request) -> web.Response | None:
        gone = request.path == CLUSTER and CLUSTER not in world.server.objects
        return status(404, "NotFound", f"{CLUSTER} not found") if gone else None

    world.server.spoil, world.server.behave = spoil, behave
    await world.runtime.execute(RemoveFinalizer(reason="x"), desired, observed)
    assert CLUSTER not in world.server.objects


async def test_status_of_an_earlier_resource_is_not_written_to_a_new_one(world: World) -> None:
    """It was deleted and created again between observation and report."""
    world.create()
    await world.runtime.desired()
    world.create(uid="u2")
    with pytest.raises(Exception, match="uid"):
        await world.runtime.publish(Status())
    del world.server.objects[CLUSTER]


async def test_undecodable_status_counts_as_none(world: World) -> None:
    world.create()
    world.server.objects[CLUSTER]["status"] = {"conditions": "many"}
    await world.runtime.desired()
    assert await world.runtime.last_status() is None


async def test_event_is_about_the_resource(world: World) -> None:
    world.create()
    await world.runtime.desired()
    await world.runtime.record(Event(time=1.0, reason="Bootstrap", message="x"))
    (event,) = [one for path, one in world.server.objects.items() if "/events/" in path]
    assert event["regarding"]["uid"] == "u1"


async def test_members_are_asked_at_the_addresses_their_pods_have_now(world: World) -> None:
    """DNS returns the address of the previous pod for as long as its answers are cached."""
    world.create()
    await world.rounds(2)
    world.pod(0)
    await world.look()
    assert world.nodes.located("demo-0.demo-peers.shop.svc") == "10.0.0.0"
    assert world.nodes.located("demo-1.demo-peers.shop.svc") is None
