"""The Kubernetes side of the loop: performs what the planner asks for and reports what it sees; it decides nothing.

Every look reads the newest state from the API server and asks every member itself, over mutual TLS. Every action
carries the uid, the resourceVersion, the configuration index or the epoch it was decided from.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable

import msgspec

from collectionstore_operator.errors import ActionRefused, ActionUnfinished, InvalidResource
from collectionstore_operator.kubernetes import children, claims, pod_diagnostics, volumes
from collectionstore_operator.kubernetes.api import ApiError, Body, Conflict, Kind, Kube, NotFound, Unavailable
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.authority import Authority
from collectionstore_operator.kubernetes.certificate_requests import SIGNER, read_request
from collectionstore_operator.kubernetes.pods import address_of, read_pod
from collectionstore_operator.kubernetes.record import Facts, Record
from collectionstore_operator.model.actions import (
    Action,
    AddLearners,
    ApplyObject,
    Bootstrap,
    ChangeVoters,
    DeleteObject,
    DenyRequest,
    EnsureWorkload,
    EstablishIdentity,
    GrowVolume,
    IssueCertificate,
    MarkVolume,
    RemoveLearners,
    ReplaceWorkload,
    RestartPod,
    RetireVolume,
    SignRequest,
    TransferLeadership,
)
from collectionstore_operator.model.assessment import assess, responding_node
from collectionstore_operator.model.observed import (
    ABSENT,
    Absent,
    Certificate,
    CertificateKind,
    NodeStatus,
    Observed,
    Slot,
    Unknown,
    Volume,
    Workload,
)
from collectionstore_operator.planning.plan import disruptions, plan
from collectionstore_operator.reconcile.execute import perform_on_nodes
from collectionstore_operator.reconcile.node_client import NodeClient
from collectionstore_operator.reconcile.observe import ask_nodes, has_data
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired, parse, to_take_down
from collectionstore_operator.status.events import Event
from collectionstore_operator.status.report import Status

NOT_RUNNING = Unknown("its pod does not run")


class ClusterRuntime:
    """One cluster in Kubernetes."""

    def __init__(
        self,
        kube: Kube,
        client: NodeClient,
        recorder: Recorder,
        *,
        namespace: str,
        name: str,
        epoch: int,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_act` says whether the Lease still is ours, as far as can be known without asking."""
        self._may_act = may_act
        self._kube = kube
        self._client = client
        self._recorder = recorder
        self._namespace = namespace
        self._name = name
        self._epoch = epoch
        self._record = Record(kube)
        self._authority = Authority(kube, self._record)
        self._desired: Desired | None = None
        self._resource: Body = {}
        self._leaving = False

    async def desired(self) -> Desired | None:
        """Read the resource; None when it is gone, or when it is going and nothing is left to do for it."""
        found = await self._kube.find(Kind.CLUSTER, self._name, self._namespace)
        if found is None:
            return None
        self._resource = found
        held = labels.FINALIZER in (found["metadata"].get("finalizers") or ())
        if "deletionTimestamp" in found["metadata"]:
            if held and await pod_diagnostics.is_terminating(self._kube, self._namespace):
                # All of it is being deleted with its namespace, our rights there among it: there is nothing left to do.
                await self._change_finalizers(_without_ours)
                held = False
            if not held:
                return None
        desired = _parsed(found)
        if not held:
            # BEFORE anything is made for it: what exists will have to be taken down.
            await self._change_finalizers(lambda found: [*found, labels.FINALIZER])
        self._desired = desired
        return desired

    async def observe(self, desired: Desired) -> Observed:
        """Look at everything there is of the cluster."""
        kube, namespace, selector = self._kube, desired.namespace, labels.selector(desired.name)
        pods, found_claims, found, objects = await asyncio.gather(
            kube.find_all(Kind.POD, namespace, selector),
            kube.find_all(Kind.PERSISTENT_VOLUME_CLAIM, namespace, selector),
            kube.find(Kind.STATEFUL_SET, desired.name, namespace),
            children.look(kube, desired),
        )
        requests, facts, (certificates, tls) = await asyncio.gather(
            kube.find_all(Kind.SIGNING_REQUEST, fields={"spec.signerName": SIGNER}),
            self._record.read(desired),
            self._authority.look(desired),
        )
        if tls is not None:
            self._client.use(tls)
        workload = children.read_workload(found, desired)
        slots = await self._slots(desired, pods, found_claims, facts, workload)
        initialized = has_data((slot.node for slot in slots), recorded=bool(facts.initialized))
        # Read LAST: whatever a namespace on its way out has taken along already is then known to be missing for that.
        self._leaving = await pod_diagnostics.is_terminating(kube, namespace)
        return Observed(
            now=time.time(),
            cluster_id=facts.cluster_id,
            initialized=initialized,
            bootstrap_node=facts.bootstrap_node,
            epoch=self._epoch,
            workload=workload,
            slots=slots,
            objects=objects,
            namespace_terminating=self._leaving,
            certificates=(*certificates, *member_certificates(slots, facts.cluster_id)),
            requests=tuple(one for one in (read_request(body, desired) for body in requests) if one is not None),
        )

    async def execute(self, action: Action, desired: Desired, observed: Observed) -> None:
        """Perform one action. Raises ActionRefused or ActionUnfinished."""
        await self._guarded(action, desired, observed)

    async def publish(self, status: Status) -> None:
        """Write the status; of a resource that has gone meanwhile, none is needed any more."""
        body = {"metadata": {"uid": self._resource["metadata"]["uid"]}, "status": msgspec.to_builtins(status)}
        try:
            self._resource = await self._kube.patch(
                Kind.CLUSTER, self._name, self._namespace, body, subresource="status"
            )
        except NotFound:
            return

    async def last_status(self) -> Status | None:
        """Read the status published last; one that an older version wrote and nobody can read counts as none."""
        found = self._resource.get("status")
        try:
            return msgspec.convert(found, Status) if found else None
        except msgspec.ValidationError:
            return None

    async def looked(self, observed: Observed) -> None:
        """Record what must not be forgotten of this look; and when nothing is left of a deleted cluster, let it go."""
        desired = self._desired
        if desired is None:
            return
        if observed.initialized and observed.cluster_id and not observed.namespace_terminating:
            await self._record.change(desired, initialized="true")
        for slot in observed.slots:
            node, volume = slot.node, slot.volume
            if not isinstance(node, NodeStatus) or not isinstance(volume, Volume):
                continue
            if node.cluster_id == observed.cluster_id and volume.node_id != node.node_id:
                await volumes.record_node(self._kube, desired, volume.name, node.node_id)
        if desired.deleting and plan(desired, observed).converged:
            await self._let_go(desired, observed)

    async def record(self, event: Event) -> None:
        """Write an Event about the resource; none can be made in a namespace that is being deleted."""
        if self._leaving:
            return
        metadata = self._resource.get("metadata", {})
        about = Desired(name=self._name, namespace=self._namespace, uid=metadata.get("uid", ""))
        await self._recorder.record(event, about)

    async def _slots(
        self,
        desired: Desired,
        pods: list[Body],
        found_claims: list[Body],
        facts: Facts,
        workload: Workload | Absent | Unknown,
    ) -> tuple[Slot, ...]:
        by_ordinal = _by_ordinal(pods, desired.ordinal)
        claimed = _by_ordinal(found_claims, lambda name: claims.ordinal_of(desired, name))
        wanted = range(workload.replicas) if isinstance(workload, Workload) else range(0)
        size = desired.spec.storage.size_bytes
        lost, classes, refusals = await asyncio.gather(
            pod_diagnostics.lost(self._kube, pods),
            pod_diagnostics.storage_classes(
                self._kube, (claims.class_of(one) for one in found_claims if claims.needs_class(one, size))
            ),
            pod_diagnostics.refusals(self._kube, desired, (one for one in wanted if one not in by_ordinal)),
        )
        now = time.time()
        seen = {
            ordinal: read_pod(
                body,
                desired,
                now=now,
                lost_machines=lost,
                restart_reason=claims.restart_reason(claimed.get(ordinal), now),
                disk_leaves=claims.leaves(claimed.get(ordinal)),
            )
            for ordinal, body in by_ordinal.items()
        }
        self._client.locate(
            {host: ip for body in by_ordinal.values() for host, ip in address_of(body, desired).items()}
        )
        answers = await ask_nodes(
            self._client, {ordinal: pod.http_address for ordinal, pod in seen.items() if pod.running}
        )
        return tuple(
            Slot(
                ordinal=ordinal,
                pod=seen.get(ordinal, ABSENT),
                node=answers.get(ordinal, NOT_RUNNING),
                volume=claims.read_claim(claimed[ordinal], by_ordinal.get(ordinal), facts.cluster_id, classes)
                if ordinal in claimed
                else ABSENT,
                pending_reason=claims.obstacle(claimed.get(ordinal), classes) or refusals.get(ordinal, ""),
            )
            for ordinal in sorted({*seen, *claimed, *wanted})
        )

    async def _guarded(self, action: Action, desired: Desired, observed: Observed) -> None:
        if not self._may_act():
            raise ActionRefused("the Lease was not renewed in time: another operator may be acting")
        try:
            await self._execute(action, desired, observed)
        except Unavailable as error:
            raise ActionUnfinished(str(error)) from error
        except ApiError as error:
            raise ActionRefused(str(error)) from error

    async def _execute(self, action: Action, desired: Desired, observed: Observed) -> None:
        match action:
            case EstablishIdentity():
                await self._establish_identity(desired)
            case IssueCertificate():
                await self._authority.issue(action, desired, cluster_id=observed.cluster_id, now=time.time())
            case SignRequest():
                await self._authority.sign(action, desired, now=time.time())
            case DenyRequest():
                await self._authority.deny(action)
            case ApplyObject():
                allowed = disruptions(assess(desired, observed))
                await children.apply(self._kube, action, desired, disruptions=allowed)
            case DeleteObject():
                await children.delete(self._kube, action, desired)
            case EnsureWorkload():
                await children.ensure_workload(self._kube, action, desired, cluster_id=observed.cluster_id)
            case Bootstrap():
                await self._record.change(desired, bootstrap_node=action.node_id)
                await perform_on_nodes(action, observed, self._client)
            case AddLearners() | ChangeVoters() | RemoveLearners() | TransferLeadership():
                await perform_on_nodes(action, observed, self._client)
            case RestartPod():
                # Not an eviction: a budget must not keep the operator from its own, one at a time.
                grace_s = 0 if action.force else None
                await self._kube.delete(Kind.POD, action.name, desired.namespace, uid=action.uid, grace_s=grace_s)
            case MarkVolume():
                await volumes.mark(self._kube, action, desired)
            case RetireVolume():
                await volumes.retire(self._kube, action, desired)
            case GrowVolume():
                await volumes.grow(self._kube, action, desired)
            case ReplaceWorkload():
                await children.release_workload(self._kube, action, desired)

    async def _establish_identity(self, desired: Desired) -> None:
        """Draw the cluster's id, or take up the one there is: disks carry it, and so does the status.

        Disks are there before the record when an earlier resource of this name kept them; the status is when somebody
        deleted the record of a living cluster. What else the record said comes back with it.
        """
        told = await self.last_status() or Status()
        claims = await self._kube.find_all(
            Kind.PERSISTENT_VOLUME_CLAIM, desired.namespace, labels.selector(desired.name)
        )
        found = {(claim["metadata"].get("annotations") or {}).get(labels.CLUSTER_ID, "") for claim in claims} - {""}
        if len(found) > 1:
            raise ActionRefused(f"the volumes that exist belong to several clusters: {', '.join(sorted(found))}")
        if told.cluster_id and found - {told.cluster_id}:
            raise ActionRefused(
                f"the volumes that exist belong to the cluster {', '.join(found)}, the resource to {told.cluster_id}"
            )
        await self._record.change(
            desired,
            cluster_id=told.cluster_id or next(iter(found), secrets.token_hex(8)),
            initialized="true" if told.initialized else "",
            bootstrap_node=told.bootstrap_node,
        )
        await self._authority.publish(desired)

    async def _let_go(self, desired: Desired, observed: Observed) -> None:
        """Allow the resource to go; the keys and the record stay as long as there are volumes of the cluster."""
        if not any(isinstance(slot.volume, Volume | Unknown) for slot in observed.slots):
            await self._authority.forget(desired)
            await self._record.forget(desired)
        await self._change_finalizers(_without_ours)

    async def _change_finalizers(self, change: Callable[[list[str]], list[str]]) -> None:
        """Change the list of finalizers, which others change too: from what it is now, as often as that takes."""
        uid = self._resource["metadata"]["uid"]
        while True:
            metadata = self._resource["metadata"]
            finalizers = change(list(metadata.get("finalizers") or ()))
            body: Body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers}}
            try:
                self._resource = await self._kube.patch(Kind.CLUSTER, self._name, self._namespace, body)
                return
            except Conflict:
                self._resource = await self._kube.get(Kind.CLUSTER, self._name, self._namespace)
                if self._resource["metadata"]["uid"] != uid:
                    raise


