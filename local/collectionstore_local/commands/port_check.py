"""Checks before a start or a scale-up that the ports of the nodes to start are free."""

from __future__ import annotations

from collectionstore_local.processes.node_records import running_process
from collectionstore_local.processes.port_allocation import (
    PortHolder,
    PortsTaken,
    node_ports,
    port_holders,
    taken_ports,
)
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_operator.resource.desired import Desired


def check_ports(state: StateDirectory, directory: ClusterDirectory, desired: Desired) -> None:
    """Raise PortsTaken if a port of a node to start is in use; the message names the port and the process.

    Ports of running nodes of this cluster are not checked.
    """
    needed: dict[int, str] = {}
    for group in (desired, desired.reads()):
        for ordinal in range(group.spec.replicas):
            name = group.member(ordinal)
            if running_process(directory.node(name)) is None:
                needed |= dict.fromkeys(node_ports(group, ordinal).all, name)
    taken = taken_ports(needed)
    if not taken:
        return
    nodes = _local_nodes(state)
    lines = [_describe(holder, needed[holder.port], nodes) for holder in port_holders(taken)]
    advice = "Stop these processes, or set spec.local.basePort to another port."
    raise PortsTaken("\n".join([*lines, f"Nothing was started. {advice}"]))


def _local_nodes(state: StateDirectory) -> dict[int, str]:
    """Return a description of every running node of this state directory, by pid."""
    found = {}
    for cluster in state.cluster_names():
        directory = state.cluster(cluster)
        for name in directory.node_names():
            process = running_process(directory.node(name))
            if process is not None:
                found[process.pid] = (
                    f"node {name} of cluster {cluster} (to stop it: csctl local down --cluster {cluster})"
                )
    return found


def _describe(holder: PortHolder, node: str, nodes: dict[int, str]) -> str:
    prefix = f"port {holder.port} of {node} is in use by"
    if holder.pid is None:
        return f"{prefix} {holder.command}"
    return f"{prefix} process {holder.pid}: {nodes.get(holder.pid) or holder.command}"
