"""What RocksDB's options do to a node: `python -m collectionstore_node.tests.storage.option_trials`.

Each trial is a process of its own that appends, syncs and applies entries of 64 puts of 255 bytes to a data directory,
as a member does, with one option changed; the trials take turns, and the median of the turns is printed:

- loop      microseconds of processor time of the event loop's thread per put: append and apply
- all       the same of all threads: with flushes and compactions
- written   bytes written to the disk per byte of documents
- read      microseconds of a point read of one of the documents
- resident  MiB at the end
- mean      of the MiB that are resident in the second half: memtables come and go

`--keys` says over how many documents the puts go. docs/storage-tuning.md has the table, and what was chosen.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import structlog
from rocksdict import BlockBasedOptions, Cache, DataBlockIndexType, DBCompressionType, Options

from collectionstore_node.allocator import map_large_blocks
from collectionstore_node.memory import LIMIT_BYTES_ASSUMED, memory_budget
from collectionstore_node.metrics import DiskSeries, member_metrics
from collectionstore_node.raft.messages import GENESIS_CHAIN, Configuration, Entry, EntryKind, Index, Term, chain_hash
from collectionstore_node.replica.persistence.applier import Applier
from collectionstore_node.statemachine.commands import Command, CreateCollection, DocumentRef, Put, encode_batch
from collectionstore_node.statemachine.keys import documents_prefix
from collectionstore_node.statemachine.levels import HIGHEST
from collectionstore_node.storage import Database, Tuning
from collectionstore_node.storage.rocksdb import rocks, tuning
from collectionstore_node.storage.rocksdb.tuning import FamilyOptions, WalRecovery

PUTS: Final = 64
"""Per entry."""
VALUE_BYTES: Final = 255
SYNC_ENTRIES: Final = 4
"""Entries per sync: a member under load syncs several together."""
COMPACT_ENTRIES: Final = 10_000 // PUTS
"""Entries between compactions of the log, by the default of `snapshot.commands`."""
SAMPLE_ENTRIES: Final = 40
"""Entries between two looks at the resident memory."""
MIB: Final = 1 << 20
READS: Final = 20_000

Change = Callable[["Trial"], None]


class Trial:
    """The options of one trial; a change sets some of them."""

    def __init__(self) -> None:
        memory = memory_budget(LIMIT_BYTES_ASSUMED)
        self.sizes: dict[str, int] = {
            "write_buffer_bytes": memory.memtable_bytes,
            "block_cache_bytes": memory.block_cache_bytes,
            "write_buffers_bytes": memory.write_buffers_bytes,
            "log_cache_bytes": memory.log_cache_bytes,
        }
        self.database: Callable[[Options], None] = _same
        self.database_text = ""
        self.family_text = ""
        """More lines of RocksDB's own options file, for what the binding has no setter for."""
        self.every: Callable[[Options], None] = _same
        self.log: Callable[[Options], None] = _same
        self.state: Callable[[Options], None] = _same
        self.table: Callable[[BlockBasedOptions], None] = _same
        self.bloom = True


def _same(_options: object) -> None:
    """Change nothing."""


def _size(name: str, size_bytes: int) -> Change:
    return lambda trial: trial.sizes.update({name: size_bytes})


def _database(change: Callable[[Options], None]) -> Change:
    return lambda trial: setattr(trial, "database", change)


def _text(line: str) -> Change:
    return lambda trial: setattr(trial, "database_text", line)


def _every(change: Callable[[Options], None]) -> Change:
    return lambda trial: setattr(trial, "every", change)


def _state(change: Callable[[Options], None]) -> Change:
    return lambda trial: setattr(trial, "state", change)


def _log(change: Callable[[Options], None]) -> Change:
    return lambda trial: setattr(trial, "log", change)


def _table(change: Callable[[BlockBasedOptions], None]) -> Change:
    return lambda trial: setattr(trial, "table", change)


def _compressed(kind: DBCompressionType) -> Callable[[Options], None]:
    def change(options: Options) -> None:
        options.set_compression_type(kind)
        options.set_bottommost_compression_type(kind)

    return change


def _unordered(options: Options) -> None:
    options.set_allow_concurrent_memtable_write(True)  # which it requires
    options.set_unordered_write(True)


def _memtable_bloom(options: Options) -> None:
    options.set_memtable_prefix_bloom_ratio(0.1)
    options.set_memtable_whole_key_filtering(True)


