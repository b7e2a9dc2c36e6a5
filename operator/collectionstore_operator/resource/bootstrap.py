"""The field bootstrap of a spec: what a new cluster begins with, in place of nothing."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from collectionstore_operator.resource.fields import Name, Part
from collectionstore_operator.resource.repository import Repository
from collectionstore_operator.resource.violation import Violation

BACKUP_PATTERN: Final = r"^[A-Za-z0-9][-._A-Za-z0-9]{0,127}$"
POINT_PATTERN: Final = r"^(end|revision:[0-9]{1,18}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)$"
BUMP_MAX: Final = 1 << 40
BUMP: Final = 1_000_000
LATEST: Final = "latest"

ONE_SOURCE: Final = Violation(
    "a new cluster is made of one backup, or of one snapshot", "either repository or volumeSnapshot"
)
OF_A_BACKUP: Final = Violation(
    "sourceCluster, backup and to choose among backups, and a snapshot is one by itself",
    "volumeSnapshot alone, or with bumpRevision",
)
NO_SNAPSHOTS: Final = Violation("there are no VolumeSnapshots on this machine", "absent; repository with a file URL")
ONE_SOURCE_CEL: Final = "has(self.repository) != has(self.volumeSnapshot)"
OF_A_BACKUP_CEL: Final = (
    "!has(self.volumeSnapshot) || (!has(self.sourceCluster) && !has(self.to) && "
    f"(!has(self.backup) || self.backup == '{LATEST}'))"
)

SourceCluster: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f]{16}$",
        max_length=16,
        title="a cluster ID of 16 hexadecimal digits",
        description="sourceCluster is the ID of the cluster that the backup is of: needed for latest, or with "
        "to, if the repository has backups of several clusters.",
    ),
]
BackupName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=BACKUP_PATTERN,
        max_length=128,
        title="latest, or the ID of a backup",
        description="backup is the ID of a backup, or latest: the newest one, with to the newest one before that "
        "point. Defaults to latest.",
    ),
]
Point: TypeAlias = Annotated[
    str,
    Meta(
        pattern=POINT_PATTERN,
        max_length=32,
        title="end, revision:N, or a time such as 2026-01-02T03:04:05Z",
        description="to continues the restore from the backup through the archived log: to its end, to "
        "revision:N, or to a time such as 2026-01-02T03:04:05Z. If absent, the restore ends with the backup.",
    ),
]
Raise: TypeAlias = Annotated[
    int,
    Meta(
        ge=0,
        le=BUMP_MAX,
        description="bumpRevision is added to the revision, so that none is given twice that a client of the old "
        f"cluster may have seen behind the backup. Defaults to {BUMP}.",
    ),
]


class Restore(Part, frozen=True):
    """Restore names a backup that a cluster is made of."""

    # The order of the fields is part of what is recorded, and so of what a nonce acknowledges.
    repository: Annotated[Repository, Meta(description="repository is where the backup is.")]
    source_cluster: SourceCluster | None = None
    backup: BackupName = LATEST
    to: Point | None = None
    bump_revision: Raise = BUMP


class VolumeSnapshot(Part, frozen=True):
    """VolumeSnapshot names a snapshot of the volume of a member."""

    name: Annotated[Name, Meta(description="name is the name of a VolumeSnapshot in the same namespace.")]


class SnapshotRestore(Part, frozen=True):
    """SnapshotRestore names a VolumeSnapshot that a cluster is made of; `Origin` as it is recorded."""

    volume_snapshot: VolumeSnapshot
    bump_revision: Raise = BUMP


Source: TypeAlias = Restore | SnapshotRestore
"""What the first member of a cluster is made of."""


class Origin(Part, frozen=True):
    """Origin names what a new cluster is made of: a backup, or a snapshot of the volume of a member."""

    repository: (
        Annotated[
            Repository,
            Meta(description="repository is where the backup is. Either this or volumeSnapshot is required."),
        ]
        | None
    ) = None
    source_cluster: SourceCluster | None = None
    backup: BackupName = LATEST
    to: Point | None = None
    bump_revision: Raise = BUMP
    volume_snapshot: (
        Annotated[
            VolumeSnapshot,
            Meta(
                description="volumeSnapshot names a snapshot of the volume of any member of the old cluster: the claim "
                "of the first member is made of it, by the CSI driver, and the other members copy the data. It has "
                "what that member had stored. spec.storage.class must be of the driver of the snapshot, and "
                "spec.storage.size at least its size. Refused by csctl local."
            ),
        ]
        | None
    ) = None

    @property
    def source(self) -> Source:
        """Return the one that it names. Raises ValueError for an invalid one."""
        if self.volume_snapshot is not None:
            return SnapshotRestore(volume_snapshot=self.volume_snapshot, bump_revision=self.bump_revision)
        if self.repository is None:
            raise ValueError(str(ONE_SOURCE))
        return Restore(
            repository=self.repository,
            source_cluster=self.source_cluster,
            backup=self.backup,
            to=self.to,
            bump_revision=self.bump_revision,
        )

    def ambiguous(self) -> Violation | None:
        """Return why it does not name exactly one source."""
        return ONE_SOURCE if (self.repository is None) == (self.volume_snapshot is None) else None

    def overdetermined(self) -> Violation | None:
        """Return why its fields do not fit a snapshot."""
        of_a_backup = self.source_cluster is not None or self.to is not None or self.backup != LATEST
        return OF_A_BACKUP if self.volume_snapshot is not None and of_a_backup else None


class Beginning(Part, frozen=True):
    """Beginning is what a new cluster begins with; an existing one ignores it."""

    restore: (
        Annotated[
            Origin,
            Meta(
                description="restore makes the first member of a new cluster from a backup, or from a VolumeSnapshot, "
                "with an ID of its own; the others join it."
            ),
        ]
        | None
    ) = None
