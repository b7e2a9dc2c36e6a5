"""The member processes of a local cluster, as its state directory records them."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from collectionstore_local.commands import lifecycle
from collectionstore_local.faults import injection
from collectionstore_local.processes import node_records
from collectionstore_local.processes.node_records import NodeExit
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_local.state.published_status import read_status
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import LocalCluster, send_signal


@dataclass(frozen=True, slots=True)
class Members:
    """Reads and signals the members of `cluster`."""

    cluster: LocalCluster
    _paused_supervisor: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def directory(self) -> ClusterDirectory:
        """The cluster's part of the state directory."""
        return ClusterDirectory(self.cluster.state / self.cluster.name)

    def create_directory(self) -> None:
        """Create the cluster's folders before it is started for the first time."""
        StateDirectory(self.cluster.state).create_cluster(self.cluster.name)

    def data(self, name: str) -> Path:
        """Return the data directory of a member."""
        return self.directory.node(name).data

    def running(self) -> list[str]:
        """Return the members whose process runs, paused ones included."""
        return list(lifecycle.running_nodes(self.directory))

    def last_exit(self, name: str) -> NodeExit | None:
        """Return how a member's process exited last; None if it runs or has never exited."""
        record = node_records.load(self.directory.node(name))
        return None if node_records.running_process(self.directory.node(name)) else record.last_exit

    def is_ready(self) -> bool:
        """Return whether the reconcile loop reports condition Ready and an empty plan."""
        status = read_status(self.directory)
        condition = status.condition("Ready") if status is not None else None
        return condition is not None and condition.status == "True" and not (status and status.plan)

    def send_signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a member, unless its process has exited."""
        try:
            injection.signal_member(self.directory, name, number)
        except injection.ClusterDown:
            pass  # it has exited since the caller looked

    def resume(self, name: str) -> None:
        """Continue a paused member; no effect on others."""
        injection.resume(self.directory, name)

    @asynccontextmanager
    async def supervisor_paused(self) -> AsyncIterator[None]:
        """Pause the supervisor with SIGSTOP for the block, so that it does not restart members.

        Raises ClusterFailed if it does not run.
        """
        async with self._paused_supervisor:
            self._signal_supervisor(signal.SIGSTOP)
            try:
                yield
            finally:
                self._signal_supervisor(signal.SIGCONT)

    def _signal_supervisor(self, number: signal.Signals) -> None:
        pid = lifecycle.supervisor_pid(self.directory)
        if not pid:
            raise ClusterFailed(f"the supervisor has exited: see {self.directory.log}")
        send_signal(pid, number)
