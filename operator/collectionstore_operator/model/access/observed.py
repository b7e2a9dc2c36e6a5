"""What was observed of a user or a role, and of what belongs to it. Times are Unix seconds.

`Unknown` is what could not be read, and never taken for absent.
"""

from __future__ import annotations

import msgspec

from collectionstore_operator.model.access.store import StoreRole, StoreToken, StoreUser
from collectionstore_operator.model.backups.observed import ClusterSeen
from collectionstore_operator.model.observed import Absent, Unknown


class Former(msgspec.Struct, frozen=True, kw_only=True):
    """A credential that was replaced, and until when it works on."""

    id: str
    until: float


class CredentialSecret(msgspec.Struct, frozen=True, kw_only=True):
    """The Secret of a user; ours, by its owner."""

    name: str
    uid: str
    version: str
    kind: str = ""
    """Token or Certificate; empty if it tells of none."""
    credential_id: str = ""
    issued: float = 0.0
    expires: float = 0.0
    former: tuple[Former, ...] = ()
    rotated: str = ""
    """What was asked for by people when the credential was issued, see `planning.access.credential.asked`."""
    issued_by: str = ""
    """Key identifier of the authority that signed a certificate."""
    cluster_id: str = ""
    complete: bool = False
    """It holds every key that it must, none of them empty."""
    digest: str = ""
    """Of what it says of the cluster: addresses and authorities."""
    terminating: bool = False


class TakenSecret(msgspec.Struct, frozen=True):
    """A Secret of another owner under the name: it is neither read nor changed."""

    owner: str


class UserObserved(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of one user."""

    now: float
    cluster: ClusterSeen | Absent | Unknown
    user: StoreUser | Absent | Unknown
    tokens: tuple[StoreToken, ...] | Unknown = ()
    secret: CredentialSecret | TakenSecret | Absent | Unknown
    others: tuple[CredentialSecret, ...] = ()
    """Secrets of the user under another name, which its spec had before."""
    about: str = ""
    """Digest of what the Secret is to say of the cluster; empty if that is not known."""
    authority: str = ""
    """Key identifier of the authority that signs certificates; empty if there is none."""
    namespace_terminating: bool = False


class RoleObserved(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of one role."""

    now: float
    cluster: ClusterSeen | Absent | Unknown
    role: StoreRole | Absent | Unknown
    namespace_terminating: bool = False
