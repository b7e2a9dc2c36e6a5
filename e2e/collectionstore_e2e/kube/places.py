"""Paths, versions and addresses of the cluster. Constants only.

CACHE contains what is expensive to build, and is kept; STATE belongs to the running cluster, and is deleted with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from collectionstore_testkit.places import KUBE_CACHE

CACHE: Final = KUBE_CACHE
STATE: Final = Path("/var/lib/collectionstore-kube")
KUBECONFIG: Final = STATE / "kubeconfig"
"""The administrator's kubeconfig; the default of the scenarios if KUBECONFIG is not set."""

DEBIAN_RELEASE: Final = "bookworm"

MARK: Final = "COLLECTIONSTORE_KUBE_MACHINE"
"""Environment variable of every process of the cluster; its value is the machine's name."""
CGROUP: Final = "collectionstore-kube"
HOST_INTERFACE: Final = "cs-kube"

CONTROL: Final = "control"
NODES: Final = ("node-1", "node-2", "node-3")
BUILDER: Final = "builder"
"""The machine that unpacks images before the others start."""
MACHINES: Final = (CONTROL, *NODES)

# Networks that neither Docker, Podman, kind nor home routers use by default.
MACHINE_NETWORK_BITS: Final = 24
HOST_ADDRESS: Final = "10.213.0.254"
CONTROL_ADDRESS: Final = "10.213.0.1"
POD_NETWORK: Final = "10.214.0.0/16"
SERVICE_NETWORK: Final = "10.215.0.0/16"
API_SERVICE_ADDRESS: Final = "10.215.0.1"
DNS_ADDRESS: Final = "10.215.0.10"
API_SERVER: Final = f"https://{CONTROL_ADDRESS}:6443"


def node_number(node: str) -> int:
    """Return 1 for node-1."""
    return NODES.index(node) + 1


def node_address(node: str) -> str:
    """Return a node's own address."""
    return f"10.213.0.{10 + node_number(node)}"


def pod_subnet(node: str) -> str:
    """Return the addresses of a node's pods."""
    return f"10.214.{node_number(node)}.0/24"


def zone(node: str) -> str:
    """Return the zone that a node is labelled with."""
    return f"zone-{node_number(node)}"
