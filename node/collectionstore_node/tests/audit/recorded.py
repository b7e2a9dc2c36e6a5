"""What the tests of the audit log share: events, sinks and series that record, and a clock that tests move."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from collectionstore_node.audit.chain import Origin, Position, append
from collectionstore_node.audit.events import Entry, Event
from collectionstore_node.audit.sinks import SinkFailed

ORIGIN = Origin("cluster", "demo-0")
CHAIN = "00112233"


def event(number: int = 1, **members: object) -> Event:
    """Return what is recorded of a request."""
    given: dict[str, object] = {
        "at_ms": 1_796_000_000_000 + number,
        "user": "ada",
        "verb": "write",
        "operation": "PUT /api/v1/collections/{collection}/documents/{id}",
        "kind": "collection",
        "resource": "books",
        "id": f"d{number}",
        "outcome": "ok",
        "status": 200,
        "revision": number,
    }
    return Event(**{**given, **members})  # type: ignore[arg-type]


class Time:
    """A clock, and a sleep that moves it at once."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        """Return the time in seconds."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Move the clock, and let others run."""
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class RecordedSeries:
    """Implements `FeederSeries`."""

    def __init__(self) -> None:
        self.counts = {"written": 0, "dropped": 0, "failed": 0}

    def written(self, records: int) -> None:
        """Count."""
        self.counts["written"] += records

    def dropped(self, records: int) -> None:
        """Count."""
        self.counts["dropped"] += records

    def failed(self) -> None:
        """Count."""
        self.counts["failed"] += 1


class RecordedSink:
    """Implements `Sink`: fails as often as it is told to, or hangs until it is released."""

    linger_s = 0.0

    def __init__(self) -> None:
        self.taken: list[Entry] = []
        self.batches: list[int] = []
        self.failures = 0
        """How many of the next attempts fail."""
        self.free = asyncio.Event()
        self.free.set()
        self.closed = False
        self._position = Position(CHAIN, 1)

    @property
    def position(self) -> Position:
        """Where its chain stands."""
        return self._position

    async def send(self, entries: Sequence[Entry]) -> None:
        """Take a batch, or fail."""
        await self.free.wait()
        if self.failures:
            self.failures -= 1
            raise SinkFailed("it is told to")
        for entry in entries:
            self._position = append(self._position, entry)[1]
        self.taken += entries
        self.batches.append(len(entries))

    async def close(self) -> None:
        """Note it."""
        self.closed = True
