"""One operator process: start it, wait until it has reconciled every cluster, measure a window of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from collectionstore_bench.operator import audit
from collectionstore_bench.operator.control_plane import HOST, OPERATOR, ControlPlane, end
from collectionstore_bench.operator.figures import Figures, percentile
from collectionstore_bench.operator.fleet import Fleet, sample
from collectionstore_bench.processes import resident_bytes, usage
from collectionstore_bench.program import say
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.commands import with_parent

POLL_S: Final = 0.5
START_S: Final = 300.0
RESTARTS_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Contender:
    """A checkout whose operator is measured, with the dependencies of this installation."""

    name: str
    checkout: Path

    @property
    def commit(self) -> str:
        """Return the commit of the checkout."""
        command = ["git", "-C", str(self.checkout), "rev-parse", "--short=12", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@dataclass(slots=True)
class Rounds:
    """What the debug page has told of the rounds."""

    counts: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    total: int = 0

    def take(self, page: list[dict[str, Any]]) -> None:
        """Take a page: of rounds that have ended since the last one, the time of the latest is known."""
        for one in page:
            key, count = f"{one['namespace']}/{one['name']}", one["rounds"]
            before = self.counts.get(key)
            if before is not None and count > before:
                self.total += count - before
                self.seconds.append(one["last_s"])
            self.counts[key] = count


@dataclass(slots=True)
class Running:
    """An operator that runs."""

    contender: Contender
    plane: ControlPlane
    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession
    url: str
    started: float
    restarts: int = 0
    """How often it has ended by itself, such as without its Lease, and was started again, as the kubelet does."""

    async def page(self) -> list[dict[str, Any]]:
        """Return the loops as the debug page shows them; empty while it does not answer."""
        if self.process.returncode is not None:
            if self.restarts == RESTARTS_MAX:
                raise ClusterFailed(f"the operator has ended with {self.process.returncode}: {self._log_end()}")
            say(f"{self.contender.name}: ended with {self.process.returncode}, is started again")
            self.restarts += 1
            self.process = await _start(self.contender, self.plane, self.url)
        try:
            async with self.session.get(f"{self.url}/debug/clusters") as answer:
                found: list[dict[str, Any]] = await answer.json()
                return found
        except (aiohttp.ClientError, TimeoutError):
            return []

    async def until_all_were_seen(self, count: int) -> tuple[float, float]:
        """Return the seconds, and the processor time, from the start until every cluster was reconciled once."""
        while True:
            page = await self.page()
            if sum(one["rounds"] > 0 for one in page) >= count:
                return time.monotonic() - self.started, usage(self.process.pid).cpu_s
            if time.monotonic() - self.started > START_S:
                raise ClusterFailed(f"not all clusters were reconciled within {START_S:g} s: {self._log_end()}")
            await asyncio.sleep(0.1)

    async def window(self, seconds: float) -> tuple[Rounds, float, bytes]:
        """Observe for a while; return rounds, processor time and the audit log of it."""
        rounds, size = Rounds(), self.plane.audit.stat().st_size
        await self.page()
        process, before, ends = self.process, usage(self.process.pid).cpu_s, time.monotonic() + seconds
        while time.monotonic() < ends:
            rounds.take(await self.page())
            await asyncio.sleep(POLL_S)
        spent = usage(self.process.pid).cpu_s - (before if self.process is process else 0.0)
        if self.restarts:
            say(
                f"{self.contender.name}: was started again {self.restarts} times: processor time is of the last process"
            )
        with self.plane.audit.open("rb") as log:
            log.seek(size)
            # The last line may be incomplete yet.
            return rounds, spent, log.read().rpartition(b"\n")[0]

    def _log_end(self) -> str:
        return (self.plane.folder / f"{self.contender.name}.log").read_text(errors="replace")[-2000:]


@asynccontextmanager
async def running(contender: Contender, plane: ControlPlane, port: int) -> AsyncIterator[Running]:
    """Run the operator of a checkout."""
    url = f"http://{HOST}:{port}"
    started = time.monotonic()
    process = await _start(contender, plane, url)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        one = Running(contender, plane, process, session, url, started)
        try:
            yield one
        finally:
            await end(one.process)


async def _start(contender: Contender, plane: ControlPlane, url: str) -> asyncio.subprocess.Process:
    packages = os.pathsep.join(str(contender.checkout / name) for name in ("operator", "telemetry"))
    environment = {
        **os.environ,
        "PYTHONPATH": packages,
        "KUBECONFIG": str(plane.kubeconfig),
        "COLLECTIONSTORE_HEALTH_ADDRESS": url.removeprefix("http://"),
        "COLLECTIONSTORE_LOG_LEVEL": "info",
        "COLLECTIONSTORE_POD_NAME": contender.name,
    }
    with (plane.folder / f"{contender.name}.log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *with_parent([sys.executable, "-m", "collectionstore_operator"]), env=environment, stdout=log, stderr=log
        )


async def measure(one: Running, fleet: Fleet, *, settle_s: float, window_s: float, reactions: int) -> Figures:
    """Measure a started operator."""
    count = len(fleet.names)
    startup_s, startup_cpu_s = await one.until_all_were_seen(count)
    say(f"{one.contender.name}: all clusters were reconciled after {startup_s:.1f} s")
    await asyncio.sleep(settle_s)
    rounds, cpu_s, log = await one.window(window_s)
    resident = resident_bytes(one.process.pid)
    counts = audit.requests(log.splitlines(), OPERATOR)
    taken = [1000 * await fleet.reaction_s(*name) for name in sample(fleet.names, reactions)]
    return Figures(
        name=one.contender.name,
        commit=one.contender.commit,
        clusters=count,
        window_s=window_s,
        startup_s=startup_s,
        startup_cpu_s=startup_cpu_s,
        restarts=one.restarts,
        rounds=rounds.total,
        round_p50_ms=1000 * percentile(rounds.seconds, 0.5),
        round_p99_ms=1000 * percentile(rounds.seconds, 0.99),
        cpu_s=cpu_s,
        resident_bytes=resident,
        requests={f"{verb} {resource}": number for (verb, resource), number in sorted(counts.items())},
        reactions_ms=sorted(taken),
    )
