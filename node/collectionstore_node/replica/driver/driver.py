"""The driver: ticks the core and executes one `Ready` after the other until it is cancelled or fails.

Everything runs on one event loop; log syncs, the tail marker and snapshot files use one thread each. Ticks, peer
messages, client requests and the end of a sync change the core between two awaits and wake the driver through
`LocalMember.wakeup`; nothing below holds the driver. It waits for the disk only when that is far behind. The first
error of the disk or of the core's invariants ends `run`: the process must stop.
"""

from __future__ import annotations

import asyncio

from collectionstore_node.errors import NodeError
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.replica.comparison.comparer import StateComparer
from collectionstore_node.replica.comparison.state_check import StateCheck
from collectionstore_node.replica.driver.announcements import Announcements
from collectionstore_node.replica.driver.commit_notice import CommitNotice
from collectionstore_node.replica.driver.ready_executor import ReadyExecutor
from collectionstore_node.replica.local_member import LocalMember
from collectionstore_node.replica.persistence.compaction_policy import CompactionPolicy
from collectionstore_node.replica.persistence.log_compactor import LogCompactor
from collectionstore_node.replica.snapshots.sender import SnapshotSender
from collectionstore_node.replica.transport_port import PeerTransport


class Driver:
    """Drives one member. Belongs to one event loop."""

    def __init__(self, member: LocalMember, transport: PeerTransport) -> None:
        """Connect `member` to `transport`, which was made with a handler for the same member."""
        self._member = member
        self._consensus = member.consensus
        self._log_writer = member.log_writer
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        own, metrics, settings = member.identity.node_id, member.metrics, member.settings
        self._snapshots = SnapshotSender(
            member.storage,
            transport,
            member.file_executor,
            metrics.snapshots,
            self._snapshot_ended,
            member.wakeup.fail,
        )
        self._comparer = StateComparer(
            own,
            member,
            transport,
            metrics.digests,
            silence_ticks_max=settings.election_ticks_max,
            failed=member.wakeup.fail,
        )
        compactor = LogCompactor(
            member.storage.log,
            CompactionPolicy(commands_max=settings.snapshot_commands, bytes_max=settings.snapshot_log_bytes),
            member.file_executor,
            metrics.compactions,
            member.wakeup.fail,
        )
        announcements = Announcements(own, transport)
        announcements.set_peers(member.record)
        self._notice = CommitNotice(lambda: member.consensus.raft, member.wakeup.wake)
        self._executor = ReadyExecutor(member, transport, self._snapshots, compactor, announcements)

    @property
    def snapshot_receivers(self) -> frozenset[NodeId]:
        """Nodes that a snapshot is being sent to."""
        return self._snapshots.receivers

    def state_checks(self) -> dict[NodeId, StateCheck]:
        """Return how the members' states compared; empty unless this node leads."""
        return self._comparer.checks()

    async def run(self) -> None:
        """Drive until cancelled. Raises `Fatal` when the process must stop."""
        wakeup = self._member.wakeup
        self._tick()
        self._comparer.start()
        try:
            while True:
                await wakeup.wait()
                while self._has_ready():
                    await self._executor.execute(self._consensus.raft.ready())
                    if not (wakeup.due or self._consensus.has_work()):
                        break
                    # Clients and peers have their turn, even when there is always another `Ready`.
                    await asyncio.sleep(0)
                if wakeup.failure is not None:
                    raise wakeup.failure
                self._notice.arm()
        except Exception as error:
            # For the status: it is served until the process ends.
            wakeup.fail(error)
            raise
        finally:
            self._stop()

    def _has_ready(self) -> bool:
        """Give waiting requests to the core and return whether it has a `Ready`; never once something failed."""
        if self._member.wakeup.failure is not None:
            return False
        # BEFORE commands and reads are given to the core: after a pause they must not find a leader here.
        self._member.self_check.check_pause()
        self._executor.acknowledge()
        return self._consensus.feed(syncing=self._log_writer.syncing)

    async def close(self) -> None:
        """Fail pending requests, and stop comparing and sending snapshots."""
        self._stop()
        await self._comparer.close()
        await self._snapshots.close()

    def _stop(self) -> None:
        """Fail pending requests: without a driver none of them would ever be answered."""
        self._stopping = True
        self._notice.close()
        self._consensus.close()

    def _tick(self) -> None:
        if self._stopping:
            return
        member = self._member
        # One tick per call, however late it is: after a stall, messages that arrived meanwhile must be seen BEFORE the
        # ticks that would make this node campaign.
        self._loop.call_later(member.settings.tick_s, self._tick)
        now, raft = self._loop.time(), self._consensus.raft
        # While a snapshot replaces the state nothing is applied, and that is no stall.
        committed = raft.applied if member.applier.suspended else raft.commit_index
        member.self_check.tick(committed=committed, applied=raft.applied)
        try:
            member.space.tick(now)
            # A follower whose disk hangs does not campaign: it would lead as badly as the leader it replaces.
            self._consensus.tick(now, may_campaign=not member.self_check.disk_hangs)
            member.freshness.tick(now)
        except NodeError as error:
            member.wakeup.fail(error)
        self._executor.answer()
        member.wakeup.wake()

    def _snapshot_ended(self, node_id: NodeId, delivered: bool) -> None:  # noqa: FBT001 - a callback's only fact
        self._consensus.raft.report_snapshot(node_id, delivered=delivered)
        self._member.wakeup.wake()
