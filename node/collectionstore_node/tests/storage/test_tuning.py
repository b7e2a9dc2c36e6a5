"""Options that RocksDB itself says it uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectionstore_node.allocator import MAPPED_BYTES
from collectionstore_node.memory import LIMIT_BYTES_ASSUMED, LIMIT_BYTES_MIN, memory_budget
from collectionstore_node.storage import Tuning
from collectionstore_node.tests.storage.entries import open_database


def _used(directory: Path, name: str) -> dict[str, int]:
    """Return an option of each column family of an open database, from the file that RocksDB wrote."""
    newest = max((directory / "rocks").glob("OPTIONS-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    found, family = {}, ""
    for line in newest.read_text().splitlines():
        if line.startswith("["):
            family = line.partition('"')[2].rstrip('"]') if line.startswith("[CFOptions") else ""
        elif family and line.strip().startswith(f"{name}="):
            found[family] = int(line.partition("=")[2])
    return found


@pytest.mark.parametrize(("limit", "blocks_per_memtable"), [(LIMIT_BYTES_ASSUMED, 4), (LIMIT_BYTES_MIN, 8)])
def test_blocks_of_memtables_are_mapped_if_they_are_large(tmp_path: Path, limit: int, blocks_per_memtable: int) -> None:
    """Four fill a memtable; those of small memtables stay in the heap, an eighth each, as RocksDB chooses."""
    memtable = memory_budget(limit).memtable_bytes
    database = open_database(tmp_path / "data", Tuning(write_buffer_bytes=memtable))
    blocks = _used(tmp_path / "data", "arena_block_size")
    database.close()
    assert {"log", "state-1"} <= blocks.keys()
    for family in ("log", "state-1"):
        size = memtable // blocks_per_memtable
        assert (size >= MAPPED_BYTES) == (blocks_per_memtable == 4)
        assert size <= blocks[family] < size + 4096  # RocksDB rounds up to a page
    # A few small records: the larger block would count against the bound of all memtables, and not be used.
    assert blocks["node"] < MAPPED_BYTES