TRIALS: Final[dict[str, Change]] = {
    "as configured": _same,
    "memtable 2 MiB": _size("write_buffer_bytes", 2 * MIB),
    "memtable 4 MiB": _size("write_buffer_bytes", 4 * MIB),
    "memtable 8 MiB": _size("write_buffer_bytes", 8 * MIB),
    "memtable 16 MiB": _size("write_buffer_bytes", 16 * MIB),
    "memtable 64 MiB": _size("write_buffer_bytes", 64 * MIB),
    "log: memtable 16 MiB": _log(lambda options: options.set_write_buffer_size(16 * MIB)),
    "log: memtable 4 MiB": _log(lambda options: options.set_write_buffer_size(4 * MIB)),
    "state: memtable 16 MiB": _state(lambda options: options.set_write_buffer_size(16 * MIB)),
    "state: memtable 4 MiB": _state(lambda options: options.set_write_buffer_size(4 * MIB)),
    "memtable: blocks of 1 MiB": _every(lambda options: options.set_arena_block_size(MIB)),
    "block cache 8 MiB": _size("block_cache_bytes", 8 * MIB),
    "block cache 512 MiB": _size("block_cache_bytes", 512 * MIB),
    "log cache 8 MiB": _size("log_cache_bytes", 8 * MIB),
    "log cache 32 MiB": _size("log_cache_bytes", 32 * MIB),
    "no bloom filter": lambda trial: setattr(trial, "bloom", False),
    "memtable bloom filter": _state(_memtable_bloom),
    "compression none": _every(_compressed(DBCompressionType.none())),
    "compression lz4 on all levels": _every(_compressed(DBCompressionType.lz4())),
    "compression zstd on all levels": _every(_compressed(DBCompressionType.zstd())),
    "log: compression none": _log(_compressed(DBCompressionType.none())),
    "block size 16 KiB": _table(lambda table: table.set_block_size(16 << 10)),
    "hash index in data blocks": _table(
        lambda table: table.set_data_block_index_type(DataBlockIndexType.binary_and_hash())
    ),
    "level 0: compaction from 8 files": _state(lambda options: options.set_level_zero_file_num_compaction_trigger(8)),
    "level base 64 MiB": _state(lambda options: options.set_max_bytes_for_level_base(64 * MIB)),
    "WAL: recycled files": _database(lambda options: options.set_recycle_log_file_num(4)),
    "WAL: written out every 512 KiB": _database(lambda options: options.set_wal_bytes_per_sync(512 << 10)),
    "WAL: at most 16 MiB": _size("wal_bytes_max", 16 * MIB),
    "WAL: manual flush": _text("manual_wal_flush=true"),
    "tables: no writing out while written": _database(lambda options: options.set_bytes_per_sync(0)),
    "direct I/O of flush and compaction": _database(
        lambda options: options.set_use_direct_io_for_flush_and_compaction(True)
    ),
    "direct reads": _database(lambda options: options.set_use_direct_reads(True)),
    "no uncaching": lambda trial: setattr(trial, "family_text", "uncache_aggressiveness=0"),
    "unordered write": _database(_unordered),
    "pipelined write": _database(lambda options: options.set_enable_pipelined_write(True)),
    "open files 64": _size("open_files_max", 64),
}


def change_options(trial: Trial) -> None:
    """Make this process use the options of `trial` for every database that it opens."""
    database_options = tuning.database_options

    def changed_database(sizes: Tuning, recovery: WalRecovery, cache: Cache, *, create: bool) -> Options:
        options = database_options(sizes, recovery, cache, create=create)
        trial.database(options)
        return options

    class Changed(FamilyOptions):
        def log(self) -> Options:
            options = super().log()
            trial.every(options)
            trial.log(options)
            return options

        def state(self) -> Options:
            options = super().state()
            trial.every(options)
            trial.state(options)
            return options

        def _table(self, bloom_bits: int) -> BlockBasedOptions:
            table = super()._table(bloom_bits if trial.bloom else 0)
            trial.table(table)
            return table

    # In a process that ends with the trial: the options have one place in the node, and no setting there.
    patched = cast(Any, rocks)
    patched.database_options = changed_database
    patched.FamilyOptions = Changed
    if trial.database_text or trial.family_text:
        source = Path(cast(Any, tuning)._OPTIONS_DIRECTORY)
        folder = Path(tempfile.mkdtemp())
        for file in source.iterdir():
            text = file.read_text()
            if file.name.startswith("OPTIONS"):
                text = text.replace("[DBOptions]\n", f"[DBOptions]\n  {trial.database_text}\n")
                text = text.replace("uncache_aggressiveness=10000", trial.family_text or "uncache_aggressiveness=10000")
            (folder / file.name).write_text(text)
        cast(Any, tuning)._OPTIONS_DIRECTORY = folder


