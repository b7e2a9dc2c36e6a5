"""The rotation of the authority's key, in phases. Pure: the phase is what is stored, and every step is one write.

    Steady     one authority
      prepare  generate the next one's key, and publish both certificates
    Trusting   the old one signs
      promote  AFTER every member reports that it trusts both
    Reissuing  the new one signs; members, then the operator, get new certificates
      retire   AFTER every member reports that it uses new ones, and the operator's is new
    Steady

At every point each certificate in use is signed by an authority that every member trusts, so a crash between two steps
harms nothing, and the next round goes on from what is stored. A member that does not report holds the rotation where it
is. Expiry never forces it: what would end is renewed under the same key (`certificates.issue`), which needs no member.
Source: Kubernetes, "Manual Rotation of CA Certificates".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from collectionstore_operator.model.actions import PrepareAuthority, PromoteAuthority, RetireAuthority
from collectionstore_operator.model.assessment import Assessment, responding_node
from collectionstore_operator.model.observed import (
    Absent,
    Authority,
    CertificateKind,
    NodeTls,
    RotationPhase,
    ShownCertificate,
    Unknown,
)
from collectionstore_operator.model.plan import Proposal, postpone, propose
from collectionstore_operator.model.planned_work import request_digest
from collectionstore_operator.planning import authority_separation
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired


class _Side(NamedTuple):
    """One of the authorities of a cluster, and what members report of it."""

    authority: Authority
    peers: bool
    """It is that of peers alone."""
    separate: bool
    """There are two: what a port trusts and shows says nothing of the other."""
    shared: frozenset[str]
    """Keys that both authorities have."""
    name: str
    """The subject of its steps."""

    def lacks(self, tls: NodeTls, wanted: set[str]) -> bool:
        """Return whether a member does not trust all of these keys yet."""
        if not self.separate:
            return not wanted <= set(tls.trusted)
        if not self.peers and tls.clients is None:
            return False  # its client port has no TLS: nothing is trusted there
        if self.peers and tls.clients is not None and wanted & set(tls.client_trusted) - self.shared:
            return True  # it does not tell its ports apart yet, and would show its clients what they do not trust
        return not wanted <= set(tls.peer_trusted if self.peers else tls.client_trusted)

    def shown(self, tls: NodeTls) -> tuple[ShownCertificate, ...]:
        """Return the certificates in use that this authority signs."""
        if not self.separate:
            return tls.certificates()
        clients = () if tls.clients is None else (tls.clients,)
        return (tls.peers,) if self.peers else clients


def rotate(assessment: Assessment, *, peers: bool = False) -> Iterator[Proposal]:
    """Propose the next step of a rotation that is due or under way; with `peers` of their own authority."""
    side = _side(assessment, peers=peers)
    if side is None:
        return
    if not peers and authority_separation.migrating(assessment):
        yield from _held(assessment, side)
        return
    match side.authority.phase:
        case RotationPhase.STEADY:
            yield from _prepare(assessment, side)
        case RotationPhase.TRUSTING:
            yield from _promote(assessment, side)
        case RotationPhase.REISSUING:
            yield from _retire(assessment, side)


def _side(assessment: Assessment, *, peers: bool = False) -> _Side | None:
    observed, name = assessment.observed, assessment.desired.name
    authority = observed.peer_authority if peers else observed.authority
    if authority is None or not authority.trusted:
        return None
    separate = observed.peer_authority is not None
    shared = authority_separation.shared_keys(observed)
    return _Side(authority, peers, separate, shared, labels.peer_authority(name) if peers else name)


def _held(assessment: Assessment, side: _Side) -> Iterator[Proposal]:
    """Yield the rotation that waits until peers have their own authority; one that peers need first goes on."""
    reason, blocker = "the authority's key is rotated", "peers get an authority of their own first"
    match side.authority.phase:
        case RotationPhase.STEADY:
            if _due(assessment, side):
                yield postpone(PrepareAuthority.__name__, reason=reason, blocked_by=blocker, subject=side.name)
        case RotationPhase.TRUSTING:
            yield postpone(PromoteAuthority.__name__, reason=reason, blocked_by=blocker, subject=side.name)
        case RotationPhase.REISSUING:
            yield from _retire(assessment, side)


def requested(desired: Desired) -> str:
    """Return the digest of the user's request for a rotation; empty if there is none."""
    return request_digest(desired.annotations, labels.ROTATE_AUTHORITY)


def awaits_members(assessment: Assessment) -> bool:
    """Return whether members still use certificates of the old authority.

    The operator gets its new certificate after them: an older operator, which knows no phases, takes over at any time.
    It sees by the issuer of the operator's certificate that the stored authority is another one, and signs nothing.
    """
    side = _side(assessment)
    if side is None or side.authority.phase is not RotationPhase.REISSUING:
        return False
    return bool(_on_the_old(assessment, side))


