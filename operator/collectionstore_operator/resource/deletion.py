"""spec.deletion: what a deletion of the resource does before the cluster ends."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from collectionstore_operator.resource.fields import Name, Part
from collectionstore_operator.resource.repository import Repository

DEADLINE_S: Final = 21_600


class FinalBackup(Part, frozen=True):
    """FinalBackup is made when the resource is deleted; the cluster runs until it is complete."""

    repository: Annotated[
        Repository, Meta(description="repository is where the backup is stored; it stays when the cluster is gone.")
    ]
    deadline_seconds: (
        Annotated[
            int,
            Meta(
                ge=60,
                le=86_400,
                description="deadlineSeconds bounds the backup with all its attempts, in seconds: after that it has "
                f"failed, and the deletion waits for a decision. If absent, {DEADLINE_S}.",
            ),
        ]
        | None
    ) = None
    service_account_name: (
        Annotated[
            Name,
            Meta(
                description="serviceAccountName is the name of the ServiceAccount of the pod, whose role may open the "
                "repository. If absent, default."
            ),
        ]
        | None
    ) = None


class Deletion(Part, frozen=True):
    """Deletion configures what happens before a deleted cluster ends."""

    final_backup: (
        Annotated[
            FinalBackup,
            Meta(
                description="finalBackup is a last backup: a deletion waits until it is complete, or until the "
                "resource is annotated with collectionstore.io/skip-final-backup=true. If absent, none is made."
            ),
        ]
        | None
    ) = None
