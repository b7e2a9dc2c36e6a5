"""Fail-stop: a latch that refuses every storage operation after the first I/O error.

After a failed fsync the kernel may have marked the pages clean, so a retry that succeeds proves nothing (Rebello et
al., ATC'20). And the failed write may be back after a restart: measured, one injected EIO on `fdatasync`, and RocksDB
shows the key after reopening. So after the first error every call of this package raises `StorageFailed`, the process
exits, and the outcome of what was being written is unknown, never "failed".
"""

from __future__ import annotations

from typing import Final

from collectionstore_node.errors import DescriptorsExhausted, StorageFailed

_EMFILE: Final = "Too many open files"
"""How RocksDB's text says EMFILE and ENFILE; its binding has no codes. The disk is not at fault then."""


class FailStop:
    """Shared by everything that accesses one data directory. Thread-safe."""

    __slots__ = ("_cause",)

    def __init__(self) -> None:
        self._cause: str | None = None

    def check(self) -> None:
        """Raise `StorageFailed` after an error, or after the storage was closed."""
        if self._cause is not None:
            raise self._failure(self._cause)

    def fail(self, action: str, error: Exception | str) -> StorageFailed:
        """Latch the first error and return the exception to raise."""
        # The first error stays the cause: later ones are mostly its consequences.
        if self._cause is None:
            self._cause = f"{action}: {error}"
            return self._failure(self._cause)
        return self._failure(f"{action}: {error}; first error: {self._cause}")

    def _failure(self, text: str) -> StorageFailed:
        # A stop all the same: RocksDB may be in its read-only error state now, and a failed write proves nothing.
        return DescriptorsExhausted(text) if _EMFILE in (self._cause or "") else StorageFailed(text)

    def close(self) -> None:
        """Refuse all further calls; an error that is already latched stays the reason."""
        if self._cause is None:
            self._cause = "the storage is closed"

    @property
    def failed(self) -> bool:
        """Whether the storage has failed or was closed."""
        return self._cause is not None
