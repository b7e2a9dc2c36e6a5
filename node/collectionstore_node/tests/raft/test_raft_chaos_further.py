"""The second thousand of the seeds described in `test_raft_chaos.py`."""

from __future__ import annotations

import pytest

from collectionstore_node.tests.raft import chaos


@pytest.mark.parametrize("first", range(1000, 2000, chaos.SEEDS_PER_TEST))
def test_invariants_hold_under_further_random_faults(first: int) -> None:
    chaos.run_all(range(first, first + chaos.SEEDS_PER_TEST))
