"""What a generator is told, and what it tells, as JSON; `bench/go/openload` has the same."""

from __future__ import annotations

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One round."""

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
    path: str
    """Of the documents; an ID follows it."""
    prefix: str
    """Of their IDs, which end with eight digits."""
    arrivals: str = "poisson"
    """`poisson`: independent clients. `constant`: one every 1 / rate seconds."""
    threads: int = 1
    seed: int


class Told(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What became of the requests of one kind that were due in the window; in seconds from when they were due."""

    due: int = 0
    admitted: int = 0
    """Answered 2xx."""
    p50_s: float | None = None
    p99_s: float | None = None
    worst_s: float | None = None
    refused: int = 0
    """Answered 503 with Retry-After."""
    refused_p99_s: float | None = None
    waited: int = 0
    """Requests that were due when every connection had one in flight; their wait is in their latency."""
    errors: dict[str, int] = {}
    """Everything else, by cause."""


class Report(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a generator found."""

    writes: Told
    reads: Told
    late_p99_s: float | None
    """How long behind its schedule the generator itself was, whatever the members did; and at worst."""
    late_s: float | None
    cpu_s: float
    """Processor time of the generator during the window."""
