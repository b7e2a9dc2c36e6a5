"""The driver: the only code that executes a `Ready`.

Everything runs on one event loop; log syncs, the witness and snapshot files use one thread each. Ticks, peer messages
and client requests change the core between two awaits; `run` then takes one `Ready` at a time and does what it says, in
its order.

Invariants:
- a message that rests on unsynced state leaves only after the sync (`Ready.messages_after_append`);
- committed entries are applied, stored with `applied` in one batch, and only then is anybody answered;
- the first error of the disk or of the core's invariants ends `run`: the process must stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TYPE_CHECKING

import structlog

from collectionstore_node.errors import (
    DataDirectoryRefused,
    InvalidRequest,
    NodeError,
    NotLeader,
    NotNow,
)
from collectionstore_node.logs import SlowLog, Thresholds
from collectionstore_node.metrics import ReplicaMetrics
from collectionstore_node.raft.messages import (
    NO_NODE,
    ConfigChange,
    Configuration,
    Entry,
    Index,
    InstallSnapshot,
    Message,
    NodeId,
    SnapshotMetadata,
    Term,
)
from collectionstore_node.raft.node import RaftNode
from collectionstore_node.raft.ready import RaftStatus, Ready, Role, SoftState
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.replica.comparison.comparer import Comparing
from collectionstore_node.replica.comparison.state_check import StateCheck
from collectionstore_node.replica.consensus.conditions import Conditions
from collectionstore_node.replica.consensus.proposals import Proposals
from collectionstore_node.replica.consensus.reads import Reads
from collectionstore_node.replica.health.self_check import SelfCheck
from collectionstore_node.replica.membership.changes import first_entry
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.observation.command_spans import end_with
from collectionstore_node.replica.observation.entry_spans import EntrySpans
from collectionstore_node.replica.observation.slow_entries import SlowEntries
from collectionstore_node.replica.peers.handler import Inbound
from collectionstore_node.replica.persistence.applier import Applier
from collectionstore_node.replica.persistence.checkpoints import Checkpoint
from collectionstore_node.replica.persistence.compaction_policy import Compaction
from collectionstore_node.replica.persistence.log_compactor import Trimming
from collectionstore_node.replica.persistence.log_writer import Disk
from collectionstore_node.replica.reporting.inspection import Depths
from collectionstore_node.replica.settings import DriverSettings
from collectionstore_node.replica.snapshots.received import ReceivedSnapshots
from collectionstore_node.replica.snapshots.sender import CatchUp
from collectionstore_node.replica.storage_port import Log, Storage
from collectionstore_node.statemachine.commands import Outcome, join_batch
from collectionstore_node.statemachine.members import MemberInfo, MembershipRecord
from collectionstore_node.statemachine.view import View
from collectionstore_node.storage import Identity
from collectionstore_node.transport import PeerAddress

if TYPE_CHECKING:
    from collectionstore_node.tracing.spans import Span, Tracing
    from collectionstore_node.transport import Transport

log = structlog.get_logger()

APPLY_BYTES_MAX = 256 << 10
"""Entry data applied in one go; bounds how long clients and peers wait for their turn while a log is replayed."""


class Driver:
    """Drives the core, the disk and the network of one member. Belongs to one event loop.

    `serve` answers what other nodes ask on a client's behalf; it is set before `run`.
    """

    serve: Callable[[bytes], Awaitable[bytes]]

    def __init__(
        self,
        storage: Storage,
        settings: DriverSettings,
        metrics: ReplicaMetrics,
        *,
        random: Callable[[], float],
        wall_ms: Callable[[], int],
        pause_clock: Callable[[], float] | None = None,
        tracing: Tracing | None = None,
        slow: SlowLog | None = None,
    ) -> None:
        """Read the state. `random()` is in `[0, 1)`; `wall_ms()` is the time that a leader stamps into batches.

        `pause_clock` tells pauses of this process, in seconds; the loop's own clock when absent. Without `tracing` no
        entry carries a trace context. `slow` is told how long things took; with the usual thresholds when absent.
        """
        self.tracing = tracing
        self.spans = None if tracing is None else EntrySpans(tracing)
        """What is noted of sampled entries; None while nothing is traced."""
        self.identity: Identity = storage.identity
        self.view: View = storage.state
        self.settings = settings
        self._storage = storage
        self._metrics = metrics
        self._random = random
        self._wall_ms = wall_ms
        self._loop = asyncio.get_running_loop()
        self.slow = slow or SlowLog(Thresholds(), self._loop.time)
        self._slow_entries = SlowEntries(self.slow, self._loop.time)
        self._disk = Disk(storage.log, metrics.disk, self.fail, self.slow)
        self._applier = Applier(storage.state, metrics.disk)
        self._last_leader = NO_NODE
        self._copier = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._wake = asyncio.Event()
        self._failure: BaseException | None = None
        self._stopping = False
        self.proposals = Proposals(waiting_max=settings.waiting_max, loop=self._loop, series=metrics.proposals)
        self.reads = Reads(self._loop, metrics.reads)
        self._conditions = Conditions(self._loop)
        self.until = self._conditions.until
        self._changes: dict[Index, tuple[Term, asyncio.Future[bool]]] = {}
        self._trimming = Trimming(
            storage.log,
            Compaction(commands_max=settings.snapshot_commands, bytes_max=settings.snapshot_log_bytes),
            self._copier,
            metrics.compactions,
            self.fail,
        )
        self._received = ReceivedSnapshots()
        self._installing = False
        self._self_check = SelfCheck(
            self._disk,
            metrics.watchdog,
            limit_s=settings.election_ticks_max * settings.tick_s,
            tick_s=settings.tick_s,
            clock=pause_clock or self._loop.time,
            step_down=self._step_down,
        )
        self.raft = self._make_core()
        self.inbound = Inbound(self, self._received, self._self_check, self._copier, metrics)

    @property
    def record(self) -> MembershipRecord:
        """The members by name and address, as applied."""
        return self._applier.record

    @property
    def revision(self) -> int:
        """Revision of the last applied command."""
        return self._applier.revision

    # Life cycle

    def attach(self, transport: Transport) -> None:
        """Give the driver its transport, before `run`."""
        self._transport = transport
        self._catch_up = CatchUp(
            self._storage, transport, self._copier, self._metrics.snapshots, self._snapshot_ended, self.fail
        )
        self._comparing = Comparing(
            self.identity.node_id,
            self,
            transport,
            self._metrics.digests,
            silence_ticks_max=self.settings.election_ticks_max,
            failed=self.fail,
        )
        self._announce_peers()

    async def run(self) -> None:
        """Drive until cancelled. Raises `Fatal` when the process must stop."""
        self._tick()
        self._comparing.start()
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._turn():
                    await self._execute(self.raft.ready())
                if self._failure is not None:
                    raise self._failure
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Leave nobody waiting for what will not come."""
        self._stopping = True
        self.proposals.close()
        self.reads.close()
        self._conditions.close()

    async def close(self) -> None:
        """Let go of everybody who waits, and of the threads."""
        self._let_go()
        await self._comparing.close()
        await self._catch_up.close()
        self._disk.close()
        self._copier.shutdown()

    def _make_core(self) -> RaftNode:
        applied = self._storage.state.applied
        return RaftNode(
            self.identity.node_id,
            RaftSettings(
                election_ticks=self.settings.election_ticks,
                election_ticks_max=self.settings.election_ticks_max,
                heartbeat_ticks=self.settings.heartbeat_ticks,
                apply_bytes_max=APPLY_BYTES_MAX,
                pre_vote=self.settings.pre_vote,
                check_quorum=self.settings.check_quorum,
            ),
            self._storage.log,
            hard_state=self._storage.log.hard_state(),
            configuration=applied.configuration,
            applied=applied.index,
            random_ticks=self._random_ticks,
        )

    def _random_ticks(self, lo: int, hi: int) -> int:
        return lo + int(self._random() * (hi - lo))

    def _tick(self) -> None:
        if self._stopping:
            return
        # After a stall there is no catching up on ticks: messages that arrived meanwhile must be seen first.
        self._loop.call_later(self.settings.tick_s, self._tick)
        now = self._loop.time()
        applied = self.raft.applied
        self._self_check.tick(committed=applied if self._installing else self.raft.commit_index, applied=applied)
        try:
            # A follower whose disk hangs does not campaign: it would lead as badly as before.
            if self.raft.is_leader or not self._self_check.disk_hangs:
                self.raft.tick()
            if not self.raft.is_leader:
                # Another leader may have been heard of while the driver waits for the disk.
                self.proposals.refuse_waiting(lambda: NotLeader(self.raft.leader))
            self.proposals.expire(now)
            self.reads.expire(now)
            self._conditions.check()
        except NodeError as error:
            self.fail(error)
        self._wake.set()

    def _step_down(self) -> bool:
        """Stop leading at once, whatever the driver waits for, and return whether this node led."""
        led = self.raft.is_leader
        self.raft.step_down()
        self.proposals.refuse_waiting(NotLeader)
        self.reads.abandon()
        self._wake.set()
        return led

    def wake(self) -> None:
        """Let `run` look at the core again."""
        self._wake.set()

    def fail(self, error: BaseException) -> None:
        """End `run` with `error`, from a callback."""
        if self._failure is None:
            self._failure = error
        self._wake.set()

    # One Ready

    def _turn(self) -> bool:
        """Hand waiting commands and reads to the core; return whether it wants something done."""
        if self._failure is not None:
            return False
        self._self_check.look()
        if self.proposals.waiting:
            self._propose_waiting()
        if self.reads.waiting:
            self.raft.read_index(self.reads.start())
        return self.raft.has_ready()

    def _propose_waiting(self) -> None:
        if not self.raft.is_leader:
            leader = self.raft.leader
            self.proposals.refuse_waiting(lambda: NotLeader(leader))
            self._slow_entries.refused()
            return
        batch = self.proposals.take()
        if not batch:
            return
        # The leader's clock is stamped into the entry, so that no replica reads a clock while applying.
        contexts = () if self.spans is None else self.spans.contexts(batch)
        data = join_batch(self._wall_ms(), [waiting.command for waiting in batch], contexts)
        try:
            index, term = self.raft.propose(data)
        except NotNow as error:
            self.proposals.refuse(batch, error)
            return
        self.proposals.proposed(index, term, batch, len(data))
        self._slow_entries.proposed(index, len(batch), more=self.proposals.waiting > 0)
        if contexts and self.spans is not None:
            self.spans.proposed(index, term, batch)

    async def _execute(self, ready: Ready) -> None:
        began = perf_counter()
        if ready.soft_state is not None:
            self._note_leadership(ready.soft_state)
        self._send(ready.messages)
        if ready.snapshot is not None:
            await self._install(ready.snapshot)
        else:
            self._received.discard()
        if ready.entries or ready.hard_state is not None:
            self._disk.append(ready.entries, ready.hard_state)
            if self.spans is not None:
                self.spans.appended(ready.entries, began)
        if ready.must_sync:
            sync = self._disk.sync(ready.hard_state)
            # What is committed is durable here already, so it is applied while the disk works on the rest.
            self._apply(ready.committed)
            await sync
            self._slow_entries.synced()
            if self.spans is not None:
                self.spans.synced(*self._disk.last_sync)
            self._self_check.look()
        else:
            self._apply(ready.committed)
        self._send(ready.messages_after_append)
        self.reads.confirmed(ready.read_states)
        self.reads.failed(ready.failed_reads, self.raft.leader)
        self.reads.applied(self._storage.state.applied.index)
        self.raft.advance(ready)
        self._conditions.check()
        if not ready.must_sync:
            # Give clients and peers a turn even when there is always something to do.
            await asyncio.sleep(0)

    def _send(self, messages: tuple[Message, ...]) -> None:
        if not messages:
            return
        for message in messages:
            if isinstance(message, InstallSnapshot):
                self._catch_up.start(message)  # its bytes first
        self._transport.send([message for message in messages if not isinstance(message, InstallSnapshot)])

    def _apply(self, committed: tuple[Entry, ...]) -> None:
        if not committed:
            return
        if self.spans is not None:
            self.spans.applying(committed)
        record, began, started = self.record, self._loop.time(), perf_counter()
        results = self._applier.apply(committed, self.raft.apply_change)
        self._self_check.applied_in(took := self._loop.time() - began)
        self.slow.apply(took, entries=len(committed), index=committed[-1].index)
        self._metrics.applied([outcomes for _, outcomes in results], perf_counter() - started)
        # BEFORE anybody is answered the state is stored, so that whoever reads after an answer sees the write.
        for entry, outcomes in results:
            self._trimming.applied(len(outcomes), len(entry.data))
            self.proposals.applied(entry.index, entry.term, outcomes)
            self._slow_entries.applied(entry.index, began)
            expected = self._changes.pop(entry.index, None)
            if expected is not None and not expected[1].done():
                expected[1].set_result(expected[0] == entry.term)
        if self.spans is not None:
            self.spans.applied(committed)
        applied = self._storage.state.applied
        if self.record is not record:
            self._membership_changed(applied.configuration)
        self._trimming.trim(applied)

    async def _install(self, metadata: SnapshotMetadata) -> None:
        path = self._received.take(metadata)
        started = self._loop.time()
        self._installing = True
        await self._loop.run_in_executor(self._copier, self._storage.install_snapshot, path)
        self._installing = False
        seconds, size_bytes = self._loop.time() - started, path.stat().st_size
        self._metrics.snapshots.done("install", size_bytes=size_bytes, seconds=seconds)
        path.unlink(missing_ok=True)
        self.proposals.skipped_to(metadata.index)
        if self.spans is not None:
            self.spans.skipped_to(metadata.index)
        self._trimming.reset()
        self._applier.reload()
        log.info("snapshot.installed", index=metadata.index, seconds=round(seconds, 3))
        self._membership_changed(metadata.configuration)

    def _note_leadership(self, state: SoftState) -> None:
        self._metrics.role_changed(state.role, leader=state.leader)
        if state.role is not Role.LEADER:
            self._slow_entries.forget()
        if state.leader != self._last_leader:
            self._last_leader = state.leader
            role, term = state.role.value, self.raft.term
            if state.leader:
                voters = [show_id(one) for one in sorted(self.raft.status().elected_by)]
                log.info("leader.elected", leader=show_id(state.leader), role=role, term=term, elected_by=voters)
            else:
                log.info("leader.lost", role=role, term=term)

    def _membership_changed(self, configuration: Configuration) -> None:
        log.info(
            "configuration.applied",
            index=self.record.index,
            voters=[show_id(one) for one in configuration.voters],
            outgoing=[show_id(one) for one in configuration.outgoing],
            learners=[show_id(one) for one in configuration.learners],
        )
        self._announce_peers()

    def _announce_peers(self) -> None:
        self._transport.set_peers(
            PeerAddress(node_id=NodeId(info.node_id), name=info.name, address=info.address)
            for info in self.record.members
            if info.node_id != self.identity.node_id
        )

    def _snapshot_ended(self, node_id: NodeId, delivered: bool) -> None:  # noqa: FBT001 - a callback's only fact
        self.raft.report_snapshot(node_id, delivered=delivered)
        self._wake.set()

    # What the comparison of digests calls

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Return the digests of the state that are known; none while a snapshot takes its place."""
        return () if self._installing else self._applier.checkpoints()

    def depths(self) -> Depths:
        """Return how full the queues are."""
        since = self._disk.syncing_since
        return Depths(
            commands_waiting=self.proposals.waiting,
            commands_waiting_max=self.settings.waiting_max,
            entries_pending=self.proposals.pending,
            reads_waiting=self.reads.waiting,
            sync_running_s=0.0 if since is None else round(self._loop.time() - since, 4),
        )

    def raft_status(self) -> RaftStatus:
        """Return a view of the core."""
        return self.raft.status()

    def quarantine(self, reason: str) -> None:
        """End this node for good: its state is wrong. The others elect a leader at once if it was this one."""
        try:
            self._storage.quarantine(reason)
        except NodeError as error:
            self.fail(error)
            return
        self._step_down()
        self.fail(DataDirectoryRefused(reason))

    # What the replica calls

    @property
    def log(self) -> Log:
        """The stored log."""
        return self._storage.log

    @property
    def snapshot_receivers(self) -> frozenset[NodeId]:
        """Nodes that a snapshot is being sent to."""
        return self._catch_up.receivers

    def state_checks(self) -> dict[NodeId, StateCheck]:
        """Return how the members' states compared; empty unless this node leads."""
        return self._comparing.checks()

    def examine_state(self) -> None:
        """Compare this node's state with the others', because one of them suspects it."""
        self._comparing.examine()

    def data_bytes(self) -> int:
        """Return the size of the data directory on disk."""
        return self._storage.disk_bytes()

    def submit(self, command: bytes, deadline: float, span: Span | None = None) -> asyncio.Future[Outcome]:
        """Queue an encoded command for the next entry. Raises `Overloaded`; the future raises as `Proposals` says.

        `span` ends here when it raises, else with the future.
        """
        try:
            future = self.proposals.submit(command, deadline, span)
        except NotNow as error:
            if span is not None:
                span.end(type(error).__name__)
            raise
        if span is not None:
            end_with(span, future)
        self._slow_entries.arrived()
        self._wake.set()
        return future

    def join_read(self, deadline: float) -> asyncio.Future[None]:
        """Return a future that resolves when `view` is linearizable for whoever asked before this call."""
        future = self.reads.join(deadline)
        self._wake.set()
        return future

    def propose_change(self, change: ConfigChange) -> asyncio.Future[bool]:
        """Propose a membership change; the future tells whether it, and no other entry, was applied at its index."""
        index, term = self.raft.propose_change(change)
        survived: asyncio.Future[bool] = self._loop.create_future()
        self._changes[index] = (term, survived)
        self._wake.set()
        return survived

    def transfer_leadership(self, to: NodeId) -> None:
        """Begin to hand leadership over."""
        self.raft.transfer_leadership(to)
        self._wake.set()

    def bootstrap(self, me: MemberInfo, epoch: int = 0) -> None:
        """Write the first entry of a new cluster, which makes this node its only voter.

        Raises `InvalidRequest` when the node has a log or has heard of a term. There is no await in here: nothing can
        happen to the empty core before it is replaced.
        """
        raft = self.raft.status()
        if raft.last_index or raft.term or self.raft.has_ready():
            raise InvalidRequest("already_bootstrapped", "this node has a log already; a cluster is bootstrapped once")
        entry, hard_state = first_entry(me, epoch)
        self._storage.log.append((entry,), hard_state)
        self._storage.log.sync()
        self.raft = self._make_core()
        self._wake.set()
