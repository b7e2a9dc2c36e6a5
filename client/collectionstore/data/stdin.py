"""stdin as a file whose reads end when it is closed, also by another thread: Ctrl-C must not wait for a pipe."""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from typing import IO, Final, cast

from collectionstore.data.arguments import ArgumentInvalid

POLL_S: Final = 0.25


class _Stdin(io.RawIOBase):
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._stopped = threading.Event()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(cast(bytearray, buffer))
        while not self._stopped.is_set():
            ready, _, _ = select.select([self._descriptor], [], [], POLL_S)
            if ready:
                content = os.read(self._descriptor, len(view))
                view[: len(content)] = content
                return len(content)
        return 0

    def close(self) -> None:
        self._stopped.set()
        super().close()


def open_stdin() -> IO[bytes]:
    """Return stdin for reading; closing it leaves stdin itself open. Raises ArgumentInvalid if it is closed."""
    if sys.stdin is None or sys.stdin.closed:
        raise ArgumentInvalid("there is no FILE, and stdin is closed")
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError):  # replaced, by a test or the shell: all of it is there already
        return io.BytesIO(sys.stdin.buffer.read())
    return cast(IO[bytes], _Stdin(descriptor))
