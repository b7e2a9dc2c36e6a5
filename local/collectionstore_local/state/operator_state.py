"""State of the reconcile loop of a local cluster, operator.json; durable BEFORE any action depends on it.

On Kubernetes the same values are in the cluster's record, a ConfigMap, and in the operator's Lease. Only the
supervisor writes it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from collectionstore_local.errors import LocalError
from collectionstore_local.state.directory import write_atomically
from collectionstore_operator.model.planned_work import PlannedWork
from collectionstore_operator.model.recovery import RecoveryRecord


class WorkloadState(msgspec.Struct, frozen=True, kw_only=True):
    """The number of nodes to keep running, and the settings of those that start from now on."""

    replicas: int
    revision: str
    settings: dict[str, str]
    """The variables common to all nodes; addresses and paths of each node are added when it starts."""


class OperatorState(msgspec.Struct, frozen=True, kw_only=True):
    """The content of operator.json; `Observed` documents the first four fields."""

    cluster_id: str = ""
    initialized: bool = False
    bootstrap_node: str = ""
    epoch: int = 0
    workload: WorkloadState | None = None
    recovery: RecoveryRecord | None = None
    read_workload: WorkloadState | None = None
    """The same for read replicas."""
    planned_work: PlannedWork = PlannedWork()
    restore: str = ""
    """With what the cluster begins, as `model.restore` writes it; empty without a restore."""


class OperatorStateFile:
    """Reads operator.json once and writes every change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._state = _load(path)

    @property
    def current(self) -> OperatorState:
        return self._state

    def change(self, **fields: object) -> OperatorState:
        """Replace fields; return the new state once it is durable."""
        changed = msgspec.structs.replace(self._state, **fields)
        if changed != self._state:
            content = msgspec.json.format(msgspec.json.encode(changed), indent=2)
            write_atomically(self._path, content + b"\n")
            # AFTER the sync: memory must not be ahead of the disk.
            self._state = changed
        return changed


def _load(path: Path) -> OperatorState:
    try:
        return msgspec.json.decode(path.read_bytes(), type=OperatorState)
    except FileNotFoundError:
        return OperatorState()
    except msgspec.DecodeError as error:
        # Never treated as empty: without the cluster ID a second cluster would start on the disks of the first.
        raise LocalError(f"{path} is corrupt: {error}. Restore it, or delete the cluster: csctl local clean") from error
