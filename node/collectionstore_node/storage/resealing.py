"""Seals all values of a directory anew, by the key that seals now: after it was encrypted, or its key was changed.

Before the member starts, so nothing else writes. A crash leaves values of both kinds, which both open, and the mark in
the file KEYS by which the next start begins again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from collectionstore_node.storage.rocksdb.family import Family
from collectionstore_node.storage.rocksdb.rocks import Rocks

FLUSH_BYTES: Final = 8 << 20
"""Flush after so much: a full memtable would stall the write."""


def reseal(rocks: Rocks, families: Iterable[Family]) -> int:
    """Seal what is not sealed by the current key, and rewrite all table files; return the number of values. Blocks."""
    count = 0
    for family in families:
        count += _reseal(rocks, family)
        # What the values were is still in the table files, and in the WAL until every family is flushed.
        family.reclaim(b"", b"\xff" * 16, markers=True)
    rocks.flush_all()
    return count


def _reseal(rocks: Rocks, family: Family) -> int:
    count = unflushed = 0
    batch = rocks.batch(family)
    for key, value in family.stale_values():
        batch[key] = value
        count += 1
        if batch.size_in_bytes() >= FLUSH_BYTES // 8:
            unflushed += batch.size_in_bytes()
            rocks.write_unlogged(batch)
            batch = rocks.batch(family)
            if unflushed >= FLUSH_BYTES:
                family.flush()
                unflushed = 0
    rocks.write_unlogged(batch)
    family.flush()
    return count
