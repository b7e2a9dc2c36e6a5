"""Every option of RocksDB that we set, and why; nothing else in this package makes `Options`.

Sized for small nodes, three on one laptop: a process of 100 to 150 MiB under load (measured), few files, two
background threads. What is not named here keeps RocksDB's default.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, Options

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_OPTIONS_DIRECTORY: Final = Path(__file__).parent / "options"


@dataclass(frozen=True, slots=True)
class Tuning:
    """Sizes that a deployment may want to change."""

    write_buffer_bytes: int = 16 * _MIB
    """One memtable. Measured: smaller ones make puts cheaper, larger ones make reads of recent data cheaper."""

    block_cache_bytes: int = 32 * _MIB
    """Uncompressed blocks of all column families together."""

    wal_bytes_max: int = 64 * _MIB
    """RocksDB flushes memtables when the WAL passes this; bounds what a restart replays."""

    open_files_max: int = 256
    """Table files that RocksDB keeps open."""

    log_cache_bytes: int = 16 * _MIB
    """The newest log entries kept in memory, so that replication does not read the disk."""

    snapshot_chunk_bytes: int = 256 * _KIB
    """Payload of a chunk of a snapshot file; one larger record makes one larger chunk."""


class WalRecovery(enum.Enum):
    """What opening does about damage in the WAL. The default of RocksDB is POINT_IN_TIME, without a word."""

    TOLERATE_TORN_TAIL = enum.auto()
    """Refuse, but for a torn record at the end of a file, which every crash may leave."""
    POINT_IN_TIME = enum.auto()
    """Stop before the first damage."""


def database_options(tuning: Tuning, recovery: WalRecovery, *, create: bool) -> Options:
    """Return the options of the database as a whole."""
    # The binding has no setter for `track_and_verify_wals_in_manifest`, but reads RocksDB's own options files. With
    # it, a WAL that was closed and synced and is shorter now is refused; without, what it lost is left out silently
    # and what came later replayed.
    options, _ = Options.load_latest(str(_OPTIONS_DIRECTORY))
    # Only a directory that we are setting up may be created: a lost CURRENT file must not become an empty database.
    options.create_if_missing(create)
    options.create_missing_column_families(create)

    # Whole records missing at the end look like a crash to every mode: the tail marker is for those.
    if recovery is WalRecovery.TOLERATE_TORN_TAIL:
        options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    else:
        options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    # In a recycled file old records follow the torn one, so the modes could not tell damage from the end.
    options.set_recycle_log_file_num(0)
    options.set_paranoid_checks(True)

    options.set_max_total_wal_size(tuning.wal_bytes_max)
    options.set_max_open_files(tuning.open_files_max)
    options.set_max_background_jobs(2)
    # All writes come from one thread: nothing to insert concurrently.
    options.set_allow_concurrent_memtable_write(False)
    # Smooths the write-out of large table files, so that an fsync of the WAL does not wait behind them.
    options.set_bytes_per_sync(_MIB)
    # RocksDB's own text log.
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(4 * _MIB)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    options.set_max_manifest_file_size(4 * _MIB)
    return options


class FamilyOptions:
    """Makes the options of column families, which share one block cache."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._cache = Cache(tuning.block_cache_bytes)

    def log(self) -> Options:
        """For entries: written once in order, read in order and rarely, deleted from the front."""
        options = self._common()
        options.set_compression_type(DBCompressionType.lz4())
        return options

    def state(self) -> Options:
        """For documents: point reads, short scans and overwrites."""
        options = self._common(bloom_bits=10)
        # Fast on the levels that are rewritten often, small on the last one, which holds most of the data.
        options.set_compression_type(DBCompressionType.lz4())
        options.set_bottommost_compression_type(DBCompressionType.zstd())
        options.set_level_compaction_dynamic_level_bytes(True)
        return options

    def node(self) -> Options:
        """For a handful of small records."""
        return self._common()

    def _common(self, *, bloom_bits: int = 0) -> Options:
        table = BlockBasedOptions()
        table.set_block_cache(self._cache)
        table.set_format_version(5)
        if bloom_bits:
            table.set_bloom_filter(bloom_bits, False)  # noqa: FBT003 - positional in the binding: block_based
        options = Options(raw_mode=True)
        options.set_block_based_table_factory(table)
        options.set_write_buffer_size(self._tuning.write_buffer_bytes)
        # A write that has to wait for flushes waits with the event loop: leave room, and let level 0 grow before
        # writes are slowed down.
        options.set_max_write_buffer_number(4)
        options.set_level_zero_slowdown_writes_trigger(40)
        options.set_level_zero_stop_writes_trigger(64)
        return options
