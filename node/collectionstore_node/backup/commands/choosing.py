"""Which stored backup an argument means."""

from __future__ import annotations

from collectionstore_node.backup.errors import Refused
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.selection import LATEST, Target, choose_backup, choose_for_time, of_one_cluster
from collectionstore_node.backup.stored import (
    list_backups,
    read_manifest,
    started,
)


def base(goal: str, target: Target) -> str:
    """Return which backup a replay to `target` begins at."""
    if target.revision is not None:
        return f"revision:{target.revision}"
    return LATEST if target.time_ms is None else f"before:{goal}"


def find(repository: Repository, wanted: str, source_cluster: str | None) -> Manifest:
    """Return the manifest of the backup `wanted`, of `source_cluster` if that is given.

    Raises `NotFound`, `Corrupt`, and `Refused` if it may be one of several clusters, or is of another one.
    """
    if wanted != LATEST and not wanted.startswith(("revision:", "before:")):
        started(wanted)
        manifest = read_manifest(repository, wanted)[1]
        if source_cluster not in (None, manifest.cluster_id):
            raise Refused(f"{wanted} is of the cluster {manifest.cluster_id!r}, not of {source_cluster!r}")
        return manifest
    complete = [one.manifest for one in list_backups(repository) if one.manifest is not None]
    known = of_one_cluster(complete, source_cluster)
    if wanted.startswith("before:"):
        return choose_for_time(known, wanted.removeprefix("before:"))
    return choose_backup(known, wanted)
