"""Whole clusters under faults: what must hold for every seed, and that a seed says everything."""

from __future__ import annotations

import subprocess
import sys

import pytest

from collectionstore_node.tests.simulation.faults import FAULTS
from collectionstore_node.tests.simulation.seeds import run

SEEDS = 100
AGAIN = (3, 8)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_history_is_linearizable_and_nothing_acknowledged_is_lost(seed: int) -> None:
    """Members end in the same state, every request ends, and clients saw one store; see `world.World`."""
    report = run(seed)
    assert report.operations > 0
    assert set(report.faults) <= set(FAULTS)


@pytest.mark.parametrize("seed", AGAIN)
def test_same_seed_does_the_same_again(seed: int) -> None:
    """In one process, whatever ran before."""
    assert run(seed) == run(seed)


def test_same_seed_does_the_same_in_another_process() -> None:
    """Also when strings hash to other numbers there."""
    program = (
        "import sys; from collectionstore_node.tests.simulation.seeds import run\n"
        "for seed in sys.argv[1:]: print(run(int(seed)).trace)"
    )
    traces = [
        subprocess.run(
            [sys.executable, "-c", program, *map(str, AGAIN)],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        for hash_seed in ("1", "2")
    ]
    assert traces[0] == traces[1] == [run(seed).trace for seed in AGAIN]


def test_other_seeds_do_something_else() -> None:
    """Traces of different worlds differ."""
    assert len({run(seed).trace for seed in AGAIN}) == len(AGAIN)
