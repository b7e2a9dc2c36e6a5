"""A thousand seeds of random faults: invariants after every step, and a phase in which the cluster has to live.

Another thousand is in `test_raft_chaos_further.py`, so that two cores share them; `tests/soak` runs any number. A
failure names its seed: `chaos.run(seed)` replays it.
"""

from __future__ import annotations

import pytest

from collectionstore_node.tests.raft import chaos


@pytest.mark.parametrize("first", range(0, 1000, chaos.SEEDS_PER_TEST))
def test_invariants_hold_under_random_faults(first: int) -> None:
    chaos.run_all(range(first, first + chaos.SEEDS_PER_TEST))


def test_long_runs_commit_and_change_members() -> None:
    """Faults must not keep the cluster from doing anything that could go wrong."""
    committed = [chaos.run(seed, steps=12000) for seed in range(100_000, 100_010)]
    assert sum(committed) > 500


def test_every_kind_of_fault_is_injected() -> None:
    """In a hundred seeds, each of them at least once."""
    injected: set[str] = set()
    for seed in range(200_000, 200_100):
        simulation = chaos.Chaos(seed)
        simulation.run()
        injected |= simulation.report().faults.keys()
    assert injected >= {fault.name for fault in chaos.FAULTS} | {"torn tail", "unsynced writes lost"}
