"""Reads of everything for backups: the whole state at one revision, and the committed log behind it."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from collectionstore_node.raft.messages import Entry, Index, SnapshotMetadata, encode
from collectionstore_node.statemachine.header import Header

LOG_BYTES_MAX: Final = 1 << 20
"""Of entries in one answer; a single entry may be larger."""
_LENGTH: Final = struct.Struct(">I")


class ReadState(msgspec.Struct, frozen=True):
    """Read the whole state."""


class ReadLog(msgspec.Struct, frozen=True):
    """Read committed entries that follow the index `after`."""

    after: Index


class StateExport(Protocol):
    """The state at one applied index, as the bytes of a snapshot file."""

    @property
    def metadata(self) -> SnapshotMetadata:
        """The last entry in it, and the configuration there."""

    @property
    def header(self) -> Header:
        """Revision, time, digest and feature level of the state."""

    def pieces(self) -> AsyncIterator[bytes]:
        """Yield the bytes, as fast as they are taken. Raises `NotNow` for a client that is too slow."""

    def close(self) -> None:
        """Release what the stream holds open; a second time is nothing."""


class ExportedState(msgspec.Struct, frozen=True):
    """What a client is told of a state before its bytes: whose it is, and where in the history."""

    cluster_id: str
    node_id: str
    """The member that it was read from: its incarnation."""
    name: str
    version: str
    leader: bool
    """Whether that member led the cluster, as far as it knew."""
    index: int
    term: int
    revision: int
    feature_level: int
    time_ms: int
    """The replicated time, in milliseconds since 1970 UTC as leaders saw it."""
    state_digest: str


class ExportedLog(NamedTuple):
    """Committed entries: each with its length, as the log stores them."""

    data: bytes
    entries: int
    last: Index
    """Index of the last of them; that of the request when there is none."""
    applied: Index
    """The last entry that this member has applied, not behind what was acknowledged before the request: what comes
    behind `last` is archived nowhere yet."""
    revision: int


def encode_entries(entries: Sequence[Entry]) -> bytes:
    """Return entries one behind the other, each behind its length in 4 bytes."""
    return b"".join(_LENGTH.pack(len(data)) + data for data in map(encode, entries))
