"""What came out of many seeds: sums, and the seeds that failed."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from collectionstore_node.tests.soak.report import Report


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that did not end well."""

    seed: int
    error: str
    """Class and text of what was raised, in one line."""
    traceback: str


@dataclass(slots=True)
class Tally:
    """Sums over seeds. Those of several processes are added; the order does not matter."""

    seeds: int = 0
    simulated_s: float = 0.0
    operations: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    traces: dict[int, str] = field(default_factory=dict)

    def add(self, report: Report) -> None:
        """Count a seed that ended well."""
        self.seeds += 1
        self.simulated_s += report.simulated_s
        self.operations += report.operations
        self.faults += report.faults
        self.traces[report.seed] = report.trace

    def failed(self, failure: Failure) -> None:
        """Count a seed that failed."""
        self.seeds += 1
        self.failures.append(failure)

    def join(self, other: Tally) -> None:
        """Add what another process counted."""
        self.seeds += other.seeds
        self.simulated_s += other.simulated_s
        self.operations += other.operations
        self.faults += other.faults
        self.failures = sorted([*self.failures, *other.failures], key=lambda failure: failure.seed)
        self.traces |= other.traces

    def trace(self) -> str:
        """Return a hash over the traces of all seeds that ended well: equal for equal code and equal seeds."""
        whole = hashlib.blake2b(digest_size=16)
        for seed in sorted(self.traces):
            whole.update(f"{seed} {self.traces[seed]}\n".encode())
        return whole.hexdigest()
