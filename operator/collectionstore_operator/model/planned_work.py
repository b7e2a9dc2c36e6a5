"""What is recorded of planned work, so that an operator that is killed goes on where the last one stopped. Pure.

One value, in the cluster's record (Kubernetes) or in operator.json (local). Every phase is recorded BEFORE it acts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec


class Switchover(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The last requested transfer of leadership, see `labels.TRANSFER_LEADER`."""

    request: str
    """Digest of the annotation (`request_digest`): each value is carried out once."""
    term: int = 0
    """The term in which it was begun. A later one means that leadership has moved since."""
    done: bool = False


class Hibernation(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A cluster that is stopped on purpose: what it had then."""

    term: int
    commit_index: int
    """What every voter has stored before it is stopped."""
    voters: tuple[str, ...]
    """Their node IDs."""
    replicas: int
    """The pods to start again."""
    stopping: bool = False
    """The members are stopped, or about to be; before that nothing has happened."""


class Replacement(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A member that works and is being replaced: an extra one is to have its data first."""

    ordinal: int
    node_id: str
    """Of the member to be replaced; its successor in this ordinal has another one."""
    surge: int
    """The ordinal of the extra member."""


class FinalBackupEnd(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The final backup of a deletion is complete or given up: the cluster is torn down, whatever is seen later."""

    uid: str
    """Of the resource that is being deleted: a later one of the same name waits for its own."""
    backup: str = ""
    """The name of the backup; empty if the user gave it up."""


class PlannedWork(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Everything that is recorded of planned work; empty for a cluster that has never had any."""

    switchover: Switchover | None = None
    hibernation: Hibernation | None = None
    replacement: Replacement | None = None
    final_backup: FinalBackupEnd | None = None
    unreadable: str = ""
    """Why the record could not be read; empty if it could. Nothing follows from it, and nothing is written over it."""

    def encoded(self) -> str:
        """Return it as text for a record."""
        return msgspec.json.encode(self).decode()


def of_new_cluster(work: PlannedWork) -> PlannedWork:
    """Return what remains when a recovery or a restore forms another cluster: nothing that names members of the old.

    Voters that were stopped, and a member that was to be replaced, will never be seen again: to wait for them would
    freeze the new cluster. What cannot be read stays as it is.
    """
    return work if work.unreadable else msgspec.structs.replace(work, hibernation=None, replacement=None)


def decode(text: str) -> PlannedWork:
    """Return what a record says, or why it cannot be read; unknown fields, of a newer operator, are ignored."""
    try:
        return msgspec.json.decode(text, type=PlannedWork) if text else PlannedWork()
    except msgspec.DecodeError as error:
        # Never treated as empty, and no reason to stop repairing the cluster.
        return PlannedWork(unreadable=f"planned-work in the record of the cluster is not valid: {error}")


def request_digest(annotations: Mapping[str, str], annotation: str) -> str:
    """Return the digest of a user's request by annotation; empty if there is none.

    The digest and not the value: an annotation may have 256 KiB.
    """
    value = annotations.get(annotation, "")
    return hashlib.sha256(value.encode()).hexdigest()[:16] if value else ""
