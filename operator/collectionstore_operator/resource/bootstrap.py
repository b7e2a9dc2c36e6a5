"""The field bootstrap of a spec: what a new cluster begins with, in place of nothing."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from collectionstore_operator.resource.fields import Part
from collectionstore_operator.resource.repository import Repository

BACKUP_PATTERN: Final = r"^[A-Za-z0-9][-._A-Za-z0-9]{0,127}$"
POINT_PATTERN: Final = r"^(end|revision:[0-9]{1,18}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)$"
BUMP_MAX: Final = 1 << 40
BUMP: Final = 1_000_000


class Restore(Part, frozen=True):
    """Restore names a backup that a new cluster is made of."""

    repository: Annotated[Repository, Meta(description="repository is where the backup is.")]
    source_cluster: (
        Annotated[
            str,
            Meta(
                pattern=r"^[0-9a-f]{16}$",
                max_length=16,
                title="a cluster ID of 16 hexadecimal digits",
                description="sourceCluster is the ID of the cluster that the backup is of: needed for latest, or with "
                "to, if the repository has backups of several clusters.",
            ),
        ]
        | None
    ) = None
    backup: Annotated[
        str,
        Meta(
            pattern=BACKUP_PATTERN,
            max_length=128,
            title="latest, or the ID of a backup",
            description="backup is the ID of a backup, or latest: the newest one, with to the newest one before that "
            "point. Defaults to latest.",
        ),
    ] = "latest"
    to: (
        Annotated[
            str,
            Meta(
                pattern=POINT_PATTERN,
                max_length=32,
                title="end, revision:N, or a time such as 2026-01-02T03:04:05Z",
                description="to continues the restore from the backup through the archived log: to its end, to "
                "revision:N, or to a time such as 2026-01-02T03:04:05Z. If absent, the restore ends with the backup.",
            ),
        ]
        | None
    ) = None
    bump_revision: Annotated[
        int,
        Meta(
            ge=0,
            le=BUMP_MAX,
            description="bumpRevision is added to the revision, so that none is given twice that a client of the old "
            f"cluster may have seen behind the backup. Defaults to {BUMP}.",
        ),
    ] = BUMP


class Beginning(Part, frozen=True):
    """Beginning is what a new cluster begins with; an existing one ignores it."""

    restore: (
        Annotated[
            Restore,
            Meta(
                description="restore makes the first member of a new cluster from a backup, with an ID of its own; the "
                "others join it."
            ),
        ]
        | None
    ) = None
