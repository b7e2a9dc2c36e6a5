"""When the credential of a user is issued, replaced and revoked. Pure.

Invariants:
- the Secret has the new credential BEFORE anything is done about the former one, which works on for the overlap;
- a token is revoked only if the Secret was read and does not name it, or says that its time has passed;
- a Secret of another owner is never written.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from collectionstore_operator.model.access.actions import (
    AccessAction,
    ForgetCredentials,
    IssueCredential,
    RefreshSecret,
    RemoveSecret,
    RevokeToken,
)
from collectionstore_operator.model.access.due import asked, renew_at, why_issue
from collectionstore_operator.model.access.observed import CredentialSecret, Former, UserObserved
from collectionstore_operator.model.observed import Absent, Unknown
from collectionstore_operator.resource.access.desired import User

ORPHAN_S: Final = 60.0
"""A token that no Secret names is left alone for so long: its Secret may be about to be written."""
FORMER_MAX: Final = 8
"""Former credentials that a Secret tells of; the oldest are revoked before their time."""


def plan_credential(user: User, observed: UserObserved) -> Iterator[AccessAction]:
    """Yield what is to be done about the Secret and the tokens of a user that exists in its cluster."""
    secret = observed.secret
    if user.spec.credential == "None":
        if isinstance(secret, CredentialSecret) and not secret.terminating:
            yield RemoveSecret(name=secret.name, uid=secret.uid, reason="spec.credential is None")
        if isinstance(secret, CredentialSecret | Absent):
            yield from _revoke_all(observed, "spec.credential is None")
        return
    if not isinstance(secret, CredentialSecret | Absent):
        return
    if isinstance(secret, CredentialSecret) and secret.terminating:
        return  # it is made again when it is gone
    reason = why_issue(user, observed, secret)
    if reason:
        yield _issue(user, observed, secret, reason)
        return
    if isinstance(secret, Absent):
        return
    yield from _tidy(observed, secret)
    for one in observed.others:
        yield RemoveSecret(name=one.name, uid=one.uid, reason=f"the credential is in the Secret {secret.name} now")


def _issue(user: User, observed: UserObserved, secret: CredentialSecret | Absent, reason: str) -> IssueCredential:
    kind = user.spec.credential
    assert kind != "None"
    former: tuple[Former, ...] = ()
    uid = version = ""
    if isinstance(secret, CredentialSecret):
        uid, version = secret.uid, secret.version
        former = _former(user, observed, secret)
    return IssueCredential(
        kind=kind,
        lifetime_s=user.spec.lifetime_seconds,
        former=former,
        rotated=asked(user),
        uid=uid,
        version=version,
        reason=reason,
    )


def _former(user: User, observed: UserObserved, secret: CredentialSecret) -> tuple[Former, ...]:
    """Return what the Secret says of the credentials before, once another one is in it."""
    now = observed.now
    if _revokes(user, secret):
        ended = (*secret.former, *_own(secret, until=now))
        return tuple(Former(id=one.id, until=min(one.until, now)) for one in ended)[-FORMER_MAX:]
    until = min(now + user.spec.overlap_s, secret.expires) if secret.expires else now + user.spec.overlap_s
    kept = (one for one in secret.former if one.until > now)
    return (*kept, *_own(secret, until=until))[-FORMER_MAX:]


def _own(secret: CredentialSecret, *, until: float) -> tuple[Former, ...]:
    # A certificate is not revoked by its ID: it works until it expires, or its user is suspended.
    if secret.kind != "Token" or not secret.credential_id:
        return ()
    return (Former(id=secret.credential_id, until=until),)


def _revokes(user: User, secret: CredentialSecret) -> bool:
    """Return whether people have asked to end the former credentials at once."""
    return bool(user.revoke) and asked(user).partition(".")[2] != secret.rotated.partition(".")[2]


def _tidy(observed: UserObserved, secret: CredentialSecret) -> Iterator[AccessAction]:
    if observed.about and secret.digest != observed.about:
        reason = "the addresses or the authority of the cluster have changed"
        yield RefreshSecret(uid=secret.uid, version=secret.version, reason=reason)
        return  # it has another version then
    if isinstance(observed.tokens, Unknown):
        return
    now, former = observed.now, {one.id: one.until for one in secret.former}
    for token in observed.tokens:
        if token.id == secret.credential_id and secret.kind == "Token":
            continue
        if token.id in former:
            if former[token.id] <= now:
                yield RevokeToken(id=token.id, reason="it was replaced, and the overlap has passed")
        elif now - token.created >= ORPHAN_S:
            yield RevokeToken(id=token.id, reason="no Secret holds it")
    known = {one.id for one in observed.tokens}
    left = tuple(one for one in secret.former if one.id in known)
    if left != secret.former:
        reason = "former credentials have ended"
        yield ForgetCredentials(former=left, uid=secret.uid, version=secret.version, reason=reason)


def _revoke_all(observed: UserObserved, reason: str) -> Iterator[AccessAction]:
    if not isinstance(observed.tokens, Unknown):
        for token in observed.tokens:
            yield RevokeToken(id=token.id, reason=reason)


def next_at(observed: UserObserved) -> float | None:
    """Return when something is due next, in Unix seconds; None if nothing is."""
    secret = observed.secret
    if not isinstance(secret, CredentialSecret):
        return None
    ends = [one.until for one in secret.former]
    if not isinstance(observed.tokens, Unknown):
        named = {secret.credential_id, *(one.id for one in secret.former)}
        ends += [one.created + ORPHAN_S for one in observed.tokens if one.id not in named]
    return min([*ends, *([renew_at(secret)] if secret.issued else [])], default=None)
