"""Watches of real processes whose leaders are killed: no gap, nothing twice, order kept."""

from __future__ import annotations

import asyncio

from collectionstore_testkit.clusters.ports import free_base_port
from collectionstore_testkit.watched_load import watched_load

CHANGES = 4_000


def test_every_acknowledged_change_is_told_once_and_in_order() -> None:
    """The same with 100,000 changes: `python -m collectionstore_testkit.watched_load --changes 100000`."""
    result = asyncio.run(
        watched_load(
            changes=CHANGES,
            followers=3,
            base_port=free_base_port(50, within=range(20_000, 30_000)),
            seed=7,
            kill_s=(1.0, 3.0),
        )
    )

    assert result.changes >= CHANGES
    assert result.kills > 0
    assert result.connections > 3
