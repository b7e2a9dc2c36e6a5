"""An authority for peers alone, beside that of clients and the operator. Pure.

A new cluster begins with two. In a running one the authority of peers begins as the one that all members trust, and its
key is rotated (`authority_rotation`): trust both, reissue, drop the old. So a cluster is never without trust between
two members, whichever of them knows of the change already, and an operator may end between any two steps.

While the two have a key in common, the other one is not rotated: members that do not tell their ports apart yet would
show its new key to peers that do not trust it.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import IssueCertificate, PrepareAuthority
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.observed import Absent, CertificateKind, Observed, RotationPhase, Workload
from collectionstore_operator.model.plan import Proposal, postpone, propose
from collectionstore_operator.resource import labels


def migrating(assessment: Assessment) -> bool:
    """Return whether peers are to have an authority of their own, and do not trust it alone yet."""
    observed = assessment.observed
    if observed.peer_authority is None:
        return assessment.desired.spec.tls.separate
    return bool(shared_keys(observed))


def shared_keys(observed: Observed) -> frozenset[str]:
    """Return the keys that both authorities have: peers trust those of clients until they have their own."""
    if observed.peer_authority is None or observed.authority is None:
        return frozenset()
    return frozenset(one.key for one in observed.peer_authority.trusted) & frozenset(
        one.key for one in observed.authority.trusted
    )


def begin(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to create the certificate authority of peers, if the spec asks for one and it does not exist."""
    desired, observed = assessment.desired, assessment.observed
    if observed.certificates is None or not desired.spec.tls.separate or observed.peer_authority is not None:
        return
    subject, lifetime_s = labels.peer_authority(desired.name), desired.spec.tls.authority_lifetime_s
    if observed.peer_authority_conflict:
        reason = "peers trust an authority of their own"
        blocker = observed.peer_authority_conflict
        yield postpone(IssueCertificate.__name__, reason=reason, blocked_by=blocker, subject=subject)
        return
    reason = "peers are to have an authority of their own"
    if observed.peer_authority_recorded or (observed.authority is None and not observed.initialized):
        # Made again with its own key, which is there: what it signed stays valid.
        kind = CertificateKind.PEER_AUTHORITY
        yield propose(IssueCertificate(kind=kind, name=subject, lifetime_s=lifetime_s, reason=reason), subject=subject)
        return
    if observed.authority is None or observed.authority.phase is RotationPhase.REISSUING:
        blocker = "a rotation of the authority that peers trust now is under way"
        yield postpone(PrepareAuthority.__name__, reason=reason, blocked_by=blocker, subject=subject)
        return
    signs = observed.authority.trusted[0].key
    action = PrepareAuthority(name=desired.name, key=signs, lifetime_s=lifetime_s, peers=True, reason=reason)
    yield propose(action, subject=subject)


def workload_waits(assessment: Assessment) -> str:
    """Return why no pod may start with the desired settings yet; empty if nothing of this holds it.

    With them a pod mounts the authority of peers, and would wait for it; and a rotation would wait for the pod.
    """
    observed = assessment.observed
    if observed.certificates is None or not assessment.desired.spec.tls.separate or observed.peer_authority is not None:
        return ""
    return observed.peer_authority_conflict or "the authority of peers is made first"


def former_settings(assessment: Assessment) -> tuple[str, ...]:
    """Return which workloads would start a pod that does not tell its ports apart: while there is one, peers trust the
    authority of clients. A pod that is not there yet, as in a hibernated cluster, starts with what its workload says.
    """
    found = []
    for one in (assessment, assessment.reads()):
        kept = None if one is None else one.observed.workload
        if one is None or isinstance(kept, Absent):
            continue
        if not isinstance(kept, Workload) or kept.revision != revision(one.desired):
            found.append(f"pods of {one.desired.workload} would start with the former settings")
    return tuple(found)
