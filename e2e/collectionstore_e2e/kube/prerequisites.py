"""Prerequisites of this machine: Linux, root, and programs of the distribution, which are installed on Debian."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from collectionstore_e2e.kube.errors import PrerequisiteMissing
from collectionstore_testkit.commands import run
from collectionstore_testkit.progress import Progress

PACKAGES: Final = {
    "containerd": "containerd",
    "ctr": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setsid": "util-linux",
    "setpriv": "util-linux",
    "mount": "mount",
}
"""Program -> Debian package."""
CNI_PACKAGE: Final = "containernetworking-plugins"
CNI_FOLDERS: Final = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
CNI_PLUGINS: Final = ("ptp", "host-local", "loopback")


def cni_folder() -> Path | None:
    """Return the folder of the CNI plugins, or None if they are not installed."""
    return next((one for one in CNI_FOLDERS if all((one / name).exists() for name in CNI_PLUGINS)), None)


def missing_packages() -> list[str]:
    """Return the Debian packages whose programs are missing."""
    # Some programs are in folders that only root's login shell has on its PATH.
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    packages = {package for program, package in PACKAGES.items() if shutil.which(program, path=path) is None}
    if cni_folder() is None:
        packages.add(CNI_PACKAGE)
    return sorted(packages)


def require_root() -> None:
    """Raise `PrerequisiteMissing` unless this is root on Linux."""
    if sys.platform != "linux":
        raise PrerequisiteMissing("this cluster requires Linux; elsewhere, start another cluster and set KUBECONFIG")
    if os.geteuid() != 0:
        raise PrerequisiteMissing(
            "namespaces, mounts and cgroups require root: use sudo, or start another cluster and set KUBECONFIG"
        )


def ensure(progress: Progress) -> None:
    """Check all prerequisites; install missing Debian packages. Raises `PrerequisiteMissing`."""
    require_root()
    if "overlay" not in Path("/proc/filesystems").read_text():
        raise PrerequisiteMissing("the kernel has no overlay file system; try: modprobe overlay")
    packages = missing_packages()
    if not packages:
        return
    missing = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise PrerequisiteMissing(f"install the programs of these Debian packages, then try again: {missing}")
    with progress.step(f"install Debian packages: {missing}"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run(["apt-get", "update", "-qq"], environment=environment)
        run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *packages], environment=environment)
    still = missing_packages()
    if still:
        raise PrerequisiteMissing(f"installed, but their programs are still not found: {' '.join(still)}")
