"""Transition rules: fields that are immutable or may only increase. Only the API server sees the old and new object.

The API server does not evaluate a rule with `oldSelf` on creation, so a new cluster may start with any valid value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from collectionstore_operator.resource.storage import Storage


class Transition(NamedTuple):
    """A CEL transition rule and the message for a violation."""

    field: str
    cel: str
    message: str


TRANSITIONS: Final[Mapping[type, tuple[Transition, ...]]] = {
    Storage: (
        Transition(
            "class",
            "has(self.class) == has(oldSelf.class) && (!has(self.class) || self.class == oldSelf.class)",
            "class is immutable: existing volumes cannot move to another StorageClass; allowed: the current value",
        ),
        Transition(
            "encryption",
            "!has(oldSelf.encryption) || has(self.encryption)",
            "encryption cannot be removed: members could not read what they have encrypted; allowed: another source",
        ),
    ),
}

SIZE: Final = Transition(
    "spec.storage.size",
    "quantity(self.spec.storage.size).compareTo(quantity(oldSelf.spec.storage.size)) >= 0 || "
    "(has(oldSelf.status) && has(oldSelf.status.largestVolume) && oldSelf.status.largestVolume > 0 && "
    "quantity(self.spec.storage.size).asApproximateFloat() >= double(oldSelf.status.largestVolume))",
    "a volume cannot shrink; allowed: the size of the largest volume of a member, or more",
)
"""On the root object, because what exists is in the status: a size that no volume could follow can be taken back."""

AUTHORITIES: Final = Transition(
    "spec.tls.authorities",
    "!has(oldSelf.status) || !has(oldSelf.status.peerAuthority) || !has(oldSelf.status.peerAuthority.key) || "
    "oldSelf.status.peerAuthority.key == '' || "
    "(has(self.spec.tls) && has(self.spec.tls.authorities) && self.spec.tls.authorities == 'Separate') || "
    "!(has(oldSelf.spec.tls) && has(oldSelf.spec.tls.authorities) && oldSelf.spec.tls.authorities == 'Separate')",
    "authorities cannot be taken back: peers trust an authority of their own; allowed: Separate",
)
"""By the old status: before there is such an authority the field can be removed again."""

BOOTSTRAP: Final = Transition(
    "spec.bootstrap",
    "!has(oldSelf.status) || !has(oldSelf.status.clusterID) || oldSelf.status.clusterID == '' || "
    "!has(self.spec.bootstrap) || "
    "(has(oldSelf.spec.bootstrap) && self.spec.bootstrap == oldSelf.spec.bootstrap)",
    "bootstrap can only be removed: the cluster has its ID, and is new no more",
)

_CONTEXT: Final = "{0}.spec.pod.podSecurityContext"
_USER: Final = f"(has({{0}}.spec.pod) && has({_CONTEXT}) && has({_CONTEXT}.runAsUser) ? {_CONTEXT}.runAsUser : 10001)"
USER: Final = Transition(
    "spec.pod.podSecurityContext.runAsUser",
    "!has(oldSelf.status) || !has(oldSelf.status.clusterID) || oldSelf.status.clusterID == '' || "
    f"{_USER.format('self')} == {_USER.format('oldSelf')}",
    "runAsUser is immutable once the cluster has its ID: the files on its volumes belong to the user; allowed: the "
    "current value, 10001 if there is none",
)

IDENTITY: Final = (
    Transition(
        "status",
        "!has(oldSelf.status) || !has(oldSelf.status.clusterID) || oldSelf.status.clusterID == '' || "
        "(has(self.status) && has(self.status.clusterID) && (self.status.clusterID == oldSelf.status.clusterID || "
        "(has(self.status.recovery) && has(self.status.recovery.clusterID) && "
        "has(self.status.recovery.fromClusterID) && "
        "self.status.recovery.clusterID == self.status.clusterID && "
        "self.status.recovery.fromClusterID == oldSelf.status.clusterID) || "
        "(has(self.status.restore) && has(self.status.restore.clusterID) && "
        "has(self.status.restore.fromClusterID) && "
        "self.status.restore.clusterID == self.status.clusterID && "
        "self.status.restore.fromClusterID == oldSelf.status.clusterID)))",
        "status.clusterID is immutable, but for a recovery or a restore: volumes and certificates are stamped with it",
    ),
    Transition(
        "status",
        "!has(oldSelf.status) || !has(oldSelf.status.initialized) || !oldSelf.status.initialized || "
        "(has(self.status) && has(self.status.initialized) && self.status.initialized)",
        "status.initialized cannot be reset: an initialized cluster is never bootstrapped again",
    ),
)
"""Rules on the root object: rules inside the status are not evaluated when the whole status is removed."""
