"""A member without its network: storage, Raft core, queues, applied state, and the checks that watch over them.

The order of construction is the direction of the node: a `LocalMember` is complete before there is a transport. The
transport is then made with a handler for this member (`peers.PeerHandler`), and the driver with member and transport:

    LocalMember -> PeerHandler -> Transport -> Driver -> Replica

Nothing here holds anything that is made later. What happens here reaches the driver through `wakeup`, and a suspicion
raised by another member through `suspicion`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from collectionstore_node.errors import DataDirectoryRefused, NodeError
from collectionstore_node.metrics import ReplicaMetrics
from collectionstore_node.raft.ready import RaftStatus
from collectionstore_node.replica.consensus.consensus import Consensus
from collectionstore_node.replica.consensus.stamps import Stamps
from collectionstore_node.replica.consensus.wakeup import Wakeup
from collectionstore_node.replica.health.self_check import SelfCheck
from collectionstore_node.replica.membership.administration import Administration
from collectionstore_node.replica.observation.observer import NULL_OBSERVER, DriverObserver
from collectionstore_node.replica.persistence.applier import Applier
from collectionstore_node.replica.persistence.checkpoints import Checkpoint
from collectionstore_node.replica.persistence.log_writer import LogWriter
from collectionstore_node.replica.settings import ReplicaSettings
from collectionstore_node.replica.snapshots.received import ReceivedSnapshots
from collectionstore_node.replica.storage_port import Storage
from collectionstore_node.statemachine.members import MembershipRecord


@dataclass(frozen=True, slots=True)
class Clocks:
    """Sources of randomness and time, so that a simulation replays."""

    random: Callable[[], float]
    """In [0, 1); spreads elections."""
    wall_ms: Callable[[], int]
    """The time that a leader stamps into entries of feature level 1, in milliseconds since 1970 UTC."""
    pause_clock: Callable[[], float]
    """Monotonic, in seconds; preferably advances while the machine is suspended. Detects pauses of the process, and
    advances the replicated time."""


class LocalMember:
    """The parts of one member below the network. Belongs to one event loop."""

    def __init__(
        self,
        storage: Storage,
        settings: ReplicaSettings,
        metrics: ReplicaMetrics,
        clocks: Clocks,
        observer: DriverObserver = NULL_OBSERVER,
    ) -> None:
        """Read log and state."""
        self.storage = storage
        self.identity = storage.identity
        self.settings = settings
        self.metrics = metrics
        self.observer = observer
        self.wakeup = Wakeup()
        self.log_writer = LogWriter(storage.log, metrics.disk, self.wakeup.fail, observer)
        self.applier = Applier(storage.state, metrics.disk, storage.raise_level)
        stamps = Stamps(self.applier, wall_ms=clocks.wall_ms, clock=clocks.pause_clock)
        self.consensus = Consensus(storage, settings, self.wakeup, metrics, observer, stamps, random=clocks.random)
        self.self_check = SelfCheck(
            self.log_writer,
            metrics.watchdog,
            limit_s=settings.election_ticks_max * settings.tick_s,
            tick_s=settings.tick_s,
            clock=clocks.pause_clock,
            step_down=self.consensus.step_down,
        )
        self.administration = Administration(self.identity.node_id, self.consensus, self.applier, settings, metrics)
        self.received = ReceivedSnapshots()
        self.suspicion = asyncio.Event()
        """Set when another member says that this one's state differs; the state comparer clears it."""
        self.file_executor = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        """One thread for snapshot files and reclaiming space: neither may delay a sync."""

    @property
    def record(self) -> MembershipRecord:
        """The members by name and address, as applied."""
        return self.applier.record

    def raft_status(self) -> RaftStatus:
        """Return a view of the core."""
        return self.consensus.raft.status()

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Return the digests of the state that are known; none while a snapshot replaces it."""
        return self.applier.checkpoints()

    def raise_level(self, level: int) -> None:
        """Raise the feature level of the cluster, as its leader; every member of the configuration supports it."""
        self.consensus.raise_level(level)

    def quarantine(self, reason: str) -> None:
        """Fence this member: mark its data directory and stop it; if it leads, the others elect another one."""
        try:
            # BEFORE the process ends: a restart must find the mark, or it would serve the wrong state again.
            self.storage.quarantine(reason)
        except NodeError as error:
            self.wakeup.fail(error)
            return
        self.consensus.step_down()
        self.wakeup.fail(DataDirectoryRefused(reason))

    def close(self) -> None:
        """Fail pending requests and shut down the executors."""
        self.consensus.close()
        self.log_writer.close()
        self.file_executor.shutdown()
