"""The init container that makes the data directory of the first member, and what it needs. Pure.

Of a backup it writes the directory; on a volume that was made of a snapshot it rewrites the one that is there.

Only in the pod template of a cluster that is being restored (`planning.restore`), never in a revision. The program of
the node image does the work; it can be repeated, and leaves nothing that a node starts on when it fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from collectionstore_operator.manifests.manifest import Body
from collectionstore_operator.resource.bootstrap import Restore, SnapshotRestore, Source

CONTAINER: Final = "restore"
KEY_VOLUME: Final = "backup-key"
KEY_PATH: Final = "/etc/collectionstore/backup-key"
REPOSITORY_VOLUME: Final = "repository"
REPOSITORY_PATH: Final = "/repository"


class Target(NamedTuple):
    """The member that the data directory is made for; values of the node's own settings."""

    name: str
    cluster_id: str
    data_dir: str
    peer_address: str
    client_address: str


def container(restore: Source, target: Target, *, base: Body) -> Body:
    """Return the init container. `base` has what it shares with the node: image, security context, resources."""
    if isinstance(restore, SnapshotRestore):
        return {
            **base,
            "name": CONTAINER,
            "command": ["collectionstore-node"],
            "args": ["adopt", *adopted(restore), *destination(target)],
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }
    repository = restore.repository
    mounts = [*base["volumeMounts"]]
    if repository.encryption_key is not None:
        mounts.append({"name": KEY_VOLUME, "mountPath": KEY_PATH, "readOnly": True})
    if repository.claim_name is not None:
        mounts.append({"name": REPOSITORY_VOLUME, "mountPath": REPOSITORY_PATH, "readOnly": True})
    found: Body = {
        **base,
        "name": CONTAINER,
        "command": ["collectionstore-backup"],
        "args": ["restore", *_escaped(source(restore, f"{KEY_PATH}/key")), *destination(target)],
        # The program says in its last lines why it ended: the condition Available shows it.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    }
    if repository.credentials_secret_name is not None:
        found["envFrom"] = [{"secretRef": {"name": repository.credentials_secret_name}}]
    return found


def volumes(restore: Source) -> list[Body]:
    """Return the volumes that only the init container mounts."""
    if isinstance(restore, SnapshotRestore):
        return []
    repository, found = restore.repository, []
    if (key := repository.encryption_key) is not None:
        items = [{"key": key.key, "path": "key"}]
        found.append(
            {"name": KEY_VOLUME, "secret": {"secretName": key.secret_name, "items": items, "defaultMode": 0o440}}
        )
    if repository.claim_name is not None:
        claim = {"claimName": repository.claim_name, "readOnly": True}
        found.append({"name": REPOSITORY_VOLUME, "persistentVolumeClaim": claim})
    return found


def request(restore: Source) -> str:
    """Return a digest of what is asked for: the program takes no other restore for this one."""
    return hashlib.sha256(msgspec.json.encode(restore, order="deterministic")).hexdigest()[:16]


def adopted(restore: SnapshotRestore) -> list[str]:
    """Return how the directory on a volume of a snapshot is rewritten, as arguments of the node's program."""
    return ["--bump-revision", str(restore.bump_revision), "--request", request(restore)]


def source(restore: Restore, key_file: str) -> list[str]:
    """Return what is restored, as arguments of the program; `key_file` is where the key of the repository is."""
    repository = restore.repository
    found = [
        restore.backup,
        *("--repository", repository.url),
        *(part for name in sorted(repository.options) for part in ("--option", f"{name}={repository.options[name]}")),
        *("--bump-revision", str(restore.bump_revision)),
        *("--request", request(restore)),
        "--quiet",
    ]
    if restore.source_cluster is not None:
        found += ["--source-cluster", restore.source_cluster]
    if restore.to is not None:
        found += ["--to", restore.to]
    if repository.encryption_key is not None:
        found += ["--key-file", key_file]
    return found


def destination(target: Target) -> list[str]:
    """Return for which member, as arguments of the program."""
    return [
        *("--data-dir", target.data_dir, "--cluster-id", target.cluster_id, "--name", target.name),
        *("--peer-address", target.peer_address, "--client-address", target.client_address),
    ]


def _escaped(arguments: Iterable[str]) -> list[str]:
    """Return arguments in which the kubelet expands no $(NAME): those of `destination` have some that it is to."""
    return [one.replace("$(", "$$(") for one in arguments]
