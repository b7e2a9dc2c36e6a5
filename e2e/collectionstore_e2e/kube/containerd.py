"""containerd, the same on every machine that runs containers or unpacks images."""

from __future__ import annotations

from typing import Final

from collectionstore_e2e.kube.machines import waiting
from collectionstore_e2e.kube.machines.machine import Machine
from collectionstore_e2e.kube.prerequisites import cni_folder
from collectionstore_testkit.errors import CommandFailed

PAUSE: Final = "localhost/pause:3"
"""The image of the container that holds a pod's namespaces."""
IMPORT: Final = ("ctr", "--namespace", "k8s.io", "images", "import", "-")
READY_S: Final = 60.0

CONFIG: Final = """
version = 2
root = "{root}"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # This machine may lack CAP_SYS_RESOURCE, without which oom_score_adj cannot be lowered.
  restrict_oom_score_adj = true
  # Pods without root may listen on ports below 1024, as in other clusters.
  enable_unprivileged_ports = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "/var/lib/kubelet/cni"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def start(machine: Machine, *, root: str = "/var/lib/containerd") -> None:
    """Start containerd on a machine and return when it responds; `root` is its folder for images and containers."""
    config = machine.lib / "containerd.toml"
    config.write_text(CONFIG.format(root=root, pause=PAUSE, cni=cni_folder()))
    machine.spawn(("containerd", "--config", "/var/lib/containerd.toml", "--log-level", "warn"))

    def answers() -> bool:
        try:
            machine.run(["ctr", "--connect-timeout", "1s", "version"])
        except CommandFailed:
            return False
        return True

    waiting.wait_until(
        answers, what=f"containerd on {machine.name}", timeout_s=READY_S, clue=lambda: machine.tail("containerd")
    )
