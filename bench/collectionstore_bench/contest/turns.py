"""One turn: a generator loads one store for some seconds, while the processes are accounted for. And all turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from collectionstore_bench.contest.cases import Case
from collectionstore_bench.contest.contenders import Contender, Tools
from collectionstore_bench.contest.stores import Located, Store
from collectionstore_bench.generators.load import Work
from collectionstore_bench.processes import Usage, resident_bytes, usage

SETTLE_S: Final = 0.2
IDLE_S: Final = 3.0
TURN_OVERHEAD_S: Final = 0.9
"""What a turn takes beyond its seconds: generators start, leaders are looked up."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn measured; processor time in microseconds per request, latencies in microseconds."""

    case: str
    contender: str
    round: int
    requests: int
    seconds: float
    p50_us: float
    p99_us: float
    worst_us: float
    errors: Mapping[str, int]
    leader_us: float
    follower_us: float
    """The mean of the followers."""
    generator_us: float
    written_per_byte: float | None
    """Bytes that one node on average wrote to its disk per byte of documents put; None where nothing was put."""
    leader_changed: bool

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of the nodes of a store, in bytes, and the share of a processor that they use when idle."""

    store: str
    leader: int
    follower: int
    idle_cpu: float


async def take_turn(case: Case, contender: Contender, number: int, tools: Tools, *, seconds: float) -> Turn:
    """Measure one contender once. Raises ClusterFailed, ToolError, UnreadableOutput, OSError."""
    await asyncio.sleep(SETTLE_S)
    located = await contender.store.locate()
    before = {name: usage(pid) for name, pid in located.pids.items()}
    result, generator_s = await contender.run(case.load, located.urls, tools, seconds=seconds)
    after = {name: usage(pid) for name, pid in located.pids.items()}
    moved = await contender.store.locate()
    spent = {name: _grown(before[name], after[name]) for name in before}
    followers = [one.cpu_s for name, one in spent.items() if name != located.leader]
    us = 1e6 / max(result.requests, 1)
    return Turn(
        case=case.name,
        contender=contender.name,
        round=number,
        requests=result.requests,
        seconds=result.seconds,
        p50_us=result.p50_us,
        p99_us=result.p99_us,
        worst_us=result.worst_us,
        errors=result.errors,
        leader_us=spent[located.leader].cpu_s * us,
        follower_us=sum(followers) / len(followers) * us,
        generator_us=generator_s * us,
        written_per_byte=_written_per_byte(case, result.requests, spent),
        leader_changed=moved.leader != located.leader,
    )


async def take_all(
    plan: Sequence[tuple[Case, Sequence[Contender]]],
    tools: Tools,
    *,
    rounds: int,
    seconds: float,
    tell: Callable[[Turn], None],
) -> list[Turn]:
    """Measure every contender of every case once in each round.

    Within a case the contenders follow each other at once, and another one is first in each round: a machine whose
    speed drifts favours none of them.
    """
    turns = []
    for number in range(rounds):
        for case, contenders in plan:
            first = number % len(contenders) if contenders else 0
            for contender in [*contenders[first:], *contenders[:first]]:
                turns.append(await take_turn(case, contender, number, tools, seconds=seconds))
                tell(turns[-1])
                await contender.store.tidy()
    return turns


async def memory_of(store: Store) -> Memory:
    """Return the memory of a store, and what it costs while nothing is asked of it."""
    located = await store.locate()
    before, started = _cpu_s(located), time.monotonic()
    await asyncio.sleep(IDLE_S)
    idle = (_cpu_s(located) - before) / (time.monotonic() - started)
    sizes = {name: resident_bytes(pid) for name, pid in located.pids.items()}
    followers = [size for name, size in sizes.items() if name != located.leader]
    return Memory(store.name, sizes[located.leader], sum(followers) // len(followers), idle)


def _cpu_s(located: Located) -> float:
    return sum(usage(pid).cpu_s for pid in located.pids.values())


def _grown(before: Usage, after: Usage) -> Usage:
    return Usage(after.cpu_s - before.cpu_s, after.written_bytes - before.written_bytes)


def _written_per_byte(case: Case, requests: int, spent: Mapping[str, Usage]) -> float | None:
    if case.load.work is not Work.PUT or not requests:
        return None
    return sum(one.written_bytes for one in spent.values()) / len(spent) / (requests * case.load.size)
