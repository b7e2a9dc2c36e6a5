"""The certificates of a cluster, and which of them to issue or renew now. Pure: `reconcile.pki` generates keys.

A cluster has a CA, whose key stays with the operator; a leaf per member, for server and client authentication between
members; and a leaf for the operator. Where peers have a CA of their own (`authority_separation`), each member has a
second leaf, of the first CA, for its client port.

Leaves are renewed after two thirds of their lifetime. So is each CA, with a new key (`authority_rotation`). Where that
has not happened after three quarters of it, since a member does not respond, its certificate is renewed with the same
key: existing leaves and trust bundles stay valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from collectionstore_operator.model.actions import (
    DenyRequest,
    GrantEnrolment,
    IssueCertificate,
    PublishAuthority,
    SignRequest,
)
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.certificate_lifetimes import renew_at, renew_authority_at
from collectionstore_operator.model.observed import (
    Certificate,
    CertificateKind,
    NodeId,
    NodeStatus,
    Observed,
    Pod,
    RequestPurpose,
    SigningRequest,
    Unknown,
    Volume,
    Workload,
)
from collectionstore_operator.model.plan import Proposal, postpone, propose
from collectionstore_operator.planning import authority_rotation, authority_separation, workload
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

DAY_S: Final = 86_400
_OTHER_AUTHORITY: Final = "it was signed by another CA"


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A required certificate; `names` are subject alternative names, sorted."""

    kind: CertificateKind
    name: str
    lifetime_s: int
    names: tuple[str, ...] = ()


def identity(cluster_id: str, name: str) -> str:
    """Return the URI SAN that identifies a member; the only name that members verify."""
    return f"collectionstore://{cluster_id}/{name}"


def authority(desired: Desired) -> Subject:
    """Return the subject of the CA of a cluster."""
    lifetime_s = desired.spec.tls.authority_lifetime_s
    return Subject(kind=CertificateKind.AUTHORITY, name=desired.name, lifetime_s=lifetime_s)


def operator(desired: Desired, cluster_id: str) -> Subject:
    """Return the subject of the operator's client certificate."""
    uri = f"URI:{identity(cluster_id, labels.ADMINISTRATOR)}"
    lifetime_s = desired.spec.tls.certificate_lifetime_s
    kind = CertificateKind.OPERATOR
    return Subject(kind=kind, name=labels.ADMINISTRATOR, lifetime_s=lifetime_s, names=(uri,))


def node_identity(node_id: NodeId) -> str:
    """Return the URI SAN that binds a member's certificate to its incarnation: a later one refuses it."""
    return f"collectionstore-node:{node_id}"


def peer_authority(desired: Desired) -> Subject:
    """Return the subject of the CA of peers, where it is another one."""
    lifetime_s = desired.spec.tls.authority_lifetime_s
    return Subject(kind=CertificateKind.PEER_AUTHORITY, name=labels.peer_authority(desired.name), lifetime_s=lifetime_s)


def member(desired: Desired, cluster_id: str, ordinal: int, node_id: NodeId = "") -> Subject:
    """Return the subject of a member: its identity, its incarnation if known, and every name that clients use."""
    tls = desired.spec.tls
    name = desired.member(ordinal)
    peers = f"{name}.{labels.peer_service(desired.workload)}.{desired.namespace}.svc"
    clients = f"{labels.client_service(desired.workload)}.{desired.namespace}.svc"
    domain = tls.domain
    dns = ("localhost", name, peers, f"{peers}.{domain}", clients, f"{clients}.{domain}")
    names = {f"URI:{identity(cluster_id, name)}", "IP:127.0.0.1", *(f"DNS:{one}" for one in dns), *tls.further_names}
    if node_id:
        names.add(f"URI:{node_identity(node_id)}")
    kind, lifetime_s = CertificateKind.MEMBER, tls.certificate_lifetime_s
    return Subject(kind=kind, name=name, lifetime_s=lifetime_s, names=tuple(sorted(names)))


def required(desired: Desired, observed: Observed, members: Iterable[Subject] = ()) -> tuple[Subject, ...]:
    """Return every certificate that the operator issues with its key, the CAs first, because they sign the others.

    `members` are those whose keys are generated here, too.
    """
    separate = observed.peer_authority is not None
    authorities = (authority(desired), *((peer_authority(desired),) if separate else ()))
    leaves = tuple(members)
    # A server's alone, for the client port: what a member shows there is worth nothing to a client.
    servers = (msgspec.structs.replace(one, kind=CertificateKind.SERVER) for one in leaves if separate)
    return (*authorities, operator(desired, observed.cluster_id), *leaves, *servers)


