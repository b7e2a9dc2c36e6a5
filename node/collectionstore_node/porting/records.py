"""Bytes that arrive in pieces, cut into records: lines, or those of CSV, whose quoted cells may have line ends."""

from __future__ import annotations

from typing import Final

from collectionstore_node.errors import InvalidRequest, TooLarge

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Records:
    """Takes bytes and gives records, without their line ends (LF or CRLF), and without a mark of byte order.

    A line end within double quotes ends no record of CSV; doubled quotes are two (RFC 4180 2.5-2.7).
    """

    __slots__ = ("_begin", "_buffer", "_bytes_max", "_ended", "_first", "_looked", "_quoted", "_quotes", "number")

    def __init__(self, *, quotes: bool, bytes_max: int) -> None:
        """`quotes` is for CSV; `bytes_max` bounds a record, and so what waits for its end."""
        self._quotes = quotes
        self._bytes_max = bytes_max
        self._buffer = bytearray()
        self._begin = 0
        """Where the next record begins."""
        self._looked = 0
        """Up to where its end was looked for."""
        self._quoted = False
        """Whether that place is within quotes."""
        self._first = True
        self._ended = False
        self.number = 0
        """How many records were given."""

    def feed(self, data: bytes) -> None:
        """Take bytes that arrived."""
        del self._buffer[: self._begin]
        self._looked -= self._begin
        self._begin = 0
        self._buffer += data

    def end(self) -> None:
        """Note that nothing more arrives."""
        self._ended = True

    def take(self) -> bytes | None:
        """Return the next record, None when it has not arrived, or when there is none any more.

        Raises `TooLarge`, and `InvalidRequest("invalid_body")` for a quote that is not closed.
        """
        buffer = self._buffer
        if self._first and (len(buffer) >= len(BYTE_ORDER_MARK) or self._ended):
            self._first = False
            if buffer.startswith(BYTE_ORDER_MARK):
                self._begin = self._looked = len(BYTE_ORDER_MARK)
        elif self._first:
            return None
        while True:
            end = buffer.find(b"\n", self._looked)
            behind = len(buffer) if end < 0 else end
            if self._quotes and buffer.count(b'"', self._looked, behind) & 1:
                self._quoted = not self._quoted
            self._looked = behind if end < 0 else end + 1
            if behind - self._begin > self._bytes_max:
                raise TooLarge(
                    f"record {self.number + 1} has more than {self._bytes_max} bytes", limit_bytes=self._bytes_max
                )
            if end >= 0 and not self._quoted:
                return self._cut(end, end + 1)
            if end < 0:
                return self._last() if self._ended else None

    def _last(self) -> bytes | None:
        end = len(self._buffer)
        if self._begin == end:
            return None
        if self._quoted:
            raise InvalidRequest("invalid_body", f"record {self.number + 1} has a quoted cell that is not closed")
        return self._cut(end, end)

    def _cut(self, end: int, behind: int) -> bytes:
        record = bytes(self._buffer[self._begin : end])
        self._begin = behind
        self.number += 1
        return record.removesuffix(b"\r")
