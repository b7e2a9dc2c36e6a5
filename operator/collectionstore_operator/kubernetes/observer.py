"""What there is of a cluster in Kubernetes: every read of a round, as one `Observed`. Nothing is written.

Every observation reads the newest state from the API server and asks every member itself, over mutual TLS.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec

from collectionstore_operator.kubernetes import claims, pod_diagnostics
from collectionstore_operator.kubernetes.api import Body, Kind
from collectionstore_operator.kubernetes.certificate_requests import SIGNER, read_request
from collectionstore_operator.kubernetes.cluster_access import ClusterAccess
from collectionstore_operator.kubernetes.pods import address_of, read_pod
from collectionstore_operator.kubernetes.record import Facts
from collectionstore_operator.model.assessment import responding_node
from collectionstore_operator.model.observed import (
    ABSENT,
    Absent,
    Certificate,
    CertificateKind,
    NodeStatus,
    Observed,
    Pod,
    Slot,
    Unknown,
    Workload,
)
from collectionstore_operator.reconcile.observe import ask_nodes, has_data
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

NOT_RUNNING = Unknown("its pod does not run")


class Observer:
    """Observes one cluster. `epoch` is the fencing epoch that this operator holds."""

    def __init__(self, access: ClusterAccess, *, epoch: int) -> None:
        self._access = access
        self._epoch = epoch

    async def observe(self, desired: Desired) -> Observed:
        """Return everything there is of the cluster. Raises ApiError when a list cannot be read."""
        kube, namespace, selector = self._access.kube, desired.namespace, labels.selector(desired.name)
        if desired.deleting and await pod_diagnostics.is_terminating(kube, namespace):
            return self._released_with_namespace(desired)
        pods, found_claims, children = await asyncio.gather(
            kube.find_all(Kind.POD, namespace, selector),
            kube.find_all(Kind.PERSISTENT_VOLUME_CLAIM, namespace, selector),
            self._access.children.read(desired),
        )
        requests, (facts, foreign_record), keys, granted = await asyncio.gather(
            kube.find_all(Kind.SIGNING_REQUEST, fields={"spec.signerName": SIGNER}),
            self._access.record.read(desired),
            self._access.authority.read(desired),
            self._access.enrolment.granted(desired),
        )
        if keys.context is not None:
            self._access.nodes.use(keys.context)
        workload = children.workload
        deviating = await self._access.children.deviating(pods, children.workload_body, desired)
        slots = await self._slots(desired, pods, found_claims, facts, workload, deviating)
        # Read LAST: what a namespace being deleted has already taken along must not look as if it were missing.
        terminating = await pod_diagnostics.is_terminating(kube, namespace)
        return Observed(
            now=time.time(),
            cluster_id=facts.cluster_id,
            initialized=has_data((slot.node for slot in slots), recorded=bool(facts.initialized)),
            initialized_recorded=bool(facts.initialized),
            bootstrap_node=facts.bootstrap_node,
            finalizer=self._access.resource.has_finalizer(),
            published=self._access.resource.published_identity(),
            volume_cluster_ids=claims.cluster_ids(found_claims),
            stamps_volumes=True,
            epoch=self._epoch,
            workload=workload,
            slots=slots,
            objects=children.objects,
            foreign=(*children.foreign, *((foreign_record,) if foreign_record else ()), *keys.foreign),
            namespace_terminating=terminating,
            certificates=(*keys.certificates, *member_certificates(slots, facts.cluster_id)),
            authority_published=bool(keys.authority_pem) and facts.authorities == keys.authority_pem,
            enrolment_granted=granted,
            requests=tuple(one for one in (read_request(body, desired) for body in requests) if one is not None),
        )

    def _released_with_namespace(self, desired: Desired) -> Observed:
        """Return all that matters of a resource deleted with its namespace.

        Nothing else is read: our Role in the namespace may be deleted already, and every read would be refused.
        """
        return Observed(
            now=time.time(),
            finalizer=self._access.resource.has_finalizer(),
            epoch=self._epoch,
            workload=Unknown(f"the namespace {desired.namespace} is being deleted"),
            namespace_terminating=True,
            certificates=(),
        )

    async def _slots(
        self,
        desired: Desired,
        pods: list[Body],
        found_claims: list[Body],
        facts: Facts,
        workload: Workload | Absent | Unknown,
        deviating: frozenset[str],
    ) -> tuple[Slot, ...]:
        by_ordinal = _by_ordinal(pods, desired.ordinal)
        claimed = _by_ordinal(found_claims, lambda name: claims.ordinal_of(desired, name))
        included = range(workload.replicas) if isinstance(workload, Workload) else range(0)
        size = desired.spec.storage.size_bytes
        lost, classes, refusals = await asyncio.gather(
            pod_diagnostics.find_lost_machines(self._access.kube, pods),
            pod_diagnostics.storage_classes(
                self._access.kube,
                (claims.storage_class_of(one) for one in found_claims if claims.needs_storage_class(one, size)),
            ),
            pod_diagnostics.creation_failures(
                self._access.kube, desired, (one for one in included if one not in by_ordinal)
            ),
        )
        seen = _read_pods(desired, by_ordinal, claimed, lost_machines=lost)
        seen |= {
            # Of no revision, whatever its annotation says: it is restarted in its turn, as any outdated pod.
            ordinal: msgspec.structs.replace(pod, revision="")
            for ordinal, pod in seen.items()
            if desired.member(ordinal) in deviating
        }
        answers = await self._ask_nodes(desired, by_ordinal, seen)
        return tuple(
            Slot(
                ordinal=ordinal,
                pod=seen.get(ordinal, ABSENT),
                node=answers.get(ordinal, NOT_RUNNING),
                volume=claims.read_claim(claimed[ordinal], by_ordinal.get(ordinal), facts.cluster_id, classes)
                if ordinal in claimed
                else ABSENT,
                # The refusal first: a claim that waits for its first consumer is the effect of a pod that is refused.
                pending_reason=refusals.get(ordinal, "") or claims.pending_reason(claimed.get(ordinal), classes),
                pending_failed=ordinal in refusals or claims.cannot_bind(claimed.get(ordinal), classes),
            )
            for ordinal in sorted({*seen, *claimed, *included})
        )

    async def _ask_nodes(
        self, desired: Desired, by_ordinal: Mapping[int, Body], seen: Mapping[int, Pod]
    ) -> dict[int, NodeStatus | Unknown]:
        # By the pods' own IPs: DNS returns the previous pod's address for as long as it is cached.
        self._access.nodes.locate(
            {host: ip for body in by_ordinal.values() for host, ip in address_of(body, desired).items()}
        )
        return await ask_nodes(
            self._access.nodes, {ordinal: pod.http_address for ordinal, pod in seen.items() if pod.running}
        )


def member_certificates(slots: Iterable[Slot], cluster_id: str) -> tuple[Certificate, ...]:
    """Return the certificates that members presented when they were asked: what they really use."""
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


def _read_pods(
    desired: Desired, by_ordinal: Mapping[int, Body], claimed: Mapping[int, Body], *, lost_machines: frozenset[str]
) -> dict[int, Pod]:
    now = time.time()
    return {
        ordinal: read_pod(
            body,
            desired,
            now=now,
            lost_machines=lost_machines,
            restart_reason=claims.restart_reason(claimed.get(ordinal), now),
            claim_deleting=claims.is_deleting(claimed.get(ordinal)),
        )
        for ordinal, body in by_ordinal.items()
    }


def _by_ordinal(bodies: list[Body], ordinal_of_name: Callable[[str], int | None]) -> dict[int, Body]:
    found = ((ordinal_of_name(body["metadata"]["name"]), body) for body in bodies)
    return {ordinal: body for ordinal, body in found if ordinal is not None}
