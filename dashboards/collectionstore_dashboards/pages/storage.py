"""Disk, RocksDB, and the process that uses them."""

from __future__ import annotations

from typing import Final

from collectionstore_dashboards.frame import Page, Row
from collectionstore_dashboards.panels import AMBER, GREEN, RED, Query, graph, states
from collectionstore_dashboards.queries import mean, now, quantile, rate, rises

_EACH: Final = "{{instance}}"
_FAMILY: Final = "{{instance}} {{family}}"
_NODE: Final = 'job="collectionstore-node"'
_NO_TRACING: Final = 'label_replace(vector(0), "result", "tracing is off", "", "")'


def _rocks(noun: str) -> str:
    return now(f"collectionstore_rocksdb_{noun}")


DISK: Final = Row(
    "Disk latency and capacity",
    (
        graph(
            "fsync of the log, p99",
            "Time to sync appended entries, or a new term or vote. A disk above 250 ms for long is unsuitable.",
            "s",
            Query(quantile(0.99, "collectionstore_storage_wal_fsync_duration_seconds", "instance"), _EACH),
            log=True,
            limits=((None, GREEN), (0.25, AMBER), (1, RED)),
        ),
        graph(
            "Age of the running fsync",
            "How long the current fsync has been running. A rising line is a disk that does not respond.",
            "s",
            Query(now("collectionstore_storage_wal_fsync_age_seconds"), _EACH),
        ),
        states(
            "Writes stopped",
            "Red while RocksDB accepts no writes because compaction is too far behind.",
            Query(_rocks("write_stopped"), _EACH),
            words=(("1", "stopped", RED), ("0", "open", GREEN)),
            width=8,
            height=8,
        ),
        graph(
            "Free space",
            "Free bytes of each member's volume.",
            "bytes",
            Query(now("collectionstore_storage_filesystem_available_bytes"), _EACH),
        ),
        graph(
            "Data on disk",
            "All files of RocksDB.",
            "bytes",
            Query(now("collectionstore_storage_data_bytes"), _EACH),
        ),
        graph(
            "Full in",
            "Time until the volume is full at the growth rate of the last six hours; absent without growth.",
            "s",
            Query(
                f"{now('collectionstore_storage_filesystem_available_bytes')} / "
                f"(deriv({now('collectionstore_storage_data_bytes')}[6h]) > 0)",
                _EACH,
            ),
            log=True,
        ),
    ),
)

WRITES: Final = Row(
    "Batches",
    (
        graph(
            "Time of a batch, p99",
            "Writing a batch to RocksDB, without the fsync: log entries, or their changes to the state.",
            "s",
            Query(
                quantile(0.99, "collectionstore_storage_write_batch_duration_seconds", "instance, batch"),
                "{{instance}} {{batch}}",
            ),
            log=True,
        ),
        graph(
            "Size of a batch",
            "Mean bytes of a batch.",
            "bytes",
            Query(mean("collectionstore_storage_write_batch_size_bytes", "instance, batch"), "{{instance}} {{batch}}"),
        ),
        graph(
            "fsync of the tail marker, p99",
            "The tail marker detects a log that lost its end. It is synced after the log.",
            "s",
            Query(quantile(0.99, "collectionstore_storage_witness_sync_duration_seconds", "instance"), _EACH),
            log=True,
        ),
        graph(
            "fsync per second",
            "Many writes share one fsync: compare with the commands per second.",
            "cps",
            Query(rate("collectionstore_storage_wal_fsync_duration_seconds_count", "instance"), _EACH),
        ),
        graph(
            "Bytes written",
            "Bytes written to RocksDB, by kind of batch.",
            "Bps",
            Query(rate("collectionstore_storage_write_batch_size_bytes_sum", "batch"), "{{batch}}"),
        ),
        graph(
            "Delayed writes",
            "Bytes per second to which RocksDB slows writes down; 0 while it does not.",
            "Bps",
            Query(_rocks("delayed_write_bytes_per_second"), _EACH),
        ),
    ),
)

