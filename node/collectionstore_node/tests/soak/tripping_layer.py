"""A layer for the soak's own tests: quick, and every seed that 7 divides fails."""

from __future__ import annotations

from collections import Counter

from collectionstore_node.tests.soak.report import Report


def run(seed: int) -> Report:
    """Return a report. Raises `AssertionError` for every seventh seed."""
    if seed % 7 == 0:
        raise AssertionError(f"broken in\nseed {seed}")
    return Report(seed, 1.5, Counter({"message lost": seed, "crash": 1}), operations=10, trace=f"{seed:x}")
