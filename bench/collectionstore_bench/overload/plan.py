"""What a generator process is told, and what it tells, as JSON."""

from __future__ import annotations

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one generator process."""

    urls: list[str]
    connections: int
    write_rate: float
    """Offered writes per second; 0 for as many as come from connections that wait for their answers (closed loop)."""
    read_rate: float = 0.0
    """Offered linearizable reads per second, over connections of their own."""
    read_connections: int = 0
    warm_up_s: float
    seconds: float
    """Length of the window that counts, after the warm-up."""
    keys: int
    payload_bytes: int
    seed: int


class Told(msgspec.Struct, kw_only=True):
    """What became of the requests of one kind that were due in the window; latencies in seconds from then on."""

    due: int = 0
    latencies: list[float] = []
    """Of the 2xx answers, in any order."""
    refusals: list[float] = []
    """Of the 503 answers with the problem `overloaded`, in any order."""
    errors: dict[str, int] = {}
    """Everything else, by cause."""


class Report(msgspec.Struct, kw_only=True):
    """What one generator process found."""

    writes: Told
    reads: Told
    late_s: float
    """How late the generator itself was at worst: how long after it was due a request was sent although a connection
    was free. Figures of a generator that is late are its own."""
    waited: int
    """Requests that were due when every connection had one in flight; their wait is in their latency."""
    cpu_s: float
    """Processor time of the generator during the window."""
