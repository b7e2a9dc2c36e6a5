"""The identity of a data directory: its cluster, its member and its node ID.

A node ID is an incarnation: generated at random for an empty directory, and lost with the directory. A node that came
back empty under its old ID could vote twice in a term, or acknowledge entries twice, which is a split brain even if it
was removed and added again in between (Vanlightly, standard-raft; scenario S11).
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

import msgspec

from collectionstore_node.errors import DataDirectoryRefused, DataTooNew
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.statemachine.levels import FIRST
from collectionstore_node.storage.durable_file import write_file
from collectionstore_node.storage.formats import FORMAT, NEWEST, format_of, level_of

IDENTITY_FILE: Final = "IDENTITY"


class Identity(msgspec.Struct, frozen=True):
    """Owner of a data directory. `node_id` has 63 bits and is never 0."""

    cluster_id: str
    name: str
    node_id: NodeId


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    cluster_id: str
    name: str
    node_id: str


def new_identity(cluster_id: str, name: str) -> Identity:
    """Return a new incarnation of a member."""
    # From the kernel, not from a seed: cloned machines that start at the same time must not draw the same ID.
    return Identity(cluster_id, name, NodeId(1 + secrets.randbelow(2**63 - 1)))


def write_identity(directory: Path, identity: Identity, level: int = FIRST) -> None:
    """Write the file IDENTITY, durably; programs that do not support `level` refuse the directory from then on."""
    file = _File(format_of(level), identity.cluster_id, identity.name, f"{identity.node_id:016x}")
    write_file(directory / IDENTITY_FILE, msgspec.json.format(msgspec.json.encode(file)) + b"\n")


def read_identity(directory: Path) -> Identity | None:
    """Return the content of IDENTITY, None if there is no such file. Raises `DataDirectoryRefused` if it is corrupt."""
    path = directory / IDENTITY_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        file = msgspec.json.decode(data, type=_File)
        node_id = int(file.node_id, 16)
    except (msgspec.DecodeError, ValueError) as error:
        raise DataDirectoryRefused(
            f"{path} is corrupt ({error}). Restore the file from a copy of this very directory if there is one; "
            "otherwise remove the member from the cluster and start it again on an empty directory."
        ) from error
    if level_of(file.format) is None:
        refused = DataTooNew if file.format > NEWEST else DataDirectoryRefused
        raise refused(
            f"{directory} has data format {file.format}; this version reads formats {FORMAT} to {NEWEST}. A format is "
            "never lowered: run a version that reads it, or replace the member on an empty directory."
        )
    return Identity(file.cluster_id, file.name, NodeId(node_id))


def check_owner(directory: Path, identity: Identity, *, cluster_id: str, name: str) -> None:
    """Raise `DataDirectoryRefused` when the directory belongs to another cluster or member."""
    if identity.cluster_id != cluster_id:
        raise DataDirectoryRefused(
            f"{directory} belongs to cluster {identity.cluster_id!r}, not {cluster_id!r}. "
            "Set COLLECTIONSTORE_DATA_DIR to this member's directory, or to an empty one for a new member."
        )
    if identity.name != name:
        raise DataDirectoryRefused(
            f"{directory} belongs to member {identity.name!r}, not {name!r}. "
            "Set COLLECTIONSTORE_DATA_DIR to this member's directory, or to an empty one for a new member."
        )
