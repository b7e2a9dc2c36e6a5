"""A node: a machine with containerd, kubelet and kube-proxy, in its own zone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from collectionstore_e2e.kube import containerd
from collectionstore_e2e.kube.images import store
from collectionstore_e2e.kube.machines import network
from collectionstore_e2e.kube.machines.machine import Machine
from collectionstore_e2e.kube.pki import Authority, write_secret
from collectionstore_e2e.kube.places import CGROUP, DNS_ADDRESS, POD_NETWORK, node_address, pod_subnet, zone

PROXY: Final = ("kube-proxy", "--config=/var/lib/kubelet/proxy.json")


def install(node: Machine, authority: Authority, images: Path) -> None:
    """Write a node's configuration, credentials, and copies of the image store's databases to its disk."""
    folder = node.lib / "kubelet"
    folder.mkdir(parents=True, exist_ok=True)
    address = node_address(node.name)
    (folder / "ca.crt").write_bytes(authority.pair.certificate)
    authority.issue(f"system:node:{node.name}", "system:nodes", hosts=[node.name, address]).write(folder, "server")
    write_secret(folder / "kubeconfig", authority.kubeconfig(f"system:node:{node.name}", "system:nodes"))
    write_secret(folder / "proxy.kubeconfig", authority.kubeconfig("system:kube-proxy"))
    _write_json(folder / "config.json", _kubelet_configuration(node.name))
    _write_json(folder / "proxy.json", _proxy_configuration(node.name))
    _write_json(folder / "cni" / "10-pods.conflist", _pod_network(node.name))
    store.install(node, images)


def boot(node: Machine, programs: Path, images: Path) -> None:
    """Start an installed node: machine, network, containerd. `join` starts kubelet."""
    pid = node.start({"kube": programs, "store": images})
    # BEFORE containerd starts: the copied databases refer to this content.
    store.mount(node)
    network.connect(node, pid)
    containerd.start(node)


def join(node: Machine) -> None:
    """Start kubelet and kube-proxy: the node registers and accepts pods."""
    node.spawn(PROXY)
    node.spawn(
        (
            "kubelet",
            "--config=/var/lib/kubelet/config.json",
            "--kubeconfig=/var/lib/kubelet/kubeconfig",
            f"--hostname-override={node.name}",
            f"--node-ip={node_address(node.name)}",
            f"--node-labels=topology.kubernetes.io/zone={zone(node.name)},topology.kubernetes.io/region=local",
        )
    )


def _kubelet_configuration(name: str) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}/{name}",
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        # Without CAP_SYS_RESOURCE, kubelet would exit because it cannot set limits; with this gate it continues.
        "featureGates": {"KubeletInUserNamespace": True},
        "oomScoreAdj": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": "/var/lib/kubelet/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": "/var/lib/kubelet/server.crt",
        "tlsPrivateKeyFile": "/var/lib/kubelet/server.key",
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        # The three nodes share this machine's disk, which may be almost full: pods must not be evicted for that.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        # kubelet renews at a quarter of this duration: every two seconds, five times in the grace period of ten.
        "nodeLeaseDurationSeconds": 8,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s",
        "serializeImagePulls": False,
    }


def _proxy_configuration(name: str) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": name,
        "clusterCIDR": POD_NETWORK,
        "clientConnection": {"kubeconfig": "/var/lib/kubelet/proxy.kubeconfig"},
        "oomScoreAdj": 0,
        # The size of the conntrack table is global and cannot be set in a network namespace.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        # Endpoints are applied immediately, so that a deleted pod gets no new connections.
        "iptables": {"minSyncPeriod": "0s", "syncPeriod": "30s"},
    }


def _pod_network(name: str) -> dict[str, object]:
    addresses = {
        "type": "host-local",
        # On a tmpfs: after a power failure, no IP stays allocated to a pod that no longer exists.
        "dataDir": "/run/cni",
        "ranges": [[{"subnet": pod_subnet(name)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    cable = {"type": "ptp", "ipMasq": False, "ipam": addresses}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [cable]}


def _write_json(path: Path, document: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1))
