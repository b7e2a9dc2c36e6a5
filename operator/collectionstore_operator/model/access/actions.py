"""What can be done for a user or a role; each carries its reason, and what it was planned from. Pure.

All are idempotent but `IssueCredential`: a token whose Secret could not be written is not named by it, and revoked.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from collectionstore_operator.model.access.observed import Former


class _Action(msgspec.Struct, frozen=True, kw_only=True):
    reason: str


class HoldAccess(_Action, frozen=True):
    """Add our finalizer to the resource, BEFORE anything is made in the cluster for it."""


class ReleaseAccess(_Action, frozen=True):
    """Remove our finalizer from the resource."""


class PutUser(_Action, frozen=True):
    """Create or change the user in the cluster. Refused where it belongs to another owner by then."""

    body: dict[str, Any]


class RemoveUser(_Action, frozen=True):
    """Delete the user from the cluster, with its tokens."""


class PutRole(_Action, frozen=True):
    """Create or change the role in the cluster."""

    body: dict[str, Any]


class RemoveRole(_Action, frozen=True):
    """Delete the role from the cluster."""


class IssueCredential(_Action, frozen=True):
    """Issue a token or a certificate and write it into the Secret, whose `version` is the precondition.

    A token that is not in the Secret after all is revoked at once, or found and revoked by a later round.
    """

    kind: Literal["Token", "Certificate"]
    lifetime_s: int
    former: tuple[Former, ...] = ()
    """What the Secret then says of the credentials before."""
    rotated: str = ""
    uid: str = ""
    """Of the Secret; empty if there is none."""
    version: str = ""


class RefreshSecret(_Action, frozen=True):
    """Write into the Secret where the cluster is and which authority to trust; the credential stays."""

    uid: str
    version: str


class ForgetCredentials(_Action, frozen=True):
    """Write into the Secret that former credentials have ended."""

    former: tuple[Former, ...]
    uid: str
    version: str


class RevokeToken(_Action, frozen=True):
    """Revoke a token: its open streams end within a second."""

    id: str


class RemoveSecret(_Action, frozen=True):
    """Delete a Secret of ours that the resource does not name any more."""

    name: str
    uid: str


AccessAction: TypeAlias = (
    HoldAccess
    | ReleaseAccess
    | PutUser
    | RemoveUser
    | PutRole
    | RemoveRole
    | IssueCredential
    | RefreshSecret
    | ForgetCredentials
    | RevokeToken
    | RemoveSecret
)


class AccessPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The actions to perform now, in order; `wait_s` is when to look again if nothing wakes the loop before."""

    actions: tuple[AccessAction, ...] = ()
    wait_s: float
    done: bool = False
    """The resource has nothing left that we must look after: it is being deleted and released."""
