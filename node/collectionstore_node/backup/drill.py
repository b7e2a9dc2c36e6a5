"""Proves that a backup can be restored: restores it, opens it as a node does, and compares it with the manifest.

What is measured is what a restore needs: reading the backup, writing the database, and opening it. The directory is
thrown away.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from collectionstore_node.backup.errors import Corrupt, Refused
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.restore import NewMember, Restored, restore_directory
from collectionstore_node.backup.stored import open_backup


class Drilled(NamedTuple):
    """A restore that was tried, and what it took."""

    id: str
    cluster_id: str
    """Of the cluster that the backup is of."""
    revision: int
    records: int
    state_digest: str
    seconds: float
    """From the first request to the repository until the database was open, by a monotonic clock."""


def drill_backup(
    repository: Repository,
    backup_id: str,
    key: bytes | None,
    scratch: Path,
    *,
    advance: Callable[[int], None] = lambda _bytes: None,
    clock: Callable[[], float] = time.monotonic,
) -> Drilled:
    """Restore a backup below `scratch` and compare. Raises `Corrupt` if it is not what its manifest says."""
    began = clock()
    manifest, sealer = open_backup(repository, backup_id, key)
    try:
        place = Path(tempfile.mkdtemp(prefix="drill-", dir=scratch))
    except OSError as error:
        raise Refused(f"{scratch} cannot be written: {error.strerror}") from error
    try:
        # An ID that no cluster has, and addresses that reach nothing: what is restored can never be taken for a member.
        member = NewMember(f"drill-of-{manifest.id}", "drill-0", "invalid.:1", "http://invalid.:1")
        restored = restore_directory(repository, manifest, sealer, place / "data", member, advance=advance)
        seconds = clock() - began
        _compare(restored, manifest)
    finally:
        shutil.rmtree(place)
    return Drilled(
        id=manifest.id,
        cluster_id=manifest.cluster_id,
        revision=restored.revision,
        records=manifest.records,
        state_digest=restored.state_digest,
        seconds=round(seconds, 3),
    )


def _compare(restored: Restored, manifest: Manifest) -> None:
    for name in ("applied_index", "term", "revision", "state_digest"):
        found, expected = getattr(restored, name), getattr(manifest, name)
        if found != expected:
            raise Corrupt(
                f"{manifest.id}: the {name.replace('_', ' ')} of the restored database is {found}, and {expected} by "
                "the manifest"
            )
