"""The port through which the core reads the stored part of the log (etcd-io/raft `Storage`).

Reads are synchronous and must be fast: the adapter caches the recent entries. There are no writes here; they are
effects in `Ready`.
"""

from __future__ import annotations

from typing import Protocol

from collectionstore_node.raft.messages import Entry, Index, SnapshotMetadata, Term


class Compacted(Exception):
    """The index lies at or below the last compaction; only a snapshot can serve it."""


class Unavailable(Exception):
    """The index lies beyond the stored log."""


class LogReader(Protocol):
    """The stored log: entries `[first_index, last_index]`, preceded by `snapshot()`."""

    def first_index(self) -> Index:
        """Return the first index that `entries` can serve: `snapshot().index + 1`."""

    def last_index(self) -> Index:
        """Return the last stored index; `first_index() - 1` when there are no entries."""

    def term(self, index: Index) -> Term:
        """Return the term at `index` in `[first_index - 1, last_index]`. Raises `Compacted` or `Unavailable`."""

    def chain(self, index: Index) -> bytes:
        """Return the chain value at `index` in `[first_index - 1, last_index]`. Raises as `term`."""

    def entries(self, lo: Index, hi: Index, bytes_max: int) -> tuple[Entry, ...]:
        """Return entries `[lo, hi)`, cut after `bytes_max` of data but never empty when `lo < hi`.

        Raises `Compacted` or `Unavailable`; an I/O error is raised, never turned into "no entries".
        """

    def snapshot(self) -> SnapshotMetadata:
        """Return the metadata of the compacted prefix; index 0 when nothing was ever compacted."""
