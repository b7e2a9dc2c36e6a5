"""What the members' processes show: memory, exits, leader changes, delays of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from collectionstore_attack.field import Address
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.node_status import Nodes

LAG: Final = "collectionstore_event_loop_lag_seconds"
HELD: Final = "collectionstore_event_loop_held_seconds"
ANSWER_TIMEOUT_S: Final = 20.0
_RESET_PEAK: Final = "5"
"""proc(5), /proc/PID/clear_refs: sets VmHWM to what is resident now."""
_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes of one process: now, and the most since the last reset."""

    now: int
    peak: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the members showed at one moment; by position in the cluster."""

    pids: tuple[int, ...]
    term: int
    memory: tuple[Memory, ...]
    delays: tuple[Mapping[float, float], ...]
    """Of the event loop: how many ticks were late by at most so many seconds, cumulative."""
    holds: tuple[Mapping[float, float], ...]
    """The same without the time that the loop waited for a processor."""


async def observe(clients: Sequence[Address], metrics: Sequence[Address]) -> Snapshot:
    """Ask every member. Raises ClusterFailed if one does not answer within ANSWER_TIMEOUT_S."""
    async with aiohttp.ClientSession() as session:
        nodes = Nodes(session)
        statuses = []
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                for address in clients:
                    while (status := await nodes.status(f"http://{address}")) is None:  # noqa: ASYNC110
                        await asyncio.sleep(_PAUSE_S)  # another process: nothing here could wake us
                    statuses.append(status)
                buckets = [await _buckets(session, address) for address in metrics]
        except TimeoutError:
            raise ClusterFailed(f"{address} does not answer /status within {ANSWER_TIMEOUT_S:g} s") from None
    pids = tuple(status.pid for status in statuses)
    return Snapshot(
        pids=pids,
        term=max(status.term for status in statuses),
        memory=tuple(_memory(pid) for pid in pids),
        delays=tuple(one[LAG] for one in buckets),
        holds=tuple(one[HELD] for one in buckets),
    )


def reset_peaks(snapshot: Snapshot) -> None:
    """Have the peak of every process begin now."""
    for pid in snapshot.pids:
        Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)


def exits(before: Snapshot, after: Snapshot) -> int:
    """Return how many members run in another process than before."""
    return sum(one != other for one, other in zip(before.pids, after.pids, strict=True))


def worst_delay_s(before: Snapshot, after: Snapshot) -> float:
    """Return the bound of the highest bucket that grew: no tick between the two was later than that.

    A process that was replaced counts from its start; inf if a tick was later than the last bound.
    """
    return max(map(_worst_s, before.pids, after.pids, before.delays, after.delays), default=0.0)


def worst_hold_s(before: Snapshot, after: Snapshot) -> float:
    """Return the same of what the members did themselves: without the time that they waited for a processor."""
    return max(map(_worst_s, before.pids, after.pids, before.holds, after.holds), default=0.0)


def floor_s(snapshot: Snapshot, bound: float) -> float:
    """Return the bucket below that of `bound`: what fell into the upper one was more than this."""
    return max((one for one in snapshot.holds[0] if one < bound), default=0.0)


def _worst_s(was: int, pid: int, old: Mapping[float, float], new: Mapping[float, float]) -> float:
    counts = {bound: count - (old.get(bound, 0.0) if pid == was else 0.0) for bound, count in new.items()}
    total = counts.get(float("inf"), 0.0)
    return min((bound for bound, count in counts.items() if count >= total), default=0.0)


async def _buckets(session: aiohttp.ClientSession, address: Address) -> dict[str, dict[float, float]]:
    async with session.get(f"http://{address}/metrics") as answer:
        text = await answer.text()
    return {
        family.name: {
            float(sample.labels["le"]): sample.value for sample in family.samples if sample.name.endswith("_bucket")
        }
        for family in text_string_to_metric_families(text)
        if family.name in (LAG, HELD)
    }


def _memory(pid: int) -> Memory:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Memory(_bytes(fields["VmRSS"]), _bytes(fields["VmHWM"]))


def _bytes(text: str) -> int:
    number, unit = text.split()
    assert unit == "kB"
    return int(number) * 1024
