"""What there is of a cluster in Kubernetes: every read of a round, as one `Observed`. Nothing is written.

An observation reads the newest state from the API server, or caches that are not behind it (`caches.reads`), and asks
every member itself, over mutual TLS.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from collectionstore_operator.kubernetes import by_name, claims, pod_diagnostics, source_snapshots
from collectionstore_operator.kubernetes.api import Body, Kind
from collectionstore_operator.kubernetes.certificate_requests import SIGNER, account, read_request
from collectionstore_operator.kubernetes.cluster_access import ClusterAccess
from collectionstore_operator.kubernetes.first_seen import FirstSeen
from collectionstore_operator.kubernetes.mounts import Mounts
from collectionstore_operator.kubernetes.pods import address_of, read_pod, unready_since
from collectionstore_operator.kubernetes.record import Facts, read_revision
from collectionstore_operator.model import identity, planned_work
from collectionstore_operator.model import recovery as recoveries
from collectionstore_operator.model import restore as restores
from collectionstore_operator.model.assessment import responding_node
from collectionstore_operator.model.observed import (
    ABSENT,
    Absent,
    AppliedObject,
    Certificate,
    CertificateKind,
    ForeignObject,
    KnownBackup,
    NodeStatus,
    Observed,
    Pod,
    Replicas,
    Slot,
    Unknown,
    Volume,
    Workload,
)
from collectionstore_operator.reconcile import zones
from collectionstore_operator.reconcile.observe import ask_nodes, has_data
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired, Group
from collectionstore_operator.status.recovery_status import lost_since

NOT_RUNNING = Unknown("its pod does not run")


class _Further(NamedTuple):
    """The objects of read replicas, and those of others under their names."""

    objects: tuple[AppliedObject, ...] = ()
    foreign: tuple[ForeignObject, ...] = ()


class _Lasted(NamedTuple):
    """For how long pods have not been ready, and file systems not as large as their disks."""

    unready: FirstSeen
    resizing: FirstSeen


class Observer:
    """Observes one cluster."""

    def __init__(self, access: ClusterAccess, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        groups: tuple[Group, ...] = ("voters", "reads")
        self._lasted = {group: _Lasted(FirstSeen(clock), FirstSeen(clock)) for group in groups}
        self._mounts = Mounts(access.reads)
        self._located: dict[Group, dict[str, str]] = {}

    async def observe(self, desired: Desired) -> Observed:
        """Return everything there is of the cluster. Raises ApiError when a list cannot be read."""
        kube, namespace, selector = self._access.reads, desired.namespace, labels.selector(desired.name)
        if desired.deleting and await pod_diagnostics.is_terminating(kube, namespace):
            return self._released_with_namespace(desired)
        pods, found_claims, children = await asyncio.gather(
            kube.find_all(Kind.POD, namespace, selector),
            kube.find_all(Kind.PERSISTENT_VOLUME_CLAIM, namespace, selector),
            self._access.children.read(desired),
        )
        workload = children.workload
        names = self._names(desired, workload)
        requests, (facts, foreign_record), granted, pods, found_claims = await asyncio.gather(
            kube.requests_of(account(desired), SIGNER),
            self._access.record.read(desired),
            self._access.enrolment.granted(desired),
            by_name.with_unlabelled(kube, Kind.POD, namespace, pods, names),
            by_name.with_unlabelled(kube, Kind.PERSISTENT_VOLUME_CLAIM, namespace, found_claims, names.values()),
        )
        named = by_name.owned(
            pods, found_claims, desired, known_uids=self._known_uids(), workload=children.workload_body
        )
        keys = await self._access.authority.read(
            desired, anchor_pem=facts.authorities, has_data=bool(facts.initialized or named.claims)
        )
        if keys.context is not None:
            self._access.nodes.use(keys.context)
        deviating = await self._access.children.deviating(named.pods, children.workload_body, desired)
        slots, proven = await self._slots(desired, named, facts, workload, deviating)
        reads, further = await self._replicas(desired, facts, proven)
        peers = await self._access.authority.read_peers(
            desired,
            keys,
            anchor_pem=facts.peer_authorities,
            reported=_trusted_by_peers((*slots, *(reads.slots if reads else ())), proven.cluster_id),
            has_data=bool(facts.initialized or named.claims),
        )
        # Read LAST: what a namespace being deleted has already taken along must not look as if it were missing.
        terminating = await pod_diagnostics.is_terminating(kube, namespace)
        return Observed(
            now=time.time(),
            cluster_id=proven.cluster_id,
            recorded_cluster_id=facts.cluster_id if facts.cluster_id != proven.cluster_id else "",
            identity_conflict=proven.conflict,
            authority_conflict=keys.conflict,
            deletion_was_protected=_names(facts.protected_deletion, desired)
            and not _names(facts.deletion_held, desired),
            deletion_held=_names(facts.protected_deletion, desired) and _names(facts.deletion_held, desired),
            initialized=has_data((slot.node for slot in slots), recorded=bool(facts.initialized)),
            initialized_recorded=bool(facts.initialized),
            bootstrap_node=facts.bootstrap_node,
            recovery=recoveries.read(facts.recovery),
            restore=restores.read(facts.restore),
            snapshot=await source_snapshots.read(kube, desired, facts),
            restore_claim=facts.restore_claim,
            recorded_revision=read_revision(facts.revision),
            backups=await self._backups(desired),
            quorum_lost_since=self._quorum_lost_since(),
            planned_work=planned_work.decode(facts.planned_work),
            finalizer=self._access.resource.has_finalizer(),
            published=self._access.resource.published_identity(),
            volume_cluster_ids=claims.cluster_ids(named.claims),
            stamps_volumes=True,
            epoch=self._access.tenure.epoch,
            workload=workload,
            slots=slots,
            reads=reads,
            objects=(*children.objects, *further.objects),
            foreign=(
                *children.foreign,
                *further.foreign,
                *((foreign_record,) if foreign_record else ()),
                *keys.foreign,
                *peers.foreign,
                *named.foreign,
            ),
            schedules=await self._access.schedules.read(desired),
            zones=zones.of_windows(desired, time.time()),
            final_backup=await self._access.final_backups.read(desired),
            namespace_terminating=terminating,
            certificates=(
                *keys.certificates,
                *peers.certificates,
                *member_certificates((*slots, *(reads.slots if reads else ())), proven.cluster_id),
            ),
            authority=keys.authority,
            authority_published=bool(keys.authority_pem)
            and facts.authorities == keys.authority_pem
            and (bool(peers.conflict) or facts.peer_authorities == peers.authority_pem),
            peer_authority=peers.authority,
            peer_authority_recorded=bool(facts.peer_authorities),
            peer_authority_conflict=peers.conflict,
            enrolment_granted=granted,
            access=await self._access.control.look(desired, slots, proven.cluster_id),
            access_begun="Enforced" if facts.access == "Enforced" else "",
            requests=tuple(one for one in (read_request(body, desired) for body in requests) if one is not None),
        )

    async def _replicas(
        self, desired: Desired, facts: Facts, proven: identity.Identity
    ) -> tuple[Replicas | None, _Further]:
        """Return the read replicas, and their objects; None if there is nothing of them, and none are desired.

        Asked by lists that a cache answers: a cluster without read replicas costs no request for them.
        """
        kube, namespace, group = self._access.reads, desired.namespace, desired.reads()
        selector = labels.selector(group.workload)
        pods, found_claims, workloads = await asyncio.gather(
            kube.find_all(Kind.POD, namespace, selector),
            kube.find_all(Kind.PERSISTENT_VOLUME_CLAIM, namespace, selector),
            kube.find_all(Kind.STATEFUL_SET, namespace, selector),
        )
        ours = [one for one in (*pods, *found_claims, *workloads) if by_name.is_selected(one, group)]
        if not ours and not desired.spec.has_read_replicas:
            return None, _Further()
        children = await self._access.children.read(group)
        names = self._names(group, children.workload)
        pods, found_claims = await asyncio.gather(
            by_name.with_unlabelled(kube, Kind.POD, namespace, pods, names),
            by_name.with_unlabelled(kube, Kind.PERSISTENT_VOLUME_CLAIM, namespace, found_claims, names.values()),
        )
        named = by_name.owned(pods, found_claims, group, known_uids=self._known_uids(), workload=children.workload_body)
        deviating = await self._access.children.deviating(named.pods, children.workload_body, group)
        slots, _ = await self._slots(group, named, facts, children.workload, deviating, proven)
        return Replicas(workload=children.workload, slots=slots), _Further(
            children.objects, (*children.foreign, *named.foreign)
        )

    def _released_with_namespace(self, desired: Desired) -> Observed:
        """Return all that matters of a resource deleted with its namespace.

        Nothing else is read: our Role in the namespace may be deleted already, and every read would be refused.
        """
        return Observed(
            now=time.time(),
            finalizer=self._access.resource.has_finalizer(),
            epoch=self._access.tenure.epoch,
            workload=Unknown(f"the namespace {desired.namespace} is being deleted"),
            namespace_terminating=True,
            certificates=(),
        )

    async def _slots(
        self,
        desired: Desired,
        named: by_name.Named,
        facts: Facts,
        workload: Workload | Absent | Unknown,
        deviating: frozenset[str],
        proven: identity.Identity | None = None,
    ) -> tuple[tuple[Slot, ...], identity.Identity]:
        pods, found_claims = named.pods, named.claims
        foreign_pods, foreign_claims = _foreign_by_ordinal(desired, named)
        by_ordinal = _by_ordinal(pods, desired.ordinal)
        claimed = _by_ordinal(found_claims, lambda name: claims.ordinal_of(desired, name))
        included = range(workload.replicas) if isinstance(workload, Workload) else range(0)
        size = desired.spec.storage.size_bytes_max
        lost, classes, volumes, refusals, mounted = await asyncio.gather(
            pod_diagnostics.find_lost_machines(self._access.reads, pods),
            pod_diagnostics.storage_classes(
                self._access.reads,
                (claims.storage_class_of(one) for one in found_claims if claims.needs_storage_class(one, size)),
            ),
            pod_diagnostics.persistent_volumes(self._access.reads, found_claims),
            pod_diagnostics.creation_failures(
                self._access.reads, desired, (one for one in included if one not in by_ordinal)
            ),
            self._mounts.of_due(claimed.values(), desired),
        )
        seen = self._read_pods(desired, by_ordinal, claimed, lost_machines=lost)
        seen |= {
            # Of no revision, whatever its annotation says: it is restarted in its turn, as any outdated pod.
            ordinal: msgspec.structs.replace(pod, revision="")
            for ordinal, pod in seen.items()
            if desired.member(ordinal) in deviating
        }
        answers = await self._ask_nodes(desired, by_ordinal, seen)
        published = self._access.resource.published_identity().cluster_id
        proven = proven or identity.prove(
            facts.cluster_id,
            recoveries.published_as(recoveries.read(facts.recovery), facts.cluster_id, published),
            [one for one in answers.values() if isinstance(one, NodeStatus)],
            claims.cluster_ids(found_claims),
        )

        def volume(ordinal: int) -> Volume | Absent | Unknown:
            if ordinal in foreign_claims:
                return foreign_claims[ordinal]
            claim = claimed.get(ordinal)
            if claim is None:
                return ABSENT
            return claims.read_claim(
                claim,
                by_ordinal.get(ordinal),
                proven.cluster_id,
                classes,
                volume=volumes.get(claim["spec"].get("volumeName") or ""),
                labelled=by_name.is_labelled_claim(claim, desired),
                mounted_by=mounted.get(claim["metadata"]["name"], ""),
            )

        slots = tuple(
            Slot(
                ordinal=ordinal,
                pod=foreign_pods[ordinal] if ordinal in foreign_pods else seen.get(ordinal, ABSENT),
                node=answers.get(ordinal, NOT_RUNNING),
                volume=volume(ordinal),
                # The refusal first: a claim that waits for its first consumer is the effect of a pod that is refused.
                pending_reason=refusals.get(ordinal, "") or claims.pending_reason(claimed.get(ordinal), classes),
                pending_failed=ordinal in refusals or claims.cannot_bind(claimed.get(ordinal), classes),
            )
            for ordinal in sorted({*foreign_pods, *foreign_claims, *seen, *claimed, *included})
        )
        return slots, proven

    def _read_pods(
        self,
        desired: Desired,
        by_ordinal: Mapping[int, Body],
        claimed: Mapping[int, Body],
        *,
        lost_machines: frozenset[str],
    ) -> dict[int, Pod]:
        lasted = self._lasted[desired.group]
        unready = lasted.unready.lasted(_told(by_ordinal, lambda body: unready_since(body, lost_machines)))
        resizing = lasted.resizing.lasted(_told(claimed, claims.awaits_file_system))
        return {
            ordinal: read_pod(
                body,
                desired,
                unready_s=unready.get(ordinal, 0.0),
                lost_machines=lost_machines,
                restart_reason=claims.restart_reason(claimed.get(ordinal), resizing.get(ordinal, 0.0)),
                claim_deleting=claims.is_deleting(claimed.get(ordinal)),
                labelled=by_name.is_labelled(body, desired),
            )
            for ordinal, body in by_ordinal.items()
        }

    def _names(self, desired: Desired, workload: Workload | Absent | Unknown) -> dict[str, str]:
        """Return the names of pods that may exist, and of their claims: included, desired, or seen before."""
        replicas = workload.replicas if isinstance(workload, Workload) else 0
        before = self._access.resource.last_status()
        members = before.members if before is not None else ()
        seen = {ordinal for one in members if (ordinal := desired.ordinal(one.name)) is not None}
        ordinals = {*range(max(replicas, desired.spec.replicas)), *seen}
        return {desired.member(one): claims.claim_name(desired, one) for one in sorted(ordinals)}

    def _quorum_lost_since(self) -> float:
        before = self._access.resource.last_status()
        return lost_since(before.recovery) if before is not None else 0.0

    async def _backups(self, desired: Desired) -> tuple[KnownBackup, ...] | None:
        """Return the backups that are known, while one is to be chosen."""
        if desired.spec.restore is None and not self._quorum_lost_since():
            return None
        return await self._access.backups.read(desired.namespace)

    def _known_uids(self) -> frozenset[str]:
        """Return the uids of the pods that the last status named."""
        before = self._access.resource.last_status()
        return frozenset(one.pod_uid for one in before.members if one.pod_uid) if before is not None else frozenset()

    async def _ask_nodes(
        self, desired: Desired, by_ordinal: Mapping[int, Body], seen: Mapping[int, Pod]
    ) -> dict[int, NodeStatus | Unknown]:
        # By the pods' own IPs: DNS returns the previous pod's address for as long as it is cached.
        self._located[desired.group] = {
            host: ip for body in by_ordinal.values() for host, ip in address_of(body, desired).items()
        }
        self._access.nodes.locate({host: ip for found in self._located.values() for host, ip in found.items()})
        return await ask_nodes(
            self._access.nodes, {ordinal: pod.http_address for ordinal, pod in seen.items() if pod.running}
        )


def _names(uid: str, desired: Desired) -> bool:
    return bool(uid) and uid == desired.uid


def _trusted_by_peers(slots: Iterable[Slot], cluster_id: str) -> frozenset[str]:
    """Return the keys of authorities that members of the cluster say they trust on the peer port."""
    nodes = (slot.node for slot in slots if isinstance(slot.node, NodeStatus) and slot.node.cluster_id == cluster_id)
    return frozenset(key for node in nodes if node.tls is not None for key in node.tls.peer_trusted)


def member_certificates(slots: Iterable[Slot], cluster_id: str) -> tuple[Certificate, ...]:
    """Return the certificates that members really use."""
    nodes = (node for slot in slots if (node := responding_node(slot, cluster_id)) is not None)
    return tuple(one for node in nodes for one in _certificates_of(node))


def _certificates_of(node: NodeStatus) -> list[Certificate]:
    """Return what a node reports of its certificates; of an older version, what it presented when it was asked."""
    kind, name = CertificateKind.MEMBER, node.name
    if node.tls is not None:
        # The one that ends first: a port that did not follow the other is what there is to see.
        first = min(node.tls.certificates(), key=lambda one: one.not_after)
        begin, end = first.not_before, first.not_after
        return [Certificate(kind=kind, name=name, not_before=begin, not_after=end, authority=first.authority)]
    if not node.certificate_not_after:
        return []
    begin, end = node.certificate_not_before, node.certificate_not_after
    return [Certificate(kind=kind, name=name, not_before=begin, not_after=end)]


def _foreign_by_ordinal(desired: Desired, named: by_name.Named) -> tuple[dict[int, Unknown], dict[int, Unknown]]:
    """Return the ordinals whose pod, and those whose claim, another owner has under its name."""
    pods, found_claims = {}, {}
    for one in named.foreign:
        reason = Unknown(f"the {one.kind} {one.name} belongs to {one.owner}")
        if one.kind == "Pod" and (ordinal := desired.ordinal(one.name)) is not None:
            pods[ordinal] = reason
        elif one.kind != "Pod" and (ordinal := claims.ordinal_of(desired, one.name)) is not None:
            found_claims[ordinal] = reason
    return pods, found_claims


def _told(bodies: Mapping[int, Body], tell: Callable[[Body], str]) -> dict[int, str]:
    """Return the state of each object that has one, by ordinal."""
    return {ordinal: state for ordinal, body in bodies.items() if (state := tell(body))}


def _by_ordinal(bodies: list[Body], ordinal_of_name: Callable[[str], int | None]) -> dict[int, Body]:
    found = ((ordinal_of_name(body["metadata"]["name"]), body) for body in bodies)
    return {ordinal: body for ordinal, body in found if ordinal is not None}
