"""A data directory: opened, verified and owned by one process; the log and the state machine are inside."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Final

import msgspec
import structlog

from collectionstore_node.errors import DataDirectoryRefused, ReadTimedOut, StorageFailed
from collectionstore_node.raft.messages import HardState
from collectionstore_node.sealed_files import OpenFile, SealedFiles, open_plain
from collectionstore_node.space import NO_LIMITS, Room, SpaceLimits
from collectionstore_node.statemachine.index_catalog import entries_of_all
from collectionstore_node.storage.corruption import Corrupted
from collectionstore_node.storage.directory_lock import LOCK_FILE, DirectoryLock
from collectionstore_node.storage.durable_file import sync_directory, write_file
from collectionstore_node.storage.encryption.ring import KeyRing, open_ring
from collectionstore_node.storage.encryption.sources import KeySource
from collectionstore_node.storage.failstop import FailStop
from collectionstore_node.storage.identity import (
    IDENTITY_FILE,
    Identity,
    check_owner,
    new_identity,
    read_identity,
    write_identity,
)
from collectionstore_node.storage.log_store import LogStore
from collectionstore_node.storage.quarantine import check_not_quarantined, quarantine
from collectionstore_node.storage.resealing import reseal
from collectionstore_node.storage.reserve import FULL, Reserve
from collectionstore_node.storage.rocksdb.rocks import (
    FIRST_STATE,
    LOG_FAMILY,
    NODE_FAMILY,
    OpenMode,
    Rocks,
    WalCorrupted,
)
from collectionstore_node.storage.rocksdb.tuning import Tuning
from collectionstore_node.storage.snapshot_file import SnapshotFile
from collectionstore_node.storage.snapshots import (
    ACTIVE_STATE,
    StateStream,
    drop_inactive_states,
    export_snapshot,
    install_snapshot,
    stream_snapshot,
)
from collectionstore_node.storage.state_store import StateStore
from collectionstore_node.storage.tail_marker import TailMarker

ROCKS: Final = "rocks"
TAIL_MARKER: Final = "WITNESS"
_SPOOL: Final = "spool"
RECOVERING: Final = "RECOVERING"
"""Exists while a recovery rewrites the directory; see the room `recovery`."""
_CREATING: Final = "CREATING"
IDENTITY_KEY: Final = b"identity"
"""Key, in the node family, of the identity that the database belongs to."""
_IGNORED: Final = frozenset({LOCK_FILE, "lost+found"})
"""Names that may exist in a directory that counts as empty."""

_ADVICE: Final = (
    "Entries that this node acknowledged may be lost, so it must not vote. Do not repair the directory: remove the "
    "member from the cluster and start it again on an empty directory; the leader sends it a snapshot."
)

USED_S: Final = 1.0
"""Measuring the size of the database asks the kernel for every file."""
SEALING_COPIES: Final = 2
"""How often all data is on the disk at most while it is encrypted, beside what was there before."""
_OPENING_BYTES: Final = 4 << 20
"""A new WAL, manifest and text log, and the files beside RocksDB."""

_DEFAULT_TUNING: Final = Tuning()


class Database:
    """An open data directory. Make one with `open`."""

    def __init__(
        self,
        path: Path,
        identity: Identity,
        tuning: Tuning,
        lock: DirectoryLock,
        reserve: Reserve,
        *,
        created: bool,
        source: KeySource | None = None,
    ) -> None:
        """Open a directory whose owner was checked. `source` has the key of its data keys, if it is encrypted.

        Raises `Corrupted`, `DataDirectoryRefused` or `StorageFailed`.
        """
        self.path = path
        self.identity = identity
        self.created = created
        """Whether the directory was empty: this is a new incarnation."""
        self.tuning = tuning
        self.spool = path / _SPOOL
        """For snapshot files in transfer; emptied at every start."""
        self._lock = lock
        self.reserve = reserve
        self._used = (float("-inf"), 0)
        """When the size of all files was measured last, and what it was."""
        self._closed = False
        self.failstop = FailStop()
        self._tail_marker = TailMarker(path / TAIL_MARKER, identity.node_id, self.failstop)
        try:
            # BEFORE RocksDB opens: on a full disk it may need what an unfinished transfer left behind.
            _empty(self.spool)
            ring = open_ring(path, source)
            self._keys = None if ring is None else ring.keys
            self.open_file: OpenFile = open_plain if ring is None else SealedFiles().open
            """Opens files of snapshots in transfer."""
            self.rocks = self._open_rocks()
            try:
                self.state, self.log = self._read(self.rocks, self.failstop)
                drop_inactive_states(self.rocks, self.state.family)
                self.log.adopt_snapshot_term()
                # BEFORE the core starts, which takes everything that it reads for durable. The previous process may
                # have been killed between a write and its sync: what was replayed is only in the page cache until now.
                self.log.sync()
                if ring is not None and ring.resealing:
                    self._reseal(ring)
            except BaseException:
                self.rocks.close()
                raise
        except BaseException:
            self._tail_marker.close()
            raise

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        cluster_id: str,
        name: str,
        tuning: Tuning = _DEFAULT_TUNING,
        limits: SpaceLimits = NO_LIMITS,
        source: KeySource | None = None,
    ) -> Database:
        """Open the data directory of member `name`; create it if the directory is empty or missing.

        With a `source` of keys it is encrypted from now on, whatever it was before. All that is in it is sealed before
        this returns, which rewrites it.

        A reserve of `limits` that an earlier process held is given back if the disk is full, so that it can be opened.

        Raises `DataDirectoryRefused` if it belongs to another member or cluster, is corrupt, quarantined, or in use by
        another process; `StorageFailed` on an I/O error. Nothing is repaired.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = DirectoryLock(path)
        except OSError as error:
            raise StorageFailed(f"open {path}: {error}") from error
        try:
            # FIRST of all that writes: on a full disk nothing else can be done before.
            reserve = Reserve(path, limits)
            reserve.give_back(needed_to_open(path))
            lock.name_holder()
            identity = read_identity(path)
            created = identity is None
            if identity is None:
                identity = _create(path, cluster_id, name, tuning)
            check_owner(path, identity, cluster_id=cluster_id, name=name)
            check_not_quarantined(path)
            _check_not_recovering(path)
            (path / _CREATING).unlink(missing_ok=True)
            return cls(path, identity, tuning, lock, reserve, created=created, source=source)
        except Corrupted as error:
            lock.release()
            raise DataDirectoryRefused(f"The data directory {path} is corrupt. {error} {_ADVICE}") from error
        except BaseException as error:
            lock.release()
            if isinstance(error, OSError):
                raise StorageFailed(f"open {path}: {error}") from error
            if isinstance(error, StorageFailed) and "Corruption" in str(error):
                raise DataDirectoryRefused(f"The data directory {path} is corrupt: {error}. {_ADVICE}") from error
            raise

    def close(self) -> None:
        """Sync and close; idempotent. No other use may be in progress; after an error nothing is written."""
        if self._closed:
            return
        self._closed = True
        try:
            if not self.failstop.failed:
                self.log.sync()
        finally:
            self._tail_marker.close()
            try:
                self.rocks.close()
            finally:
                self._lock.release()

    def _open_rocks(self) -> Rocks:
        """Open RocksDB. A corrupt WAL is truncated only if all that this node acknowledged precedes the corruption.

        A power loss may leave the unsynced end of the WAL with zeros in place of data. To RocksDB that is corruption,
        yet nothing durable is lost. The tail marker shows whether that is the case.
        """
        directory, keys = self.path / ROCKS, self._keys
        try:
            return Rocks(directory, self.tuning, self.failstop, OpenMode.READ_WRITE, self.reserve.before_write, keys)
        except WalCorrupted as damage:
            # Read-only first: RocksDB truncates the WAL as it opens for writing, and a directory that is refused must
            # stay as it was found, for a later examination.
            failstop = FailStop()
            try:
                examined = Rocks(directory, self.tuning, failstop, OpenMode.READ_ONLY, keys=keys)
                try:
                    self._read(examined, failstop)
                finally:
                    examined.close()
            except Corrupted as loss:
                raise Corrupted(f"{damage} In the part before: {loss}") from loss
            structlog.get_logger().warning("storage.tail_cut", path=str(directory), reason=str(damage))
        return Rocks(directory, self.tuning, self.failstop, OpenMode.TRUNCATE_WAL, self.reserve.before_write, keys)

    def _reseal(self, ring: KeyRing) -> None:
        log = structlog.get_logger()
        families = (self.state.family, self.rocks.family(LOG_FAMILY))
        # Twice: as it is written, and as a compaction writes it again. What is sealed cannot be compressed.
        needed, free = SEALING_COPIES * sum(one.raw_bytes() for one in families), self.reserve.available_bytes()
        if ring.first and needed > free:
            # There is a way back only now, as nothing is sealed yet.
            ring.withdraw()
            raise DataDirectoryRefused(
                f"To encrypt {self.path} takes {needed} bytes, as encrypted data cannot be compressed, and {free} are "
                "free. Nothing was changed: make the volume larger, or start the node without encryption."
            )
        if needed > free:
            # Both keys open their values, and what is written from now on is sealed by the new one. The next start
            # tries again: in the middle of it the disk would be full, and no start would get further.
            log.error("storage.not_resealed", path=str(self.path), needed_bytes=needed, available_bytes=free)
            return
        log.info("storage.resealing", path=str(self.path), size_bytes=self.disk_bytes())
        count = reseal(self.rocks, families)
        # LAST: a WAL or table file with what another key has sealed is gone by now.
        ring.resealed()
        log.info("storage.resealed", path=str(self.path), values=count)

    def _read(self, rocks: Rocks, failstop: FailStop) -> tuple[StateStore, LogStore]:
        """Return the verified content of `rocks`, without writing. Raises `Corrupted`."""
        node = rocks.family(NODE_FAMILY)
        if node.get(IDENTITY_KEY) != msgspec.msgpack.encode(self.identity):
            raise Corrupted(f"{self.path / IDENTITY_FILE} and the database beside it belong to different nodes.")
        active = (node.get(ACTIVE_STATE) or b"").decode(errors="replace")
        state = StateStore(rocks, rocks.family(active))
        return state, LogStore(rocks, self._tail_marker, state, failstop, self.tuning.log_cache_bytes)

    def export_snapshot(self, directory: Path) -> SnapshotFile:
        """Export the current state to a file in `directory`; see `snapshots.export_snapshot`."""
        return export_snapshot(self, directory)

    def stream_snapshot(self) -> StateStream:
        """Return the current state as a stream of bytes; see `snapshots.stream_snapshot`."""
        return stream_snapshot(self)

    def install_snapshot(self, path: Path, hard_state: HardState | None = None) -> None:
        """Replace state machine and log by the snapshot in `path`; see `snapshots.install_snapshot`."""
        install_snapshot(self, path, hard_state)

    def raise_level(self, level: int) -> None:
        """Make programs that do not support a feature level refuse this directory, durably. Raises `StorageFailed`."""
        try:
            write_identity(self.path, self.identity, level)
        except OSError as error:
            raise self.failstop.fail("mark the data directory", error) from error

    def quarantine(self, reason: str) -> None:
        """Mark the directory so that it is refused from now on; see `quarantine`. Raises `StorageFailed`."""
        try:
            quarantine(self.path, reason)
        except OSError as error:
            raise self.failstop.fail("mark the data directory", error) from error

    @property
    def space_limits(self) -> SpaceLimits:
        """When this member is short of space."""
        return self.reserve.limits

    def missing_bytes(self, snapshot_bytes: int) -> int:
        """Return how much space is missing to receive and install a snapshot file of this size; 0 if none.

        The file and the new state lie beside the old state until the switch. Raises `OSError`.
        """
        limits = self.reserve.limits
        free = self.reserve.available_bytes() + self.reserve.held_bytes - limits.reserve_bytes
        return max(0, 2 * snapshot_bytes - free) if any(limits) else 0

    def room(self) -> Room:
        """Return what is free and reserved, and what was used at most USED_S ago. Raises `StorageFailed`."""
        try:
            now = time.monotonic()
            if now - self._used[0] >= USED_S:
                self._used = (now, self.disk_bytes())
            return Room(self.reserve.available_bytes(), self.reserve.held_bytes, self._used[1])
        except OSError as error:
            raise self.failstop.fail("measure the disk", error) from error

    def restore_reserve(self) -> bool:
        """Reserve space again, if there is enough, and return whether it is held. Blocks. Raises `StorageFailed`."""
        try:
            return self.reserve.restore()
        except OSError as error:
            if error.errno in FULL:
                return False  # taken by somebody else since it was measured; the next measurement sees that
            raise self.failstop.fail("reserve space", error) from error

    def reclaim_space(self) -> None:
        """Free the space of compacted entries and of deleted documents. Blocks, without the GIL.

        With too little space nothing is done: a flush or a compaction that runs out of it would stop RocksDB. Raises
        `StorageFailed`.
        """
        log, state = self.log, self.state
        if not log.reclaimable_bytes and not state.has_deleted:
            return
        memtables = sum(self.family_property("cur-size-all-mem-tables").values())
        try:
            if not self.reserve.give_back(memtables + memtables // 4 + _OPENING_BYTES):
                return
            if log.reclaimable_bytes and self.reserve.available_bytes() > memtables + log.size_bytes + _OPENING_BYTES:
                log.reclaim()
            state.reclaim_space(self.reserve.available_bytes)
        except OSError as error:
            raise self.failstop.fail("measure the disk", error) from error

    def disk_bytes(self) -> int:
        """Return the size of all files of RocksDB: table files, WAL, manifest and logs."""
        total = 0
        with os.scandir(self.rocks.path) as entries:
            for entry in entries:
                try:
                    total += entry.stat(follow_symlinks=False).st_size
                except FileNotFoundError:
                    pass  # removed by a compaction since the listing
        return total

    def family_property(self, name: str) -> dict[str, int]:
        """Return an integer property, named without `rocksdb.`, of each kind of family: log, node and state.

        State families that an install fills or drops count as state. Blocks for microseconds. Raises `StorageFailed`.
        """
        return self.rocks.property_by_kind(f"rocksdb.{name}")

    def index_entries(self) -> int:
        """Return the number of entries of all indexes, as they count them; blocks for a read of each index."""
        while True:
            family = self.state.family
            try:
                return entries_of_all(self.state)
            except ReadTimedOut:
                # From a thread, in which the state may be replaced at any moment; again, if that is why.
                if family is self.state.family:
                    raise

    def whole_property(self, name: str) -> int:
        """Return an integer property of the whole database, as `family_property`."""
        return self.rocks.int_property(f"rocksdb.{name}")


def needed_to_open(path: Path) -> int:
    """Return the space that opening needs at most: RocksDB writes its WAL to tables before it deletes it."""
    wal = sum(file.stat().st_size for file in (path / ROCKS).glob("*.log"))
    return _OPENING_BYTES + wal + wal // 4


def _check_not_recovering(path: Path) -> None:
    if (path / RECOVERING).exists():
        raise DataDirectoryRefused(
            f"{path} is being recovered, and the recovery is not complete. Start the node with the same "
            "COLLECTIONSTORE_RECOVER, or repeat the command `collectionstore-node recover`."
        )


def _create(path: Path, cluster_id: str, name: str, tuning: Tuning) -> Identity:
    """Initialize an empty directory."""
    present = {entry.name for entry in path.iterdir()} - _IGNORED
    marker = path / _CREATING
    if present and not marker.exists():
        raise DataDirectoryRefused(
            f"{path} is not empty, but has no {IDENTITY_FILE} file: it is not a data directory, or its identity was "
            "lost. Set COLLECTIONSTORE_DATA_DIR to this member's directory, or to an empty one for a new member."
        )
    # A crash before the end leaves this marker and no IDENTITY: the next start removes the remains and starts over. No
    # node ID of an unfinished directory was ever sent to another node.
    write_file(marker, b"This directory is being set up; nothing in it was used yet.\n")
    shutil.rmtree(path / ROCKS, ignore_errors=True)
    identity = new_identity(cluster_id, name)
    rocks = Rocks(path / ROCKS, tuning, FailStop(), OpenMode.CREATE)
    try:
        batch = rocks.batch(rocks.family(NODE_FAMILY))
        batch[IDENTITY_KEY] = msgspec.msgpack.encode(identity)
        batch[ACTIVE_STATE] = FIRST_STATE.encode()
        rocks.write(batch)
        rocks.sync_wal()
    finally:
        rocks.close()
    TailMarker.create(path / TAIL_MARKER, identity.node_id)
    sync_directory(path)
    sync_directory(path.parent)
    # LAST, and after everything else is durable: with IDENTITY present, a missing or empty part counts as lost data.
    write_identity(path, identity)
    return identity


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(exist_ok=True)
