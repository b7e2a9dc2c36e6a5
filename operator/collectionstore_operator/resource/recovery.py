"""The fields bootstrap and recovery of a spec: a cluster that begins with the data of a backup, or of one survivor."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, field

from collectionstore_operator.resource.fields import Part
from collectionstore_operator.resource.labels import NAME_LENGTH_MAX
from collectionstore_operator.resource.repository import Repository

NONCE_PATTERN: Final = r"^[0-9a-f]{16,64}$"
BACKUP_PATTERN: Final = r"^(latest|[A-Za-z0-9][A-Za-z0-9._-]{0,127})$"
POINT_PATTERN: Final = (
    r"^(end|revision:[0-9]{1,15}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2}))$"
)


class Restore(Part, frozen=True):
    """Restore names the backup that a cluster begins with, and how far the archived log is applied to it."""

    repository: Annotated[Repository, Meta(description="repository is where the backup is.")]
    source_cluster: (
        Annotated[
            str,
            Meta(
                pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
                max_length=63,
                title="the ID of a cluster",
                description="sourceCluster is the ID of the cluster that the backup is of. Required if several "
                "clusters share the repository.",
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
            description="backup is latest, or the ID of a backup in the repository. Defaults to latest.",
        ),
    ] = "latest"
    to: (
        Annotated[
            str,
            Meta(
                pattern=POINT_PATTERN,
                max_length=32,
                title="end, revision:N, or a time such as 2026-01-02T03:04:05Z",
                description="to is how far the archived log is applied to the backup: its end, a revision as "
                "revision:N, or a time in RFC 3339. If absent, the state is that of the backup.",
            ),
        ]
        | None
    ) = None


class Bootstrap(Part, frozen=True):
    """Bootstrap is how a new cluster gets its first data. Honoured once, and immutable from then on."""

    restore: Annotated[
        Restore | None, Meta(description="restore makes the first member of a backup; the others join it.")
    ] = None


class Recovery(Part, frozen=True):
    """Recovery acknowledges the recovery of a cluster whose quorum is lost, as offered in status.recovery."""

    nonce: Annotated[
        str,
        Meta(
            pattern=NONCE_PATTERN,
            max_length=64,
            title="the nonce in status.recovery, of 16 to 64 hexadecimal digits",
            description="nonce is copied from status.recovery.nonce: it acknowledges this very loss. Any other value "
            "is ignored. After the recovery it can stay, or be removed.",
        ),
    ]
    from_: Annotated[
        Literal["Survivor"],
        Meta(
            description="from determines where the data comes from. Survivor: the disk of one member, all of whose log "
            "is kept. Defaults to Survivor."
        ),
    ] = field(name="from", default="Survivor")
    survivor: (
        Annotated[
            str,
            Meta(
                pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?-[0-9]{1,4}$",
                max_length=NAME_LENGTH_MAX + 5,
                title="the name of a member, such as demo-1",
                description="survivor is the name of the member whose disk is kept. If absent, the one with the most "
                "up-to-date log; required while the log of a surviving member is not known.",
            ),
        ]
        | None
    ) = None