def issue(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to make or renew certificates, each BEFORE what needs it: the authority, its publication, the leaves."""
    conflict = assessment.observed.authority_conflict
    if conflict:
        # A new authority would not help: members refuse whom another one has signed.
        reason = "certificates are renewed with the authority that the members trust"
        subject = labels.authority_secret(assessment.desired.name)
        yield postpone(IssueCertificate.__name__, reason=reason, blocked_by=conflict, subject=subject)
        return
    due = to_issue(assessment.desired, assessment.observed, _ordinals(assessment), _ordinals_of_reads(assessment))
    authorities = (CertificateKind.AUTHORITY, CertificateKind.PEER_AUTHORITY)
    renewed = [action for action in due if action.kind in authorities]
    for action in renewed:
        yield propose(action, subject=action.name)
    kinds = {action.kind for action in renewed}
    rotation = (
        *authority_separation.begin(assessment),
        *(() if CertificateKind.AUTHORITY in kinds else authority_rotation.rotate(assessment)),
        *(() if CertificateKind.PEER_AUTHORITY in kinds else authority_rotation.rotate(assessment, peers=True)),
    )
    yield from rotation
    changed = bool(renewed) or any(one.actions for one in rotation)
    yield from publish_authority(assessment, changed=changed)
    for action in due:
        waits = action.kind is CertificateKind.OPERATOR and action.reason == _OTHER_AUTHORITY
        if action not in renewed and not (waits and authority_rotation.awaits_members(assessment)):
            yield propose(action, subject=action.name)


def publish_authority(assessment: Assessment, *, changed: bool = False) -> Iterator[Proposal]:
    """Propose to publish the stored authorities, or those that change in this round, if members cannot read them yet.

    Decided from what is observed and not as a part of making it: an operator may end between the two.
    """
    observed = assessment.observed
    if observed.authority_published is None:
        return
    if changed or (not observed.authority_published and _authority_key(observed.certificates or ())):
        reason = "members read it as their trust anchor"
        yield propose(PublishAuthority(reason=reason), subject=assessment.desired.name)


def enrol(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to let the members request certificates, where they may not yet."""
    if assessment.observed.enrolment_granted is False:
        reason = "its ServiceAccount, and no other one, may request certificates"
        yield propose(GrantEnrolment(reason=reason), subject=assessment.desired.name)


def answer(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to sign or to refuse the requests of nodes."""
    ordinals, reads = _ordinals(assessment), _ordinals_of_reads(assessment)
    for one in to_answer(assessment.desired, assessment.observed, ordinals, reads):
        yield propose(one, subject=one.name if isinstance(one, SignRequest) else one.request)


def _ordinals(assessment: Assessment) -> range:
    """Return the ordinals whose pods need a certificate: those planned for now, and those that still run."""
    kept = assessment.observed.workload
    return range(max(workload.size(assessment), kept.replicas if isinstance(kept, Workload) else 0))


def _ordinals_of_reads(assessment: Assessment) -> range:
    reads = assessment.reads()
    return range(0) if reads is None else _ordinals(reads)


def to_issue(
    desired: Desired, observed: Observed, ordinals: Iterable[int], reads: Iterable[int] = ()
) -> tuple[IssueCertificate, ...]:
    """Return the certificates to issue now, in order. Empty if the runtime issues none or the cluster has no ID yet."""
    if observed.certificates is None or not observed.cluster_id:
        return ()
    actions = []
    keys = {kind: _authority_key(observed.certificates, kind) for kind in CertificateKind}
    made_here = _members(desired, observed, ordinals, reads) if observed.requests is None else ()
    for subject in required(desired, observed, made_here):
        key = keys[_signer(subject.kind, observed)]
        reason = _why_issue(subject, _find(observed.certificates, subject), key, observed.now)
        if reason:
            actions.append(
                IssueCertificate(
                    kind=subject.kind,
                    name=subject.name,
                    names=subject.names,
                    lifetime_s=subject.lifetime_s,
                    reason=reason,
                )
            )
    return tuple(actions)


def _members(desired: Desired, observed: Observed, ordinals: Iterable[int], reads: Iterable[int]) -> Iterator[Subject]:
    """Yield what members need whose keys are generated here, each for its incarnation once that is known."""
    for group, seen, numbers in ((desired, observed, ordinals), (desired.reads(), observed.of_reads(), reads)):
        for ordinal in numbers:
            yield member(group, observed.cluster_id, ordinal, _incarnation(seen, ordinal))


def _incarnation(observed: Observed, ordinal: int) -> NodeId:
    """Return the node ID on the disk of a member; empty before it has one.

    Of the disk, and not of the process: one that is stopped to be replaced still says who it was.
    """
    slot = observed.slot(ordinal)
    found = slot.volume.node_id if isinstance(slot.volume, Volume) else ""
    if isinstance(found, Unknown) and isinstance(slot.node, NodeStatus):
        return slot.node.node_id
    return found if isinstance(found, str) else ""


def _signer(kind: CertificateKind, observed: Observed) -> CertificateKind:
    """Return the authority that signs a kind of certificate; an authority signs itself."""
    peers = (CertificateKind.PEER_AUTHORITY, CertificateKind.MEMBER)
    separate = observed.peer_authority is not None and kind in peers
    return CertificateKind.PEER_AUTHORITY if separate else CertificateKind.AUTHORITY


def to_answer(
    desired: Desired, observed: Observed, ordinals: Sequence[int], reads: Sequence[int] = ()
) -> tuple[SignRequest | DenyRequest, ...]:
    """Return the requests of nodes to sign and to deny; those that cannot be decided yet stay pending.

    Only a request of an existing pod, for its own name, is signed. A request outlives its pod: another UID means that
    it was created by an earlier pod. A pod that cannot be observed may be observed in the next round.
    """
    if not observed.requests or not observed.cluster_id or not _authority_key(observed.certificates or ()):
        return ()
    answers: list[SignRequest | DenyRequest] = []
    for request in observed.requests:
        group, of_group, known = desired, observed, ordinals
        if desired.ordinal(request.member) is None:
            group, of_group, known = desired.reads(), observed.of_reads(), reads
        ordinal = group.ordinal(request.member)
        if ordinal is None or ordinal not in known:
            reason = f"{request.member or 'the requester'} is not a member of {desired.name}"
            answers.append(DenyRequest(request=request.name, reason=reason))
            continue
        pod = of_group.slot(ordinal).pod
        if not isinstance(pod, Pod):
            continue
        if pod.uid != request.pod_uid:
            reason = f"the pod {request.member} was replaced after the request"
            answers.append(DenyRequest(request=request.name, reason=reason))
            continue
        holder = _holder(desired, observed, request)
        if holder:
            reason = f"the node ID {request.node_id} is that of {holder}"
            answers.append(DenyRequest(request=request.name, reason=reason))
            continue
        peers = request.purpose is RequestPurpose.PEERS
        if peers and observed.peer_authority is None:
            if desired.spec.tls.separate:
                continue  # it is made, or cannot be used now: the request waits for it
            reason = f"peers have no authority of their own: spec.tls.authorities of {desired.name} is not Separate"
            answers.append(DenyRequest(request=request.name, reason=reason))
            continue
        subject = member(group, observed.cluster_id, ordinal, request.node_id)
        answers.append(
            SignRequest(
                request=request.name,
                name=subject.name,
                uid=pod.uid,
                names=subject.names,
                lifetime_s=subject.lifetime_s,
                kind=_kind(request, observed),
                peers=peers,
                group=group.group,
                reason="its pod generated a key and requests a certificate",
            )
        )
    return tuple(answers)


def _kind(request: SigningRequest, observed: Observed) -> CertificateKind:
    """Return what a request is signed as.

    One for both ports is a server's alone once peers trust no key of clients any more: nothing else would accept it.
    """
    separate = observed.peer_authority is not None and not authority_separation.shared_keys(observed)
    for_clients = request.purpose is RequestPurpose.CLIENTS
    if for_clients or (separate and request.purpose is RequestPurpose.MEMBER):
        return CertificateKind.SERVER
    return CertificateKind.MEMBER


def _holder(desired: Desired, observed: Observed, request: SigningRequest) -> str:
    """Return the other member, voter or read replica, that is known to have the node ID of a request.

    Empty if none is, or the request names no node.
    """
    for group, seen in ((desired, observed), (desired.reads(), observed.of_reads())):
        for slot in seen.slots:
            name = group.member(slot.ordinal)
            stamped = slot.volume.node_id if isinstance(slot.volume, Volume) else ""
            reported = slot.node.node_id if isinstance(slot.node, NodeStatus) else ""
            if request.node_id and request.node_id in (stamped, reported) and name != request.member:
                return name
    return ""


def _why_issue(subject: Subject, found: Certificate | None, key: str, now: float) -> str:
    if found is None:
        return "it does not exist yet"
    if found.not_after <= now:
        return "it has expired"
    if subject.kind in (CertificateKind.AUTHORITY, CertificateKind.PEER_AUTHORITY):
        due = renew_authority_at(found) <= now
        return "three quarters of its lifetime have passed, and its key is not rotated" if due else ""
    if renew_at(found) <= now:
        return f"two thirds of its lifetime have passed, {max(0, int((found.not_after - now) // DAY_S))} days remain"
    if found.authority != key:
        return _OTHER_AUTHORITY
    return "" if found.names == subject.names else "its subject alternative names have changed"


def _find(certificates: Sequence[Certificate], subject: Subject) -> Certificate | None:
    same = (one for one in certificates if one.kind is subject.kind and one.name == subject.name)
    return max(same, key=lambda one: one.not_after, default=None)


def _authority_key(certificates: Sequence[Certificate], kind: CertificateKind = CertificateKind.AUTHORITY) -> str:
    found = [one for one in certificates if one.kind is kind]
    return max(found, key=lambda one: one.not_after).authority if found else ""
