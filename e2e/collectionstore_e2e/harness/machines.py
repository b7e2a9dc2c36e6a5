"""Faults of nodes and API server, injected only into the cluster of `make kube-up`, never into another one.

All functions block, so they run in a thread.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

from collectionstore_e2e.harness.errors import NoCluster
from collectionstore_e2e.kube import cluster
from collectionstore_e2e.kube.machines import network
from collectionstore_e2e.kube.machines.machine import Machine, processes
from collectionstore_e2e.kube.places import API_SERVER, CONTROL, KUBECONFIG, MACHINES, NODES

API_PROGRAM: Final = "kube-apiserver"
MUTED: Final = "77"
"""Priority of the routing rules that drop what a pod sends."""


class Machines:
    """The nodes by name. What harms more than one pod is refused, unless they belong to one scenario alone."""

    names = NODES

    def __init__(self, *, exclusive: bool) -> None:
        self._exclusive = exclusive

    def of(self, *, exclusive: bool) -> Machines:
        """Return the machines as a scenario may use them that runs alone, or beside others."""
        return Machines(exclusive=exclusive)

    def _alone(self) -> None:
        if not self._exclusive:
            raise NoCluster("this would harm the scenarios beside it: declare the scenario with exclusive=True")

    async def kill(self, node: str) -> None:
        """Kill a node as by a power failure; its disk is kept."""
        self._alone()
        await asyncio.to_thread(Machine(node).kill)

    async def start(self, node: str) -> None:
        """Start a killed node, and return when it is Ready."""
        self._alone()
        await asyncio.to_thread(cluster.restart_node, node)

    async def cut(self, node: str) -> None:
        """Partition a node from the API server, the other nodes and their pods; its processes keep running."""
        self._alone()
        await asyncio.to_thread(network.set_cable, node, plugged=False)

    async def cut_from_api_server(self, node: str) -> None:
        """Partition a node and its pods from the API server alone."""
        self._alone()
        await asyncio.to_thread(network.cut_from_api_server, node)

    async def cut_from_nodes(self, node: str) -> None:
        """Partition a node and its pods from the other nodes and their pods, but not from the API server."""
        self._alone()
        await asyncio.to_thread(network.cut_from_nodes, node)

    async def rejoin(self, node: str) -> None:
        """End all partitions of a node."""
        self._alone()
        await asyncio.to_thread(network.set_cable, node, plugged=True)
        await asyncio.to_thread(network.stop_dropping, node)

    async def mute(self, node: str, address: str) -> None:
        """Drop all that a pod of a node sends, except to its own node: probes and `kubectl exec` still work."""
        # After the table of local addresses (priority 0), before that of routes.
        rule = ["ip", "rule", "add", "from", address, "blackhole", "priority", MUTED]
        await asyncio.to_thread(Machine(node).run, rule)

    async def unmute(self, node: str, address: str = "") -> None:
        """End that, for one pod or for all pods of a node."""
        chosen = f"from {address} blackhole priority {MUTED}" if address else f"priority {MUTED}"
        await asyncio.to_thread(Machine(node).run, ["sh", "-c", f"while ip rule del {chosen} 2>&-; do :; done"])

    async def run(self, node: str, *command: str) -> str:
        """Run a command on a node as its administrator, and return its output."""
        return await asyncio.to_thread(Machine(node).run, command)

    async def hang_api_server(self) -> None:
        """Make the API server stop responding; connections stay open, as to an overloaded host."""
        self._alone()
        await asyncio.to_thread(_signal, API_PROGRAM, signal.SIGSTOP)

    async def resume_api_server(self) -> None:
        """Make the API server respond again."""
        self._alone()
        await asyncio.to_thread(_signal, API_PROGRAM, signal.SIGCONT)

    async def restore(self) -> None:
        """Restart, reconnect and resume everything that a scenario left killed, partitioned or stopped."""
        self._alone()
        await self.resume_api_server()
        for node in self.names:
            if Machine(node).first_pid() is None:
                await self.start(node)
            await self.rejoin(node)
            await self.unmute(node)

    def logs(self) -> dict[str, Path]:
        """Return the log folder of each machine."""
        return {name: Machine(name).log for name in MACHINES}


def _signal(program: str, number: signal.Signals) -> None:
    for one in processes():
        if one.machine == CONTROL and one.program == program:
            os.kill(one.pid, number)


def find_machines(server: str) -> Machines | None:
    """Return the machines if `server` is the cluster of `make kube-up`, else None."""
    return Machines(exclusive=True) if server == API_SERVER and KUBECONFIG.exists() else None
