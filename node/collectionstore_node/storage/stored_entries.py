"""Log entries as they lie on disk, checked as they are read.

Invariant: no entry is returned whose chain value does not continue its predecessor's.
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
    """Return where the entry at `index` is stored; keys sort as indexes."""
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

        `start` is `lo` when its predecessor's chain `previous` is known, else the index before. Raises `StorageFailed`
        when the disk fails or gives something else back than was stored.
        """
        entries: list[Entry] = []
        for entry in self._scan(start, previous):
            if isinstance(entry, str):
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
        """Yield entries from `first` on until the end, or until one is not as it should be, and then what is wrong."""
        expected = first
        for key, value in self.family.scan(entry_key(first)):
            try:
                entry = decode_entry(value)
            except msgspec.DecodeError as error:
                yield f"Entry {expected} of the log cannot be read ({error})."
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
