"""What the supervisor publishes for csctl: the status, and the observation that it was computed from."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from collectionstore_local.state.directory import ClusterDirectory
from collectionstore_operator.model.observed import Observed
from collectionstore_operator.status.published import Status

Decoded = TypeVar("Decoded")


def read_status(directory: ClusterDirectory) -> Status | None:
    """Return the status published last, None if there is none."""
    return _decode(directory.status, Status)


def read_observed(directory: ClusterDirectory) -> Observed | None:
    """Return the observation recorded last, None if there is none."""
    return _decode(directory.observed, Observed)


def observed_at(directory: ClusterDirectory) -> float:
    """Return when the observation of the published status began, in Unix seconds; 0 for never."""
    observed = read_observed(directory)
    return observed.now if observed is not None else 0.0


def _decode(path: Path, kind: type[Decoded]) -> Decoded | None:
    """Return the content of a file; a file of another version that cannot be decoded counts as missing."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
