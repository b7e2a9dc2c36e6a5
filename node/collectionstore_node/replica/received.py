"""Snapshot files that arrived whole and wait for the core to want them."""

from __future__ import annotations

from pathlib import Path

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.messages import Index, SnapshotMetadata, Term


class ReceivedSnapshots:
    """Files by what they hold. The core decides which is installed; all others go."""

    def __init__(self) -> None:
        self._paths: dict[tuple[Index, Term], Path] = {}

    def keep(self, metadata: SnapshotMetadata, path: Path) -> None:
        """Make a file ours: the transport deletes its own when its handler returns, and installing takes longer."""
        own = path.with_name(f"received-{metadata.index}-{metadata.term}")
        path.rename(own)
        self._paths[metadata.index, metadata.term] = own

    def take(self, metadata: SnapshotMetadata) -> Path:
        """Return the file of `metadata`, which is the caller's from now on, and delete the others."""
        path = self._paths.pop((metadata.index, metadata.term), None)
        self.discard()
        if path is None:
            raise InvariantViolated(f"the core asks for a snapshot at {metadata.index} that was not received")
        return path

    def discard(self) -> None:
        """Delete every file: stepped before this Ready was taken, and not in it, so the core did not want them."""
        for path in self._paths.values():
            path.unlink(missing_ok=True)
        self._paths.clear()
