"""RocksDB as this node uses it: opening, column families, writing without a sync, and syncing for a group.

Column families: `log` holds entries by index, `node` a handful of records about this node, `state-<n>` the state
machine; a snapshot install fills a new `state-<n>` and then switches to it.

Invariants:
- `write(sync=True)` is never used: measured, it holds the GIL through the fsync, where `flush_wal(True)` releases it;
- every batch carries a number, and the numbers found at a start have no hole among the newest. RocksDB replays a WAL
  behind one that lost its end on a record's boundary, which would leave the middle out (options.h and HISTORY.md of
  RocksDB say so); of closed and synced WALs it knows the size, the numbers cover those not synced yet.
"""

from __future__ import annotations

import enum
import struct
from pathlib import Path
from typing import Final

from rocksdict import AccessType, ColumnFamily, Options, Rdict, WriteBatch, WriteOptions

from collectionstore_node.storage.corruption import Corrupted
from collectionstore_node.storage.failstop import FailStop
from collectionstore_node.storage.rocksdb.family import Family
from collectionstore_node.storage.rocksdb.tuning import FamilyOptions, Tuning, WalRecovery, database_options

NODE_FAMILY: Final = "node"
LOG_FAMILY: Final = "log"
STATE_PREFIX: Final = "state-"
FIRST_STATE: Final = STATE_PREFIX + "1"
STATE_KIND: Final = "state"
_KINDS: Final = (LOG_FAMILY, NODE_FAMILY, STATE_KIND)

UNSYNCED_BATCHES_MAX: Final = 256
"""More batches than this are never in the WAL without a sync; the numbers of so many are kept."""

_DEFAULT_FAMILY: Final = "default"
_NUMBER = struct.Struct(">Q")
_NUMBER_KEYS: Final = tuple(b"batch/%03d" % slot for slot in range(UNSYNCED_BATCHES_MAX))


class OpenMode(enum.Enum):
    """For what a database is opened."""

    CREATE = enum.auto()
    """Make a new one."""
    READ_WRITE = enum.auto()
    """Use it, if the WAL is whole but for a torn last record."""
    READ_ONLY = enum.auto()
    """Look at what lies before the first damage in the WAL; change nothing."""
    TRUNCATE_WAL = enum.auto()
    """Use what lies before the first damage in the WAL, and delete the rest."""


class WalCorrupted(Corrupted):
    """RocksDB found damage while it opened."""


