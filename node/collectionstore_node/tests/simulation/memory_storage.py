"""A data directory on the simulated disk: the real log, state, snapshots and tail marker over `MemoryRocks`.

What survives what:

| event | WAL not synced | tail marker | spool |
|---|---|---|---|
| the process is killed | survives: the kernel has it | as written | emptied at the next start |
| the power is lost | any beginning of it survives | as written: each write is synced | emptied at the next start |
| a sync reports an error | any beginning of it survives | as written | emptied at the next start |
| the disk is short of space | survives | as written | emptied at the next start |
| the disk is full, reserve and all | survives | as written | emptied at the next start |
| a bit rots in the log | the next start refuses | | |
| the tail marker rots | the next start refuses | | |
| the disk is lost | gone | gone | gone |
"""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from collectionstore_node.errors import DataDirectoryRefused
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.sealed_files import open_plain
from collectionstore_node.space import Room, SpaceLimits
from collectionstore_node.storage.corruption import Corrupted
from collectionstore_node.storage.database import Database
from collectionstore_node.storage.failstop import FailStop
from collectionstore_node.storage.identity import Identity
from collectionstore_node.storage.quarantine import check_not_quarantined
from collectionstore_node.storage.reserve import Reserve
from collectionstore_node.storage.rocksdb.rocks import FIRST_STATE, LOG_FAMILY, NODE_FAMILY
from collectionstore_node.storage.rocksdb.tuning import Tuning
from collectionstore_node.storage.snapshots import ACTIVE_STATE, drop_inactive_states
from collectionstore_node.storage.tail_marker import TailMarker
from collectionstore_node.tests.simulation.memory_rocks import MemoryRocks, Pairs, RocksDisk

_IDENTITY_KEY: Final = b"identity"
TUNING: Final = Tuning(snapshot_chunk_bytes=4 << 10, log_cache_bytes=64 << 10)
"""Small, so that snapshots have several chunks and the log is read from the disk as well."""


LIMITS: Final = SpaceLimits(reserve_bytes=256 << 10, low_bytes=64 << 10, high_bytes=80 << 10)
"""As small as what the clients of a world write is to a real disk."""


class MemoryDisk:
    """The disk of one host: what is on it, and the one process that uses it."""

    def __init__(self, directory: Path) -> None:
        """`directory` holds what is a real file: the tail marker and the spool."""
        self.directory = directory
        self.identity: Identity | None = None
        self.rocks = RocksDisk()
        self.user: MemoryDatabase | None = None
        self.rotten = False
        """Whether something on it was damaged, so that a process that finds out refuses to start."""
        self.hit_while_opening = False
        """Whether a fault of the disk ended the last attempt to open the directory."""

    def open(self, cluster_id: str, name: str, node_id: NodeId) -> MemoryDatabase:
        """Return the data directory; an empty disk becomes the incarnation `node_id`.

        Raises `DataDirectoryRefused` when what is there is damaged.
        """
        self.release()
        self.hit_while_opening = False
        check_not_quarantined(self.directory)
        created = self.identity is None
        if self.identity is None:
            self._create(Identity(cluster_id, name, node_id))
        try:
            self.user = MemoryDatabase(self, created=created)
        except Corrupted as error:
            raise DataDirectoryRefused(str(error)) from error
        return self.user

    def release(self) -> None:
        """The process that used the disk is gone: nothing it still does reaches the disk."""
        if self.user is not None:
            self.user.failstop.close()
            self.user = None

    def lose_power(self, random: Random) -> int:
        """Keep a random beginning of what was not synced and return how many writes are lost."""
        self.release()
        return self.rocks.lose_power(random)

    def wipe(self) -> None:
        """Lose everything; what starts here next is another incarnation."""
        self.release()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.identity = None
        self.rocks = RocksDisk()
        self.rotten = False

    def rot_log(self, random: Random) -> bool:
        """Flip a bit of a stored entry and return whether there was one."""
        # What waits in the WAL may take away the very entry.
        self.rocks.sync()
        pairs = self.rocks.families.get(LOG_FAMILY, Pairs())
        items = pairs.items()
        if not items:
            return False
        self.rotten = True
        key, value = random.choice(items)
        at = random.randrange(len(value))
        pairs.put(key, value[:at] + bytes((value[at] ^ 1 << random.randrange(8),)) + value[at + 1 :])
        return True

    def rot_tail_marker(self) -> None:
        """Make both slots of the tail marker unreadable."""
        self.rotten = True
        path = self._tail_marker
        path.write_bytes(bytes(byte ^ 0x55 for byte in path.read_bytes()))

    @property
    def faulty(self) -> bool:
        """Whether the disk reports errors."""
        return self.rocks.faults.fail_sync or self.rocks.faults.full

    def mend(self) -> None:
        """Report no errors any more."""
        self.rocks.faults.fail_sync = self.rocks.faults.full = False
        self.rocks.faults.available_bytes = None

    @property
    def _tail_marker(self) -> Path:
        return self.directory / "WITNESS"

    def _create(self, identity: Identity) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        node = Pairs()
        node.put(_IDENTITY_KEY, msgspec.msgpack.encode(identity))
        node.put(ACTIVE_STATE, FIRST_STATE.encode())
        self.rocks.families = {NODE_FAMILY: node, LOG_FAMILY: Pairs(), FIRST_STATE: Pairs()}
        TailMarker.create(self._tail_marker, identity.node_id)
        self.identity = identity


