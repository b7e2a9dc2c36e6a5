"""What scenarios may do to the nodes of the cluster that `kube.py` started; other clusters' nodes are left alone.

Everything blocks for a moment only, and runs in a thread.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from collectionstore_e2e.kube import cluster, network
from collectionstore_e2e.kube.machine import Machine
from collectionstore_e2e.kube.places import API_SERVER, KUBECONFIG, MACHINES, NODES


class Machines:
    """The nodes by name."""

    names = NODES

    async def kill(self, node: str) -> None:
        """End a node as by a power cut; its disk stays."""
        await asyncio.to_thread(Machine(node).kill)

    async def start(self, node: str) -> None:
        """Start a node that was killed, and return when it is ready."""
        await asyncio.to_thread(cluster.restart_node, node)

    async def cut(self, node: str) -> None:
        """Cut a node off from the API server, the other nodes and their pods; what runs on it goes on."""
        await asyncio.to_thread(network.set_cable, node, plugged=False)

    async def rejoin(self, node: str) -> None:
        """Plug its cable in again."""
        await asyncio.to_thread(network.set_cable, node, plugged=True)

    async def restore(self) -> None:
        """Bring every node back that a scenario left dead or cut off."""
        for node in self.names:
            if Machine(node).first_pid() is None:
                await self.start(node)
            await self.rejoin(node)

    def logs(self) -> dict[str, Path]:
        """Return the log folder of each machine."""
        return {name: Machine(name).log for name in MACHINES}


def find_machines(server: str) -> Machines | None:
    """Return the machines when `server` is the cluster of this computer, None when it is another."""
    return Machines() if server == API_SERVER and KUBECONFIG.exists() else None
