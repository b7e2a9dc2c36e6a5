"""A closed loop over the Python client: a number of calls in flight, each one awaited as a program awaits it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from collectionstore import AsyncClient, CallEvent
from collectionstore_bench.load.documents import COLLECTION


@dataclass
class ByMember:
    """Hooks that count calls by the member that answered."""

    calls: Counter[str] = field(default_factory=Counter)

    def traceparent(self) -> str | None:
        """Return that there is no trace."""
        return None

    def ended(self, event: CallEvent) -> None:
        """Count a call."""
        self.calls[event.member] += 1


@dataclass(frozen=True, slots=True)
class Round:
    """What was measured."""

    workload: str
    inflight: int
    operations: int
    seconds: float
    processor_us: float
    """Of this process, for each operation."""

    @property
    def per_second(self) -> float:
        """Operations in a second."""
        return self.operations / self.seconds


async def run_client_round(
    client: AsyncClient,
    workload: str,
    documents: Sequence[tuple[str, dict[str, object]]],
    inflight: int,
    seconds: float,
) -> Round:
    """Keep `inflight` calls of `write` or `read` under way for so many seconds. Raises what a call raises."""
    collection = client.collection(COLLECTION)
    done, end = 0, time.perf_counter() + seconds

    async def work(at: int) -> None:
        nonlocal done
        while time.perf_counter() < end:
            name, document = documents[at % len(documents)]
            if workload == "write":
                await collection.put(name, document)
            else:
                await collection.get(name)
            done += 1
            at += inflight

    began, spent = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for at in range(inflight):
            group.create_task(work(at))
    return Round(
        workload,
        inflight,
        done,
        time.perf_counter() - began,
        (time.process_time() - spent) / max(1, done) * 1e6,
    )
