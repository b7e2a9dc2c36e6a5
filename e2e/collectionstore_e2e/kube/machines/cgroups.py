"""One cgroup per machine, in every hierarchy that is mounted: version 1, version 2, or both.

`/collectionstore-kube/<machine>/system` contains a machine's own programs; kubelet creates `kubepods` beside it. So the
tree accounts for the cluster, each machine and each pod, and every process can be found when the cluster is stopped.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collectionstore_e2e.kube.errors import KubeError
from collectionstore_e2e.kube.places import CGROUP

SYSTEM: Final = "system"
V2_CONTROLLERS: Final = ("cpu", "cpuset", "io", "memory", "pids")
REMOVAL_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A mounted cgroup file system."""

    root: Path
    unified: bool
    """Whether it is version 2."""

    def controllers(self) -> set[str]:
        """Return version 2's controllers; in the hybrid layout there are none."""
        return set((self.root / "cgroup.controllers").read_text().split()) if self.unified else set()


def hierarchies(mountinfo: str | None = None) -> list[Hierarchy]:
    """Return the mounted hierarchies, each once. Source: proc(5), mountinfo: fields up to `-`, then type."""
    found: dict[Path, Hierarchy] = {}
    for line in (mountinfo if mountinfo is not None else Path("/proc/self/mountinfo").read_text()).splitlines():
        before, _, after = line.partition(" - ")
        kind = after.split()[0]
        if kind in ("cgroup", "cgroup2"):
            root = Path(before.split()[4])
            found[root] = Hierarchy(root, unified=kind == "cgroup2")
    return list(found.values())


def make(machine: str) -> list[Path]:
    """Make a machine's cgroups and return the `cgroup.procs` files that its programs must be written to."""
    procs = []
    for hierarchy in hierarchies():
        path = hierarchy.root
        for name in (CGROUP, machine, SYSTEM):
            if hierarchy.unified:
                _delegate(path, hierarchy.controllers())
            path /= name
            path.mkdir(exist_ok=True)
            _copy_cpuset(path)
        procs.append(path / "cgroup.procs")
    return procs


def _delegate(path: Path, available: set[str]) -> None:
    """Enable the controllers for child groups: version 2 requires it at every level."""
    enabled = [f"+{name}" for name in V2_CONTROLLERS if name in available]
    if enabled:
        (path / "cgroup.subtree_control").write_text(" ".join(enabled))


def _copy_cpuset(path: Path) -> None:
    """Copy the parent's cpuset: in version 1 a new group has an empty one, and accepts no process."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        mine = path / name
        if mine.exists() and not mine.read_text().strip() and (path.parent / name).exists():
            mine.write_text((path.parent / name).read_text())


def processes() -> set[int]:
    """Return every process in the cluster's cgroups, including those of containers."""
    found: set[int] = set()
    for hierarchy in hierarchies():
        for procs in (hierarchy.root / CGROUP).rglob("cgroup.procs"):
            try:
                found.update(int(pid) for pid in procs.read_text().split())
            except FileNotFoundError:
                pass  # the group was removed meanwhile
    # The kernel shows 0 for a process of another PID namespace that is not visible here.
    return found - {0}


def left_over() -> list[Path]:
    """Return the cluster's cgroup in each hierarchy where it exists."""
    return [path for hierarchy in hierarchies() if (path := hierarchy.root / CGROUP).exists()]


def remove() -> None:
    """Remove all of the cluster's cgroups. The kernel keeps one busy for a moment after its last process has ended."""
    deadline = time.monotonic() + REMOVAL_S
    while paths := left_over():
        blocked = [error for path in paths if (error := _remove_tree(path))]
        if blocked and time.monotonic() > deadline:
            raise KubeError(f"cannot remove a cgroup: {blocked[0]}")
        if blocked:
            time.sleep(0.05)


def _remove_tree(top: Path) -> OSError | None:
    last: OSError | None = None
    below = sorted((path for path in top.rglob("*") if path.is_dir()), key=lambda path: len(path.parts), reverse=True)
    for path in (*below, top):
        try:
            path.rmdir()
        except FileNotFoundError:
            pass  # containerd removed it meanwhile
        except OSError as error:
            last = error
    return last


def usage(machine: str | None = None) -> tuple[int, float]:
    """Return memory in bytes without page cache, and CPU seconds, of a machine or of all."""
    memory, seconds = 0, 0.0
    for hierarchy in hierarchies():
        path = hierarchy.root / CGROUP / (machine or "")
        for name, key in (("memory.stat", "total_rss"), ("memory.stat", "anon")):
            memory = max(memory, _field(path / name, key))
        seconds = max(seconds, _field(path / "cpu.stat", "usage_usec") / 1e6)
        total = path / "cpuacct.usage"
        if total.exists():
            seconds = max(seconds, int(total.read_text()) / 1e9)
    return memory, seconds


def _field(path: Path, key: str) -> int:
    if not path.exists():
        return 0
    values = dict(line.split(maxsplit=1) for line in path.read_text().splitlines())
    return int(values.get(key, 0))