class Member:
    """A member's storage and the history that it stores."""

    def __init__(self, directory: Path, sizes: Tuning, keys: int) -> None:
        self.database = Database.open(directory, cluster_id="trials", name="trials", tuning=sizes)
        self._applier = Applier(self.database.state, DiskSeries(member_metrics()))
        self._chance = random.Random(1)
        self._keys = keys
        self._index = 0
        self._chain = GENESIS_CHAIN
        self._mark = self.database.state.applied
        self.loop_s = 0.0
        self._store([Command(CreateCollection("books"))])
        for first in range(0, keys, 500):
            self._store([self._put(number) for number in range(first, min(keys, first + 500))])
        self.database.log.sync()

    def _put(self, number: int) -> Command:
        # Text that compresses about as well as JSON does: by a half.
        text = self._chance.randbytes(VALUE_BYTES).hex()[: VALUE_BYTES - 13].encode()
        return Command(Put(DocumentRef("books", f"document-{number:08d}"), b'{"text":"' + text + b'"}  '))

    def store(self, entries: int) -> None:
        """Append, sync and apply `entries` entries of puts."""
        for number in range(entries):
            self._store([self._put(self._chance.randrange(self._keys)) for _ in range(PUTS)])
            if number % SYNC_ENTRIES == 0:
                self.database.log.sync()
            if self._index % COMPACT_ENTRIES == 0:
                # One generation behind, as `CompactionPolicy`.
                self.database.log.compact(self._mark)
                self._mark = self.database.state.applied

    def _store(self, commands: Sequence[Command]) -> None:
        self._index += 1
        index, term = Index(self._index), Term(1)
        data = encode_batch(self._index, commands, HIGHEST)
        self._chain = chain_hash(self._chain, index, term, EntryKind.COMMANDS, data)
        entry = Entry(index, term, EntryKind.COMMANDS, data, self._chain)
        began = time.thread_time()
        self.database.log.append((entry,), None)
        self._applier.apply((entry,), _no_change)
        self.loop_s += time.thread_time() - began

    def read_us(self) -> float:
        """Return the microseconds of a point read."""
        prefix = documents_prefix(1)
        keys = [prefix + b"document-%08d" % self._chance.randrange(self._keys) for _ in range(READS)]
        get = self.database.state.get
        for key in keys:
            if get(key) is None:
                raise AssertionError("a document is missing")
        began = time.thread_time()
        for key in keys:
            get(key)
        return (time.thread_time() - began) / READS * 1e6


def _no_change(_entry: Entry) -> Configuration:
    raise AssertionError("there is no membership change")


def run(name: str, keys: int, entries: int) -> dict[str, float]:
    """Run one trial in this process and return its figures."""
    map_large_blocks(MIB)  # as a node does
    trial = Trial()
    TRIALS[name](trial)
    change_options(trial)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        member = Member(Path(directory) / "data", Tuning(**trial.sizes), keys)
        member.loop_s = 0.0
        written, began, generated = _written_bytes(), time.process_time(), time.thread_time()
        resident = []
        for first in range(0, entries, SAMPLE_ENTRIES):
            member.store(min(SAMPLE_ENTRIES, entries - first))
            resident.append(_resident_bytes() / MIB)
        puts = entries * PUTS
        generated = time.thread_time() - generated - member.loop_s
        spent = time.process_time() - began - generated
        figures = {
            "loop": member.loop_s / puts * 1e6,
            "all": spent / puts * 1e6,
            "read": member.read_us(),
            "resident": _resident_bytes() / MIB,
            "mean": statistics.mean(resident[len(resident) // 2 :]),
        }
        # With what is still in memtables: it will be written too.
        member.database.close()
        figures["written"] = (_written_bytes() - written) / (puts * VALUE_BYTES)
    return figures


def _written_bytes() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--entries", type=int, default=1_600, help="of 64 puts, per trial")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", action="append", choices=list(TRIALS), help="this trial, and those as configured")
    parser.add_argument("--trial", choices=list(TRIALS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.trial:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        sys.stdout.write(json.dumps(run(arguments.trial, arguments.keys, arguments.entries)))
        return
    names = list(TRIALS) if not arguments.only else list(dict.fromkeys(["as configured", *arguments.only]))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    own = [sys.executable, "-m", __spec__.name, "--keys", str(arguments.keys), "--entries", str(arguments.entries)]
    for turn in range(1, arguments.turns + 1):
        for name in names:
            done = subprocess.run([*own, "--trial", name], check=True, capture_output=True, text=True)
            found[name].append(json.loads(done.stdout))
        sys.stderr.write(f"turn {turn} of {arguments.turns}\n{render(found, arguments.keys)}\n")
    sys.stdout.write(render(found, arguments.keys) + "\n")


def render(found: Mapping[str, Sequence[Mapping[str, float]]], keys: int) -> str:
    """Return the medians of the turns as a Markdown table."""
    lines = [
        f"| {keys} documents | loop us | all us | written | read us | resident MiB | mean |",
        "| --- |" + " ---: |" * 6,
    ]
    for name, turns in found.items():
        loop, everything, written, read, resident, mean = (
            statistics.median(turn[column] for turn in turns)
            for column in ("loop", "all", "written", "read", "resident", "mean")
        )
        times = f"{loop:.1f} | {everything:.1f} | {written:.2f} | {read:.1f}"
        lines.append(f"| {name} | {times} | {resident:.0f} | {mean:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
