"""`FileSink`: records in files of a directory, `audit-00000001.ndjson` and so on, begun by size and kept by number.

A batch is written by a thread in one call, and synced as the settings say. What a full disk or an error has left of a
batch is cut off again, so that the same records can be written anew; where that is not possible, or a crash has left a
part of a line, the next file is begun, and its header says so. A member that starts goes on where its last file ends:
restarts take no files from those that are kept.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from collectionstore_node.audit.chain import Origin, Position, append, begin_file, position_behind
from collectionstore_node.audit.events import Entry
from collectionstore_node.audit.settings import Sync
from collectionstore_node.audit.sinks import SinkFailed

INTERVAL_S: Final = 1.0
LINE_BYTES_MAX: Final = 1 << 20
"""No line is longer: one that seems to be is none of ours."""
_NAME: Final = re.compile(r"audit-([0-9]{8})\.ndjson")


class FileSink:
    """Implements `Sink`. Belongs to an event loop; its thread alone touches the files."""

    def __init__(
        self,
        directory: Path,
        origin: Origin,
        *,
        chain: str,
        wall_ms: Callable[[], int],
        bytes_max: int,
        files_max: int,
        sync: Sync,
    ) -> None:
        """`chain` is the ID of a new chain, should none be continued."""
        self._directory = directory
        self._origin = origin
        self._wall_ms = wall_ms
        self._bytes_max = bytes_max
        self._files_max = files_max
        self._sync = sync
        self.linger_s = INTERVAL_S if sync == "Interval" else 0.0
        self._new_chain = chain
        self._position = Position(chain)
        self._descriptor: int | None = None
        self._size = 0
        self._found = False
        """Whether the directory was looked at."""
        self._torn = False
        """Whether the last file ends in a part of a line."""
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit")

    @property
    def position(self) -> Position:
        """Where the chain stands."""
        return self._position

    async def send(self, entries: Sequence[Entry]) -> None:
        """Write a batch. Raises `SinkFailed`."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, entries)

    async def close(self) -> None:
        """Close the file. Does not wait for a disk that hangs."""
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    # In the thread

    def _write(self, entries: Sequence[Entry]) -> None:
        try:
            if not self._found:
                self._find()
            if self._descriptor is None or self._size >= self._bytes_max or not os.fstat(self._descriptor).st_nlink:
                # Full, or removed by another program: what is written to a removed file, nothing will ever read.
                self._begin()
            position, lines = self._position, []
            for entry in entries:
                line, position = append(position, entry)
                lines.append(line)
            self._put(b"".join(lines), position)
        except OSError as error:
            raise SinkFailed(f"{error.strerror or type(error).__name__}: {self._directory}") from None

    def _find(self) -> None:
        """Go on with the last file of the directory, if there is one."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in reversed(self._numbers()):
            # A file without a line has not begun: a crash came before its header. It is begun anew.
            if self._continue(number):
                break
        self._found = True

    def _numbers(self) -> list[int]:
        names = (_NAME.fullmatch(one.name) for one in self._directory.iterdir())
        return sorted(int(name[1]) for name in names if name is not None)

    def _path(self, number: int) -> Path:
        return self._directory / f"audit-{number:08d}.ndjson"

    def _continue(self, number: int) -> bool:
        """Take the position from a file, and its place for writing if it is whole; return False if it has no line."""
        path = self._path(number)
        with path.open("rb") as file:
            header = file.readline(LINE_BYTES_MAX)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 2 * LINE_BYTES_MAX))
            *_, rest = tail = file.read().split(b"\n")
        if len(tail) == 1:
            return False
        position = position_behind(header, tail[-2] + b"\n")
        if position is None:
            # Something has changed it: nothing can be chained to it, and the file stays as it is.
            self._position = Position(self._new_chain, number)
            return True
        self._position = position._replace(file=number)
        self._torn = bool(rest)
        if not rest and size < self._bytes_max:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            self._size = size
        return True

    def _begin(self) -> None:
        """Begin the next file, and remove the oldest ones beyond their number."""
        number = self._position.file + 1
        line, position = begin_file(self._position, self._origin, self._wall_ms(), torn=self._torn)
        path = self._path(number)
        # Of this name there is none of ours: one that failed before it had a header is written anew.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._close()
        self._descriptor, self._size = descriptor, 0
        self._put(line, position)
        self._torn = False
        if self._sync != "Never":
            self._sync_directory()
        for old in self._numbers()[: -self._files_max]:
            self._path(old).unlink()

    def _put(self, data: bytes, position: Position) -> None:
        """Write lines, all of them or none, and move the position behind them."""
        descriptor = self._descriptor
        if descriptor is None:
            raise OSError("no file is open")
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            if self._sync != "Never":
                os.fsync(descriptor)
        except OSError:
            self._cut()
            raise
        self._size += len(data)
        self._position = position

    def _cut(self) -> None:
        """Cut off what was written of a batch that failed; if that fails, too, go on in the next file."""
        descriptor = self._descriptor
        if descriptor is None:
            return
        try:
            os.ftruncate(descriptor, self._size)
        except OSError:
            self._torn = self._torn or self._size > 0
        else:
            if self._size:
                return
        # With a part of a line: not to be continued. Without a header: to be begun anew, under the same number.
        self._close()

    def _sync_directory(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
