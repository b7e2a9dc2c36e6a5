"""When the credential of a user is to be replaced, and why. Pure: the planner and the status start from the same."""

from __future__ import annotations

import hashlib

from collectionstore_operator.model.access.observed import CredentialSecret, UserObserved
from collectionstore_operator.model.backups.observed import ClusterSeen
from collectionstore_operator.model.observed import Absent, Unknown
from collectionstore_operator.resource.access.desired import User


def renew_at(secret: CredentialSecret) -> float:
    """Return when a credential is to be replaced, in Unix seconds: after two thirds of its lifetime."""
    return secret.issued + (secret.expires - secret.issued) * 2 / 3


def asked(user: User) -> str:
    """Return what people have asked for by annotations: another value when any of them changes; empty for nothing."""
    if not (user.rotate or user.revoke):
        return ""
    # Both parts: which of them has changed says whether the former credential ends at once.
    return f"{_digest(user.rotate)}.{_digest(user.revoke)}"


def why_issue(user: User, observed: UserObserved, secret: CredentialSecret | Absent) -> str:
    """Return why a credential is to be issued; empty if none is, or what says so is not known."""
    if user.spec.credential == "Certificate" and not observed.authority:
        return ""  # nothing could sign it
    if isinstance(secret, Absent):
        return "there is no credential yet"
    if not secret.complete or not secret.credential_id:
        return "the Secret does not hold a whole credential"
    if secret.kind != user.spec.credential:
        return f"spec.credential is {user.spec.credential}"
    if asked(user) != secret.rotated and asked(user):
        return "a person has asked for another credential"
    if observed.now >= renew_at(secret):
        return "two thirds of its lifetime have passed"
    if secret.kind == "Token":
        known = None if isinstance(observed.tokens, Unknown) else {one.id for one in observed.tokens}
        return (
            "the cluster does not know the token any more"
            if known is not None and secret.credential_id not in known
            else ""
        )
    return _why_certificate(observed, secret)


def _why_certificate(observed: UserObserved, secret: CredentialSecret) -> str:
    if secret.issued_by != observed.authority:
        return "another authority signs by now"
    cluster = observed.cluster
    if isinstance(cluster, ClusterSeen) and secret.cluster_id != cluster.cluster_id:
        return "the cluster has another ID by now"
    return ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""
