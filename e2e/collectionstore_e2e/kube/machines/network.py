"""The wires between the machines: one bridge in the control machine, a cable from it to every node and to the host.

All of it lies in the machines' network namespaces except the host's end of its cable, and a cable goes when either end
goes. Nothing of the host's own routing, firewall or forwarding is touched: it gets one address in a network of its own,
and one route to the pods.
Pods are routed, not bridged: each node routes its own /24 and knows the way to the others', as on a real network.
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
    """Make the bridge, and the host's cable to it."""
    control.run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    control.run(["ip", "address", "add", f"{CONTROL_ADDRESS}/{MACHINE_NETWORK_BITS}", "dev", BRIDGE])
    control.run(["ip", "link", "set", BRIDGE, "up"])
    run(["ip", "link", "add", HOST_INTERFACE, "type", "veth", "peer", "name", "host", "netns", str(control_pid)])
    control.run(["ip", "link", "set", "host", "master", BRIDGE, "up"])
    run(["ip", "address", "add", f"{HOST_ADDRESS}/{MACHINE_NETWORK_BITS}", "dev", HOST_INTERFACE])
    run(["ip", "link", "set", HOST_INTERFACE, "up"])
    # For people who look for a fault: pods can be reached from the host by their addresses.
    run(["ip", "route", "add", POD_NETWORK, "via", CONTROL_ADDRESS])


def connect(node: Machine, node_pid: int) -> None:
    """Lay a node's cable and set its routes; the control machine learns the way to its pods."""
    control = Machine(CONTROL)
    control_pid = control.first_pid()
    # A node that was killed a moment ago may still hold its end.
    control.run(["sh", "-c", f"ip link delete {node.name} 2>/dev/null; true"])
    near = ["ip", "link", "add", node.name, "netns", str(control_pid)]
    run([*near, "type", "veth", "peer", "name", "eth0", "netns", str(node_pid)])
    control.run(["ip", "link", "set", node.name, "master", BRIDGE, "up"])
    address = node_address(node.name)
    node.run(["ip", "address", "add", f"{address}/{MACHINE_NETWORK_BITS}", "dev", "eth0"])
    node.run(["ip", "link", "set", "eth0", "up"])
    # Services are translated after a first look at the routes, so one must exist for any address.
    node.run(["ip", "route", "add", "default", "via", CONTROL_ADDRESS])
    for other in NODES:
        if other != node.name:
            node.run(["ip", "route", "add", pod_subnet(other), "via", node_address(other)])
    control.run(["ip", "route", "replace", pod_subnet(node.name), "via", address])


def set_cable(node: str, *, plugged: bool) -> None:
    """Cut a node off from everything else, or bring it back; what runs on it goes on."""
    Machine(CONTROL).run(["ip", "link", "set", node, "up" if plugged else "down"])


def left_over() -> bool:
    """Return whether the host's end of its cable exists."""
    return Path("/sys/class/net", HOST_INTERFACE).exists()


def remove() -> None:
    """Remove the host's end, which normally has gone with the control machine."""
    if left_over():
        run(["sh", "-c", f"ip link delete {HOST_INTERFACE} 2>/dev/null || test ! -e /sys/class/net/{HOST_INTERFACE}"])
