"""Series of the disk: syncs, batches, sizes, snapshots, RocksDB."""

from __future__ import annotations

from typing import Final

from collectionstore_node.metrics.table.buckets import BYTES, LONG_SECONDS, SECONDS
from collectionstore_telemetry.metrics.series import Chapters, Label, counter, gauge, histogram

BATCHES: Final = ("log", "state")
SHORTAGES: Final = ("disk", "quota")
OPERATIONS: Final = ("export", "send", "receive", "install")
FAMILY: Final = Label("family", ("log", "node", "state"))

_DISK: Final = (
    histogram(
        "storage_wal_fsync_duration_seconds",
        "Time to make appended entries and the tail marker durable",
        buckets=SECONDS,
    ),
    gauge(
        "storage_wal_fsync_age_seconds",
        "Time that the running fsync has taken so far; 0 if none is running",
    ),
    histogram(
        "storage_witness_sync_duration_seconds",
        "Time to sync the tail marker up to the end of the log",
        buckets=SECONDS,
    ),
    histogram(
        "storage_write_batch_duration_seconds",
        "Time to write a batch to RocksDB, without sync",
        Label("batch", BATCHES),
        buckets=SECONDS,
    ),
    histogram(
        "storage_write_batch_size_bytes",
        "Size of a batch: entries of the log, keys and values of the state",
        Label("batch", BATCHES),
        buckets=BYTES,
    ),
)

_SPACE: Final = (
    gauge("storage_free_bytes", "Space available to this member above its reserve"),
    gauge("storage_reserve_bytes", "Space held in the reserve file; 0 once it was released"),
    gauge("storage_quota_bytes", "Size of the database at which this member is short of space; 0 without a quota"),
    gauge(
        "storage_short",
        "1 while this member is short of space: writes that add data are refused in the whole cluster",
        Label("cause", SHORTAGES),
    ),
    gauge("storage_read_only", "1 while this member, as the leader, refuses writes that add data"),
    counter("storage_refused_writes_total", "Writes that this member, as the leader, refused for lack of space"),
)

_SNAPSHOTS: Final = (
    histogram(
        "snapshot_duration_seconds",
        "Time of a successful snapshot operation",
        Label("operation", OPERATIONS),
        buckets=LONG_SECONDS,
    ),
    counter("snapshot_bytes_total", "Bytes of snapshots by operation", Label("operation", OPERATIONS)),
    counter(
        "snapshot_failures_total",
        "Snapshots not delivered, and transfers rejected or interrupted; a failed export or install ends the process",
        Label("operation", ("send", "receive")),
    ),
    gauge("snapshot_sending", "Snapshots being sent by this member"),
    gauge("snapshot_last_size_bytes", "Size of the last snapshot exported or installed"),
)

BUILD_RESULTS: Final = ("ready", "failed")
_INDEXES: Final = (
    gauge("index_building", "Indexes that this member, as the leader, is building"),
    counter("index_build_documents_total", "Documents that builds of this member, as the leader, have passed"),
    counter("index_builds_total", "Builds that ended on this member, as the leader", Label("result", BUILD_RESULTS)),
)

_EXPIRY: Final = (
    gauge("expiry_queued", "Documents and raw values with a deadline of their own"),
    gauge("leases", "Leases, those that have ended and are not removed yet among them"),
    gauge("expiry_overdue_seconds", "For how long what expires next has been due; leader only"),
    counter("expired_total", "Documents and raw values that were removed because they had expired; leader only"),
)

STORED: Final = (
    gauge("index_entries", "Entries of all indexes"),
    gauge("storage_data_bytes", "Size of all database files"),
    gauge("storage_filesystem_size_bytes", "Size of the file system of the data directory"),
    gauge(
        "storage_filesystem_available_bytes", "Space available to this process on the file system of the data directory"
    ),
    gauge("rocksdb_estimated_keys", "Estimated number of keys", FAMILY),
    gauge("rocksdb_live_data_bytes", "Estimated size of live data, without deleted and overwritten values", FAMILY),
    gauge("rocksdb_sst_bytes", "Size of SST files", FAMILY),
    gauge("rocksdb_memtable_bytes", "Size of memtables", FAMILY),
    gauge("rocksdb_pending_compaction_bytes", "Estimated bytes that compaction still has to rewrite", FAMILY),
    gauge("rocksdb_level0_files", "SST files of level 0; writes are slowed down at 40 and stopped at 64", FAMILY),
    gauge("rocksdb_immutable_memtables", "Immutable memtables that are not flushed yet", FAMILY),
    gauge("rocksdb_compaction_pending", "1 while a compaction is pending", FAMILY),
    gauge("rocksdb_running_compactions", "Running compactions"),
    gauge("rocksdb_running_flushes", "Running memtable flushes"),
    gauge("rocksdb_write_stopped", "1 while RocksDB stops writes until compaction catches up"),
    gauge("rocksdb_delayed_write_bytes_per_second", "Write rate that RocksDB limits writes to; 0 without a limit"),
    gauge("rocksdb_block_cache_bytes", "Memory used by the block cache"),
    gauge("rocksdb_block_cache_capacity_bytes", "Capacity of the block cache"),
    gauge("rocksdb_table_readers_bytes", "Memory of index and filter blocks outside the block cache", FAMILY),
    gauge("rocksdb_open_snapshots", "Open RocksDB snapshots"),
    counter("rocksdb_background_errors_total", "Errors of flushes and compactions"),
)
"""What `metrics.stored` reads from the data directory, in a thread."""

STORAGE: Final[Chapters] = (
    ("Disk", _DISK),
    ("Space", _SPACE),
    ("Snapshots", _SNAPSHOTS),
    ("Indexes", _INDEXES),
    ("Expiry", _EXPIRY),
    ("Sizes and RocksDB, read at every scrape", STORED),
)
