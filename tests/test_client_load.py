"""The Python client on a cluster that is broken while it works."""

from __future__ import annotations

import asyncio

from collectionstore_testkit.client_load import client_load, shown
from collectionstore_testkit.clusters.ports import free_base_port

OPERATIONS = 12_000


def test_no_call_fails_and_nothing_is_lost_or_doubled() -> None:
    """The same with 100,000: `python -m collectionstore_testkit.client_load --operations 100000`."""
    result = asyncio.run(
        client_load(operations=OPERATIONS, base_port=free_base_port(50, within=range(20_000, 30_000)), seed=11)
    )

    assert result.operations >= OPERATIONS
    assert sum(result.faults.values()) > 0
    assert "No call failed" in shown(result)
