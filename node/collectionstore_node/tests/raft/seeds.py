"""The first layer of simulation as the soak runs it: cores with simulated disks, network and clocks."""

from __future__ import annotations

from collectionstore_node.tests.raft.chaos import Chaos
from collectionstore_node.tests.soak.report import Report


def run(seed: int) -> Report:
    """Run one seed. Raises `AssertionError` for a broken invariant, and whatever else a core raises."""
    chaos = Chaos(seed)
    chaos.run()
    return chaos.report()
