"""Bodies that are still arriving: their bytes count as they arrive, and whoever sends too slowly is ended.

A request whose body arrives in pieces waits here, and takes no place among the requests in flight before it is
complete. So announcing a large body costs nobody anything, and a slow one is the first to make room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.errors import Overloaded

RATE_MIN: Final = 1 << 10
"""Bytes per second that a body must arrive with, on average over a window."""
WINDOW_S: Final = 5.0
PATIENCE_S: Final = 1.0
"""When the budget is used up, an upload of at least this age may be ended for another one."""


class TooSlow(Exception):
    """The body arrives with less than `RATE_MIN`."""


class Upload:
    """One body, or what is awaited of one that is taken in parts; `size` is what has arrived of it."""

    __slots__ = ("client", "end", "mark_at", "mark_size", "since", "size")

    def __init__(self, client: Client | None, end: Callable[[Exception], None], now: float) -> None:
        self.client = client
        self.end = end
        self.size = self.mark_size = 0
        self.since = self.mark_at = now


class Uploads:
    """The bodies that arrive at one port."""

    __slots__ = ("_bytes", "_bytes_max", "_clock", "_count_max", "_uploads")

    def __init__(self, bytes_max: int, count_max: int, clock: Callable[[], float]) -> None:
        self._bytes = 0
        self._bytes_max = bytes_max
        self._count_max = count_max
        self._clock = clock
        self._uploads: set[Upload] = set()

    @property
    def size_bytes(self) -> int:
        """Bytes that have arrived of bodies that are not complete."""
        return self._bytes

    @property
    def count(self) -> int:
        """Number of bodies that are arriving."""
        return len(self._uploads)

    def open(self, client: Client | None, end: Callable[[Exception], None]) -> Upload:
        """Count a body; `end` makes its reader raise an exception. Raises `Overloaded` when there is no place."""
        if len(self._uploads) >= self._count_max and not self._end_slowest(self._uploads):
            raise Overloaded(f"{self._count_max} bodies are arriving already")
        upload = Upload(client, end, self._clock())
        self._uploads.add(upload)
        return upload

    def grow(self, upload: Upload, size: int) -> None:
        """Count `size` bytes that have arrived. Raises `Overloaded` when there is no room for them."""
        while self._bytes + size > self._bytes_max and self._end_slowest(self._largest(upload)):
            pass
        if self._bytes + size > self._bytes_max:
            raise Overloaded(f"bodies of {self._bytes} bytes are arriving already")
        if upload in self._uploads:
            self._bytes += size
            upload.size += size

    def close(self, upload: Upload) -> None:
        """Count the end of a body, complete or not; a second time is nothing."""
        if upload in self._uploads:
            self._uploads.remove(upload)
            self._bytes -= upload.size

    def sweep(self, now: float) -> None:
        """End the bodies that arrived with less than `RATE_MIN` over the last `WINDOW_S`."""
        for upload in tuple(self._uploads):
            age = now - upload.mark_at
            if age < WINDOW_S:
                continue
            if upload.size - upload.mark_size < RATE_MIN * age:
                self._end(upload, TooSlow(f"the body arrives with less than {RATE_MIN} bytes per second"))
            else:
                upload.mark_at, upload.mark_size = now, upload.size

    def _largest(self, growing: Upload) -> Iterable[Upload]:
        """Return the other uploads of the address that holds most: a client pays before its neighbours do."""
        held: Counter[Client | None] = Counter()
        for upload in self._uploads:
            held[upload.client] += upload.size
        ((client, _),) = held.most_common(1) or ((None, 0),)
        return [upload for upload in self._uploads if upload.client is client and upload is not growing]

    def _end_slowest(self, uploads: Iterable[Upload]) -> bool:
        now = self._clock()
        old = [upload for upload in uploads if now - upload.since >= PATIENCE_S]
        if not old:
            return False
        slowest = min(old, key=lambda one: (one.size / (now - one.since), one.since))
        self._end(slowest, Overloaded("the body arrived more slowly than all others"))
        return True

    def _end(self, upload: Upload, reason: Exception) -> None:
        self.close(upload)
        upload.end(reason)
