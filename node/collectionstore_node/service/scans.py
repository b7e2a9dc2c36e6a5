"""Reads of many records: admitted, confirmed, and run in steps between other requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import TypeVar

from collectionstore_node.errors import ManyDeleted
from collectionstore_node.service.door import Door
from collectionstore_node.service.operations import Operation, ReadConsistency
from collectionstore_node.service.turns import Work

T = TypeVar("T")


async def scan(
    door: Door,
    request: Operation,
    work: Work,
    steps: Callable[[], Generator[None, None, T]],
    *,
    consistency: ReadConsistency,
    timeout_s: float,
) -> T:
    """Return what `steps` returns. It is called again, once, after a scan met too many deleted keys in a row."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + timeout_s
    await door.view(request, consistency, timeout_s)
    try:
        return await door.turns.run(work, steps(), timeout_s=deadline - clock())
    except ManyDeleted as gap:
        # Once: whoever deletes faster than the disk can reclaim gets 503.
        await door.replica.reclaim(gap.lo, gap.hi, timeout_s=deadline - clock())
    return await door.turns.run(work, steps(), timeout_s=deadline - clock())
