"""Series of the disk: syncs, batches, sizes, snapshots, RocksDB."""

from __future__ import annotations

from typing import Final

from collectionstore_node.metrics.table.buckets import BYTES, LONG_SECONDS, SECONDS
from collectionstore_telemetry.metrics.series import Chapters, Label, counter, gauge, histogram

BATCHES: Final = ("log", "state")
OPERATIONS: Final = ("export", "send", "receive", "install")
FAMILY: Final = Label("family", ("log", "node", "state"))

_DISK: Final = (
    histogram(
        "storage_wal_fsync_duration_seconds", "Time to make appended entries and the witness durable", buckets=SECONDS
    ),
    gauge(
        "storage_wal_fsync_age_seconds",
        "For how long the sync has been running that runs now; 0 when none does",
    ),
    histogram(
        "storage_witness_sync_duration_seconds", "Time to let the witness catch up with the log", buckets=SECONDS
    ),
    histogram(
        "storage_write_batch_duration_seconds",
        "Time to hand a batch to RocksDB, without a sync",
        Label("batch", BATCHES),
        buckets=SECONDS,
    ),
    histogram(
        "storage_write_batch_size_bytes",
        "Size of a batch: entries for the log, keys and values for the state",
        Label("batch", BATCHES),
        buckets=BYTES,
    ),
)

_SNAPSHOTS: Final = (
    histogram(
        "snapshot_duration_seconds",
        "Time of an operation on a snapshot that succeeded",
        Label("operation", OPERATIONS),
        buckets=LONG_SECONDS,
    ),
    counter("snapshot_bytes_total", "Size of the snapshots of these operations", Label("operation", OPERATIONS)),
    counter(
        "snapshot_failures_total",
        "Snapshots not delivered, and transfers that were refused or broke off; "
        "an export or install that fails ends the process",
        Label("operation", ("send", "receive")),
    ),
    gauge("snapshot_sending", "Snapshots on their way from this node"),
    gauge("snapshot_last_size_bytes", "Size of the snapshot made or installed last"),
)

STORED: Final = (
    gauge("storage_data_bytes", "Size of all files of the database"),
    gauge("storage_filesystem_size_bytes", "Size of the file system that the data directory is on"),
    gauge("storage_filesystem_available_bytes", "What is left of it for this process"),
    gauge("rocksdb_estimated_keys", "Estimated number of keys", FAMILY),
    gauge("rocksdb_live_data_bytes", "Estimated size of the data that is not deleted or overwritten", FAMILY),
    gauge("rocksdb_sst_bytes", "Size of the table files", FAMILY),
    gauge("rocksdb_memtable_bytes", "Size of what is in memory and not in table files yet", FAMILY),
    gauge("rocksdb_pending_compaction_bytes", "Estimated bytes that compactions still have to rewrite", FAMILY),
    gauge("rocksdb_level0_files", "Table files of level 0; writes are slowed down at 40 and stop at 64", FAMILY),
    gauge("rocksdb_immutable_memtables", "Memtables that wait to be written out", FAMILY),
    gauge("rocksdb_compaction_pending", "1 while a compaction is due", FAMILY),
    gauge("rocksdb_running_compactions", "Compactions that run now"),
    gauge("rocksdb_running_flushes", "Memtables being written out now"),
    gauge("rocksdb_write_stopped", "1 while RocksDB stops writes until compactions have caught up"),
    gauge("rocksdb_delayed_write_bytes_per_second", "To what RocksDB slows writes down; 0 while it does not"),
    gauge("rocksdb_block_cache_bytes", "Memory used by the block cache"),
    gauge("rocksdb_block_cache_capacity_bytes", "Memory that the block cache may use"),
    gauge("rocksdb_table_readers_bytes", "Memory used by indexes and filters outside of the block cache", FAMILY),
    gauge("rocksdb_open_snapshots", "Views of the database that are kept open"),
    counter("rocksdb_background_errors_total", "Errors of flushes and compactions"),
)
"""What `metrics.stored` asks the data directory for, in a thread."""

STORAGE: Final[Chapters] = (
    ("Disk", _DISK),
    ("Snapshots", _SNAPSHOTS),
    ("Sizes and RocksDB, read at every scrape", STORED),
)