TREE: Final = Row(
    "RocksDB",
    (
        graph("Keys", "Estimated number of keys.", "short", Query(_rocks("estimated_keys"), _FAMILY)),
        graph(
            "Live data",
            "Estimated bytes that are still referenced. Much larger files wait for compaction.",
            "bytes",
            Query(_rocks("live_data_bytes"), _FAMILY),
        ),
        graph("Files", "Bytes of the sorted files.", "bytes", Query(_rocks("sst_bytes"), _FAMILY)),
        graph(
            "Files at level 0",
            "Files that compaction has not touched yet. RocksDB slows writes down at 20 and stops them at 36.",
            "short",
            Query(_rocks("level0_files"), _FAMILY),
        ),
        graph(
            "Waiting for compaction",
            "Estimated bytes that compaction has to rewrite.",
            "bytes",
            Query(_rocks("pending_compaction_bytes"), _FAMILY),
        ),
        graph(
            "Compactions and flushes",
            "Running ones, and column families that need one.",
            "short",
            Query(_rocks("running_compactions"), "{{instance}} compactions"),
            Query(_rocks("running_flushes"), "{{instance}} flushes"),
            Query(f"sum by (instance) ({_rocks('compaction_pending')})", "{{instance}} pending"),
        ),
        graph(
            "Memtables", "Bytes that are written and not flushed.", "bytes", Query(_rocks("memtable_bytes"), _FAMILY)
        ),
        graph(
            "Memtables that wait for a flush",
            "More than two mean that flushing is slower than writing.",
            "short",
            Query(_rocks("immutable_memtables"), _FAMILY),
        ),
        graph(
            "Block cache",
            "Bytes used and the bound.",
            "bytes",
            Query(_rocks("block_cache_bytes"), "{{instance}} used"),
            Query(_rocks("block_cache_capacity_bytes"), "{{instance}} bound"),
        ),
        graph(
            "Table readers",
            "Memory for indexes and filters outside the cache.",
            "bytes",
            Query(_rocks("table_readers_bytes"), _FAMILY),
        ),
        graph(
            "Open snapshots",
            "Reads and exports that pin old versions. One that stays open prevents compaction of old versions.",
            "short",
            Query(_rocks("open_snapshots"), _EACH),
        ),
        graph(
            "Background errors",
            "Failed flushes and compactions. Any at all means a faulty or full disk.",
            "short",
            Query(rises("collectionstore_rocksdb_background_errors_total", "instance"), _EACH),
        ),
    ),
)

PROCESS: Final = Row(
    "Process",
    (
        graph(
            "Lag of the event loop, p99",
            "How late timers fire. Above 50 ms something blocks the loop, and elections may follow. Held: without the "
            "time that the node waited for a processor.",
            "s",
            Query(quantile(0.99, "collectionstore_event_loop_lag_seconds", "instance"), _EACH),
            Query(quantile(0.99, "collectionstore_event_loop_held_seconds", "instance"), f"{_EACH} held"),
            log=True,
        ),
        graph(
            "Stalls",
            "Blockages longer than the longest election timeout.",
            "short",
            Query(rises("collectionstore_watchdog_stalls_total", "instance, kind"), "{{instance}} {{kind}}"),
        ),
        graph(
            "Tasks",
            "Tasks of the event loop that are not done.",
            "short",
            Query(now("collectionstore_event_loop_tasks"), _EACH),
        ),
        graph(
            "Memory",
            "Resident and virtual memory.",
            "bytes",
            Query(now("process_resident_memory_bytes", _NODE), "{{instance}} resident"),
            Query(now("process_virtual_memory_bytes", _NODE), "{{instance}} virtual"),
        ),
        graph(
            "Open files",
            "Share of the allowed file descriptors that is used.",
            "percentunit",
            Query(f"{now('process_open_fds', _NODE)} / {now('process_max_fds', _NODE)}", _EACH),
        ),
        graph(
            "Uptime",
            "Time since the process started. A drop to 0 is a restart.",
            "s",
            Query(f"time() - {now('process_start_time_seconds', _NODE)}", _EACH),
        ),
        graph(
            "Garbage collections",
            "Runs of Python's collector, by generation.",
            "cps",
            Query(rate("python_gc_collections_total", "generation", _NODE), "generation {{generation}}"),
        ),
        graph(
            "Garbage",
            "Objects that were collected, and uncollectable objects.",
            "cps",
            Query(rate("python_gc_objects_collected_total", "generation", _NODE), "generation {{generation}}"),
            Query(rate("python_gc_objects_uncollectable_total", "", _NODE), "uncollectable"),
        ),
        graph(
            "Spans of traces",
            "Spans exported, failed, or dropped instead of blocking. None while tracing is off.",
            "cps",
            Query(f"{rate('collectionstore_tracing_spans_total', 'result')} or {_NO_TRACING}", "{{result}}"),
        ),
        graph(
            "Python versions",
            "Members by Python version.",
            "none",
            Query(
                f"count by (implementation, version) ({now('python_info', _NODE)})", "{{implementation}} {{version}}"
            ),
        ),
    ),
)

PAGE: Final = Page(
    "storage",
    "Collection Store / Storage",
    "Disks, RocksDB and the processes of one cluster's members.",
    (DISK, WRITES, TREE, PROCESS),
)
