"""The latch that stops everything after the first error of the disk.

After a failed fsync the kernel may have marked the pages clean, so trying again proves nothing (ATC'20, Rebello et
al.), and RocksDB may bring the failed write back at the next start. So the first error decides: from then on every
call of this package raises `StorageFailed`, and what was being written is unknown, never failed.
"""

from __future__ import annotations

from collectionstore_node.errors import StorageFailed


class FailStop:
    """Shared by everything that touches one data directory; safe to use from several threads."""

    __slots__ = ("_cause",)

    def __init__(self) -> None:
        self._cause: str | None = None

    def check(self) -> None:
        """Raise `StorageFailed` when an error was seen before, or the storage was closed."""
        if self._cause is not None:
            raise StorageFailed(self._cause)

    def fail(self, action: str, error: Exception | str) -> StorageFailed:
        """Latch the first error and return what to raise."""
        if self._cause is None:
            self._cause = f"{action}: {error}"
            return StorageFailed(self._cause)
        return StorageFailed(f"{action}: {error}; first error: {self._cause}")

    def close(self) -> None:
        """Refuse every later call; an error latched before stays the reason."""
        if self._cause is None:
            self._cause = "the storage is closed"

    @property
    def failed(self) -> bool:
        """Whether nothing may touch the disk any more."""
        return self._cause is not None
