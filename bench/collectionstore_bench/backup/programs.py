"""The programs that are measured, as a user runs them, and the processors that they run on."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import LocalCluster

PROGRAM = Path(sys.executable).with_name("collectionstore-backup")


@dataclass(frozen=True, slots=True)
class Lab:
    """The cluster that is measured."""

    cluster: LocalCluster
    session: aiohttp.ClientSession
    folder: Path

    @property
    def access(self) -> tuple[str, ...]:
        """Options by which the program reaches it."""
        token = self.cluster.state / self.cluster.name / "admin.token"
        return ("--endpoint", self.cluster.url(0), "--token-file", str(token))

    def new_member(self, target: Path) -> tuple[str, ...]:
        """Options for a restore that nothing is started on."""
        addresses = ("--peer-address", "127.0.0.1:1", "--client-address", "http://127.0.0.1:2")
        return ("--data-dir", str(target), "--cluster-id", "copy", "--name", "copy-0", *addresses)


async def run_program(command: str, *arguments: str, core: int | None = None) -> dict[str, Any]:
    """Run `collectionstore-backup`, on one processor if `core` names it; return its JSON. Raises ClusterFailed."""
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAM), command, *arguments, "-o", "json", "--quiet"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # As cron, systemd and the supervisor run it, and a container: only there its priority holds against members.
        start_new_session=True,
    )
    if core is not None:
        # It has no other threads yet, and those that it starts stay where it is.
        os.sched_setaffinity(process.pid, {core})
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()  # interrupted: its session does not hear of it
    if process.returncode:
        raise ClusterFailed(f"collectionstore-backup {command} exited with {process.returncode}: {errors.decode()}")
    found: dict[str, Any] = json.loads(output)
    return found


def move(pids: Iterable[int], cores: set[int]) -> None:
    """Have processes, with all their threads, on these processors."""
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)
