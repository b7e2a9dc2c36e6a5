"""The last backup of a cluster whose resource is being deleted: its name, and what was seen of it. Pure.

Its end is recorded (`planned_work.FinalBackupEnd`) BEFORE the cluster is torn down: a backup whose resource is deleted
meanwhile, or an annotation that is taken back, must not start the cluster again.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from collectionstore_operator.resource import labels
from collectionstore_operator.resource.deletion import FinalBackup
from collectionstore_operator.resource.desired import Desired

SKIP: Final = "true"
"""Value of the annotation that gives a final backup up."""
_NAME_MAX: Final = 31
"""Leaves room for the ending: the name of a backup has at most 46 characters."""


class FinalBackupSeen(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The resource of the backup."""

    name: str
    state: Literal["Active", "Complete", "Failed"]
    cluster_id: str = ""
    """Of the cluster that it holds; empty until it is complete."""
    completed_at: float = 0.0
    """When it was complete, in Unix seconds; 0 before, and if its status does not say."""
    message: str = ""
    """What keeps it from ending, or why it failed."""


def name_of(desired: Desired) -> str:
    """Return the name of the backup: one for each resource, also if one of the same name was deleted before."""
    return f"{desired.name[:_NAME_MAX]}-final-{desired.uid.replace('-', '')[:8]}"


def asked_for(desired: Desired) -> FinalBackup | None:
    """Return the final backup of a resource that is being deleted; None if it asks for none."""
    if not desired.deleting or desired.spec.deletion is None:
        return None
    return desired.spec.deletion.final_backup


def given_up(desired: Desired) -> bool:
    """Return whether the user gives the final backup up."""
    return desired.annotations.get(labels.SKIP_FINAL_BACKUP, "") == SKIP


def advice(desired: Desired) -> str:
    """Return how to delete the cluster without it."""
    kept = "the volumes are kept" if desired.spec.storage.retention == "Retain" else "the data is deleted with it"
    return f"to do without, annotate the resource with {labels.SKIP_FINAL_BACKUP}={SKIP}: {kept}"
