"""Data directories as volumes: reads, marks and retires them, as the operator does PersistentVolumeClaims.

nodes/<name>/data          the data directory of the node; the file IDENTITY in it holds the node ID
nodes/<name>/volume.json   marks, the counterpart of annotations on a PersistentVolumeClaim
nodes/<name>/retired/<n>/  retired volumes that are kept, each with its marks, numbered from 1
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime

from collectionstore_local.state.directory import DIRECTORY_MODE, NodeDirectory, read_json, sync_directory, write_json
from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.model.observed import ABSENT, Absent, NodeId, Unknown, Volume

IDENTITY = "IDENTITY"


def look(directory: NodeDirectory) -> Volume | Absent:
    """Return the volume of a node, `ABSENT` if there is none."""
    if not directory.data.is_dir():
        return ABSENT
    mark = read_json(directory.volume_mark) or {}
    return Volume(name=directory.name, node_id=_node_id_on(directory), removed=bool(mark.get("removed")))


def create(directory: NodeDirectory) -> None:
    """Create an empty volume if there is none."""
    for path in (directory.path, directory.data):
        path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)


def mark_removed(directory: NodeDirectory, node_id: NodeId) -> None:
    """Record durably that the member was removed from the cluster. Raises ActionRefused for another node ID."""
    _check_node_id(directory, node_id)
    write_json(directory.volume_mark, {"removed": True, "node_id": node_id, "since": _now()})


def retire_and_keep(directory: NodeDirectory, node_id: NodeId) -> None:
    """Move the volume to `retired/`, so that the next start is on an empty one; its process has ended.

    Raises ActionRefused if the volume holds another node ID. Safe to repeat after a crash at any point.
    """
    _check_node_id(directory, node_id)
    if directory.data.exists():
        _move_to_retired(directory)
    _delete_mark(directory)


def retire_and_delete(directory: NodeDirectory, node_id: NodeId) -> None:
    """Delete the volume, so that the next start is on an empty one; otherwise like `retire_and_keep`."""
    _check_node_id(directory, node_id)
    if directory.data.exists():
        shutil.rmtree(directory.data)
    _delete_mark(directory)


def _delete_mark(directory: NodeDirectory) -> None:
    # AFTER the data: a crash in between leaves an empty volume that is marked, never a full one that is not.
    directory.volume_mark.unlink(missing_ok=True)
    sync_directory(directory.path)


def _check_node_id(directory: NodeDirectory, node_id: NodeId) -> None:
    found = _node_id_on(directory)
    if node_id and isinstance(found, str) and found != node_id:
        raise ActionRefused(f"the volume of {directory.name} holds {found}, not {node_id}")


def _node_id_on(directory: NodeDirectory) -> NodeId | Absent | Unknown:
    try:
        identity = json.loads((directory.data / IDENTITY).read_bytes())
        node_id = identity["node_id"]
    except FileNotFoundError:
        return ABSENT if _is_empty(directory) else Unknown(f"{directory.data} is not empty but has no {IDENTITY}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Unknown(f"{directory.data / IDENTITY} cannot be read: {error}")
    return node_id if isinstance(node_id, str) else f"{node_id:016x}"


def _is_empty(directory: NodeDirectory) -> bool:
    return not directory.data.is_dir() or not any(directory.data.iterdir())


def _move_to_retired(directory: NodeDirectory) -> None:
    retired = directory.path / "retired"
    retired.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
    number = 1 + max((int(entry.name) for entry in retired.iterdir() if entry.name.isdigit()), default=0)
    target = retired / str(number)
    target.mkdir(mode=DIRECTORY_MODE)
    if directory.volume_mark.exists():
        shutil.copy2(directory.volume_mark, target)
    os.replace(directory.data, target / directory.data.name)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
