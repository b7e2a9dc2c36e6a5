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
