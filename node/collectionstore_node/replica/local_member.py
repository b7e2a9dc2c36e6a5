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

from collectionstore_node.errors import DataDirectoryRefused, NodeError, UpgradePending
from collectionstore_node.metrics import ReplicaMetrics
from collectionstore_node.raft.ready import RaftStatus
from collectionstore_node.replica.consensus.consensus import Consensus
from collectionstore_node.replica.consensus.freshness import Freshness
from collectionstore_node.replica.consensus.revisions import Revisions
from collectionstore_node.replica.consensus.stamps import Stamps
from collectionstore_node.replica.consensus.wakeup import Wakeup
from collectionstore_node.replica.health.self_check import SelfCheck
from collectionstore_node.replica.health.space import MemberReports, SpaceReport, adds_data, refusal
from collectionstore_node.replica.health.space_watch import SpaceWatch
from collectionstore_node.replica.membership.administration import Administration
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.observation.observer import NULL_OBSERVER, DriverObserver
from collectionstore_node.replica.persistence.applier import Applier
from collectionstore_node.replica.persistence.checkpoints import Checkpoint
from collectionstore_node.replica.persistence.log_writer import LogWriter
from collectionstore_node.replica.persistence.worker import Worker, WorkerThread
from collectionstore_node.replica.settings import ReplicaSettings
from collectionstore_node.replica.snapshots.received import ReceivedSnapshots
from collectionstore_node.replica.snapshots.state_export import StateExports
from collectionstore_node.replica.storage_port import Storage
from collectionstore_node.statemachine.commands import Action, level_needed
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
        worker: Callable[[str], Worker] = WorkerThread,
    ) -> None:
        """Read log and state; `worker` makes the threads that sync the log."""
        self.storage = storage
        self._loop = asyncio.get_running_loop()
        self.identity = storage.identity
        self.settings = settings
        self.metrics = metrics
        self.observer = observer
        self.wakeup = Wakeup()
        self.log_writer = LogWriter(
            storage.log, metrics.disk, observer, synced=self.wakeup.wake, failed=self.wakeup.fail, worker=worker
        )
        self.applier = Applier(storage.state, metrics.disk, storage.raise_level)
        self.revisions = Revisions(self.applier.revision)
        stamps = Stamps(self.applier, wall_ms=clocks.wall_ms, clock=clocks.pause_clock)
        self.wall_ms = clocks.wall_ms
        """The time of day in milliseconds since 1970 UTC, where clients ask for it to be stored. It decides nothing."""
        self.consensus = Consensus(storage, settings, self.wakeup, metrics, observer, stamps, random=clocks.random)
        self.freshness = Freshness(self.consensus, settings, clock=clocks.pause_clock)
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
        """One thread for snapshot files, for views of the state, and for reclaiming space: none may delay a sync."""
        self.export_executor = ThreadPoolExecutor(1, thread_name_prefix="export")
        """One thread for clients that read the whole state, which may take long: nothing waits behind it."""
        self.exports = StateExports(storage, self.applier, self.export_executor, files=self.file_executor)
        self.space = SpaceWatch(storage, settings.space, metrics.space, self.file_executor, self.wakeup.fail)
        self.reports = MemberReports()
        """What the other members report of their disks, while this one leads."""

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

    def shortage(self) -> tuple[str, SpaceReport] | None:
        """Return a member that is short of space and its report: this one, or as its leader any that reported it."""
        if self.space.report.shortage:
            return self.identity.name, self.space.report
        if not self.reports.any_short:
            return None
        members = self.consensus.raft.status().configuration.members()
        found = self.reports.short(members, self._loop.time())
        if found is None:
            return None
        node_id, report = found
        info = self.record.find(node_id)
        return info.name if info is not None else show_id(node_id), report

    def check_level(self, action: Action) -> None:
        """Refuse a command of a feature level that is not reached. Raises `UpgradePending`.

        On every member BEFORE it is forwarded, and on the leader: where the level is applied, every member knows it.
        """
        needed = level_needed(action)
        if needed > self.applier.level:
            raise UpgradePending(
                f"the cluster is being upgraded: its feature level is {self.applier.level}, and this needs {needed}"
            )

    def admit(self, action: Action) -> None:
        """Refuse, as the leader, a command before its level, and one that adds data while a member is short.

        Raises `UpgradePending` or `InsufficientStorage`.
        """
        self.check_level(action)
        if not (self.space.report.shortage or self.reports.any_short):
            return  # nearly always
        short = self.shortage()
        if short is not None and adds_data(action):
            self.metrics.space.refused.inc()
            raise refusal(*short)

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
        self.revisions.close()
        self.log_writer.close()
        self.file_executor.shutdown()
        self.export_executor.shutdown()
