"""What is written down of each node's process (process.json), so that the next supervisor and csctl find it again."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from collectionstore_local.errors import LocalError
from collectionstore_local.processes.process import ProcessName, name_process
from collectionstore_local.state.directory import NodeDirectory, write_atomically


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """How a node is started: the program, its COLLECTIONSTORE_ variables, and the revision these belong to."""

    command: tuple[str, ...]
    settings: Mapping[str, str]
    revision: str


class NodeExit(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended, and when in Unix seconds. `code` is None when nobody could learn it: not our child."""

    code: int | None
    at: float
    reason: str


class NodeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the next supervisor must know of a node. `started_at` in Unix seconds, of the process started last."""

    wanted: bool = False
    launch: Launch | None = None
    process: ProcessName | None = None
    """The process started last; whether it still lives is for the reader to check."""
    started_at: float = 0.0
    restarts: int = 0
    last_exit: NodeExit | None = None


def load(directory: NodeDirectory) -> NodeRecord:
    """Return what is written down, an empty record when nothing is."""
    try:
        return msgspec.json.decode(directory.process.read_bytes(), type=NodeRecord)
    except FileNotFoundError:
        return NodeRecord()
    except msgspec.DecodeError as error:
        raise LocalError(
            f"{directory.process} is damaged: {error}. Delete it; a running node is found again"
        ) from error


def store(directory: NodeDirectory, record: NodeRecord) -> None:
    """Write the record; not synced, because after a power cut no process is left to find."""
    content = msgspec.json.format(msgspec.json.encode(record), indent=2)
    try:
        write_atomically(directory.process, content, durable=False)
    except FileNotFoundError:
        pass  # somebody deleted the node's folder: nobody will look for the record, and its process is being stopped


def living_process(directory: NodeDirectory) -> ProcessName | None:
    """Return the process of a node when it runs right now."""
    name = load(directory).process
    return name if name is not None and name_process(name.pid) == name else None
