"""A seed decides everything: equal seeds give equal runs, in any process, whatever the order of its hash tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable

from collectionstore_node.tests.raft import chaos

SEEDS = range(300_000, 300_012)
SCRIPT = """
import json, sys
from collectionstore_node.tests.raft.test_raft_trace import SEEDS, traces
sys.stdout.write(json.dumps(traces(SEEDS)))
"""


def traces(seeds: Iterable[int]) -> list[str]:
    """Return the hashes of everything that happened in these runs."""
    found = []
    for seed in seeds:
        simulation = chaos.Chaos(seed)
        simulation.run()
        found.append(simulation.trace)
    return found


def test_equal_seeds_give_equal_runs_and_others_do_not() -> None:
    first = traces(SEEDS)
    assert traces(SEEDS) == first
    assert len(set(first)) == len(first)


def test_equal_seeds_give_equal_runs_in_processes_that_hash_differently() -> None:
    found = []
    for hash_seed in ("1", "271828"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(json.loads(done.stdout))
    assert found == [traces(SEEDS)] * 2


def test_trace_tells_runs_apart_that_differ_in_one_step() -> None:
    """Otherwise equal traces would prove nothing. In a run of this seed that one tick brings an election forward."""
    one, other = chaos.Chaos(3), chaos.Chaos(3)
    other.cluster[1].tick()
    one.run(50)
    other.run(50)
    assert one.trace != other.trace
