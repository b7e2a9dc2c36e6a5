"""The record of each node's process, process.json: how csctl and the next supervisor find the process again."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from collectionstore_local.errors import LocalError
from collectionstore_local.processes.process import ProcessIdentity, identify_process
from collectionstore_local.state.directory import NodeDirectory, write_atomically


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How a node is started: its command, its COLLECTIONSTORE_ variables, and the revision of these settings."""

    command: tuple[str, ...]
    settings: Mapping[str, str]
    revision: str


class NodeExit(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended; `at` in Unix seconds. `code` is None if it is unknown: the process was not our child."""

    code: int | None
    at: float
    reason: str


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a node. `started_at` in Unix seconds, of the process started last."""

    should_run: bool = msgspec.field(default=False, name="wanted")
    """Desired state: a node that should run and ends is restarted."""
    launch: Launch | None = None
    process: ProcessIdentity | None = None
    """The process started last; it may have ended since."""
    started_at: float = 0.0
    restarts: int = 0
    last_exit: NodeExit | None = None


def load(directory: NodeDirectory) -> NodeRecord:
    """Return the record of a node, an empty one if there is none. Raises LocalError if it is corrupt."""
    try:
        return msgspec.json.decode(directory.process.read_bytes(), type=NodeRecord)
    except FileNotFoundError:
        return NodeRecord()
    except msgspec.DecodeError as error:
        raise LocalError(
            f"{directory.process} is corrupt: {error}. Delete it; a running node is found again"
        ) from error


def store(directory: NodeDirectory, record: NodeRecord) -> None:
    """Write the record; not synced, because after a power failure there is no process to find."""
    content = msgspec.json.format(msgspec.json.encode(record), indent=2)
    try:
        write_atomically(directory.process, content, durable=False)
    except FileNotFoundError:
        pass  # the node's directory was deleted by hand: its process is being stopped, so no record is needed


def running_process(directory: NodeDirectory) -> ProcessIdentity | None:
    """Return the process of a node, None if it does not run."""
    recorded = load(directory).process
    return recorded if recorded is not None and identify_process(recorded.pid) == recorded else None