class Rocks:
    """One open RocksDB. Every error of it is latched in `failstop` and raised as `StorageFailed`.

    Writes come from one thread at a time; `sync_wal` may run in another meanwhile.
    """

    def __init__(self, path: Path, tuning: Tuning, failstop: FailStop, opening: OpenMode) -> None:
        """Open the database. Raises `Corrupted` when it is damaged, `StorageFailed` on an I/O error."""
        self.path = path
        self._failstop = failstop
        self._family_options = FamilyOptions(tuning)
        cut = opening in (OpenMode.READ_ONLY, OpenMode.TRUNCATE_WAL)
        recovery = WalRecovery.POINT_IN_TIME if cut else WalRecovery.TOLERATE_TORN_TAIL
        options = database_options(tuning, recovery, create=opening is OpenMode.CREATE)
        # False: read what is in the WAL too.
        access = AccessType.read_only(False) if opening is OpenMode.READ_ONLY else AccessType.read_write()  # noqa: FBT003
        try:
            if opening is OpenMode.CREATE:
                names = [NODE_FAMILY, LOG_FAMILY, FIRST_STATE]
            else:
                names = [name for name in Rdict.list_cf(str(path), options) if name != _DEFAULT_FAMILY]
            self._db = Rdict(str(path), options, {name: self._options_of(name) for name in names}, access)
            self._families = {name: self._attach(name) for name in names}
        except Exception as error:  # rocksdict raises nothing more specific
            if str(error).startswith("IO error"):
                raise failstop.fail(f"open {path}", error) from error
            raise WalCorrupted(f"RocksDB refuses to open ({error}).") from error
        try:
            self._node = self.family(NODE_FAMILY)
            self._number = self._synced_number = self._last_number()
        except BaseException:
            self.close()
            raise

    def family(self, name: str) -> Family:
        """Return an existing column family. Raises `Corrupted` when there is none of that name."""
        family = self._families.get(name)
        if family is None:
            raise Corrupted(f"The column family {name!r} is missing.")
        return family

    def state_names(self) -> tuple[str, ...]:
        """Return the names of all state families, the active one and leftovers of interrupted installs."""
        return tuple(sorted(name for name in self._families if name.startswith(STATE_PREFIX)))

    def create_state(self) -> Family:
        """Create an empty state family under a name not in use."""
        self._failstop.check()
        number = 1 + max((int(name.removeprefix(STATE_PREFIX)) for name in self.state_names()), default=0)
        name = f"{STATE_PREFIX}{number}"
        try:
            self._db.create_column_family(name, self._options_of(name))
            family = self._families[name] = self._attach(name)
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._failstop.fail("create a column family", error) from error
        return family

    def drop(self, name: str) -> None:
        """Delete a family with everything in it; its files go in the background."""
        self._failstop.check()
        try:
            self._db.drop_column_family(name)
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._failstop.fail("drop a column family", error) from error
        try:
            self._families.pop(name).close()
        except Exception:
            pass  # rocksdict flushes what it closes, and what was dropped cannot be flushed

    def batch(self, family: Family) -> WriteBatch:
        """Return an empty batch that writes to `family` unless told otherwise."""
        self._failstop.check()
        batch = WriteBatch(raw_mode=True)
        batch.set_default_column_family(family.handle)
        return batch

    def write(self, batch: WriteBatch) -> None:
        """Write all of `batch` or nothing, to the memtables and, unsynced, to the WAL."""
        self._failstop.check()
        if self._number - self._synced_number >= UNSYNCED_BATCHES_MAX:
            self.sync_wal()
        number = self._number + 1
        batch.put(_NUMBER_KEYS[number % UNSYNCED_BATCHES_MAX], _NUMBER.pack(number), self._node.handle)
        try:
            self._db.write(batch)
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._failstop.fail("write", error) from error
        self._number = number

    def write_unlogged(self, batch: WriteBatch) -> None:
        """Write to the memtables only; lost in a crash unless a flush of the family follows."""
        self._failstop.check()
        options = WriteOptions()
        # The stub says it is a method; it is a property.
        options.disable_wal = True  # type: ignore[method-assign,assignment]
        try:
            self._db.write(batch, options)
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._failstop.fail("write", error) from error

    def sync_wal(self) -> None:
        """Make durable everything written before this call began. Blocks, without the GIL."""
        self._failstop.check()
        number = self._number
        try:
            self._db.flush_wal(True)  # noqa: FBT003 - positional in the binding: sync
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._failstop.fail("sync the WAL", error) from error
        self._synced_number = max(self._synced_number, number)

    def int_property(self, name: str) -> int:
        """Return an integer property of the whole database; 0 when RocksDB does not know it."""
        self._failstop.check()
        return self._db.property_int_value(name) or 0

    def property_by_kind(self, name: str) -> dict[str, int]:
        """Return an integer property of each kind of family, of the state families their sum; from any thread."""
        found = dict.fromkeys(_KINDS, 0)
        for own_name, family in tuple(self._families.items()):
            try:
                value = family.int_property(name)
            except Exception:  # rocksdict raises nothing more specific
                if own_name in self._families:
                    raise
                continue  # it was dropped meanwhile: there is nothing of it to count
            found[STATE_KIND if own_name.startswith(STATE_PREFIX) else own_name] += value
        return found

    def close(self) -> None:
        """Sync, flush and close. After an error nothing can be saved and nothing is reported again."""
        failed = self._failstop.failed
        self._failstop.close()
        errors: list[Exception] = []
        for close in [*(family.close for family in self._families.values()), self._db.close]:
            try:
                close()
            except Exception as error:  # rocksdict raises nothing more specific
                errors.append(error)
        self._families.clear()
        if errors and not failed:
            raise self._failstop.fail("close", errors[0])

    def _last_number(self) -> int:
        """Return the number of the newest batch. Raises `Corrupted` when one before it is missing."""
        found = {_NUMBER.unpack(value)[0] for key in _NUMBER_KEYS if (value := self._node.get(key)) is not None}
        last = max(found, default=0)
        missing = set(range(max(1, last - UNSYNCED_BATCHES_MAX + 1), last + 1)) - found
        if missing:
            raise Corrupted(f"Writes {min(missing)} to {max(missing)} of {last} are missing.")
        return last

    def _attach(self, name: str) -> Family:
        handle: ColumnFamily = self._db.get_column_family_handle(name)
        return Family(name, self._db.get_column_family(name), handle, self._failstop)

    def _options_of(self, name: str) -> Options:
        if name == NODE_FAMILY:
            return self._family_options.node()
        return self._family_options.log() if name == LOG_FAMILY else self._family_options.state()
