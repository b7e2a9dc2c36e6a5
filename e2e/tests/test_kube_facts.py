"""What is read from the computer: mounts, apt, go.mod, a wheel's commands."""

from __future__ import annotations

import re
from pathlib import Path

from collectionstore_e2e.kube import places
from collectionstore_e2e.kube.images import python_layers, rootfs
from collectionstore_e2e.kube.machines import cgroups
from collectionstore_testkit.tools import kubernetes_programs

HYBRID = """\
24 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 25 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu
31 25 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 25 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


def test_hierarchies_are_found_in_the_hybrid_layout() -> None:
    """Both versions are seen, optional fields before the dash do not matter."""
    found = cgroups.hierarchies(HYBRID)
    assert [(one.root.name, one.unified) for one in found] == [("cpu", False), ("memory", False), ("unified", True)]


def test_mirror_is_the_one_apt_uses_for_the_release() -> None:
    """Neither updates nor security will do, nor lists of other things."""
    targets = (
        "DEP-11 bookworm http://wrong/\n"
        "Packages bookworm-updates http://updates/\n"
        "Packages bookworm http://mirror/debian/\n"
    )
    assert rootfs.debian_mirror(targets) == "http://mirror/debian/"
    assert rootfs.debian_mirror("Packages trixie http://mirror/debian/\n") is None


def test_pinned_version_of_kubernetes_is_the_one_it_calls_itself() -> None:
    """The version in go.mod and the one linked into the components are one."""
    go_mod = (kubernetes_programs.GO_MODULES / "kubernetes" / "go.mod").read_text()
    pinned = re.search(r"^(?:require)?\s*k8s.io/kubernetes (v\S+)", go_mod, re.MULTILINE)
    assert pinned is not None
    assert pinned[1] == kubernetes_programs.KUBERNETES_VERSION


def test_a_wheels_commands_become_scripts(tmp_path: Path) -> None:
    """Console scripts get one file each that calls the function; other entry points get none."""
    declared = tmp_path / "thing-1.dist-info" / "entry_points.txt"
    declared.parent.mkdir()
    declared.write_text("[console_scripts]\nDo-It = thing.main:run\n\n[other]\nx = y:z\n")
    python_layers.write_scripts(tmp_path, tmp_path / "bin")
    (script,) = (tmp_path / "bin").iterdir()
    assert script.name == "Do-It"
    assert "from thing.main import run\nsys.exit(run())" in script.read_text()


def test_every_node_has_its_own_addresses() -> None:
    """No two nodes share an address, a pod network or a zone."""
    for of in (places.node_address, places.pod_subnet, places.zone):
        assert len({of(node) for node in places.NODES}) == len(places.NODES)
