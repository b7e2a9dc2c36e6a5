"""Cuts a stream of bytes into frames, where they were received: a frame that fits the window is not copied. Pure.

Memory is bounded by what has arrived and by the longest frame. A frame that is longer than the window is gathered in
memory of its own, which grows with its bytes; its checksum is computed piece by piece, so that a frame of 32 MiB does
not hold the event loop when its last byte arrives.
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

    __slots__ = ("_begin", "_end", "_head", "_long", "_summed", "_view", "_window")

    def __init__(self) -> None:
        self._window = bytearray(WINDOW_BYTES)
        self._view = memoryview(self._window)
        self._begin = 0
        """Where in the window what was not returned yet begins ..."""
        self._end = 0
        """... and where the bytes received end."""
        self._head: FrameHead | None = None
        """The header of the frame in `_long`."""
        self._long = bytearray()
        """The payload of a frame that does not fit the window, as far as it has arrived ..."""
        self._summed = 0
        """... and its checksum so far."""

    @property
    def held_bytes(self) -> int:
        """Memory used for what was received."""
        return len(self._window) + len(self._long)

    def buffer(self) -> memoryview:
        """Return where to receive to, at least one byte; then call `received`. Frames returned before are gone."""
        begin, end = self._begin, self._end
        if begin == end:
            self._begin = self._end = 0
        elif begin:
            left = end - begin
            self._view[:left] = self._view[begin:end]
            self._begin, self._end = 0, left
        return self._view[self._end :]

    def received(self, size_bytes: int) -> None:
        """Note that so many bytes were put into `buffer`."""
        self._end += size_bytes

    def next(self) -> Frame | None:
        """Return the next frame, or None until more is received. Raises `FrameRejected`, and is of no use then."""
        if self._head is not None:
            return self._gather(self._head)
        begin = self._begin
        payload = begin + HEADER_BYTES
        if self._end < payload:
            return None
        head = decode_head(self._window, begin)
        end = payload + head.length
        if self._end < end:
            if HEADER_BYTES + head.length > WINDOW_BYTES:
                self._head, self._summed, self._begin = head, head.seed, payload
                return self._gather(head)
            return None
        content = self._view[payload:end]
        check_payload(head, crc32(content, head.seed))
        self._begin = end
        return Frame(head.kind, content)

    def _gather(self, head: FrameHead) -> Frame | None:
        """Move what has arrived of a long frame, and return the frame when that was all."""
        end = min(self._end, self._begin + head.length - len(self._long))
        piece = self._view[self._begin : end]
        self._summed = crc32(piece, self._summed)
        self._long += piece
        self._begin = end
        if len(self._long) < head.length:
            return None
        check_payload(head, self._summed)
        frame = Frame(head.kind, memoryview(self._long))
        self._head, self._long = None, bytearray()
        return frame