class MemoryDatabase(Database):
    """`Database` on a `MemoryDisk`: opened and verified by the same steps, without directories and locks."""

    def __init__(self, disk: MemoryDisk, *, created: bool) -> None:
        """Read and verify what is on the disk. Raises `Corrupted`."""
        if disk.identity is None:
            raise Corrupted("There is no identity.")
        self.path = disk.directory
        self.identity = disk.identity
        self.created = created
        self.tuning = TUNING
        self.spool = disk.directory / "spool"
        self.open_file = open_plain
        self.reserve = Reserve(disk.directory, LIMITS, lambda _: 1 << 30)
        self._disk = disk.rocks
        self.failstop = FailStop()
        self._closed = False
        self._tail_marker = TailMarker(disk.directory / "WITNESS", self.identity.node_id, self.failstop)
        try:
            self.rocks = MemoryRocks(disk.rocks, self.failstop)
            self.state, self.log = self._read(self.rocks, self.failstop)
            drop_inactive_states(self.rocks, self.state.family)
            self.log.adopt_snapshot_term()
            self.log.sync()
            shutil.rmtree(self.spool, ignore_errors=True)
            self.spool.mkdir()
        except BaseException:
            disk.hit_while_opening = "rocks" in vars(self) and self.hit
            self._tail_marker.close()
            raise

    def close(self) -> None:
        """Sync, unless the disk failed or was taken away, and let go of the tail_marker."""
        if self._closed:
            return
        self._closed = True
        try:
            if not self.failstop.failed:
                self.log.sync()
        finally:
            self.failstop.close()
            self._tail_marker.close()

    def raise_level(self, level: int) -> None:
        """Every program of a world supports the same levels."""

    def room(self) -> Room:
        """Return what is free; everything else is as if the disk were large."""
        left = self._disk.faults.available_bytes
        return Room(1 << 30 if left is None else left, self._disk.reserve_bytes, self.disk_bytes())

    def restore_reserve(self) -> bool:
        """Reserve the space again if there is plenty."""
        if self._disk.faults.available_bytes is None:
            self._disk.reserve_bytes = LIMITS.reserve_bytes
        return self._disk.reserve_bytes == LIMITS.reserve_bytes

    def reclaim_space(self) -> None:
        """Free the space of what was deleted."""
        freed, self._disk.freed_bytes = self._disk.freed_bytes, 0
        if self._disk.faults.available_bytes is not None:
            self._disk.faults.available_bytes += freed

    def missing_bytes(self, snapshot_bytes: int) -> int:
        """Return how much is missing to receive and install a snapshot."""
        return max(0, 2 * snapshot_bytes - self.room().free_bytes(LIMITS))

    def disk_bytes(self) -> int:
        """Return the bytes of all keys and values."""
        return sum(len(key) + len(value) for pairs in self.rocks_view().values() for key, value in pairs.items())

    @property
    def hit(self) -> bool:
        """Whether an injected fault of the disk was met."""
        return isinstance(self.rocks, MemoryRocks) and self.rocks.hit

    def rocks_view(self) -> dict[str, Pairs]:
        """Return the column families as written."""
        if not isinstance(self.rocks, MemoryRocks):
            raise TypeError("another database is open")
        return self.rocks.view
