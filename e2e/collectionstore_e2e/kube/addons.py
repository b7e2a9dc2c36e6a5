"""Add-ons of the cluster: DNS and volumes, as objects and as programs on the control machine."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Final

from collectionstore_e2e.kube import control_plane
from collectionstore_e2e.kube.images import cluster_images
from collectionstore_e2e.kube.machines.machine import Machine
from collectionstore_e2e.kube.places import CONTROL_ADDRESS, DNS_ADDRESS, KUBECONFIG
from collectionstore_testkit.commands import run

FOLDER: Final = Path(__file__).parent


def apply(control: Machine, binaries: Path) -> None:
    """Apply the objects and start DNS and the provisioner on the control machine."""
    objects = _filled("addons.yaml").encode()
    kubectl(binaries, "apply", "--server-side", "--filename", "-", stdin=objects)
    control_plane.start_dns(control)
    control_plane.start_provisioner(control, _filled("helper-pod.yaml"))


def kubectl(binaries: Path, *arguments: str, stdin: bytes | None = None, timeout_s: float = 120) -> str:
    """Run kubectl as the administrator."""
    return run([binaries / "kubectl", f"--kubeconfig={KUBECONFIG}", *arguments], stdin=stdin, timeout_s=timeout_s)


def _filled(name: str) -> str:
    values = {"DNS_ADDRESS": DNS_ADDRESS, "CONTROL_ADDRESS": CONTROL_ADDRESS, "TOOLBOX": cluster_images.TOOLBOX}
    return string.Template((FOLDER / name).read_text().replace("$VOL_DIR", "$$VOL_DIR")).substitute(values)
