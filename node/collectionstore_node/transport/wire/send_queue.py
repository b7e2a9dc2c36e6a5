"""Bounded queues of encoded items that leave as lists, many per frame. Pure.

A queue never blocks its producer: an item that does not fit is refused, and the producer counts it. The consumer takes
as much as fits into one frame; items queued during one turn of the loop therefore leave together.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple, Protocol

from collectionstore_node.transport.wire.frames import PAYLOAD_BYTES_MAX, FrameKind, Parts, encode_list

ITEM_BYTES_MAX: Final = PAYLOAD_BYTES_MAX - 5
"""A longer item fits no frame, even alone: the head of the list has up to five bytes."""


class Batch(NamedTuple):
    """A frame ready to be written, and how many Raft messages are in it."""

    frame: Parts
    messages: int


class FrameSource(Protocol):
    """A source of frames for a connection."""

    @property
    def waiting(self) -> bool:
        """Whether `take` would return a frame."""

    def take(self, bytes_target: int) -> Batch | None:
        """Return the next frame: items up to `bytes_target`, at least one; None when nothing waits."""


class SendQueue:
    """A FIFO of encoded items for frames of one kind, bounded by count and by bytes."""

    __slots__ = ("_bytes_max", "_count_max", "_items", "_kind", "size_bytes")

    def __init__(self, kind: FrameKind, count_max: int, bytes_max: int) -> None:
        self._kind = kind
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._items: deque[bytes] = deque()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def waiting(self) -> bool:
        """Whether anything is queued."""
        return bool(self._items)

    def put(self, item: bytes) -> bool:
        """Queue `item` and return whether it fitted."""
        size_bytes = self.size_bytes + len(item)
        if size_bytes > self._bytes_max or len(self._items) >= self._count_max or len(item) > ITEM_BYTES_MAX:
            return False
        self.size_bytes = size_bytes
        self._items.append(item)
        return True

    def take(self, bytes_target: int) -> Batch | None:
        """Return the next frame, see `FrameSource`."""
        if not self._items:
            return None
        if self.size_bytes <= bytes_target:
            items = list(self._items)
            self._items.clear()
            self.size_bytes = 0
        else:
            items = self._take_some(bytes_target)
        return Batch(encode_list(self._kind, items), len(items) if self._kind is FrameKind.MESSAGES else 0)

    def clear(self) -> int:
        """Drop everything and return how many items that were."""
        count = len(self._items)
        self._items.clear()
        self.size_bytes = 0
        return count

    def _take_some(self, bytes_target: int) -> list[bytes]:
        items = [self._items.popleft()]
        taken = len(items[0])
        while self._items and taken + len(self._items[0]) <= bytes_target:
            item = self._items.popleft()
            taken += len(item)
            items.append(item)
        self.size_bytes -= taken
        return items
