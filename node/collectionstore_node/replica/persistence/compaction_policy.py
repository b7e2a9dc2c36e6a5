"""When the log is compacted, and up to which index.

The state machine is on disk already, so a "snapshot" costs nothing until a follower needs one: compaction only deletes
entries. It stays one generation behind, so that a follower that was away briefly still finds its entries.
"""

from __future__ import annotations

from collectionstore_node.raft.messages import SnapshotMetadata


class CompactionPolicy:
    """Counts what was applied since the last mark, and remembers that mark as the next place to cut."""

    def __init__(self, *, commands_max: int, bytes_max: int) -> None:
        self._commands_max = commands_max
        self._bytes_max = bytes_max
        self._commands = 0
        self._bytes = 0
        self._mark: SnapshotMetadata | None = None

    def applied(self, commands: int, size: int) -> None:
        """Count an applied entry of `commands` commands and `size` bytes of data."""
        self._commands += commands
        self._bytes += size

    @property
    def due(self) -> bool:
        """Whether to set a new mark. Two generations of entries are kept, so each may take half of the bytes."""
        return self._commands >= self._commands_max or self._bytes >= self._bytes_max // 2

    def advance(self, applied: SnapshotMetadata) -> SnapshotMetadata | None:
        """Set the mark to `applied` and return the previous one: the log may be cut there. None the first time."""
        cut, self._mark = self._mark, applied
        self._commands = self._bytes = 0
        return cut

    def reset(self) -> None:
        """A snapshot was installed: earlier marks lie before the log."""
        self._mark = None
        self._commands = self._bytes = 0
