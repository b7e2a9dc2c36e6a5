"""docs/reference/history.md describes what the code does."""

from __future__ import annotations

from pathlib import Path

from collectionstore_node.service import StoreLimits
from collectionstore_node.statemachine.history import LIMITS
from collectionstore_node.statemachine.levels import CHANGES

PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "history.md").read_text()


def test_limits_of_the_history_are_as_written() -> None:
    assert f"for {LIMITS.keep_ms // 3_600_000} hours in which it had a leader" in PAGE
    assert f"and {LIMITS.bytes_max >> 20} MiB of it" in PAGE
    assert f"more than {StoreLimits().query_memory_bytes_max >> 20} MiB of the collections" in PAGE
    assert f"needs feature level {CHANGES}" in PAGE
