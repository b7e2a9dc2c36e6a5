"""What is checked before a local cluster is started or grows: that the ports its nodes need can be had."""

from __future__ import annotations

from collectionstore_local.processes.port_allocation import PortHolder, PortsTaken, holders, node_ports, taken_ports
from collectionstore_local.processes.records import living_process
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_operator.resource.desired import Desired


def check_ports(state: StateDirectory, directory: ClusterDirectory, desired: Desired) -> None:
    """Raise PortsTaken when a port that a node to be started needs is held by a process; it names port and process.

    Ports of nodes of this cluster that run already are theirs.
    """
    needed: dict[int, str] = {}
    for ordinal in range(desired.spec.replicas):
        name = desired.member(ordinal)
        if living_process(directory.node(name)) is None:
            needed |= dict.fromkeys(node_ports(desired.spec.local, ordinal).all, name)
    taken = taken_ports(needed)
    if not taken:
        return
    ours = _local_nodes(state)
    lines = [_describe(holder, needed[holder.port], ours) for holder in holders(taken)]
    advice = "Stop what holds them, or set spec.local.basePort to another port."
    raise PortsTaken("\n".join([*lines, f"Nothing was started. {advice}"]))


def _local_nodes(state: StateDirectory) -> dict[int, str]:
    """Return which pid is which node of which cluster of this state directory."""
    found = {}
    for cluster in state.cluster_names():
        directory = state.cluster(cluster)
        for name in directory.node_names():
            process = living_process(directory.node(name))
            if process is not None:
                found[process.pid] = f"node {name} of cluster {cluster} (csctl local down --cluster {cluster} stops it)"
    return found


def _describe(holder: PortHolder, node: str, ours: dict[int, str]) -> str:
    prefix = f"port {holder.port}, which {node} needs, is held by"
    if holder.pid is None:
        return f"{prefix} {holder.command}"
    what = ours.get(holder.pid)
    return f"{prefix} process {holder.pid}: {what or holder.command}"
