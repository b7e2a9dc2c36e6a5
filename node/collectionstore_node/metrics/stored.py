"""Series that are read from a data directory at a scrape: RocksDB properties, sizes, and available space."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from collectionstore_node.metrics.table.storage import STORED
from collectionstore_telemetry.metrics.registry import Metrics

OF_A_FAMILY: Final[Mapping[str, str]] = {
    "estimate-num-keys": "rocksdb_estimated_keys",
    "estimate-live-data-size": "rocksdb_live_data_bytes",
    "total-sst-files-size": "rocksdb_sst_bytes",
    "cur-size-all-mem-tables": "rocksdb_memtable_bytes",
    "estimate-pending-compaction-bytes": "rocksdb_pending_compaction_bytes",
    "num-files-at-level0": "rocksdb_level0_files",
    "num-immutable-mem-table": "rocksdb_immutable_memtables",
    "compaction-pending": "rocksdb_compaction_pending",
    "estimate-table-readers-mem": "rocksdb_table_readers_bytes",
}
OF_THE_WHOLE: Final[Mapping[str, str]] = {
    "num-running-compactions": "rocksdb_running_compactions",
    "num-running-flushes": "rocksdb_running_flushes",
    "is-write-stopped": "rocksdb_write_stopped",
    "actual-delayed-write-rate": "rocksdb_delayed_write_bytes_per_second",
    "block-cache-usage": "rocksdb_block_cache_bytes",
    "block-cache-capacity": "rocksdb_block_cache_capacity_bytes",
    "num-snapshots": "rocksdb_open_snapshots",
}
"""RocksDB's names, without `rocksdb.`, and ours without the prefix. Source: rocksdb/include/rocksdb/db.h."""
ERRORS: Final = "background-errors"


class DataDirectory(Protocol):
    """State of the data directory, read in a thread."""

    @property
    def path(self) -> Path:
        """Path of the directory."""

    def disk_bytes(self) -> int:
        """Return the size of all files in bytes."""

    def family_property(self, name: str) -> Mapping[str, int]:
        """Return a property of each kind of family: log, node and state. Raises `StorageFailed`."""

    def index_entries(self) -> int:
        """Return the number of entries of all indexes. Raises `StorageFailed`."""

    def whole_property(self, name: str) -> int:
        """Return a property of the whole database. Raises `StorageFailed`."""


def stored_series(directory: DataDirectory) -> Metrics:
    """Return metrics that read `directory` whenever they are rendered, which blocks for about a millisecond."""
    metrics = Metrics(STORED)
    metrics.before_scrape(lambda: _read(directory, metrics))
    return metrics


def _read(directory: DataDirectory, metrics: Metrics) -> None:
    for rocks_name, name in OF_A_FAMILY.items():
        for family, value in directory.family_property(rocks_name).items():
            metrics.gauge(name, family).set(value)
    for rocks_name, name in OF_THE_WHOLE.items():
        metrics.gauge(name).set(directory.whole_property(rocks_name))
    metrics.counter("rocksdb_background_errors_total").value = directory.whole_property(ERRORS)
    metrics.gauge("index_entries").set(directory.index_entries())
    metrics.gauge("storage_data_bytes").set(directory.disk_bytes())
    room = os.statvfs(directory.path)
    metrics.gauge("storage_filesystem_size_bytes").set(room.f_frsize * room.f_blocks)
    metrics.gauge("storage_filesystem_available_bytes").set(room.f_frsize * room.f_bavail)
