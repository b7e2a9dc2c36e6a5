"""A restore into a new cluster: what is recorded of it, whether it is under way, and why it fails. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from collectionstore_operator.errors import InvariantViolated
from collectionstore_operator.model.observed import Observed, Pod, Slot
from collectionstore_operator.resource.bootstrap import Restore

_PREFIXES: Final = ("Error: ", "collectionstore-backup: ")
"""With which the program begins the line that says why it ended."""
_CAUSES: Final = {
    2: "InvalidUse",
    5: "BackupNotFound",
    6: "DeadlinePassed",
    7: "Refused",
    8: "Corrupt",
    9: "CredentialsRefused",
    10: "StoreUnreachable",
}
"""By exit code of `collectionstore-backup`, see docs/operate/backup.md."""


def restoring(observed: Observed) -> Restore | None:
    """Return what the first member is to be made of; None once it has responded with data, and without a restore."""
    return None if observed.initialized else observed.restore


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


def read(text: str) -> Restore | None:
    """Return a recorded restore; None if there is none. Raises InvariantViolated for one that cannot be read.

    Never treated as absent: an empty cluster must not be bootstrapped beside restored data.
    """
    try:
        return msgspec.json.decode(text, type=Restore) if text else None
    except msgspec.DecodeError as error:
        raise InvariantViolated(f"the restore in the record of the cluster cannot be read: {error}") from error


def written(restore: Restore) -> str:
    """Return a restore as it is recorded."""
    return msgspec.json.encode(restore, order="deterministic").decode()
