"""The port to a data directory. `storage.Database` implements it; simulations put a faulty disk in its place."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from collectionstore_node.raft.log_reader import LogReader
from collectionstore_node.raft.messages import Entry, HardState, NodeId, SnapshotMetadata
from collectionstore_node.sealed_files import OpenFile
from collectionstore_node.space import Room, SpaceLimits
from collectionstore_node.statemachine.header import Header
from collectionstore_node.statemachine.view import View, Writes


class MemberIdentity(Protocol):
    """The member that a data directory belongs to."""

    @property
    def cluster_id(self) -> str:
        """ID of the cluster."""

    @property
    def name(self) -> str:
        """Name of the member; its certificate carries it."""

    @property
    def node_id(self) -> NodeId:
        """The incarnation: drawn at random when the directory was created."""


class ExportedSnapshot(Protocol):
    """A finished snapshot file."""

    @property
    def path(self) -> Path:
        """The file; the caller of `export_snapshot` deletes it."""

    @property
    def metadata(self) -> SnapshotMetadata:
        """The last entry it covers, and the configuration applied there."""

    @property
    def size_bytes(self) -> int:
        """Size of the file."""


class StreamedState(Protocol):
    """The state at one applied index, as a stream of bytes."""

    @property
    def metadata(self) -> SnapshotMetadata:
        """The last entry it covers, and the configuration applied there."""

    @property
    def header(self) -> Header:
        """The header of the state there."""

    @property
    def pieces(self) -> Generator[bytes, None, None]:
        """The bytes of a snapshot file. Each blocks for a bounded read; for a thread, and so is `close`."""


class Log(LogReader, Protocol):
    """The stored log. `sync`, `sync_entries`, `sync_marker` and `reclaim` block and run in threads; the rest is for
    the event loop.

    Every method raises `StorageFailed` at and after the first error of the disk.
    """

    @property
    def size_bytes(self) -> int:
        """Approximate bytes of the entries kept."""

    def hard_state(self) -> HardState:
        """Return the hard state appended last, durable or not."""

    def append(self, entries: Sequence[Entry], hard_state: HardState | None) -> None:
        """Write both without a sync; a conflicting suffix is replaced."""

    def sync(self) -> None:
        """Sync what was appended before the call, then the tail marker."""

    def sync_entries(self) -> None:
        """Sync what was appended before the call; the tail marker follows with `sync_marker`."""

    def sync_marker(self) -> bool:
        """Advance the tail marker to what is durable; return whether it was behind."""

    def compact(self, to: SnapshotMetadata) -> None:
        """Drop the entries up to `to.index`, which is applied."""

    @property
    def reclaimable_bytes(self) -> int:
        """Approximate bytes of compacted entries that still occupy the disk."""

    def reclaim(self) -> None:
        """Reclaim them. Blocks; for a thread."""


class State(View, Protocol):
    """The state machine's data and how far it is applied, which change together."""

    @property
    def applied(self) -> SnapshotMetadata:
        """The last applied entry and the configuration there."""

    @property
    def reader(self) -> View:
        """The same for requests of clients: a scan that meets too many deleted keys raises `ManyDeleted`."""

    def reclaim(self, lo: bytes, hi: bytes) -> None:
        """Drop what is left of deleted keys in `[lo, hi)`. Blocks; for a thread."""

    def commit(self, writes: Writes, applied: SnapshotMetadata) -> None:
        """Store both in one batch, without a sync: the log can replay it."""


class Storage(Protocol):
    """A data directory."""

    @property
    def identity(self) -> MemberIdentity:
        """The member that the data belongs to."""

    @property
    def log(self) -> Log:
        """The Raft log and the hard state."""

    @property
    def state(self) -> State:
        """The state machine."""

    @property
    def path(self) -> Path:
        """Path of the directory."""

    @property
    def spool(self) -> Path:
        """A folder for snapshot files in transfer."""

    @property
    def open_file(self) -> OpenFile:
        """Opens the files in it."""

    def raise_level(self, level: int) -> None:
        """Make programs that do not support a feature level refuse the directory, durably. Blocks for a sync.

        Raises `StorageFailed`.
        """

    def quarantine(self, reason: str) -> None:
        """Mark the directory durably, so that no process starts on it again; `reason` is shown to operators.

        Raises `StorageFailed`.
        """

    @property
    def space_limits(self) -> SpaceLimits:
        """When this member is short of space."""

    def missing_bytes(self, snapshot_bytes: int) -> int:
        """Return how much space is missing to receive and install a snapshot file of this size; 0 if none."""

    def room(self) -> Room:
        """Return what is free, reserved and used. Raises `StorageFailed`."""

    def restore_reserve(self) -> bool:
        """Reserve space again and return whether it is held. Blocks; for a thread. Raises `StorageFailed`."""

    def reclaim_space(self) -> None:
        """Free the space of what was deleted. Blocks; for a thread. Raises `StorageFailed`."""

    def disk_bytes(self) -> int:
        """Return the bytes of all files."""

    def family_property(self, name: str) -> Mapping[str, int]:
        """Return a property of RocksDB of each kind of family: log, node and state. For a thread."""

    def index_entries(self) -> int:
        """Return the number of entries of all indexes; blocks for a read of each index."""

    def whole_property(self, name: str) -> int:
        """Return a property of the whole RocksDB. For a thread."""

    def export_snapshot(self, directory: Path) -> ExportedSnapshot:
        """Write the state as of now to a file in `directory`. Blocks; for a thread."""

    def stream_snapshot(self) -> StreamedState:
        """Return the state as of now as a stream, which holds its view open until it is closed.

        Blocks; for a thread.
        """

    def install_snapshot(self, path: Path, hard_state: HardState | None) -> None:
        """Replace state and log by a verified file, and term and vote if given, all or nothing.

        Blocks; for a thread.
        """
