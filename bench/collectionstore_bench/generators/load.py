"""One run of a load generator, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

FILL_BYTES = 8_000_000
"""About this much data is written and read, in FEWEST_KEYS to MOST_KEYS documents."""
FEWEST_KEYS, MOST_KEYS = 32, 10_000


class Work(StrEnum):
    """What the clients of one run do, each over random keys of `Load.keys`."""

    PUT = "put"
    GET = "get"
    """Linearizable."""
    STALE = "stale"
    """Get without a quorum; etcd calls it serializable."""
    MIXED = "mixed"
    """80 linearizable gets to 20 puts."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a generator is asked for. `clients` is the number of requests in flight, `size` the bytes of a document."""

    work: Work
    clients: int
    size: int = 255
    spread: bool = False
    """Whether the connections go to all nodes, and not only to the leader."""

    @property
    def keys(self) -> int:
        """How many documents are used, each existing before the run."""
        return keys_for(self.size)

    @property
    def prefix(self) -> str:
        """What their names begin with."""
        return prefix_for(self.size)


def prefix_for(size: int) -> str:
    """Return what the names of documents of `size` bytes begin with; a number of eight digits follows."""
    return f"document-{size}-"


def keys_for(size: int) -> int:
    """Return how many documents of `size` bytes a run uses."""
    return max(FEWEST_KEYS, min(MOST_KEYS, FILL_BYTES // size))


class Result(msgspec.Struct, frozen=True):
    """What a generator reports: requests answered with success, latencies in microseconds, errors by cause."""

    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    worst_us: float
    errors: Mapping[str, int]

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def failures(self) -> int:
        return sum(self.errors.values())
