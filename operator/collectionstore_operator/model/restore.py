"""A restore, of a new cluster or in place: what is recorded, whether it is under way, what it needs. Pure."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from collectionstore_operator.errors import InvariantViolated
from collectionstore_operator.model.observed import KnownBackup, Observed, Pod, Slot
from collectionstore_operator.model.recovery import NONCE_LENGTH, RecoveryPhase, RecoveryRecord, active
from collectionstore_operator.resource.bootstrap import BUMP, LATEST, Origin, Restore, SnapshotRestore, Source
from collectionstore_operator.resource.restore import InPlaceRestore, digest_of

REVISIONS: Final = 1_000_000
"""A revision is recorded whenever the cluster is as many further than what is recorded."""
_PREFIXES: Final = ("Error: ", "collectionstore-backup: ", "collectionstore-node: ")
"""With which the program begins the line that says why it ended."""
_CAUSES: Final = {
    2: "InvalidUse",
    5: "BackupNotFound",
    6: "DeadlinePassed",
    7: "Refused",
    8: "Corrupt",
    9: "CredentialsRefused",
    10: "StoreUnreachable",
    64: "InvalidUse",
    65: "DataRefused",
    74: "DiskFailed",
}
"""By exit code of `collectionstore-backup`, see docs/operate/backup.md; above 64 of `collectionstore-node`."""


def in_place(observed: Observed) -> RecoveryRecord | None:
    """Return the record of an in-place restore that is under way; None if none is."""
    record = active(observed.recovery)
    return record if record is not None and record.restore is not None else None


def restoring(observed: Observed) -> Source | None:
    """Return what the first member is to be made of; None once it has responded with data, and without a restore."""
    record = in_place(observed)
    if record is not None:
        return record.restore if record.phase is RecoveryPhase.RESTORING else None
    return None if observed.initialized or observed.restore is None else observed.restore.source


def claim_of(observed: Observed) -> str:
    """Return the uid of the claim on which a restore that is under way may happen; empty before that was recorded."""
    record = in_place(observed)
    return record.volume_uid if record is not None else observed.restore_claim


def nonce_of(cluster_id: str, asked: InPlaceRestore) -> str:
    """Return what acknowledges that a backup replaces what a cluster has.

    After the restore the cluster has another ID: what was acknowledged once never acknowledges another restore.
    """
    return hashlib.sha256(b"restore of " + cluster_id.encode() + b" by " + digest_of(asked)).hexdigest()[:NONCE_LENGTH]


def highest_revision(observed: Observed) -> int:
    """Return the highest revision that the cluster is known to have had: of its members, or as recorded."""
    answered = (node.revision for node in observed.all_nodes() if node.cluster_id == observed.cluster_id)
    before = observed.recovery
    given = 0
    if before is not None and before.cluster_id == observed.cluster_id:
        # What it began with, also if no member of it has ever answered.
        given = before.highest_revision + (before.restore.bump_revision if before.restore is not None else BUMP)
    return max((*answered, observed.recorded_revision, given))


def revision_above(observed: Observed, highest: int, asked: Restore) -> int:
    """Return what is added to the revision of a backup, so that no revision is given twice.

    Above all that the cluster is known to have had, and all that it can have had since without being recorded.
    """
    unrecorded = observed.recorded_revision + REVISIONS
    return max(asked.bump_revision, max(highest, unrecorded) + BUMP)


def known_backup(observed: Observed, restore: Restore) -> KnownBackup | None:
    """Return the backup that is meant, if a resource tells of it; None if none does."""
    found = [one for one in of_repository(observed, restore) if restore.backup in (LATEST, one.id)]
    return max(found, key=lambda one: one.completed, default=None)


def of_repository(observed: Observed, restore: Restore) -> tuple[KnownBackup, ...]:
    """Return the known backups of the repository, of the cluster that is meant if one is named."""
    return tuple(
        one
        for one in observed.backups or ()
        if one.url == restore.repository.url and restore.source_cluster in (None, one.cluster_id)
    )


def shown_restore(restore: Source) -> str:
    """Return what is restored, for people."""
    if isinstance(restore, SnapshotRestore):
        return f"the VolumeSnapshot {restore.volume_snapshot.name}"
    point = f" to {restore.to}" if restore.to is not None else ""
    return f"the backup {restore.backup} of {restore.repository.url}{point}"


def failure_of(slot: Slot) -> str:
    """Return why the restore in a pod has failed last, such as `BackupNotFound: ...`; empty if it has not."""
    pod = slot.pod
    if not isinstance(pod, Pod) or pod.preparation is None:
        return ""
    code, message = pod.preparation.exit_code, pod.preparation.message
    cause = "NotStarted" if code is None else _CAUSES.get(code, "Failed")
    for prefix in _PREFIXES:
        message = message.removeprefix(prefix)
    return f"{cause}: {message}" if message else f"{cause}: exit code {code}"


def read(text: str) -> Origin | None:
    """Return a recorded restore; None if there is none. Raises InvariantViolated for one that cannot be read.

    Never treated as absent: an empty cluster must not be bootstrapped beside restored data.
    """
    try:
        found = msgspec.json.decode(text, type=Origin) if text else None
    except msgspec.DecodeError as error:
        raise InvariantViolated(f"the restore in the record of the cluster cannot be read: {error}") from error
    if found is not None and found.ambiguous():
        raise InvariantViolated(f"the restore in the record of the cluster cannot be read: {found.ambiguous()}")
    return found


def written(restore: Source) -> str:
    """Return a restore as it is recorded."""
    return msgspec.json.encode(restore, order="deterministic").decode()
