"""Random input on the peer port, a bounded number of it; `peer_fuzzer` runs any number by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectionstore_node.tests.fuzz.peer_fuzzer import fuzz

INPUTS = 1_500


@pytest.mark.parametrize("seed", [1, 2])
async def test_peer_port_survives_whatever_arrives(tmp_path: Path, seed: int) -> None:
    fuzzer = await fuzz(tmp_path, INPUTS, seed)
    assert fuzzer.sent >= INPUTS
    # It reached what it is meant to reach: members that were admitted, and every kind of refusal.
    assert fuzzer.ends["hung_up"] + fuzzer.ends["shutting_down"] > 10
    assert {"protocol", "wrong_name", "refused", "spoofed", "wrong_node", "wrong_cluster"} <= fuzzer.ends.keys()
