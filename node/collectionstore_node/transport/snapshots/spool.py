"""Files of snapshots being received: bounded, verified chunk by chunk and as a whole, and always cleaned up.

A part is kept for `snapshot_resume_s` after its connection was lost, so that the transfer resumes. Nothing survives a
restart of the process: acknowledged offsets are in memory only, and an unsynced file may be torn.

The methods of `Part` that touch the file block and belong into a thread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from collectionstore_node.raft.messages import NodeId
from collectionstore_node.sealed_files import OpenFile, open_plain
from collectionstore_node.transport.settings import TransportSettings
from collectionstore_node.transport.snapshots.snapshot_frames import Begin, Chunk, Refusal, SnapshotRefusal

_PREFIX: Final = "inbound-"


class PartRefused(Exception):
    """The part, or this chunk of it, is refused."""

    def __init__(self, code: SnapshotRefusal, detail: str) -> None:
        super().__init__(detail)
        self.refusal = Refusal(code, detail)


class Stored(NamedTuple):
    """A chunk that is in the file: where it ends, and the hash of everything up to there."""

    end: int
    read: hashlib._Hash


class Part:
    """The received beginning of one snapshot file: the first `stored` bytes are verified and written."""

    def __init__(self, path: Path, sender: NodeId, begin: Begin, open_file: OpenFile = open_plain) -> None:
        self.path = path
        self._open_file = open_file
        self.sender = sender
        self.size_bytes = begin.size_bytes
        self.sha256 = begin.sha256
        self.stored = 0
        self._read = hashlib.sha256()
        """Of the first `stored` bytes."""
        self.began_at: float | None = None
        """Monotonic time at which its first connection began to feed it."""
        self.released_at: float | None = None
        """Monotonic time since which no connection feeds it; None while one does."""

    def create(self) -> None:
        """Make the empty file; blocks. Raises `PartRefused`."""
        try:
            self.path.touch(mode=0o600, exist_ok=False)
        except OSError as error:
            raise PartRefused(SnapshotRefusal.STORAGE, f"spool: {error.strerror}") from error

    def store(self, chunk: Chunk) -> Stored:
        """Verify and write the chunk, which begins at `stored`; blocks. Raises `PartRefused`.

        The caller passes the result to `accept`, in its own thread, so that a write that outlives its connection
        changes nothing.
        """
        if hashlib.sha256(chunk.data).digest() != chunk.sha256:
            raise PartRefused(SnapshotRefusal.CHUNK_CORRUPT, f"chunk at {chunk.offset}")
        try:
            with self._open_file(self.path, "r+b") as file:
                file.seek(chunk.offset)
                if file.write(chunk.data) != len(chunk.data):
                    raise PartRefused(SnapshotRefusal.STORAGE, "spool: a chunk could not be written in full")
        except OSError as error:
            raise PartRefused(SnapshotRefusal.STORAGE, f"spool: {error.strerror}") from error
        read = self._read.copy()
        read.update(chunk.data)
        return Stored(chunk.offset + len(chunk.data), read)

    def accept(self, stored: Stored) -> int:
        """Count a chunk as stored and return its end."""
        self.stored, self._read = stored
        return self.stored

    def verify(self) -> None:
        """Compare what was received with the hash that was announced. Raises `PartRefused`.

        The file is not read for it: before it is offered to the core, all of it is, with the hashes inside it.
        """
        found = self._read.digest()
        if found != self.sha256:
            raise PartRefused(SnapshotRefusal.HASH_MISMATCH, f"announced {self.sha256.hex()}, received {found.hex()}")


class Spool:
    """All parts of this node, within `snapshots_max` and `snapshot_bytes_max`."""

    def __init__(
        self,
        directory: Path,
        settings: TransportSettings,
        missing_bytes: Callable[[int], int] | None = None,
        open_file: OpenFile = open_plain,
    ) -> None:
        """`missing_bytes` returns how much space is missing to receive and install a file of this size."""
        self._open_file = open_file
        self._missing_bytes = missing_bytes
        self._directory = directory
        self._settings = settings
        self._parts: list[Part] = []
        self._made = 0

    def clear(self) -> None:
        """Delete what an earlier process left behind; blocks. Call BEFORE the first `claim`."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for path in self._directory.glob(f"{_PREFIX}*"):
            path.unlink()

    def claim(self, sender: NodeId, begin: Begin) -> Part:
        """Return the part to resume, or a new one, for exclusive use by one connection. Raises `PartRefused`."""
        for part in [one for one in self._parts if one.sender == sender and one.released_at is not None]:
            if part.sha256 == begin.sha256 and part.size_bytes == begin.size_bytes:
                part.released_at = None
                return part
            # The sender has a newer snapshot; it will not resume this one.
            self.discard(part)
        if sum(part.released_at is None for part in self._parts) >= self._settings.snapshots_max:
            raise PartRefused(SnapshotRefusal.BUSY, f"{self._settings.snapshots_max} snapshots are being received")
        reserved = sum(part.size_bytes for part in self._parts)
        if reserved + begin.size_bytes > self._settings.snapshot_bytes_max:
            raise PartRefused(
                SnapshotRefusal.TOO_LARGE,
                f"{begin.size_bytes} bytes and {reserved} reserved pass {self._settings.snapshot_bytes_max}",
            )
        # BEFORE the first byte: a file that cannot be installed in the end would only fill the disk.
        missing = 0 if self._missing_bytes is None else self._missing_bytes(reserved + begin.size_bytes)
        if missing > 0:
            raise PartRefused(
                SnapshotRefusal.STORAGE, f"{missing} bytes are missing to store and install {begin.size_bytes}"
            )
        return self._make(sender, begin)

    def release(self, part: Part, now: float) -> None:
        """Keep the part to be resumed: its connection was lost."""
        part.released_at = now

    def discard(self, part: Part) -> None:
        """Drop the part and delete its file, unless the replica has renamed it."""
        if part in self._parts:
            self._parts.remove(part)
        part.path.unlink(missing_ok=True)

    def sweep(self, now: float) -> None:
        """Delete parts that were not resumed in time."""
        for part in tuple(self._parts):
            if part.released_at is not None and now - part.released_at > self._settings.snapshot_resume_s:
                self.discard(part)

    def _make(self, sender: NodeId, begin: Begin) -> Part:
        self._made += 1
        path = self._directory / f"{_PREFIX}{sender:016x}-{begin.sha256.hex()[:16]}-{self._made}"
        part = Part(path, sender, begin, self._open_file)
        part.create()
        self._parts.append(part)
        return part
