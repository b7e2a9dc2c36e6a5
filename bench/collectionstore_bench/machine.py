"""What a figure depends on besides the code: processor, kernel, disk, versions."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from collectionstore_testkit.places import REPOSITORY

SYNC_COUNT = 300
SYNC_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine and the software; `fdatasync_*` of an append of SYNC_BYTES where the nodes keep their data."""

    cpu: str
    cores: int
    memory_gib: float
    kernel: str
    filesystem: str
    fdatasync_p50_ms: float
    fdatasync_p99_ms: float
    load_average: float
    """Runnable processes over the last minute, before we began: near 0 on a machine that is otherwise idle."""
    python: str
    uvloop: str
    commit: str

    def lines(self) -> list[str]:
        """Return the description as text."""
        return [
            f"machine   {self.cpu}, {self.cores} cores, {self.memory_gib:.1f} GiB, Linux {self.kernel}",
            f"disk      {self.filesystem}, fdatasync of {SYNC_BYTES} B: p50 {self.fdatasync_p50_ms:.2f} ms, "
            f"p99 {self.fdatasync_p99_ms:.2f} ms",
            f"software  commit {self.commit}, Python {self.python}, uvloop {self.uvloop}",
            f"before    load average {self.load_average:.2f}"
            + (" (the machine was busy: the figures below are too low)" if self.load_average > self.cores / 2 else ""),
        ]


def describe(folder: Path) -> Machine:
    """Describe this machine, with the disk of `folder`."""
    load_average = os.getloadavg()[0]
    p50, p99 = _sync_times_ms(folder)
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30),
        kernel=platform.release(),
        filesystem=_filesystem(folder),
        fdatasync_p50_ms=p50,
        fdatasync_p99_ms=p99,
        load_average=load_average,
        python=platform.python_version(),
        uvloop=version("uvloop"),
        commit=_commit(),
    )


def cpu_seconds(pid: int) -> float | None:
    """Return the CPU time a process has used, in seconds, resolution 10 ms; None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _sync_times_ms(folder: Path) -> tuple[float, float]:
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        block = os.urandom(SYNC_BYTES)
        for _ in range(SYNC_COUNT):
            file.write(block)
            file.flush()
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - started) * 1000)
    times.sort()
    return times[len(times) // 2], times[int(len(times) * 0.99)]


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    """Return the type of the file system that holds `folder`: the mount with the longest matching path."""
    best = ("", "unknown file system")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if folder.is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]


def _commit() -> str:
    commit = _git("rev-parse", "--short=12", "HEAD")
    if not commit:
        return "none"
    # What measurements leave behind changes no figure.
    changes = _git("status", "--porcelain", "--", ".", ":(exclude)bench/results")
    return commit + (" with uncommitted changes" if changes else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=False, timeout=30
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
