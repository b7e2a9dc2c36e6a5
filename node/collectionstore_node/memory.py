"""How the memory of a node is divided, from the limit of its container. Pure, but for reading the limit.

Every part that can fill up has a share, and takes it when it is made, so that together they stay below the limit: the
kernel kills a container that passes it. `python -m collectionstore_node.memory` prints the table of docs/operate.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20

LIMIT_BYTES_MIN: Final = 256 * MIB
"""A node with less would spend its time evicting what it needs next, or be killed."""
LIMIT_BYTES_ASSUMED: Final = 1024 * MIB
"""For a node without a limit: enough for every share to be as large as it was measured to pay."""
PROCESS_BYTES: Final = 112 * MIB
"""The interpreter, libraries, threads and connections. Measured: 71 MiB after the start, before the first client."""
SPARE_SHARE: Final = 0.2
"""Of the limit: fragmentation of malloc, the kernel's buffers, and what Python makes of the bytes that are counted."""

_CGROUP_V2: Final = Path("sys/fs/cgroup/memory.max")
_CGROUP_V1: Final = Path("sys/fs/cgroup/memory/memory.limit_in_bytes")
_UNLIMITED_BYTES: Final = 1 << 50
"""cgroup v1 shows no limit as a huge number."""


class MemoryTooSmall(Exception):
    """The limit is below `LIMIT_BYTES_MIN`; the text says what to change."""


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """The shares in bytes; they sum to less than `limit_bytes`."""

    limit_bytes: int
    process_bytes: int
    spare_bytes: int
    block_cache_bytes: int
    """Blocks of RocksDB's tables, with their indexes and filters."""
    write_buffers_bytes: int
    """Memtables of all column families. Charged to the block cache, which has the size of both."""
    log_cache_bytes: int
    """The newest log entries."""
    uncommitted_bytes: int
    """Entries that a leader has proposed and that are not committed."""
    waiting_bytes: int
    """Commands that wait to be proposed."""
    receiving_bytes: int
    """Bodies of requests."""
    answers_bytes: int
    """Answers that are being produced or sent."""
    peers_bytes: int
    """Messages, requests and answers that wait to be sent to other members, together."""
    snapshots_bytes: int
    """Chunks of snapshots in transfer."""

    @property
    def shares(self) -> Mapping[str, int]:
        """Return every share by name, without the limit."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "limit_bytes"}

    @property
    def memtable_bytes(self) -> int:
        """Size of one memtable. Measured: above 16 MiB writes become dearer."""
        return max(2 * MIB, min(16 * MIB, self.write_buffers_bytes // 8))


_WEIGHTS: Final[Mapping[str, tuple[float, int]]] = {
    "block_cache_bytes": (0.20, 4096 * MIB),
    "write_buffers_bytes": (0.20, 192 * MIB),
    "log_cache_bytes": (0.05, 8 * MIB),
    "uncommitted_bytes": (0.08, 64 * MIB),
    "waiting_bytes": (0.08, 64 * MIB),
    "receiving_bytes": (0.10, 64 * MIB),
    "answers_bytes": (0.15, 256 * MIB),
    "peers_bytes": (0.12, 256 * MIB),
    "snapshots_bytes": (0.02, 16 * MIB),
}
"""Share of what remains after process and spare, and the most that a part can use."""


def memory_budget(limit_bytes: int) -> MemoryBudget:
    """Divide `limit_bytes`. Raises `MemoryTooSmall`."""
    if limit_bytes < LIMIT_BYTES_MIN:
        raise MemoryTooSmall(
            f"the memory limit is {limit_bytes // MIB} MiB; a node needs at least {LIMIT_BYTES_MIN // MIB} MiB: raise "
            "spec.resources.limits.memory, or COLLECTIONSTORE_MEMORY_BYTES if that is set"
        )
    spare = int(limit_bytes * SPARE_SHARE)
    rest = limit_bytes - PROCESS_BYTES - spare
    shares = {name: min(int(rest * weight), most) for name, (weight, most) in _WEIGHTS.items()}
    return MemoryBudget(limit_bytes=limit_bytes, process_bytes=PROCESS_BYTES, spare_bytes=spare, **shares)


def container_limit(root: Path = Path("/")) -> int | None:
    """Return the memory limit of this container in bytes, from cgroup v2 or v1; None if there is none."""
    for name in (_CGROUP_V2, _CGROUP_V1):
        try:
            text = (root / name).read_text().strip()
        except OSError:
            continue  # the other version, or no cgroup: then there is no limit that could be read
        if text.isdecimal() and int(text) < _UNLIMITED_BYTES:
            return int(text)
    return None


def table(limits: tuple[int, ...] = (512 * MIB, 1024 * MIB, 2048 * MIB)) -> str:
    """Return the shares for several limits as a Markdown table, in MiB."""
    budgets = [memory_budget(limit) for limit in limits]
    head = "| share | " + " | ".join(f"{limit // MIB} MiB" for limit in limits) + " |"
    rows = [
        f"| {name.removesuffix('_bytes').replace('_', ' ')} | "
        + " | ".join(str(budget.shares[name] // MIB) for budget in budgets)
        + " |"
        for name in budgets[0].shares
    ]
    return "\n".join([head, "| --- |" + " ---: |" * len(limits), *rows])


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
