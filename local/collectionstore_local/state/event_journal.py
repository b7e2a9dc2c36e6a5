"""The events of a local cluster: the actions of the reconcile loop with their reasons, one JSON object per line.

The counterpart of `kubectl get events`. Bounded: a file that grows past EVENT_BYTES_MAX is cut to its newer half. The
supervisor is the only writer; readers follow by position.
"""

from __future__ import annotations

import errno
from pathlib import Path

import msgspec

from collectionstore_local.state.directory import with_reserve, write_atomically
from collectionstore_operator.status.events import Event

EVENT_BYTES_MAX = 1 << 20
RECENT_BYTES = 1 << 14

_decoder = msgspec.json.Decoder(Event)


class EventWriter:
    """Appends events."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def record(self, event: Event) -> None:
        """Append one event."""
        with_reserve(self._path, lambda: self._append(msgspec.json.encode(event) + b"\n"))
        if self._path.stat().st_size > EVENT_BYTES_MAX:
            self._drop_older_half()

    def _append(self, line: bytes) -> None:
        # One unbuffered write with the newline: a reader takes complete lines only, and never half an event.
        with open(self._path, "ab", buffering=0) as file:
            before = file.tell()
            if file.write(line) != len(line):
                file.truncate(before)
                raise OSError(errno.ENOSPC, "an event could not be written in full", str(self._path))

    def _drop_older_half(self) -> None:
        content = self._path.read_bytes()
        start = content.index(b"\n", len(content) // 2) + 1
        write_atomically(self._path, content[start:], durable=False)


class EventReader:
    """Follows the events of a cluster from a position on."""

    def __init__(self, path: Path, *, from_end: bool) -> None:
        self._path = path
        self._position = path.stat().st_size if from_end and path.exists() else 0

    def read(self) -> list[Event]:
        """Return the events since the last call; if the file was cut meanwhile, all that are left."""
        try:
            with open(self._path, "rb") as file:
                if file.seek(0, 2) < self._position:
                    self._position = 0
                file.seek(self._position)
                content = file.read()
        except FileNotFoundError:
            return []
        complete = content[: content.rfind(b"\n") + 1]
        self._position += len(complete)
        return [_decoder.decode(line) for line in complete.splitlines()]


def recent_events(path: Path, count: int) -> list[Event]:
    """Return the newest events, oldest first; as many as fit into the last RECENT_BYTES, at most `count`."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    start = content.find(b"\n", len(content) - RECENT_BYTES) + 1 if len(content) > RECENT_BYTES else 0
    lines = content[start : content.rfind(b"\n") + 1].splitlines()
    return [_decoder.decode(line) for line in lines[max(0, len(lines) - count) :]]
