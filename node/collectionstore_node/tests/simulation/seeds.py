"""Worlds by number, for the soak command and the test suite."""

from __future__ import annotations

from collectionstore_node.tests.simulation import world
from collectionstore_node.tests.soak.report import Report


def run(seed: int) -> Report:
    """Run the world of `seed`. Raises `AssertionError`, with what was wrong and where everybody stood."""
    return world.run(seed)


def replay(seed: int) -> str:
    """Return the command that reproduces a seed with its log."""
    return f".venv/bin/python -m collectionstore_node.tests.simulation.run {seed} --log"
