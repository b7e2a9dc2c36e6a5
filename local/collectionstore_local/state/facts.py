"""What the loop itself must remember about a local cluster, in operator.json; durable before anything rests on it.

On Kubernetes the same facts are in the resource's status and the operator's Lease. Written by the supervisor alone.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from collectionstore_local.errors import LocalError
from collectionstore_local.state.directory import write_atomically


class WorkloadFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Which nodes are kept running, and what a node is told that starts from now on."""

    replicas: int
    revision: str
    settings: dict[str, str]
    """The variables that are equal for all nodes; each node's own addresses and paths are added when it starts."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of the loop; see `Observed` for what the first four mean."""

    cluster_id: str = ""
    initialized: bool = False
    bootstrap_node: str = ""
    epoch: int = 0
    workload: WorkloadFacts | None = None


class FactsFile:
    """Reads the facts once and writes every change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._facts = _load(path)

    @property
    def facts(self) -> Facts:
        return self._facts

    def change(self, **fields: object) -> Facts:
        """Replace fields and return when that is durable."""
        changed = msgspec.structs.replace(self._facts, **fields)
        if changed != self._facts:
            content = msgspec.json.format(msgspec.json.encode(changed), indent=2)
            write_atomically(self._path, content + b"\n")
            self._facts = changed
        return changed


def _load(path: Path) -> Facts:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Facts)
    except FileNotFoundError:
        return Facts()
    except msgspec.DecodeError as error:
        # Not taken for empty: a forgotten cluster id would start a second cluster on the disks of the first.
        raise LocalError(
            f"{path} is damaged: {error}. Restore it, or give the cluster up: csctl local clean"
        ) from error