def _due(assessment: Assessment, side: _Side) -> str:
    """Return why a key is to be replaced; empty if it is not."""
    desired, signs = assessment.desired, side.authority.trusted[0]
    request = requested(desired)
    if request and request != side.authority.request:
        return f"the annotation {labels.ROTATE_AUTHORITY} requests a new key of the authority"
    if side.peers and signs.key in authority_separation.shared_keys(assessment.observed):
        return "peers trust the authority of clients, and are to have their own"
    if assessment.observed.now >= signs.since + desired.spec.tls.authority_lifetime_s * 2 / 3:
        return "two thirds of the lifetime of the authority's key have passed"
    return ""


def _prepare(assessment: Assessment, side: _Side) -> Iterator[Proposal]:
    desired, signs = assessment.desired, side.authority.trusted[0]
    reason = _due(assessment, side)
    if not reason:
        return
    request = requested(desired)
    renewed = request if request != side.authority.request else ""
    lifetime_s = desired.spec.tls.authority_lifetime_s
    # BEFORE anything is stored: a rotation is not begun that could not go on.
    blockers = _unready(assessment, lambda _name, _tls: "")
    if blockers:
        yield postpone(PrepareAuthority.__name__, reason=reason, blocked_by="; ".join(blockers), subject=side.name)
        return
    action = PrepareAuthority(
        name=desired.name, key=signs.key, lifetime_s=lifetime_s, request=renewed, peers=side.peers, reason=reason
    )
    yield propose(action, subject=side.name)


def _promote(assessment: Assessment, side: _Side) -> Iterator[Proposal]:
    desired, observed, authority = assessment.desired, assessment.observed, side.authority
    signs, following = authority.trusted[:2]
    request = requested(desired)
    # Only members verify peers, and they say what they trust.
    hurried = side.peers or authority.requested or (request and request != authority.request)
    if not hurried and observed.now < following.since + clients_time_s(desired):
        return  # nothing is blocked: clients have time to read the new ca.crt
    reason = "every member trusts the authority that is to sign next"
    wanted = {signs.key, following.key}
    blockers = _unready(
        assessment, lambda name, tls: f"{name} does not trust both yet" if side.lacks(tls, wanted) else ""
    )
    if side.peers and side.shared:
        blockers = (*authority_separation.former_settings(assessment), *blockers)
    if observed.authority_published is False:
        blockers = ("the trusted authorities are not published yet", *blockers)
    if blockers:
        yield postpone(PromoteAuthority.__name__, reason=reason, blocked_by="; ".join(blockers), subject=side.name)
        return
    action = PromoteAuthority(key=following.key, request=request, peers=side.peers, reason=reason)
    yield propose(action, subject=side.name)


def clients_time_s(desired: Desired) -> float:
    """Return for how long a rotation that is due by age leaves clients to read the new `ca.crt`: 30 days by default.

    Clients verify members by it, and nothing shows whether they have. A user's own request does not wait.
    """
    return desired.spec.tls.certificate_lifetime_s / 3


def _retire(assessment: Assessment, side: _Side) -> Iterator[Proposal]:
    observed = assessment.observed
    signs, old = side.authority.trusted[:2]
    if old.not_after <= observed.now:
        # No leaf outlives its authority: nothing that it signed is worth anything any more.
        reason = "the authority that was replaced has expired"
        yield propose(RetireAuthority(key=old.key, peers=side.peers, reason=reason), subject=side.name)
        return
    reason = "nothing that the replaced authority signed is in use"
    blockers = _on_the_old(assessment, side)
    own = [one for one in observed.certificates or () if one.kind is CertificateKind.OPERATOR]
    if not side.peers and not blockers and not any(one.authority == signs.key for one in own):
        blockers = ("the operator has no new certificate yet",)
    if blockers:
        yield postpone(RetireAuthority.__name__, reason=reason, blocked_by="; ".join(blockers), subject=side.name)
        return
    yield propose(RetireAuthority(key=old.key, peers=side.peers, reason=reason), subject=side.name)


def _on_the_old(assessment: Assessment, side: _Side) -> tuple[str, ...]:
    signs = side.authority.trusted[0]

    def behind(name: str, tls: NodeTls) -> str:
        renewed = all(one.authority == signs.key for one in side.shown(tls))
        return "" if renewed else f"{name} uses a certificate of the replaced authority"

    return _unready(assessment, behind)


def _unready(assessment: Assessment, lacks: Callable[[str, NodeTls], str]) -> tuple[str, ...]:
    """Return which members hold the rotation: those that do not report, and those that `lacks` names.

    A member without a pod holds nothing: it reads the published authorities when it starts.
    """
    found = []
    named = [(slot, assessment.name(slot.ordinal)) for slot in assessment.slots()]
    reads = assessment.reads()
    named += [] if reads is None else [(slot, reads.name(slot.ordinal)) for slot in reads.slots()]
    for slot, name in named:
        if isinstance(slot.pod, Absent):
            continue
        node = responding_node(slot, assessment.observed.cluster_id)
        if isinstance(slot.pod, Unknown) or node is None:
            found.append(f"{name} does not respond")
        elif node.tls is None:
            found.append(f"{name} runs version {node.version}, which does not report its certificates")
        elif lack := lacks(name, node.tls):
            found.append(lack)
    unknown = (member for member in assessment.view.members if member.ordinal is None)
    return (*found, *(f"the member {member.name or member.node_id} is not known" for member in unknown))
