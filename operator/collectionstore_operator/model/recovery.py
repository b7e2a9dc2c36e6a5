"""The record of a recovery, from a survivor or a backup: what was decided, and which phase has begun. Pure.

Every phase is recorded BEFORE it acts, so that the operator that continues it decides nothing again: the survivor, its
incarnation and the new cluster's ID are fixed by the first record.

From a survivor of a lost quorum (`planning.recovery`):

    Stopping       the survivor is chosen; all members are being stopped
    SettingAside   nothing runs; the disks of all others are being set aside
    Forming        the record names the new cluster; the survivor's disk is made its first member's
    Finished       it has formed; everything else is an ordinary change

From a backup, in place (`planning.in_place_restore`), under names that an operator which knows nothing of it cannot
read, and so changes nothing:

    Halting        what is restored is fixed; all members are being stopped
    Emptying       nothing runs; the disks of all members are being set aside
    Restoring      the record names the new cluster; the first member's disk is made of the backup
    Finished       as above
"""

from __future__ import annotations

import enum
import hashlib
from typing import Final

import msgspec

from collectionstore_operator.errors import InvariantViolated
from collectionstore_operator.resource.bootstrap import Restore

NONCE_LENGTH = 32


class RecoveryPhase(enum.Enum):
    """How far a recovery has come."""

    STOPPING = "Stopping"
    SETTING_ASIDE = "SettingAside"
    FORMING = "Forming"
    HALTING = "Halting"
    EMPTYING = "Emptying"
    RESTORING = "Restoring"
    FINISHED = "Finished"


RENAMING: Final = frozenset({RecoveryPhase.FORMING, RecoveryPhase.RESTORING})
"""Phases whose record names the new cluster; those before name the old one."""


class OldVolume(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A PersistentVolume that was set aside, and the claim that it was bound to."""

    name: str
    claim_uid: str


class RecoveryRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A recovery that was acknowledged; stored as JSON. Revisions and indexes are 0 where they are not known."""

    nonce: str
    phase: RecoveryPhase
    survivor: str
    """Name of the member whose disk is kept, or that is made of the backup."""
    ordinal: int
    node_id: str
    """Its incarnation: another disk under the same name never takes its place."""
    volume_uid: str = ""
    """Of its claim; empty where there are none (local). Of a restore that of the claim on which it may happen: empty
    until that was recorded, and never another one."""
    from_cluster: str
    cluster_id: str
    """Of the new cluster."""
    lost: tuple[str, ...] = ()
    """Names of the voters whose disks were lost."""
    revision: int = 0
    """Of the survivor when it was chosen."""
    last_index: int = 0
    highest_revision: int = 0
    """The highest that any surviving member had reported."""
    started: float = 0.0
    """Unix seconds."""
    finished: float = 0.0
    restored_from: str = ""
    """Of what the first member is made (`restore`), as JSON, so that actions can be compared by hash; empty for a
    recovery from a survivor."""
    delete_old: bool = False
    """Whether the volumes that were set aside are to be deleted once the restored cluster is whole."""
    old_volumes: tuple[OldVolume, ...] = ()
    """Those that were set aside by a restore, and were not deleted."""
    overdue: tuple[OldVolume, ...] = ()
    """Those of restores before it that were to be deleted, and were not yet."""

    @property
    def to_discard(self) -> tuple[OldVolume, ...]:
        """Return the volumes that are to be deleted once the cluster is whole."""
        return (*self.overdue, *(self.old_volumes if self.delete_old else ()))

    @property
    def restore(self) -> Restore | None:
        """Return of what the first member is made; None for a recovery from a survivor."""
        return msgspec.json.decode(self.restored_from, type=Restore) if self.restored_from else None

    @property
    def active(self) -> bool:
        """Whether it is under way."""
        return self.phase is not RecoveryPhase.FINISHED

    @property
    def instruction(self) -> str:
        """What the survivor's node is told, as the node's setting RECOVER; empty in every phase but Forming."""
        if self.phase is not RecoveryPhase.FORMING:
            return ""
        return f"{self.survivor}/{self.node_id}/{self.from_cluster}/{self.nonce}"


def active(record: RecoveryRecord | None) -> RecoveryRecord | None:
    """Return a recovery that is under way; None if none is."""
    return record if record is not None and record.active else None


def instruction(record: RecoveryRecord | None) -> str:
    """Return what nodes are told by a recovery; empty if nothing."""
    return "" if record is None else record.instruction


def overdue(before: RecoveryRecord | None) -> tuple[OldVolume, ...]:
    """Return what another recovery or restore takes over from the one before it, so that it is deleted after all.

    Of a restore that has formed nothing only what it had taken over itself: what it has set aside may be needed.
    """
    if before is None:
        return ()
    return before.overdue if before.active else before.to_discard


def new_cluster_id(from_cluster: str, nonce: str) -> str:
    """Return the ID of the cluster that a recovery forms: the same whenever it is derived, and no other's."""
    return hashlib.sha256(f"recovery of {from_cluster} by {nonce}".encode()).hexdigest()[:16]


def read(text: str) -> RecoveryRecord | None:
    """Return a stored record; None if there is none. Raises InvariantViolated for one that cannot be read.

    Never treated as absent: a survivor that was chosen must not be chosen again.
    """
    try:
        found = msgspec.json.decode(text, type=RecoveryRecord) if text else None
        if found is not None and found.restored_from:
            msgspec.json.decode(found.restored_from, type=Restore)  # here, where it is reported
    except msgspec.DecodeError as error:
        raise InvariantViolated(f"the recovery in the record of the cluster cannot be read: {error}") from error
    return found


def written(record: RecoveryRecord) -> str:
    """Return a record as it is stored."""
    return msgspec.json.encode(record).decode()


def precedes(
    present: RecoveryRecord | None, wanted: RecoveryRecord, before: RecoveryPhase | None, cluster_id: str
) -> bool:
    """Return whether `wanted` may replace the recorded recovery: the next phase of the same one, or the first of one.

    A recovery that is under way is never replaced by another one, but for a restore that has formed nothing: with the
    cluster ID that it has brought, another one may begin. `cluster_id` is the recorded one.
    """
    named_already = before in RENAMING or before is RecoveryPhase.FINISHED
    if cluster_id != (wanted.cluster_id if named_already else wanted.from_cluster):
        return False
    if before is None:
        if present is not None and present.phase is RecoveryPhase.RESTORING and wanted.restore is not None:
            return True
        return not active(present)
    if present is None or (present.nonce, present.node_id, present.phase) != (wanted.nonce, wanted.node_id, before):
        return False
    # A claim that was recorded stays: what is restored twice gives the same revisions twice.
    return before is not RecoveryPhase.RESTORING or present.volume_uid in ("", wanted.volume_uid)


def is_repeated(present: RecoveryRecord | None, wanted: RecoveryRecord, before: RecoveryPhase | None) -> bool:
    """Return whether `wanted` is recorded already, by an attempt whose answer was lost."""
    if present is None or before is wanted.phase:
        return present == wanted
    return (present.nonce, present.phase) == (wanted.nonce, wanted.phase)


def published_as(record: RecoveryRecord | None, recorded: str, published: str) -> str:
    """Return which cluster a published status means: that of a recovery by the new ID, also before it is published."""
    renamed = record is not None and (record.from_cluster, record.cluster_id) == (published, recorded)
    return recorded if renamed else published
