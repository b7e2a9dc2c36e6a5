"""The record of a recovery from a lost quorum: what was decided, and which phase has begun. Pure.

Every phase is recorded BEFORE it acts, so that the operator that continues it decides nothing again: the survivor, its
incarnation and the new cluster's ID are fixed by the first record.

    Stopping       the survivor is chosen; all members are being stopped
    SettingAside   nothing runs; the disks of all others are being set aside
    Forming        the record names the new cluster; the survivor's disk is made its first member's
    Finished       it has formed; everything else is an ordinary change
"""

from __future__ import annotations

import enum
import hashlib

import msgspec

from collectionstore_operator.errors import InvariantViolated

NONCE_LENGTH = 32


class RecoveryPhase(enum.Enum):
    """How far a recovery has come."""

    STOPPING = "Stopping"
    SETTING_ASIDE = "SettingAside"
    FORMING = "Forming"
    FINISHED = "Finished"


class RecoveryRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A recovery that was acknowledged; stored as JSON. Revisions and indexes are 0 where they are not known."""

    nonce: str
    phase: RecoveryPhase
    survivor: str
    """Name of the member whose disk is kept."""
    ordinal: int
    node_id: str
    """Its incarnation: another disk under the same name never takes its place."""
    volume_uid: str = ""
    """Of its claim; empty where there are none (local)."""
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


def new_cluster_id(from_cluster: str, nonce: str) -> str:
    """Return the ID of the cluster that a recovery forms: the same whenever it is derived, and no other's."""
    return hashlib.sha256(f"recovery of {from_cluster} by {nonce}".encode()).hexdigest()[:16]


def read(text: str) -> RecoveryRecord | None:
    """Return a stored record; None if there is none. Raises InvariantViolated for one that cannot be read.

    Never treated as absent: a survivor that was chosen must not be chosen again.
    """
    try:
        return msgspec.json.decode(text, type=RecoveryRecord) if text else None
    except msgspec.DecodeError as error:
        raise InvariantViolated(f"the recovery in the record of the cluster cannot be read: {error}") from error


def written(record: RecoveryRecord) -> str:
    """Return a record as it is stored."""
    return msgspec.json.encode(record).decode()


def precedes(
    present: RecoveryRecord | None, wanted: RecoveryRecord, before: RecoveryPhase | None, cluster_id: str
) -> bool:
    """Return whether `wanted` may replace the recorded recovery: the next phase of the same one, or the first of one.

    A recovery that is under way is never replaced by another one. `cluster_id` is the recorded one.
    """
    if cluster_id != (wanted.cluster_id if before is RecoveryPhase.FORMING else wanted.from_cluster):
        return False
    if before is None:
        return not active(present)
    return present is not None and (present.nonce, present.node_id, present.phase) == (
        wanted.nonce,
        wanted.node_id,
        before,
    )


def published_as(record: RecoveryRecord | None, recorded: str, published: str) -> str:
    """Return which cluster a published status means: that of a recovery by the new ID, also before it is published."""
    renamed = record is not None and (record.from_cluster, record.cluster_id) == (published, recorded)
    return recorded if renamed else published
