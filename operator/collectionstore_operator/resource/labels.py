"""API group, labels, annotations, finalizer, and the names of members and objects.

In one place, so that selectors and the labels they select cannot diverge. The README lists the annotations for users.
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
"""Annotation on pods: the revision of the settings they were started with (`node_environment.revision`)."""
DIGEST: Final = f"{GROUP}/digest"
"""Annotation on objects: digest of the manifest that was last applied."""
CLUSTER_ID: Final = f"{GROUP}/cluster-id"
"""Annotation on volumes and Secrets: ID of the cluster that owns the data or the CA."""
NODE_ID: Final = f"{GROUP}/node-id"
"""Annotation on volumes: the incarnation that wrote it, recorded once it was observed as a member."""
REMOVED: Final = f"{GROUP}/removed"
"""Annotation on volumes: the incarnation was removed from the cluster; a later scale-up must not reuse the volume."""
RELEASED_AT: Final = f"{GROUP}/released-at"
"""Annotation on volumes, beside REMOVED: when it was set, in RFC 3339."""
CREATED_POLICY: Final = f"{GROUP}/created-reclaim-policy"
"""Annotation on PersistentVolumes: the reclaim policy before the operator set Retain."""
NAMESPACE: Final = f"{GROUP}/namespace"
"""Label on PersistentVolumes, beside CLUSTER: the namespace of the resource."""
CLAIM: Final = f"{GROUP}/claim"
"""Annotation on PersistentVolumes: the claim of the member whose data it holds, for whoever recovers them."""
REPLACE: Final = f"{GROUP}/replace"
"""Annotation on pods, set by users: replace this member now, without waiting for the grace period."""
IN_PLACE: Final = "in-place"
"""Value of REPLACE: retire the volume at once, where the member is not to be copied to an extra one first."""
RESTART: Final = f"{GROUP}/restart"
"""Annotation on the resource, set by users: any new value restarts all members, one at a time."""
ROTATE_AUTHORITY: Final = f"{GROUP}/rotate-authority"
"""Annotation on the resource, set by users: any new value replaces the key of the cluster's authority, in phases."""
TRANSFER_LEADER: Final = f"{GROUP}/transfer-leader"
"""Annotation on the resource, set by users: the member that is to lead, or `any`; each new value once."""
APPROVE_UPDATE: Final = f"{GROUP}/approve-update"
"""Annotation on the resource, set by users: the revision to which members may be restarted (spec.updates)."""
FENCE: Final = f"{GROUP}/fence"
"""Annotation on the resource, set by users: members to be kept from running, separated by commas."""
GATE: Final = f"{GROUP}/fenced"
"""Scheduling gate of the pods of fenced members."""
RESTORE_GATE: Final = f"{GROUP}/restoring"
"""Scheduling gate of a pod that makes its data of a backup: until it is recorded on which claim that may happen."""
ACCEPT_LOSS: Final = f"{GROUP}/accept-loss"
"""Annotation on the resource, set by users: the index that hibernation recorded and that its volumes lack."""

SKIP_FINAL_BACKUP: Final = f"{GROUP}/skip-final-backup"
"""Annotation on the resource, set by users: `true` deletes the cluster without spec.deletion.finalBackup."""
FINAL_BACKUP_OF: Final = f"{GROUP}/final-backup-of"
"""Annotation on backups: the uid of the deleted resource whose final backup it is."""

ADMINISTRATOR: Final = "operator"
"""Name in the operator's certificate. No member can have it, because member names end with an ordinal."""

NAME_LENGTH_MAX: Final = 40
"""Leaves room in 63 characters for an ordinal, a suffix such as `-peers` and a revision hash."""
NAME_PATTERN: Final = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"

READ_SUFFIX: Final = "-read"
RESERVED_SUFFIXES: Final = ("-authority", "-node", "-operator", "-peers", READ_SUFFIX, "-record")
"""Ends of the names of objects that are derived from a cluster's name. A cluster `a-peers` would have a Service of the
same name as the headless Service of a cluster `a`."""

_ORDINAL: Final = re.compile(r"-(0|[1-9][0-9]{0,3})$")


def member_name(cluster: str, ordinal: int) -> str:
    """Return the name of a member and of its pod: `demo-0`."""
    return f"{cluster}-{ordinal}"


def ordinal_of(cluster: str, member: str) -> int | None:
    """Return the ordinal in a member's name as a number (10 follows 9), or None for a name that is not of `cluster`."""
    match = _ORDINAL.search(member)
    if match is None or member[: match.start()] != cluster:
        return None
    return int(match[1])


def selector(cluster: str) -> dict[str, str]:
    """Return the selector of a cluster's pods. Never change it: StatefulSet selectors are immutable."""
    return {NAME: "collectionstore", INSTANCE: cluster, COMPONENT: "node"}


def object_labels(cluster: str, workload: str = "") -> dict[str, str]:
    """Return the labels of every object of a cluster, or of its objects for another workload than the voters'."""
    return {**selector(workload or cluster), MANAGED_BY: FIELD_MANAGER, CLUSTER: cluster}


def read_workload(cluster: str) -> str:
    """Return the name of the StatefulSet, the Service and the instance of a cluster's read replicas."""
    return f"{cluster}{READ_SUFFIX}"


def service_account(cluster: str) -> str:
    """Return the name of the ServiceAccount of the pods."""
    return f"{cluster}-node"


def record(cluster: str) -> str:
    """Return the name of the ConfigMap with the durable records of the operator and the trusted CAs."""
    return f"{cluster}-record"


def authority_secret(cluster: str) -> str:
    """Return the name of the Secret with the key and certificate of the CA."""
    return f"{cluster}-authority"


def peer_authority_secret(cluster: str) -> str:
    """Return the name of the Secret with the key and certificate of the CA of peers, where it is another one.

    The name of no other cluster's Secret: a cluster cannot be called `<cluster>-peers`.
    """
    return f"{cluster}-peers-authority"


def peer_authority(cluster: str) -> str:
    """Return how the CA of peers is called in status and plan, beside that of the cluster."""
    return f"{cluster}-peers"


def operator_secret(cluster: str) -> str:
    """Return the name of the Secret with the operator's client certificate."""
    return f"{cluster}-operator"


def lease(cluster: str) -> str:
    """Return the name of the Lease of a cluster: which operator may act on it, and its fencing epoch."""
    return f"{cluster}-operator"


def user_identity(cluster_id: str, user: str) -> str:
    """Return the URI SAN that names a user of a cluster to its members. No member is called so."""
    return f"collectionstore://{cluster_id}/users/{user}"


def client_service(cluster: str) -> str:
    """Return the name of the Service for clients, which balances over ready members."""
    return cluster


def network_policy(cluster: str) -> str:
    """Return the name of the NetworkPolicy of the pods."""
    return cluster


def peer_service(cluster: str) -> str:
    """Return the name of the headless Service, which gives every member a stable DNS name, ready or not."""
    return f"{cluster}-peers"
