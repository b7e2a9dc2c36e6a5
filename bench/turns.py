"""Clusters side by side that are loaded in turns, so that whatever else the machine does meanwhile favours none."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from load import Bench, Row, say

SETTLE_S = 0.5


async def in_turns(
    benches: Mapping[str, Bench], *, rounds: int, workload: str, connections: int
) -> dict[str, list[Row]]:
    """Measure each of `benches` once a round, and return what each measured."""
    rows: dict[str, list[Row]] = {side: [] for side in benches}
    for number in range(rounds):
        # Whoever comes first in a round comes last in the next: a machine that warms up favours neither.
        for side in list(benches) if number % 2 == 0 else reversed(list(benches)):
            await asyncio.sleep(SETTLE_S)
            rows[side].append(await benches[side].measure(workload, connections))
            say(f"{side:4} {rows[side][-1].requests_per_s:,.0f} requests/s")
    return rows
