"""Every name that is written on objects: API group, labels, annotations, finalizer, and the names of members.

One place, so that a selector and what it selects cannot drift apart. The README lists the annotations users may set.
"""

from __future__ import annotations

import re
from typing import Final

GROUP: Final = "collectionstore.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "CollectionStoreCluster"
PLURAL: Final = "collectionstoreclusters"
FINALIZER: Final = f"{GROUP}/cluster"
FIELD_MANAGER: Final = "collectionstore-operator"

NAME: Final = "app.kubernetes.io/name"
INSTANCE: Final = "app.kubernetes.io/instance"
COMPONENT: Final = "app.kubernetes.io/component"
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
VERSION_LABEL: Final = "app.kubernetes.io/version"

CLUSTER: Final = f"{GROUP}/cluster"
"""Label: the name of the resource an object belongs to."""
REVISION: Final = f"{GROUP}/revision"
"""Annotation on pods: the revision of the settings they were started with (`environment.revision`)."""
DIGEST: Final = f"{GROUP}/digest"
"""Annotation on objects: digest of the manifest they were last applied from."""
CLUSTER_ID: Final = f"{GROUP}/cluster-id"
"""Annotation on volumes and Secrets: which cluster's data or authority they hold."""
NODE_ID: Final = f"{GROUP}/node-id"
"""Annotation on volumes: the incarnation that wrote it, once it was seen as a member."""
REMOVED: Final = f"{GROUP}/removed"
"""Annotation on volumes: the incarnation was removed from the cluster; a later scale-up must not start on it."""
REPLACE: Final = f"{GROUP}/replace"
"""Annotation on pods, set by users: replace this member now, without waiting for the grace time."""
RESTART: Final = f"{GROUP}/restart"
"""Annotation on the resource, set by users: any new value restarts all members, one after the other."""

ADMINISTRATOR: Final = "operator"
"""The name in the operator's own certificate; no member can bear it, since members end in an ordinal."""

NAME_LENGTH_MAX: Final = 40
"""Leaves room in 63 characters for an ordinal, a suffix such as `-peers` and a revision hash."""
NAME_PATTERN: Final = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"

_ORDINAL: Final = re.compile(r"-(0|[1-9][0-9]{0,3})$")


def member_name(cluster: str, ordinal: int) -> str:
    """Return the name of a member, which is also its pod's: `demo-0`."""
    return f"{cluster}-{ordinal}"


def ordinal_of(cluster: str, member: str) -> int | None:
    """Return the ordinal in a member's name as a number (10 follows 9), or None for a name that is not of `cluster`."""
    match = _ORDINAL.search(member)
    if match is None or member[: match.start()] != cluster:
        return None
    return int(match[1])


def selector(cluster: str) -> dict[str, str]:
    """Return the labels that select a cluster's storage pods; never changed, StatefulSet selectors are immutable."""
    return {NAME: "collectionstore", INSTANCE: cluster, COMPONENT: "node"}


def object_labels(cluster: str) -> dict[str, str]:
    """Return the labels of every object made for a cluster."""
    return {**selector(cluster), MANAGED_BY: FIELD_MANAGER, CLUSTER: cluster}


def service_account(cluster: str) -> str:
    """Return the name of the account that the pods run under."""
    return f"{cluster}-node"


def record(cluster: str) -> str:
    """Return the name of the ConfigMap that keeps what must never be forgotten, and the authorities to trust."""
    return f"{cluster}-record"


def authority_secret(cluster: str) -> str:
    """Return the name of the Secret with the key that signs the cluster's certificates."""
    return f"{cluster}-authority"


def operator_secret(cluster: str) -> str:
    """Return the name of the Secret with the certificate that the operator shows to the members."""
    return f"{cluster}-operator"


def client_service(cluster: str) -> str:
    """Return the name of the Service that balances clients over ready members."""
    return cluster


def peer_service(cluster: str) -> str:
    """Return the name of the headless Service that gives every member a stable name, ready or not."""
    return f"{cluster}-peers"
