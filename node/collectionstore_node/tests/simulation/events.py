"""The running hash of everything that happened, and, on demand, the story in words."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable

_MOMENT = struct.Struct(">d")


class Trace:
    """Takes note of events. Equal seeds give equal digests, in every process and under every PYTHONHASHSEED."""

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        """`tell` gets a line for each event worth reading; without it nothing is formatted."""
        self._hash = hashlib.blake2b(digest_size=16)
        self._log_line = tell
        self.now: Callable[[], float] = float

    def note(self, kind: bytes, *numbers: int) -> None:
        """Record an event that is too frequent to be logged: its kind, its time and what distinguishes it."""
        self._hash.update(_MOMENT.pack(self.now()))
        self._hash.update(kind)
        if numbers:
            self._hash.update(repr(numbers).encode())

    def tell(self, who: str, what: str) -> None:
        """Record an event and log it."""
        self._hash.update(_MOMENT.pack(self.now()))
        self._hash.update(f"{who}\0{what}\0".encode())
        self.say(who, what)

    def say(self, who: str, what: str) -> None:
        """Tell what only people read, such as log lines; it is not part of the digest."""
        if self._log_line is not None:
            self._log_line(f"{self.now():10.4f} {who:<10} {what}")

    @property
    def verbose(self) -> bool:
        """Whether events are logged."""
        return self._log_line is not None

    def hexdigest(self) -> str:
        """Return the digest of all that happened so far."""
        return self._hash.hexdigest()
