"""One open RocksDB: column families, unsynced atomic writes, and one sync for a group of them.

Column families: `log` holds entries by index, `node` a few records about this node, `state-<n>` the state machine; a
snapshot install fills a new `state-<n>` and then switches to it.

Invariants:
- `write(sync=True)` is never used: measured, it holds the GIL during the fsync, while `flush_wal(True)` releases it;
- every batch carries a number, and the newest numbers found at a start have no gap. If a WAL file lost its end on a
  record boundary, RocksDB still replays the file after it, without the writes in between (options.h, HISTORY.md).
  `track_and_verify_wals_in_manifest` detects that for closed and synced WAL files; the numbers cover the others.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rocksdict import AccessType, ColumnFamily, Options, Rdict, WriteBatch, WriteOptions

from collectionstore_node.storage.corruption import Corrupted
from collectionstore_node.storage.encryption.sealing import DataKeys
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
"""Never more unsynced batches than this, as only so many numbers are kept to verify."""

_LOG_VALUES: Final = b"l"
_STATE_VALUES: Final = b"s"
"""What a sealed value is of; whichever state family it is in."""
_DEFAULT_FAMILY: Final = "default"
_NUMBER = struct.Struct(">Q")
_NUMBER_KEYS: Final = tuple(b"batch/%03d" % slot for slot in range(UNSYNCED_BATCHES_MAX))


class OpenMode(enum.Enum):
    """How a database is opened."""

    CREATE = enum.auto()
    """Create a new one."""
    READ_WRITE = enum.auto()
    """Open for use. A torn last WAL record is tolerated, any other corruption of the WAL is refused."""
    READ_ONLY = enum.auto()
    """Open the part before the first corruption of the WAL, without writing."""
    TRUNCATE_WAL = enum.auto()
    """Open the part before the first corruption of the WAL for use, and delete the rest."""


class WalCorrupted(Corrupted):
    """RocksDB refused to open because of corruption."""


class Rocks:
    """One open RocksDB. Every error is latched in `failstop` and raised as `StorageFailed`.

    One thread writes at a time; `sync_wal` may run concurrently in another.
    """

    def __init__(
        self,
        path: Path,
        tuning: Tuning,
        failstop: FailStop,
        opening: OpenMode,
        before_write: Callable[[], None] | None = None,
        keys: DataKeys | None = None,
    ) -> None:
        """Open the database; `before_write` is called before each batch, and may raise `OSError`.

        `keys` seal the values of log and state, if they are encrypted.

        Raises `Corrupted` if the database is corrupt, `StorageFailed` on an I/O error.
        """
        self.path = path
        self._failstop = failstop
        self._keys = keys
        self._before_write = before_write or _nothing
        self._family_options = FamilyOptions(tuning)
        cut = opening in (OpenMode.READ_ONLY, OpenMode.TRUNCATE_WAL)
        recovery = WalRecovery.POINT_IN_TIME if cut else WalRecovery.TOLERATE_TORN_TAIL
        options = database_options(tuning, recovery, self._family_options.cache, create=opening is OpenMode.CREATE)
        # False = error_if_log_file_exist: a read-only open must replay the WAL too.
        access = AccessType.read_only(False) if opening is OpenMode.READ_ONLY else AccessType.read_write()  # noqa: FBT003
        try:
            if opening is OpenMode.CREATE:
                names = [NODE_FAMILY, LOG_FAMILY, FIRST_STATE]
            else:
                names = [name for name in Rdict.list_cf(str(path), options) if name != _DEFAULT_FAMILY]
            self._db = Rdict(str(path), options, {name: self._options_of(name) for name in names}, access)
            self._families = {name: self._attach(name) for name in names}
        except Exception as error:  # rocksdict raises nothing more specific
            # An I/O error says nothing about the data; only the text of the exception distinguishes it from corruption.
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
        """Return an existing column family. Raises `Corrupted` if there is none of that name."""
        family = self._families.get(name)
        if family is None:
            raise Corrupted(f"The column family {name!r} is missing.")
        return family

    def state_names(self) -> tuple[str, ...]:
        """Return the names of all state families: the active one and those of interrupted installs."""
        return tuple(sorted(name for name in self._families if name.startswith(STATE_PREFIX)))

    def create_state(self) -> Family:
        """Create an empty state family under an unused name."""
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
        """Drop a family with all its data; RocksDB deletes the files in the background."""
        self._failstop.check()
        try:
            self._db.drop_column_family(name)
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._failstop.fail("drop a column family", error) from error
        try:
            self._families.pop(name).close()
        except Exception:
            pass  # `close` flushes, and flushing a dropped family fails; there is nothing left to lose

    def batch(self, family: Family) -> WriteBatch:
        """Return an empty batch whose default family is `family`."""
        self._failstop.check()
        batch = WriteBatch(raw_mode=True)
        batch.set_default_column_family(family.handle)
        return batch

    def write(self, batch: WriteBatch) -> None:
        """Write `batch` atomically, to the memtables and, unsynced, to the WAL."""
        self._failstop.check()
        # BEFORE the number of an unsynced batch would overwrite the slot of another unsynced one: a gap between the two
        # could then no longer be seen.
        if self._number - self._synced_number >= UNSYNCED_BATCHES_MAX:
            self.sync_wal()
        number = self._number + 1
        batch.put(_NUMBER_KEYS[number % UNSYNCED_BATCHES_MAX], _NUMBER.pack(number), self._node.handle)
        try:
            self._before_write()
            self._db.write(batch)
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._failstop.fail("write", error) from error
        # AFTER the write: the number of a failed one is not used again, as the process stops.
        self._number = number

    def write_unlogged(self, batch: WriteBatch) -> None:
        """Write to the memtables only; a crash loses it unless the family is flushed."""
        self._failstop.check()
        options = WriteOptions()
        # A method by the type stub, a property in fact.
        options.disable_wal = True  # type: ignore[method-assign,assignment]
        try:
            self._before_write()
            self._db.write(batch, options)
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._failstop.fail("write", error) from error

    def sync_wal(self) -> None:
        """Make everything written before this call durable. Blocks, without the GIL."""
        self._failstop.check()
        # BEFORE the sync: batches written while it runs are not covered.
        number = self._number
        try:
            self._db.flush_wal(True)  # noqa: FBT003 - positional in the binding: sync
        except Exception as error:  # rocksdict raises nothing more specific
            raise self._failstop.fail("sync the WAL", error) from error
        # The maximum: syncs of two threads may complete in either order.
        self._synced_number = max(self._synced_number, number)

    def flush_all(self) -> None:
        """Flush all families, after which no WAL file has anything that a table file does not. Blocks."""
        for family in self._families.values():
            family.flush()

    def int_property(self, name: str) -> int:
        """Return an integer property of the whole database; 0 if RocksDB has no such property."""
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
                continue  # dropped since the iteration began
            found[STATE_KIND if own_name.startswith(STATE_PREFIX) else own_name] += value
        return found

    def close(self) -> None:
        """Sync, flush and close. After an error nothing is written, and the error is not raised again."""
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
        """Return the number of the newest batch. Raises `Corrupted` if one before it is missing."""
        found = {_NUMBER.unpack(value)[0] for key in _NUMBER_KEYS if (value := self._node.get(key)) is not None}
        last = max(found, default=0)
        missing = set(range(max(1, last - UNSYNCED_BATCHES_MAX + 1), last + 1)) - found
        if missing:
            raise Corrupted(f"Writes {min(missing)} to {max(missing)} of {last} are missing from the WAL.")
        return last

    def _attach(self, name: str) -> Family:
        handle: ColumnFamily = self._db.get_column_family_handle(name)
        # What is of this node alone, as its term and vote, is no secret.
        keys = None if name == NODE_FAMILY else self._keys
        kind = _LOG_VALUES if name == LOG_FAMILY else _STATE_VALUES
        return Family(name, self._db.get_column_family(name), handle, self._failstop, keys, kind)

    def _options_of(self, name: str) -> Options:
        if name == NODE_FAMILY:
            return self._family_options.node()
        return self._family_options.log() if name == LOG_FAMILY else self._family_options.state()


def _nothing() -> None:
    """Do nothing before a write: there is no reserve."""
