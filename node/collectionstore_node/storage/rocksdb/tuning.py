"""Every RocksDB option that differs from its default, with the reason; the only place that creates `Options`.

Sized for small nodes, three on one laptop: a process of 100 to 150 MiB under load (measured), few files, two
background threads.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, Options, WriteBufferManager

from collectionstore_node.allocator import MAPPED_BYTES

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_OPTIONS_DIRECTORY: Final = Path(__file__).parent / "options"


@dataclass(frozen=True, slots=True)
class Tuning:
    """Sizes that depend on the deployment."""

    write_buffer_bytes: int = 16 * _MIB
    """Size of a memtable. Measured: smaller ones make writes cheaper, larger ones reads of recent data."""

    block_cache_bytes: int = 32 * _MIB
    """Uncompressed blocks, indexes and filters of all column families together."""

    write_buffers_bytes: int = 64 * _MIB
    """Memtables of all column families together; they are charged to the block cache, on top of its own size."""

    wal_bytes_max: int = 64 * _MIB
    """RocksDB flushes memtables when the WAL exceeds this; limits the replay at a restart."""

    level_base_bytes: int = 256 * _MIB
    """Size of the first level below level 0, and bound of one compaction: that much space it needs for its output."""

    open_files_max: int = 256
    """Table files that RocksDB keeps open."""

    log_cache_bytes: int = 8 * _MIB
    """The newest log entries kept in memory, so that replication does not read the disk. As many as the core keeps
    (`raft.log.TAIL_BYTES_MAX`), which are the same objects."""

    snapshot_chunk_bytes: int = 256 * _KIB
    """Payload of a chunk of a snapshot file; one larger record makes one larger chunk."""


class WalRecovery(enum.Enum):
    """RocksDB's WAL recovery mode. Its default is POINT_IN_TIME, which drops the rest of the WAL without an error."""

    TOLERATE_TORN_TAIL = enum.auto()
    """`tolerate_corrupted_tail_records`: refuse all corruption but a torn last record, which any crash may leave."""
    POINT_IN_TIME = enum.auto()
    """`point_in_time`: use the part before the first corruption."""


def database_options(tuning: Tuning, recovery: WalRecovery, cache: Cache, *, create: bool) -> Options:
    """Return the options of the database as a whole; `cache` is that of its families."""
    # rocksdict has no setter for `track_and_verify_wals_in_manifest`, but it loads RocksDB's own options files. With
    # the option, a closed and synced WAL file that is shorter now is refused. Without it, RocksDB leaves out what is
    # missing and replays the next file, which makes a hole in the log.
    options, _ = Options.load_latest(str(_OPTIONS_DIRECTORY))
    # Only when initializing a directory: an existing one that lost its CURRENT file must not become an empty database,
    # with which this node would vote as if it had never voted.
    options.create_if_missing(create)
    options.create_missing_column_families(create)

    # Set explicitly, see `WalRecovery`. `absolute_consistency` would refuse the torn record that every kill may leave,
    # and did so in a crash loop of 1,187 restarts (fedimint#8614). No mode can detect records missing at the very end:
    # a crash looks the same. The tail marker is for those.
    if recovery is WalRecovery.TOLERATE_TORN_TAIL:
        options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    else:
        options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    # In a recycled file old records follow a torn one, so no mode could tell corruption from the end of the log.
    options.set_recycle_log_file_num(0)
    options.set_paranoid_checks(True)

    options.set_max_total_wal_size(tuning.wal_bytes_max)
    options.set_max_open_files(tuning.open_files_max)
    # Without a stall: a write on the event loop must not wait for a flush. What passes the bound is flushed early.
    options.set_write_buffer_manager(
        WriteBufferManager.new_write_buffer_manager_with_cache(tuning.write_buffers_bytes, False, cache)  # noqa: FBT003
    )
    options.set_max_background_jobs(2)
    # All writes come from one thread; concurrent inserts would cost and not pay.
    options.set_allow_concurrent_memtable_write(False)
    # Write large table files out continuously: in one go at the end they would delay the fsync of the WAL, and with it
    # every acknowledgement.
    options.set_bytes_per_sync(_MIB)
    # RocksDB's own text log, LOG, which the node does not read.
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(4 * _MIB)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    options.set_max_manifest_file_size(4 * _MIB)
    return options


class FamilyOptions:
    """Options of the column families, which share one block cache."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self.cache = Cache(tuning.block_cache_bytes + tuning.write_buffers_bytes)

    def log(self) -> Options:
        """For log entries: written once in order, read rarely and in order, deleted from the front."""
        options = self._common()
        self._map_memtables(options)
        options.set_compression_type(DBCompressionType.lz4())
        return options

    def state(self) -> Options:
        """For documents: point reads, short scans and overwrites."""
        options = self._common(bloom_bits=10)
        self._map_memtables(options)
        # Fast compression on the levels that are rewritten often, strong on the last one, which holds most of the data.
        options.set_compression_type(DBCompressionType.lz4())
        options.set_bottommost_compression_type(DBCompressionType.zstd())
        options.set_level_compaction_dynamic_level_bytes(True)
        return options

    def node(self) -> Options:
        """For a few small records."""
        return self._common()

    def _map_memtables(self, options: Options) -> None:
        """Make the blocks of a memtable so large that malloc maps them, see `allocator`; only what is used is resident.

        Quarters: RocksDB flushes when the next block would not fit any more, so that with halves a memtable could be
        flushed half empty. Smaller memtables than four such blocks keep the default, an eighth.
        """
        quarter = self._tuning.write_buffer_bytes // 4
        if quarter >= MAPPED_BYTES:
            options.set_arena_block_size(quarter)

    def _table(self, bloom_bits: int) -> BlockBasedOptions:
        table = BlockBasedOptions()
        table.set_block_cache(self.cache)
        # In the cache, so that it bounds them: outside of it they grow with the data.
        table.set_cache_index_and_filter_blocks(True)
        table.set_pin_l0_filter_and_index_blocks_in_cache(True)
        table.set_format_version(5)
        if bloom_bits:
            table.set_bloom_filter(bloom_bits, False)  # noqa: FBT003 - positional in the binding: block_based
        return table

    def _common(self, *, bloom_bits: int = 0) -> Options:
        # From the options file, see `database_options`, for `uncache_aggressiveness`: the blocks of a table file that a
        # compaction has replaced leave the cache with it. Else they stay until newer blocks need the space, so that a
        # cache of any size fills up with what is never read again.
        _, families = Options.load_latest(str(_OPTIONS_DIRECTORY))
        options = families["default"]
        options.set_block_based_table_factory(self._table(bloom_bits))
        options.set_write_buffer_size(self._tuning.write_buffer_bytes)
        options.set_max_bytes_for_level_base(self._tuning.level_base_bytes)
        options.set_max_compaction_bytes(self._tuning.level_base_bytes)
        options.set_target_file_size_base(max(1, self._tuning.level_base_bytes // 4))
        # Avoid write stalls: `append` and `commit` run on the event loop, and a write that RocksDB delays holds the
        # GIL as well, so heartbeats would stop and an election begin. Hence spare memtables, and triggers on level 0
        # that are far above the defaults (20 and 36).
        options.set_max_write_buffer_number(4)
        options.set_level_zero_slowdown_writes_trigger(40)
        options.set_level_zero_stop_writes_trigger(64)
        return options
