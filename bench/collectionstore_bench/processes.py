"""What the kernel accounts to a process: processor time, memory, bytes written. Read from /proc."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collectionstore_bench.machine import cpu_seconds

KIB: Final = 1024
NANOSECONDS: Final = 1e9


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process: processor seconds and bytes that it caused to be written to the disk, both since its start."""

    cpu_s: float
    written_bytes: int


@dataclass(frozen=True, slots=True)
class ThreadTime:
    """Processor time of a thread since its start, in seconds; `name` as the kernel knows it."""

    name: str
    seconds: float


def usage(pid: int) -> Usage:
    """Return the usage of a process. Raises OSError when there is none."""
    spent = cpu_seconds(pid)
    if spent is None:
        raise ProcessLookupError(f"process {pid} has exited")
    return Usage(spent, int(_field(pid, "io", "write_bytes")))


def resident_bytes(pid: int) -> int:
    """Return the memory that a process has in use. Raises OSError."""
    return int(_field(pid, "status", "VmRSS").split()[0]) * KIB


def peak_resident_bytes(pid: int) -> int:
    """Return the most memory that a process has had in use since its start. Raises OSError."""
    return int(_field(pid, "status", "VmHWM").split()[0]) * KIB


def thread_times(pid: int) -> dict[int, ThreadTime]:
    """Return the processor time of every thread of a process, by thread ID. Raises OSError."""
    times = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            spent = int((task / "schedstat").read_text().split()[0]) / NANOSECONDS
            times[int(task.name)] = ThreadTime((task / "comm").read_text().strip(), spent)
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended since the folder was listed
    return times


def _field(pid: int, file: str, name: str) -> str:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    raise OSError(f"/proc/{pid}/{file} has no {name}")
