"""What was measured of one operator, and how it is shown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from collectionstore_bench.tables import table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one operator with all clusters settled; `requests` by `verb resource`, in the window."""

    name: str
    commit: str
    clusters: int
    window_s: float
    startup_s: float
    """From the start of the process until every cluster was reconciled once."""
    startup_cpu_s: float
    """Of the process that has done it; of those that have ended before nothing is counted."""
    restarts: int
    """How often the process ended by itself and was started again."""
    rounds: int
    round_p50_ms: float
    round_p99_ms: float
    cpu_s: float
    """Processor time in the window."""
    resident_bytes: int
    """Memory at the end of the window."""
    requests: Mapping[str, int]
    reactions_ms: Sequence[float]
    """From the answer to a change of a spec until the API server has the object that follows, sorted."""

    @property
    def requests_per_cluster(self) -> float:
        """Return requests to the API server per minute and cluster, without the beginnings of watches."""
        counted = sum(count for key, count in self.requests.items() if not key.startswith("watch "))
        return self.per_minute(counted)

    def per_minute(self, count: int) -> float:
        """Return a count of the window per minute and cluster."""
        return count * 60.0 / self.window_s / self.clusters


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of all are at most; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def summary(found: Sequence[Figures]) -> str:
    """Return the figures side by side, one operator a column."""
    rows: list[tuple[str, ...]] = [
        ("start-up, all clusters reconciled, s", *(f"{one.startup_s:.1f}" for one in found)),
        ("start-up, processor time, s", *(f"{one.startup_cpu_s:.1f}" for one in found)),
        ("restarts", *(str(one.restarts) for one in found)),
        ("requests per minute and cluster", *(f"{one.requests_per_cluster:.1f}" for one in found)),
        ("rounds per minute and cluster", *(f"{one.per_minute(one.rounds):.1f}" for one in found)),
        ("round p50, ms", *(f"{one.round_p50_ms:.0f}" for one in found)),
        ("round p99, ms", *(f"{one.round_p99_ms:.0f}" for one in found)),
        ("processor time, % of one core", *(f"{100 * one.cpu_s / one.window_s:.0f}" for one in found)),
        ("memory, MiB", *(f"{one.resident_bytes / 2**20:.0f}" for one in found)),
        ("change of a spec to first object p50, ms", *(f"{percentile(one.reactions_ms, 0.5):.0f}" for one in found)),
        ("change of a spec to first object worst, ms", *(f"{max(one.reactions_ms, default=0):.0f}" for one in found)),
    ]
    head = ("", *(f"{one.name} ({one.commit})" for one in found))
    right = tuple(range(1, len(head)))
    return f"{table(head, rows, right=right)}\n\n{_by_request(found, head, right)}"


def _by_request(found: Sequence[Figures], head: Sequence[str], right: Sequence[int]) -> str:
    keys = sorted(
        {key for one in found for key in one.requests},
        key=lambda key: (-max(one.requests.get(key, 0) for one in found), key),
    )
    lines = [(key, *(f"{one.per_minute(one.requests.get(key, 0)):.2f}" for one in found)) for key in keys]
    return table(("requests per minute and cluster", *head[1:]), lines, right=right)
