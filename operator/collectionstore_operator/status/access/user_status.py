"""The status of a CollectionStoreUser. Pure: the time is an argument."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, field

from collectionstore_operator.model.access.due import renew_at, why_issue
from collectionstore_operator.model.access.observed import CredentialSecret, TakenSecret, UserObserved
from collectionstore_operator.model.access.obstacles import obstacle
from collectionstore_operator.model.access.store import StoreUser
from collectionstore_operator.model.access.wanted import is_user_taken, user_differs
from collectionstore_operator.model.observed import Absent, Unknown
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.resource.access.desired import User
from collectionstore_operator.status.backups.fields import Count, StatusPart
from collectionstore_operator.status.condition_state import ConditionState
from collectionstore_operator.status.published import Text, Timestamp, Word
from collectionstore_operator.status.published_conditions import conditions_from

READY: Final = "Ready"
CREDENTIAL: Final = "CredentialValid"
_LATE: Final = 5 / 6
"""A credential that was not replaced after so much of its lifetime is overdue: it was due after two thirds."""


class UserStatus(StatusPart, frozen=True):
    """The observed state of a user."""

    secret_name: Annotated[
        Word, Meta(description="secretName is the name of the Secret that holds the credential; empty for none.")
    ] = ""
    credential_id: Annotated[
        Word,
        Meta(description="credentialID is the public ID of the credential, as it is in logs and in the audit log."),
    ] = field(name="credentialID", default="")
    issued_at: Annotated[Timestamp, Meta(description="issuedAt is the time when the credential was issued.")] = ""
    expires_at: Annotated[Timestamp, Meta(description="expiresAt is the time when the credential expires.")] = ""
    renew_at: Annotated[Timestamp, Meta(description="renewAt is the time when it is replaced.")] = ""
    former_credentials: Annotated[
        Count, Meta(description="formerCredentials is the number of replaced tokens that still work.")
    ] = 0
    message: Annotated[Text, Meta(description="message explains the current state.")] = ""


def user_status(user: User, observed: UserObserved, previous: UserStatus | None, failure: str = "") -> UserStatus:
    """Return the status; `failure` is why the last attempt to change something failed, empty if it did not."""
    before = previous or UserStatus()
    ready, credential = _ready(user, observed, failure), _credential(user, observed, failure)
    if ready.status == "True" and credential.status != "True":
        ready = ConditionState(credential.status, credential.reason, credential.message)
    told = msgspec.structs.replace(
        before,
        observed_generation=user.generation,
        conditions=conditions_from({READY: ready, CREDENTIAL: credential}, before, user.generation, observed.now),
        message=ready.message[:1_024],
    )
    secret = observed.secret
    if isinstance(secret, Unknown):
        return told
    if not isinstance(secret, CredentialSecret) or user.spec.credential == "None":
        empty = msgspec.structs.replace(
            told, credential_id="", issued_at="", expires_at="", renew_at="", former_credentials=0
        )
        # Only of Secrets that are ours, and of each until it is gone: nothing else says that there is one.
        named = secret.name if isinstance(secret, CredentialSecret) else ""
        return msgspec.structs.replace(empty, secret_name=observed.others[0].name if observed.others else named)
    return msgspec.structs.replace(
        told,
        # The earlier name stays until the Secret under it is gone: nothing else says that there is one.
        secret_name=observed.others[0].name if observed.others else secret.name,
        credential_id=secret.credential_id,
        issued_at=rfc3339(secret.issued) if secret.issued else "",
        expires_at=rfc3339(secret.expires) if secret.expires else "",
        renew_at=rfc3339(renew_at(secret)) if secret.issued else "",
        former_credentials=sum(one.until > observed.now for one in secret.former),
    )


def refused_user(message: str, generation: int, previous: UserStatus | None, now: float) -> UserStatus:
    """Return the status of a user whose spec is invalid; what there is of it stays."""
    before = previous or UserStatus()
    invalid = ConditionState("False", "InvalidSpec", message)
    known = before.condition(CREDENTIAL)
    credential = ConditionState(known.status, known.reason, known.message) if known else invalid
    conditions = conditions_from({READY: invalid, CREDENTIAL: credential}, before, generation, now)
    return msgspec.structs.replace(
        before, observed_generation=generation, conditions=conditions, message=message[:1_024]
    )


def _ready(user: User, observed: UserObserved, failure: str) -> ConditionState:
    if observed.namespace_terminating:
        return ConditionState("False", "NamespaceTerminating", "the namespace is being deleted")
    found = obstacle(observed.cluster, user.spec.cluster_name)
    if found is not None:
        return ConditionState("Unknown" if found.unknown else "False", found.reason, found.message)
    if user.deleting:
        return ConditionState("False", "Deleting", failure or "the user is being deleted from the cluster")
    store = observed.user
    if isinstance(store, Unknown):
        return ConditionState("Unknown", "UserUnknown", f"the user cannot be read: {store.reason}")
    if isinstance(store, StoreUser) and is_user_taken(user, store):
        message = f"the cluster has a user {user.name} that is not ours: delete or rename one of them"
        return ConditionState("False", "UserTaken", message)
    if isinstance(store, Absent) or user_differs(user, store):
        return ConditionState("False", "Refused" if failure else "Pending", failure or "the user is made next")
    if user.spec.suspended:
        return ConditionState("False", "Suspended", "spec.suspended is true: every request is refused")
    return ConditionState("True", "Established", f"the cluster has the user with {_count(len(user.spec.roles))}")


def _credential(user: User, observed: UserObserved, failure: str) -> ConditionState:
    secret = observed.secret
    if user.spec.credential == "None":
        return ConditionState("True", "NotIssued", "spec.credential is None: the user comes by another issuer")
    if isinstance(secret, Unknown):
        return ConditionState("Unknown", "SecretUnknown", f"the Secret cannot be read: {secret.reason}")
    if isinstance(secret, TakenSecret):
        message = f"the Secret {user.secret} belongs to {secret.owner}: it is neither read nor changed"
        return ConditionState("False", "SecretTaken", message)
    if isinstance(secret, Absent) or not secret.complete:
        return ConditionState("False", "IssueFailed" if failure else "Pending", failure or "none is issued yet")
    if secret.expires and observed.now >= secret.expires:
        return ConditionState("False", "Expired", f"it expired on {rfc3339(secret.expires)}")
    if secret.kind == "Token" and not isinstance(observed.tokens, Unknown) and isinstance(observed.user, StoreUser):
        known = {one.id for one in observed.tokens}
        if secret.credential_id not in known:
            return ConditionState("False", "Revoked", "the cluster does not know the token any more")
    late_at = secret.issued + (secret.expires - secret.issued) * _LATE
    until = f"valid until {rfc3339(secret.expires)}"
    if secret.expires and observed.now >= late_at:
        why = failure or why_issue(user, observed, secret) or "it was due"
        return ConditionState("False", "RenewalOverdue", f"{until}, and not replaced: {why}")
    return ConditionState("True", "Issued", f"{until}, replaced on {rfc3339(renew_at(secret))}")


def _count(roles: int) -> str:
    return "no role" if not roles else "1 role" if roles == 1 else f"{roles} roles"
