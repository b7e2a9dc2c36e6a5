"""How far the archive of the log is behind what members apply, while clients write."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from collectionstore_bench.backup.load import write_at_rate
from collectionstore_bench.backup.programs import PROGRAM, Lab
from collectionstore_bench.lifecycle.trials import until
from collectionstore_testkit.clusters.errors import ClusterFailed

SAMPLE_S = 0.05
STARTED_S = 60.0
CAUGHT_UP_S = 60.0


@dataclass(frozen=True, slots=True)
class ArchiveLag:
    """What was found; seconds from the moment at which a member had applied an entry until it was archived."""

    median_s: float
    worst_s: float
    samples: int
    written_per_s: float
    """Acknowledged."""


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    applied: int
    archived: int


async def measure_archive_lag(lab: Lab, repository: Path, *, rate: float, seconds: float, port: int) -> ArchiveLag:
    """Archive into `repository`, which has a backup, and write meanwhile. Raises ClusterFailed."""
    loop = asyncio.get_running_loop()
    status = f"http://127.0.0.1:{port}/"
    samples: list[_Sample] = []
    done, over = asyncio.Event(), asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            samples.append(_Sample(loop.time(), await _applied(lab), await _archived(lab.session, status)))
            if over.is_set() and samples[-1].archived >= last:
                return
            await asyncio.sleep(SAMPLE_S)

    last = 0
    async with _archive(lab, repository, port):

        async def level() -> bool:
            return await _archived(lab.session, status) >= await _applied(lab)

        await until(level, STARTED_S, "the archive has begun")
        watching = asyncio.create_task(watch())
        try:
            stop = asyncio.Event()
            loop.call_later(seconds, stop.set)
            results = await write_at_rate(lab.session, lab.cluster.urls(3), rate, stop)
            last = await _applied(lab)
            over.set()
            async with asyncio.timeout(CAUGHT_UP_S):
                await watching
        except TimeoutError:
            raise ClusterFailed(f"the archive did not reach entry {last} within {CAUGHT_UP_S:g} s") from None
        finally:
            done.set()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    lags = lags_of([(one.at, one.applied, one.archived) for one in samples])
    written = sum(one is not None for one in results)
    return ArchiveLag(statistics.median(lags), max(lags), len(lags), written / seconds)


def lags_of(samples: list[tuple[float, int, int]]) -> list[float]:
    """Return, of each sample (time, applied index, archived index), how long its entry then took to be archived.

    To the next sample that shows it, so at most the interval between samples too much. Entries that were archived when
    they were seen first, and those that the samples end before, do not count.
    """
    lags, place = [], 0
    for at, applied, archived in samples:
        if archived >= applied:
            continue
        while place < len(samples) and samples[place][2] < applied:
            place += 1
        if place == len(samples):
            break
        lags.append(samples[place][0] - at)
    return lags or [0.0]


@contextlib.asynccontextmanager
async def _archive(lab: Lab, repository: Path, port: int) -> AsyncIterator[None]:
    options = ("--repository", str(repository), *lab.access, "--status-address", f"127.0.0.1:{port}", "--quiet")
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAM), "archive", *options),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield
        if process.returncode is not None and process.stderr is not None:
            said = (await process.stderr.read()).decode()
            raise ClusterFailed(f"the archive ended with {process.returncode}: {said}")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _applied(lab: Lab) -> int:
    """Return the highest index that a member has applied."""
    found = []
    for url in lab.cluster.urls(3):
        async with lab.session.get(f"{url}/status") as response:
            found.append(int((await response.json())["applied_index"]))
    return max(found)


async def _archived(session: aiohttp.ClientSession, url: str) -> int:
    try:
        async with session.get(url) as response:
            # The server says no content type that aiohttp would take for JSON.
            found = await response.json(content_type=None)
    except aiohttp.ClientConnectionError:
        return -1  # it is not started yet
    return int(found["archived_index"]) if found["started"] else -1
