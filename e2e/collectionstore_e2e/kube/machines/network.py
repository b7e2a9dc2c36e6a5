"""The network of the machines: one bridge in the control machine, a veth pair to every node and to the host.

Except for the host's end of its pair, everything is in the machines' network namespaces, and the kernel deletes a pair
with either end. The host's routing, firewall and forwarding are not changed: it gets one address in a separate network,
and one route to the pods.
Pods are routed, not bridged: each node routes its own /24 and has routes to the others', as on a real network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from collectionstore_e2e.kube.machines.machine import Machine
from collectionstore_e2e.kube.places import (
    CONTROL,
    CONTROL_ADDRESS,
    HOST_ADDRESS,
    HOST_INTERFACE,
    MACHINE_NETWORK_BITS,
    NODES,
    POD_NETWORK,
    node_address,
    pod_subnet,
)
from collectionstore_testkit.commands import run

BRIDGE: Final = "machines"


def build_bridge(control: Machine, control_pid: int) -> None:
    """Create the bridge, and the veth pair to the host."""
    control.run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    control.run(["ip", "address", "add", f"{CONTROL_ADDRESS}/{MACHINE_NETWORK_BITS}", "dev", BRIDGE])
    control.run(["ip", "link", "set", BRIDGE, "up"])
    run(["ip", "link", "add", HOST_INTERFACE, "type", "veth", "peer", "name", "host", "netns", str(control_pid)])
    control.run(["ip", "link", "set", "host", "master", BRIDGE, "up"])
    run(["ip", "address", "add", f"{HOST_ADDRESS}/{MACHINE_NETWORK_BITS}", "dev", HOST_INTERFACE])
    run(["ip", "link", "set", HOST_INTERFACE, "up"])
    # For debugging: the host can connect to pod IPs.
    run(["ip", "route", "add", POD_NETWORK, "via", CONTROL_ADDRESS])


def connect(node: Machine, node_pid: int) -> None:
    """Create a node's veth pair and routes, and the control machine's route to its pods."""
    control = Machine(CONTROL)
    control_pid = control.first_pid()
    # The kernel deletes interfaces of a namespace asynchronously, so those of a node just killed may still exist.
    control.run(["sh", "-c", f"ip link delete {node.name} 2>/dev/null; true"])
    near = ["ip", "link", "add", node.name, "netns", str(control_pid)]
    run([*near, "type", "veth", "peer", "name", "eth0", "netns", str(node_pid)])
    control.run(["ip", "link", "set", node.name, "master", BRIDGE, "up"])
    address = node_address(node.name)
    node.run(["ip", "address", "add", f"{address}/{MACHINE_NETWORK_BITS}", "dev", "eth0"])
    node.run(["ip", "link", "set", "eth0", "up"])
    # The kernel looks up a route before iptables translates a Service IP, so every address needs a route.
    node.run(["ip", "route", "add", "default", "via", CONTROL_ADDRESS])
    for other in NODES:
        if other != node.name:
            node.run(["ip", "route", "add", pod_subnet(other), "via", node_address(other)])
    control.run(["ip", "route", "replace", pod_subnet(node.name), "via", address])


def set_cable(node: str, *, plugged: bool) -> None:
    """Partition a node from the network, or end the partition; its processes keep running."""
    Machine(CONTROL).run(["ip", "link", "set", node, "up" if plugged else "down"])


def cut_from_api_server(node: str) -> None:
    """Drop what a node and its pods exchange with the API server; DNS and the other nodes stay reachable."""
    api_port, kubelet_port = "6443", "10250"
    _drop(node, "POSTROUTING", "-d", CONTROL_ADDRESS, "-p", "tcp", "--dport", api_port)
    _drop(node, "PREROUTING", "-s", CONTROL_ADDRESS, "-p", "tcp", "--sport", api_port)
    _drop(node, "PREROUTING", "-s", CONTROL_ADDRESS, "-p", "tcp", "--dport", kubelet_port)


def cut_from_nodes(node: str) -> None:
    """Drop what a node and its pods exchange with the other nodes and their pods; the API server stays reachable."""
    for other in NODES:
        for address in (node_address(other), pod_subnet(other)) if other != node else ():
            _drop(node, "POSTROUTING", "-d", address)
            _drop(node, "PREROUTING", "-s", address)


def _drop(node: str, chain: str, *match: str) -> None:
    # In `mangle`, where kube-proxy has no rules: after it has replaced the address of a Service, in both directions.
    Machine(node).run(["iptables", "-w", "-t", "mangle", "-A", chain, *match, "-j", "DROP"])


def stop_dropping(node: str) -> None:
    """End both for a node."""
    for chain in ("POSTROUTING", "PREROUTING"):
        Machine(node).run(["iptables", "-w", "-t", "mangle", "-F", chain])


def left_over() -> bool:
    """Return whether the host's end of its veth pair exists."""
    return Path("/sys/class/net", HOST_INTERFACE).exists()


def remove() -> None:
    """Delete the host's end, which the kernel normally deletes with the control machine's namespace."""
    if left_over():
        run(["sh", "-c", f"ip link delete {HOST_INTERFACE} 2>/dev/null || test ! -e /sys/class/net/{HOST_INTERFACE}"])
