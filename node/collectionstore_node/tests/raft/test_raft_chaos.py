"""Random faults from a seed, invariants after every step, and a phase in which the cluster has to live.

A failure names its seed: `chaos.run(seed, steps)` replays it.
"""

from __future__ import annotations

import pytest

from collectionstore_node.tests.raft import chaos

SEEDS_PER_TEST = 30


@pytest.mark.parametrize("first", range(0, 300, SEEDS_PER_TEST))
def test_invariants_hold_under_random_faults(first: int) -> None:
    for seed in range(first, first + SEEDS_PER_TEST):
        try:
            chaos.run(seed, steps=2500)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


def test_long_runs_commit_and_change_members() -> None:
    committed = [chaos.run(seed, steps=12000) for seed in range(1000, 1010)]
    assert sum(committed) > 500, "the simulation has to get somewhere"


def test_same_seed_gives_the_same_run() -> None:
    runs = []
    for _ in range(2):
        simulation = chaos.Chaos(4242)
        simulation.run(2000)
        runs.append([(server.node_id, server.applied) for server in simulation.cluster.servers.values()])
    assert runs[0] == runs[1]
