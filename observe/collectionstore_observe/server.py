"""Runs a separate Prometheus: its targets, its rules, and its data in a folder that goes with the run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from collectionstore_observe.api import PrometheusApi
from collectionstore_observe.errors import ObserveFailed
from collectionstore_testkit.tools import prometheus

HOST: Final = "127.0.0.1"
_START_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Job:
    """What is scraped in one way: labels by address. `honour_labels`: the target's own labels take precedence."""

    name: str
    targets: Mapping[str, Mapping[str, str]]
    honour_labels: bool = False


def configuration(jobs: Iterable[Job], rule_files: Sequence[Path], interval_s: float) -> dict[str, Any]:
    """Return the server's configuration."""
    every = f"{round(interval_s * 1000)}ms"
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(path) for path in rule_files],
        "scrape_configs": [
            {
                "job_name": job.name,
                "honor_labels": job.honour_labels,
                "static_configs": [
                    {"targets": [address], "labels": dict(labels)} for address, labels in job.targets.items()
                ],
            }
            for job in jobs
        ],
    }


@asynccontextmanager
async def running_prometheus(
    folder: Path, port: int, settings: Mapping[str, Any], session: aiohttp.ClientSession
) -> AsyncIterator[PrometheusApi]:
    """Start a server, wait until it answers, and stop it at the end. Raises `ObserveFailed`."""
    file, log = folder / "prometheus.json", folder / "prometheus.log"
    file.write_text(json.dumps(settings, indent=2))  # JSON is YAML
    command = [
        str(await asyncio.to_thread(prometheus.server)),
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=warn",
    ]
    with log.open("wb") as output:
        # A new session: Ctrl-C reaches this program, which decides what to stop and in which order.
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output, start_new_session=True)
    api = PrometheusApi(session, f"http://{HOST}:{port}")
    try:
        await _answering(api, process, log)
        yield api
    finally:
        await _end(process)


async def _answering(api: PrometheusApi, process: asyncio.subprocess.Process, log: Path) -> None:
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            while process.returncode is None:
                if await api.is_ready():
                    return
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise _failed(f"has not answered for {_START_TIMEOUT_S:g} s", log) from None
    raise _failed(f"ended with exit code {process.returncode}", log)


def _failed(what: str, log: Path) -> ObserveFailed:
    return ObserveFailed(f"Prometheus {what}:\n{log.read_text()}")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
