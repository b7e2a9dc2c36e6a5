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

from collectionstore_operator.model.actions import (
    PrepareAuthority,
    PromoteAuthority,
    Proposal,
    RetireAuthority,
    postpone,
    propose,
)
from collectionstore_operator.model.assessment import Assessment, responding_node
from collectionstore_operator.model.observed import (
    Absent,
    Authority,
    AuthorityCertificate,
    CertificateKind,
    NodeTls,
    RotationPhase,
    Unknown,
)
from collectionstore_operator.model.planned_work import request_digest
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired


def rotate(assessment: Assessment) -> Iterator[Proposal]:
    """Propose the next step of a rotation that is due or under way."""
    authority = assessment.observed.authority
    if authority is None or not authority.trusted:
        return
    match authority.phase:
        case RotationPhase.STEADY:
            yield from _prepare(assessment, authority.trusted[0], authority)
        case RotationPhase.TRUSTING:
            yield from _promote(assessment, authority)
        case RotationPhase.REISSUING:
            yield from _retire(assessment, *authority.trusted[:2])


def requested(desired: Desired) -> str:
    """Return the digest of the user's request for a rotation; empty if there is none."""
    return request_digest(desired.annotations, labels.ROTATE_AUTHORITY)


def awaits_members(assessment: Assessment) -> bool:
    """Return whether members still use certificates of the old authority.

    The operator gets its new certificate after them: an older operator, which knows no phases, takes over at any time.
    It sees by the issuer of the operator's certificate that the stored authority is another one, and signs nothing.
    """
    authority = assessment.observed.authority
    if authority is None or authority.phase is not RotationPhase.REISSUING:
        return False
    return bool(_on_the_old(assessment, authority.trusted[0]))


def _prepare(assessment: Assessment, signs: AuthorityCertificate, authority: Authority) -> Iterator[Proposal]:
    desired = assessment.desired
    request = requested(desired)
    renewed = request if request != authority.request else ""
    lifetime_s = desired.spec.tls.authority_lifetime_s
    if renewed:
        reason = f"the annotation {labels.ROTATE_AUTHORITY} requests a new key of the authority"
    elif assessment.observed.now >= signs.since + lifetime_s * 2 / 3:
        reason = "two thirds of the lifetime of the authority's key have passed"
    else:
        return
    # BEFORE anything is stored: a rotation is not begun that could not go on.
    blockers = _unready(assessment, lambda _name, _tls: "")
    if blockers:
        yield postpone(PrepareAuthority.__name__, reason=reason, blocked_by="; ".join(blockers), subject=desired.name)
        return
    action = PrepareAuthority(name=desired.name, key=signs.key, lifetime_s=lifetime_s, request=renewed, reason=reason)
    yield propose(action, subject=desired.name)


def _promote(assessment: Assessment, authority: Authority) -> Iterator[Proposal]:
    desired, observed = assessment.desired, assessment.observed
    signs, following = authority.trusted[:2]
    request = requested(desired)
    hurried = authority.requested or (request and request != authority.request)
    if not hurried and observed.now < following.since + clients_time_s(desired):
        return  # nothing is blocked: clients have time to read the new ca.crt
    reason = "every member trusts the authority that is to sign next"
    wanted = {signs.key, following.key}
    blockers = _unready(
        assessment, lambda name, tls: "" if wanted <= set(tls.trusted) else f"{name} does not trust both yet"
    )
    if observed.authority_published is False:
        blockers = ("the trusted authorities are not published yet", *blockers)
    if blockers:
        yield postpone(PromoteAuthority.__name__, reason=reason, blocked_by="; ".join(blockers), subject=desired.name)
        return
    action = PromoteAuthority(key=following.key, request=request, reason=reason)
    yield propose(action, subject=desired.name)


def clients_time_s(desired: Desired) -> float:
    """Return for how long a rotation that is due by age leaves clients to read the new `ca.crt`: 30 days by default.

    Clients verify members by it, and nothing shows whether they have. A user's own request does not wait.
    """
    return desired.spec.tls.certificate_lifetime_s / 3


def _retire(assessment: Assessment, signs: AuthorityCertificate, old: AuthorityCertificate) -> Iterator[Proposal]:
    desired, observed = assessment.desired, assessment.observed
    if old.not_after <= observed.now:
        # No leaf outlives its authority: nothing that it signed is worth anything any more.
        action = RetireAuthority(key=old.key, reason="the authority that was replaced has expired")
        yield propose(action, subject=desired.name)
        return
    reason = "nothing that the replaced authority signed is in use"
    blockers = _on_the_old(assessment, signs)
    own = [one for one in observed.certificates or () if one.kind is CertificateKind.OPERATOR]
    if not blockers and not any(one.authority == signs.key for one in own):
        blockers = ("the operator has no new certificate yet",)
    if blockers:
        yield postpone(RetireAuthority.__name__, reason=reason, blocked_by="; ".join(blockers), subject=desired.name)
        return
    yield propose(RetireAuthority(key=old.key, reason=reason), subject=desired.name)


def _on_the_old(assessment: Assessment, signs: AuthorityCertificate) -> tuple[str, ...]:
    def behind(name: str, tls: NodeTls) -> str:
        renewed = all(one.authority == signs.key for one in tls.certificates())
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
