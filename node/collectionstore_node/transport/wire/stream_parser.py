"""Cuts a stream of bytes into frames, where they were received: no frame is copied to be decoded. Pure.

Memory is bounded by what has arrived and by the longest frame: it begins with WINDOW_BYTES and doubles only when it is
full of one frame whose header was in order. The checksum of a frame in many pieces is computed piece by piece, so that
a frame of 32 MiB does not hold the event loop when its last byte arrives.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

from collectionstore_node.transport.wire.frames import HEADER_BYTES, Frame, FrameHead, check_payload, decode_head

WINDOW_BYTES: Final = 64 << 10
"""What is received and handled in one piece, before the event loop serves others."""


class StreamParser:
    """Receives into `buffer`, and returns frames.

    The payload of a frame is a view of that memory, valid until the next `buffer`: copy what is kept.
    """

    __slots__ = ("_begin", "_checked", "_end", "_head", "_memory", "_summed", "_view")

    def __init__(self) -> None:
        self._allocate(WINDOW_BYTES)
        self._begin = 0
        """Where the first frame that was not returned yet begins ..."""
        self._end = 0
        """... and where the bytes received end."""
        self._head: FrameHead | None = None
        """The header of a frame that has not arrived as a whole."""
        self._summed = 0
        """Checksum of that frame, up to `_checked`."""
        self._checked = 0

    @property
    def capacity_bytes(self) -> int:
        """Memory held."""
        return len(self._memory)

    def buffer(self) -> memoryview:
        """Return where to receive to, at least one byte; then call `received`. Frames returned before are gone."""
        begin, end = self._begin, self._end
        if begin == end:
            self._begin = self._end = 0
            if len(self._memory) > WINDOW_BYTES:
                self._allocate(WINDOW_BYTES)
        elif begin:
            left = end - begin
            self._view[:left] = self._view[begin:end]
            self._begin, self._end, self._checked = 0, left, self._checked - begin
        elif end == len(self._memory):
            self._grow()
        return self._view[self._end :]

    def received(self, size_bytes: int) -> None:
        """Note that so many bytes were put into `buffer`."""
        self._end += size_bytes

    def next(self) -> Frame | None:
        """Return the next frame, or None until more is received. Raises `FrameRejected`, and is of no use then."""
        begin, head = self._begin, self._head
        payload = begin + HEADER_BYTES
        if head is None:
            if self._end < payload:
                return None
            head = decode_head(self._memory, begin)
            self._summed, self._checked = head.seed, payload
        end = payload + head.length
        if self._checked < end:
            until = min(end, self._end)
            self._summed = crc32(self._view[self._checked : until], self._summed)
            self._checked = until
        if self._end < end:
            self._head = head
            return None
        check_payload(head, self._summed)
        self._head = None
        self._begin = end
        return Frame(head.kind, self._view[payload:end])

    def _grow(self) -> None:
        """Double the memory, at most to the end of the frame that fills it."""
        if self._head is None:
            # Nothing is left unparsed but a part of a header, which does not fill the window.
            raise RuntimeError("received frames were not taken")
        before = self._view
        self._allocate(min(2 * len(before), HEADER_BYTES + self._head.length))
        self._view[: len(before)] = before

    def _allocate(self, size_bytes: int) -> None:
        self._memory = bytearray(size_bytes)
        self._view = memoryview(self._memory)
