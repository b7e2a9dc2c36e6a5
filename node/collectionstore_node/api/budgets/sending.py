"""Answers that their clients have not taken yet: counted, bounded, and cut when a client does not read.

An answer waits in this process while the client's receive window is closed. Only answers that wait are counted: one
that the kernel takes at once costs nothing here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from collectionstore_node.errors import Overloaded

RATE_MIN: Final = 16 << 10
"""Bytes per second that a client must take of an answer, on average over a window."""
WINDOW_S: Final = 10.0
PATIENCE_S: Final = 1.0
"""When the budget is used up, an answer that has waited for this long may be cut for another one."""


class Reader(Protocol):
    """A connection whose client takes an answer."""

    def unsent(self) -> int:
        """Return how many bytes of the answer wait in this process."""

    def cut(self, reason: str) -> None:
        """Close it at once; what waits is dropped."""


class _Charge:
    __slots__ = ("mark_at", "mark_unsent", "since", "size")

    def __init__(self, size: int, now: float) -> None:
        self.size = self.mark_unsent = size
        self.since = self.mark_at = now


class Sending:
    """The budget of unsent bytes of one port."""

    __slots__ = ("_bytes", "_bytes_max", "_charges", "_clock")

    def __init__(self, bytes_max: int, clock: Callable[[], float]) -> None:
        self._bytes = 0
        self._bytes_max = bytes_max
        self._clock = clock
        self._charges: dict[Reader, _Charge] = {}

    @property
    def size_bytes(self) -> int:
        """Bytes of answers that are being sent."""
        return self._bytes

    def take(self, reader: Reader, size: int) -> None:
        """Count an answer of `size` bytes; call `release` when it was sent or dropped.

        Cuts the slowest readers to make room. Raises `Overloaded` when that does not suffice; nothing is counted then.
        """
        self.release(reader)
        if self._bytes + size > self._bytes_max:
            self._relieve(size)
        if self._bytes + size > self._bytes_max:
            raise Overloaded(f"answers of {self._bytes} bytes wait for clients that read slowly")
        self._bytes += size
        self._charges[reader] = _Charge(size, self._clock())

    def __contains__(self, reader: Reader) -> bool:
        """Return whether an answer to this reader is counted."""
        return reader in self._charges

    def release(self, reader: Reader) -> None:
        """Count the end of an answer; a second time is nothing."""
        charge = self._charges.pop(reader, None)
        if charge is not None:
            self._bytes -= charge.size

    def sweep(self, now: float) -> None:
        """Cut the clients that took less than `RATE_MIN` over the last `WINDOW_S`."""
        for reader, charge in tuple(self._charges.items()):
            if now - charge.mark_at < WINDOW_S:
                continue
            unsent = reader.unsent()
            if charge.mark_unsent - unsent < RATE_MIN * (now - charge.mark_at):
                self._cut(reader, "slow_read")
            else:
                charge.mark_at, charge.mark_unsent = now, unsent

    def _relieve(self, size: int) -> None:
        now = self._clock()
        waiting = sorted(
            ((charge.size - reader.unsent()) / (now - charge.since), charge.since, number, reader)
            for number, (reader, charge) in enumerate(self._charges.items())
            if now - charge.since >= PATIENCE_S
        )
        for *_, reader in waiting:
            self._cut(reader, "evicted_read")
            if self._bytes + size <= self._bytes_max:
                return

    def _cut(self, reader: Reader, reason: str) -> None:
        self.release(reader)
        reader.cut(reason)