def _without_ours(finalizers: list[str]) -> list[str]:
    return [one for one in finalizers if one != labels.FINALIZER]


def _parsed(found: Body) -> Desired:
    """Return the wish; one that is not valid can still be taken down. Raises InvalidResource."""
    try:
        return parse(found)
    except InvalidResource:
        if "deletionTimestamp" not in found["metadata"]:
            raise
        taken_down = to_take_down(found)
        if taken_down.spec.deletion_protection:
            raise
        return taken_down


def member_certificates(slots: Iterable[Slot], cluster_id: str) -> tuple[Certificate, ...]:
    """Return the certificates that members showed when they were asked: what they really use."""
    nodes = (node for slot in slots if (node := responding_node(slot, cluster_id)) is not None)
    return tuple(
        Certificate(
            kind=CertificateKind.MEMBER,
            name=node.name,
            not_before=node.certificate_not_before,
            not_after=node.certificate_not_after,
        )
        for node in nodes
        if node.certificate_not_after
    )


def _by_ordinal(bodies: list[Body], ordinal_of_name: Callable[[str], int | None]) -> dict[int, Body]:
    found = ((ordinal_of_name(body["metadata"]["name"]), body) for body in bodies)
    return {ordinal: body for ordinal, body in found if ordinal is not None}
