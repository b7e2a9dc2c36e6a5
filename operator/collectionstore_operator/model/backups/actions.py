"""What can be done for a backup or a schedule; each carries its reason, and what it was planned from. Pure.

All are idempotent: names are derived, so what was done already is found done.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Task: TypeAlias = Literal["create", "delete", "prune", "drill"]
"""What a Job does: a command of `collectionstore-backup`."""


class _Action(msgspec.Struct, frozen=True, kw_only=True):
    reason: str


class HoldBackup(_Action, frozen=True):
    """Add our finalizer to the backup."""


class ReleaseBackup(_Action, frozen=True):
    """Remove our finalizer from the backup."""


class AdmitBackups(_Action, frozen=True):
    """Let the pods that read a cluster reach it, and the repository: apply the NetworkPolicies, if it has any."""


class StartRun(_Action, frozen=True):
    """Create the Job of a task; one that exists is left as it is."""

    task: Task
    name: str
    subject: str = ""
    """What it is for: the ID of the backup to delete, the backup behind which is pruned, or when a drill was due."""


class RemoveRun(_Action, frozen=True):
    """Delete a Job with its pods."""

    name: str
    uid: str


class CreateBackup(_Action, frozen=True):
    """Create the resource of a backup that is due."""

    name: str
    due: float


class ForgetBackup(_Action, frozen=True):
    """Delete the resource of a backup, which retention no longer keeps."""

    name: str
    uid: str


class ApplyArchive(_Action, frozen=True):
    """Apply the Deployment that archives the log."""

    digest: str


class RemoveArchive(_Action, frozen=True):
    """Delete the Deployment that archives the log."""

    uid: str


BackupAction: TypeAlias = (
    HoldBackup
    | ReleaseBackup
    | AdmitBackups
    | StartRun
    | RemoveRun
    | CreateBackup
    | ForgetBackup
    | ApplyArchive
    | RemoveArchive
)


class BackupPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The actions to perform now, in order; `wait_s` is when to look again if nothing wakes the loop before."""

    actions: tuple[BackupAction, ...] = ()
    wait_s: float
    done: bool = False
    """Nothing will ever be to do again, unless the resource changes."""
