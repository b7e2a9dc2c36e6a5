"""The log entries on disk, verified as they are read.

Invariant: an entry is returned only if its chain value follows from its predecessor's. RocksDB's block checksums do not
notice a block that was written to the wrong place, or an entry that is missing altogether; the chain does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from collectionstore_node.raft.messages import Entry, Index, chain_hash, decode_entry
from collectionstore_node.storage.corruption import Corrupted
from collectionstore_node.storage.failstop import FailStop
from collectionstore_node.storage.rocksdb.family import Family

FIRST_KEY: Final = b""
LAST_KEY: Final = b"\xff" * 9

_INDEX = struct.Struct(">Q")


def entry_key(index: int) -> bytes:
    """Return the key of the entry at `index`; keys sort as indexes."""
    return _INDEX.pack(index)


class StoredEntries:
    """The column family of the log, for reading."""

    def __init__(self, family: Family, failstop: FailStop) -> None:
        self.family = family
        self._failstop = failstop

    def read_all(self, first: Index, previous: bytes) -> Iterator[Entry]:
        """Yield every entry from `first` on, whose predecessor has chain `previous`. Raises `Corrupted`."""
        for entry in self._scan(first, previous):
            if isinstance(entry, str):
                raise Corrupted(entry)
            yield entry

    def read(self, lo: Index, hi: Index, bytes_max: int, *, start: Index, previous: bytes | None) -> list[Entry]:
        """Return entries `[lo, hi)`, cut before `bytes_max` of data is passed but never empty.

        `start` is `lo` if its predecessor's chain `previous` is known, else the index before. Raises `StorageFailed` on
        an I/O error, or if an entry is not what was written.
        """
        entries: list[Entry] = []
        for entry in self._scan(start, previous):
            if isinstance(entry, str):
                # Latched: an entry that this node has acknowledged cannot be read, so it must not vote or acknowledge.
                raise self._failstop.fail("read the log", entry)
            if entry.index < lo:
                continue
            bytes_max -= len(entry.data)
            if bytes_max < 0 and entries:
                return entries
            entries.append(entry)
            if entry.index + 1 == hi:
                return entries
        raise self._failstop.fail("read the log", f"It ends before entry {hi}.")

    def _scan(self, first: Index, previous: bytes | None) -> Iterator[Entry | str]:
        """Yield the entries from `first` on; the last item is a description if an entry is corrupt or missing."""
        expected = first
        for key, value in self.family.scan(entry_key(first)):
            try:
                entry = decode_entry(value)
            except msgspec.DecodeError as error:
                yield f"Entry {expected} of the log cannot be decoded ({error})."
                return
            if key != entry_key(expected) or entry.index != expected:
                yield f"Entry {expected} of the log is missing."
                return
            if previous is not None and not _follows(previous, entry):
                yield f"The chain of the log is broken at entry {expected}."
                return
            yield entry
            previous, expected = entry.chain, Index(expected + 1)


def _follows(previous: bytes, entry: Entry) -> bool:
    return chain_hash(previous, entry.index, entry.term, entry.kind, entry.data) == entry.chain
