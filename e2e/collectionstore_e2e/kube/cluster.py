"""Starts and stops the whole cluster, and reports which parts of it are running.

`up` and `down` may be killed at any time and run again: processes are found by the mark in their environment, never by
a record, and a cluster whose start did not complete is removed before the next one starts.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collectionstore_e2e.kube import addons, binaries, control_plane, node, pki, prerequisites
from collectionstore_e2e.kube.errors import KubeError
from collectionstore_e2e.kube.images import cluster_images, python_layers, store
from collectionstore_e2e.kube.machines import cgroups, machine, network, waiting
from collectionstore_e2e.kube.machines.machine import Machine
from collectionstore_e2e.kube.places import BUILDER, CACHE, CONTROL, HOST_INTERFACE, KUBECONFIG, MACHINES, NODES, STATE
from collectionstore_testkit.progress import Progress

COMPLETE: Final = STATE / "complete"
"""Written last; contains the versions of the programs and of the images' base that the cluster was started with."""
SHARED: Final = STATE / "store"
"""Symbolic link to the image store that the nodes were created with."""
LOCK: Final = Path("/run/lock/collectionstore-kube.lock")
READY_S: Final = 120

PROGRAMS: Final = {
    CONTROL: (
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "coredns",
        "local-path-provisioner",
    ),
    **{name: ("containerd", "kubelet", "kube-proxy") for name in NODES},
}
"""Programs that must be running on each machine."""


@contextmanager
def locked() -> Iterator[None]:
    """Lock the cluster against concurrent changes. Raises `KubeError` if it is locked."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise KubeError(f"another command is changing the cluster (process {file.read().strip()})") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def up(progress: Progress) -> None:
    """Build what is missing, start the cluster, and return when its nodes are Ready.

    If it is running, only the images of this checkout are rebuilt and loaded; it is recreated if the versions of its
    programs or the images' lock have changed.
    """
    prerequisites.ensure(progress)
    CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
    python_layers.clear_scratch()
    programs = binaries.build(progress)
    built = cluster_images.build(progress)
    made_of = f"{programs.name} {store.key(built.base)}"
    if _complete(made_of):
        cluster_images.load(built, progress)
        progress.say(f"the cluster was running; this checkout's images were loaded. KUBECONFIG={KUBECONFIG}")
        return
    if COMPLETE.exists() and COMPLETE.read_text() != made_of:
        progress.say("programs or dependencies of the images have changed: the cluster is recreated, empty")
    # Also the remains of an `up` that was killed: only COMPLETE proves that a cluster is usable.
    down(progress)
    STATE.mkdir(mode=0o711, parents=True)
    _start(programs, store.build(built.base, programs, progress), progress)
    cluster_images.load(built, progress)
    COMPLETE.write_text(made_of)
    progress.say(f"three nodes in three zones are Ready. KUBECONFIG={KUBECONFIG}")


def _complete(made_of: str) -> bool:
    return COMPLETE.exists() and COMPLETE.read_text() == made_of and not missing() and control_plane.answers()


def _start(programs: Path, shared: Path, progress: Progress) -> None:
    authority = pki.Authority()
    control = Machine(CONTROL)
    with progress.step("start etcd and Kubernetes"):
        network.build_bridge(control, control.start({"kube": programs}))
        control_plane.start(control, authority)
        addons.apply(control, programs)
    with progress.step("start three nodes"):
        SHARED.symlink_to(shared)
        for name in NODES:
            node.install(Machine(name), authority, shared)
            node.boot(Machine(name), programs, shared)
            node.join(Machine(name))
        _wait_for_nodes(programs, NODES)


def _wait_for_nodes(programs: Path, names: tuple[str, ...]) -> None:
    def registered() -> bool:
        found = addons.kubectl(programs, "get", "nodes", "--output=name").split()
        return {f"node/{name}" for name in names} <= set(found)

    waiting.wait_until(registered, what=f"{', '.join(names)} to register", timeout_s=READY_S)
    ready = ["wait", "--for=condition=Ready", f"--timeout={READY_S}s", *(f"node/{name}" for name in names)]
    addons.kubectl(programs, *ready, timeout_s=READY_S + 10)


def down(progress: Progress) -> None:
    """Remove everything: processes, mounts, interfaces, cgroups, files. The cache is kept."""
    prerequisites.require_root()
    if not left_over():
        return
    with progress.step("stop the cluster"):
        # FIRST: if `down` is killed, the next `up` must not take a half-deleted cluster for a complete one.
        COMPLETE.unlink(missing_ok=True)
        found = {one.machine for one in machine.processes()}
        machine.kill(sorted(found | {*MACHINES, BUILDER}))
        # AFTER the machines: kubelet and containerd would restart containers that are killed before them.
        machine.kill_unmarked()
        network.remove()
        cgroups.remove()
        if STATE.exists():
            shutil.rmtree(STATE)
    remaining = left_over()
    if remaining:
        raise KubeError(f"not removed: {', '.join(remaining)}")


def left_over() -> list[str]:
    """Return descriptions of all remains of a cluster; empty after `down`."""
    found = [f"process {one.pid} ({one.program})" for one in machine.processes()]
    found += [f"cgroup {path}" for path in cgroups.left_over()]
    if network.left_over():
        found.append(f"interface {HOST_INTERFACE}")
    if STATE.exists():
        found.append(f"folder {STATE}")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return found + [f"mount {line.split()[4]}" for line in mounts if str(STATE) in line]


def missing() -> list[str]:
    """Return `machine/program` for every program that should be running and is not."""
    running = {(one.machine, one.program) for one in machine.processes()}
    expected = [(name, program) for name, programs in PROGRAMS.items() for program in programs]
    return [f"{name}/{program}" for name, program in expected if (name, program) not in running]


def restart_node(name: str) -> None:
    """Start a killed node with its disk, and return when its new kubelet has reported Ready.

    Only a renewed Lease is proof: until the node controller notices the loss, the status still contains the old Ready.
    """
    one, programs = Machine(name), binaries.folder()
    node.boot(one, programs, SHARED.resolve(strict=True))
    before = _renewed(programs, name)
    node.join(one)
    waiting.wait_until(
        lambda: _renewed(programs, name) != before,
        what=f"the kubelet of {name} to report",
        timeout_s=READY_S,
        clue=lambda: one.tail("kubelet"),
    )
    _wait_for_nodes(programs, (name,))


def _renewed(programs: Path, name: str) -> str:
    """Return the renewTime of a node's Lease, as written by its kubelet."""
    path = "--output=jsonpath={.spec.renewTime}"
    return addons.kubectl(programs, "get", "lease", name, "--namespace=kube-node-lease", path)


@dataclass(frozen=True, slots=True)
class Usage:
    """Resource usage of a machine: memory without page cache in bytes, CPU time in seconds."""

    machine: str
    programs: tuple[str, ...]
    containers: int
    memory_bytes: int
    cpu_s: float


def usage() -> list[Usage]:
    """Return the running programs of each machine and their resource usage."""
    running = list(machine.processes())
    found = []
    for name in MACHINES:
        mine = [one.program for one in running if one.machine == name]
        memory, seconds = cgroups.usage(name)
        programs = tuple(program for program in PROGRAMS[name] if program in mine)
        found.append(Usage(name, programs, mine.count("containerd-shim-runc-v2"), memory, seconds))
    return found
