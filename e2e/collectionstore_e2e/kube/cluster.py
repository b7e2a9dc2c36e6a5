"""Brings the whole cluster up, takes it down, and says what of it runs.

`up` and `down` may be killed at any moment and run again: what runs is found by its mark, never by a record, and a
cluster that was not brought up to the end is taken down before the next one starts.
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
"""Written last; says which programs and which images' base the cluster was started with."""
SHARED: Final = STATE / "store"
"""A link to the image store that the nodes were made with."""
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
"""What must run on each machine."""


@contextmanager
def locked() -> Iterator[None]:
    """Lock the cluster against concurrent changes. Raises `KubeError` if it is locked."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise KubeError(f"another command changes the cluster just now (process {file.read().strip()})") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def up(progress: Progress) -> None:
    """Build what is missing, start the cluster, and return when its nodes are ready.

    When it runs already, only its images are made anew from this checkout and loaded; it starts over when the versions
    of its programs or the lock of the images have changed.
    """
    prerequisites.ensure(progress)
    CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
    python_layers.clear_scratch()
    programs = binaries.build(progress)
    built = cluster_images.build(progress)
    made_of = f"{programs.name} {store.key(built.base)}"
    if _complete(made_of):
        cluster_images.load(built, progress)
        progress.say(f"the cluster runs already; its images are those of this checkout now. KUBECONFIG={KUBECONFIG}")
        return
    if COMPLETE.exists() and COMPLETE.read_text() != made_of:
        progress.say("its programs or the images' dependencies have changed: the cluster starts over, empty")
    down(progress)
    STATE.mkdir(mode=0o711, parents=True)
    _start(programs, store.build(built.base, programs, progress), progress)
    cluster_images.load(built, progress)
    COMPLETE.write_text(made_of)
    progress.say(f"three nodes in three zones are ready. KUBECONFIG={KUBECONFIG}")


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
    """Take everything away: processes, mounts, interfaces, cgroups, files. The cache stays."""
    prerequisites.require_root()
    if not left_over():
        return
    with progress.step("stop the cluster"):
        # Without this file, a half-deleted cluster is not taken for a complete one.
        COMPLETE.unlink(missing_ok=True)
        found = {one.machine for one in machine.processes()}
        machine.kill(sorted(found | {*MACHINES, BUILDER}))
        machine.kill_strays()
        network.remove()
        cgroups.remove()
        if STATE.exists():
            shutil.rmtree(STATE)
    remaining = left_over()
    if remaining:
        raise KubeError(f"still there: {', '.join(remaining)}")


def left_over() -> list[str]:
    """Return in words what there is of a cluster; nothing after `down`."""
    found = [f"process {one.pid} ({one.program})" for one in machine.processes()]
    found += [f"cgroup {path}" for path in cgroups.left_over()]
    if network.left_over():
        found.append(f"interface {HOST_INTERFACE}")
    if STATE.exists():
        found.append(f"folder {STATE}")
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return found + [f"mount {line.split()[4]}" for line in mounts if str(STATE) in line]


def missing() -> list[str]:
    """Return `machine/program` for everything that should run and does not."""
    running = {(one.machine, one.program) for one in machine.processes()}
    wanted = [(name, program) for name, programs in PROGRAMS.items() for program in programs]
    return [f"{name}/{program}" for name, program in wanted if (name, program) not in running]


def restart_node(name: str) -> None:
    """Start a node that was killed, with the disk it had, and return when its new kubelet says that it is ready.

    Until the node controller has noticed the loss, the API server still holds that the node is ready.
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
    """Return when a node's kubelet last renewed its Lease, as it wrote it."""
    path = "--output=jsonpath={.spec.renewTime}"
    return addons.kubectl(programs, "get", "lease", name, "--namespace=kube-node-lease", path)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a machine uses: memory without page cache in bytes, processor time so far in seconds."""

    machine: str
    programs: tuple[str, ...]
    containers: int
    memory_bytes: int
    cpu_s: float


def usage() -> list[Usage]:
    """Return what runs on each machine, and what it costs."""
    running = list(machine.processes())
    found = []
    for name in MACHINES:
        mine = [one.program for one in running if one.machine == name]
        memory, seconds = cgroups.usage(name)
        programs = tuple(program for program in PROGRAMS[name] if program in mine)
        found.append(Usage(name, programs, mine.count("containerd-shim-runc-v2"), memory, seconds))
    return found
