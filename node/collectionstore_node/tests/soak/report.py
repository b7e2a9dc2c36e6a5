"""What a seed of any layer reports when it ends well; a violation is an `AssertionError` instead."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Report:
    """One seed that ended well. Equal for equal seeds, in every process."""

    seed: int
    simulated_s: float
    """How long the cluster lived, by its own clock."""
    faults: Counter[str] = field(default_factory=Counter)
    """Faults that were injected, by kind."""
    operations: int = 0
    """Proposals and reads, or client requests, that were asked."""
    trace: str = ""
    """Hash in hex of everything that happened."""
    transactions: dict[str, int] = field(default_factory=dict)
    """Those of a bank, by kind and result, if there was one."""
