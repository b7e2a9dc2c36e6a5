"""The fuzzer of streams, for a bounded number of cases."""

from __future__ import annotations

import pytest

from collectionstore_node.tests.fuzz.engine import fuzz
from collectionstore_node.tests.fuzz.stream_target import stream_target

CASES = 600


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_stream_is_a_fault_of_the_node(seed: int) -> None:
    """No 500, no traceback, no hang, nothing held afterwards, and a clean stream works in between."""
    async with stream_target() as target:
        summary = await fuzz(target, requests=CASES, seed=seed)

    assert not summary.findings, str(summary)
    assert summary.cases == CASES
    assert {"normal, answered", "lost, answered", "protocol_error, no answer"} <= set(summary.outcomes), str(summary)
