"""The fuzzer of the client port and the metrics port, for a bounded number of cases."""

from __future__ import annotations

import pytest

from collectionstore_node.tests.fuzz.engine import fuzz
from collectionstore_node.tests.fuzz.http_target import http_target

CASES = 1_000


@pytest.mark.parametrize("seed", [1, 2])
async def test_no_request_is_a_fault_of_the_node(seed: int) -> None:
    """No 500, no traceback, no hang, a clean request works in between, and what is stored can be stored again."""
    async with http_target() as target:
        summary = await fuzz(target, requests=CASES, seed=seed)

    assert not summary.findings, str(summary)
    assert summary.cases == CASES
    assert {"200", "400", "404", "405", "431", "505"} <= set(summary.outcomes), str(summary)
