"""What clients and operators request of a member: writes, linearizable reads, membership, leadership, status.

Reads and writes work on any node: a follower forwards them to the leader. Requests that change the cluster are for the
leader alone. A request that was certainly not applied is
retried within its deadline, so that an election is a pause for clients and not an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import isfinite
from time import perf_counter

from collectionstore_node.errors import (
    InvalidRequest,
    LeadershipTransferring,
    NotLeader,
    NotNow,
    OutcomeUnknown,
    ReadTimedOut,
    RevisionNotReached,
    TooStale,
)
from collectionstore_node.raft.log_reader import Compacted
from collectionstore_node.raft.messages import NO_NODE, Entry, Index, NodeId
from collectionstore_node.replica.driver.driver import Driver
from collectionstore_node.replica.local_member import LocalMember
from collectionstore_node.replica.membership.changes import MembersRequest
from collectionstore_node.replica.observation.command import EarlyWaiter, Waiter, tell
from collectionstore_node.replica.peers.forwarding import Forwarder
from collectionstore_node.replica.reporting.inspection import RaftReport
from collectionstore_node.replica.reporting.reporter import ProcessFacts, Reporter
from collectionstore_node.replica.reporting.status import NodeStatus
from collectionstore_node.replica.snapshots.state_export import StateExport
from collectionstore_node.replica.transport_port import PeerTransport
from collectionstore_node.statemachine.commands import Action, Command, Outcome, answers_values, encode_command
from collectionstore_node.statemachine.members import MemberInfo
from collectionstore_node.statemachine.view import View
from collectionstore_telemetry.tracing.active import active

LEADER_POLL_S = 0.05
"""How long to wait for a change of leadership before asking again: another member may know it first."""
LOG_CONFIRM_S = 2.0
"""For one confirmation of a read of the log; there are at most two, and the reader waits for both."""


class Replica:
    """A member as its clients see it. Belongs to one event loop."""

    def __init__(self, member: LocalMember, driver: Driver, transport: PeerTransport, facts: ProcessFacts) -> None:
        self.identity = member.identity
        self.view: View = member.storage.state.reader
        self._reclaiming: asyncio.Future[None] | None = None
        self._member = member
        self._consensus = member.consensus
        self._administration = member.administration
        self._observer = member.observer
        self._leader_wait_s = member.settings.leader_wait_s
        self._transport = transport
        self._facts = facts
        self._reporter = Reporter(member, driver, transport, facts)
        self._loop = asyncio.get_running_loop()
        self._forwarder = Forwarder(transport, self._loop, member.metrics.forwarding)

    async def close(self) -> None:
        """Stop waiting for the replies of other members; the outcome of forwarded commands is unknown."""
        await self._forwarder.close()

    @property
    def name(self) -> str:
        """Name of this member."""
        return self.identity.name

    @property
    def cluster_id(self) -> str:
        """ID of the cluster."""
        return self.identity.cluster_id

    @property
    def revision(self) -> int:
        """Revision of the last applied command."""
        return self._member.applier.revision

    @property
    def applied_index(self) -> Index:
        """Index of the last applied entry."""
        return self._member.storage.state.applied.index

    def wall_ms(self) -> int:
        """Return the time of day of this member, in milliseconds since 1970 UTC."""
        return self._member.wall_ms()

    @property
    def is_leader(self) -> bool:
        """Whether this node leads, as far as it knows."""
        return self._consensus.raft.is_leader

    def time_ms(self) -> int:
        """Return the replicated time as it is on the leader; on any other member, as it is applied."""
        return self._consensus.time_ms

    def leader(self) -> MemberInfo | None:
        """Return the leader this node knows, or None."""
        return self._member.record.find(self._consensus.raft.leader)

    async def propose(self, command: Command, *, timeout_s: float) -> Outcome:
        """Replicate and apply `command` and return its outcome; from any node, at most once.

        Raises `NotNow` when it was not applied, `OutcomeUnknown` when it may be.
        """
        # Encoded BEFORE it is batched: a command that cannot be encoded would fail every command of its entry.
        encoded = encode_command(command)
        deadline = self._loop.time() + timeout_s
        leader_deadline = min(deadline, self._loop.time() + self._leader_wait_s)
        sampled = active.get()
        parent = None if sampled is None else sampled.carried
        while True:
            try:
                return await self._submit(command, encoded, deadline, parent)
            except (NotLeader, LeadershipTransferring):
                pass  # Certainly not applied (Raft 5.3), so a retry with the next leader cannot apply it twice.
            await self._leader_change(leader_deadline)

    async def propose_early(self, command: Command, *, timeout_s: float) -> Outcome | None:
        """Do as `propose`, but return None as soon as the leader has the command on its own disk, if that is earlier.

        It may be lost then, if another member is elected that does not have it.
        """
        encoded = encode_command(command)
        deadline = self._loop.time() + timeout_s
        leader_deadline = min(deadline, self._loop.time() + self._leader_wait_s)
        while True:
            try:
                return await self._submit_early(command, encoded, deadline)
            except (NotLeader, LeadershipTransferring):
                pass  # Certainly not applied (Raft 5.3).
            await self._leader_change(leader_deadline)

    def _submit_early(self, command: Command, encoded: bytes, deadline: float) -> asyncio.Future[Outcome | None]:
        raft = self._consensus.raft
        if raft.is_leader:
            self._member.admit(command.action)
            told: asyncio.Future[Outcome | None] = self._loop.create_future()
            waiter = EarlyWaiter(told)
            self._consensus.enqueue(encoded, deadline, waiter, early=waiter)
            return told
        if leader := raft.leader:
            self._member.check_level(command.action)
            return self._forwarder.propose_early(leader, encoded, deadline)
        raise NotLeader

    def check_level(self, action: Action) -> None:
        """Refuse a command of a feature level that is not reached. Raises `UpgradePending`."""
        self._member.check_level(action)

    def submit(self, command: Command, *, timeout_s: float, parent: bytes | None = None) -> asyncio.Future[Outcome]:
        """Begin what `propose` does, and return the future of the outcome; for callers with many of them.

        It does not wait for another leader: this raises, or the future does, `NotLeader` or `LeadershipTransferring`
        when the command was certainly not applied; besides that, what `propose` raises.
        """
        return self._submit(command, encode_command(command), self._loop.time() + timeout_s, parent)

    def begin(self, command: Command, waiter: Waiter[Outcome], *, timeout_s: float) -> None:
        """Do as `submit` for a command that is not traced; `waiter` is told what the future would be."""
        consensus, deadline = self._consensus, self._loop.time() + timeout_s
        if consensus.raft.is_leader:
            self._member.admit(command.action)
            consensus.enqueue(encode_command(command), deadline, waiter)
        else:
            tell(waiter, self._submit(command, encode_command(command), deadline, None))

    def _submit(
        self, command: Command, encoded: bytes, deadline: float, parent: bytes | None
    ) -> asyncio.Future[Outcome]:
        raft = self._consensus.raft
        if raft.is_leader:
            self._member.admit(command.action)
            span = self._observer.start_propose(command, parent)
            return self._consensus.submit(encoded, deadline, span)
        if leader := raft.leader:
            # Here, too: a leader of an older version could not decode it.
            self._member.check_level(command.action)
            span = self._observer.start_forward(command, parent)
            return self._forwarder.propose(leader, encoded, deadline, span, alone=answers_values(command))
        raise NotLeader

    async def read_barrier(self, *, timeout_s: float) -> None:
        """Return when `view` holds everything that was acknowledged before the call (ReadIndex, thesis 6.4).

        Raises `NotNow`; nothing was read then.
        """
        began = asked = self._loop.time()
        deadline = began + timeout_s
        leader_deadline = min(deadline, began + self._leader_wait_s)
        sampled, started = active.get(), perf_counter()
        while True:
            try:
                await self._consensus.join_read(deadline)
            except NotLeader:
                await self._leader_change(leader_deadline)
                asked = self._loop.time()
                continue
            parent = None if sampled is None else sampled.carried
            self._observer.read_confirmed(parent, started, leader_s=asked - began, confirm_s=self._loop.time() - asked)
            return

    async def stale_barrier(self, staleness_max_s: float | None, *, timeout_s: float) -> None:
        """Return when `view` is at most that stale: at once if that is known, else as `read_barrier` does.

        Without a bound, and on a member with a vote, at once: it reads what was applied. A member without a vote has a
        bound of its own, which no request extends. Raises `TooStale` when the bound cannot be confirmed.
        """
        freshness = self._member.freshness
        bound_s, staleness_s = freshness.bound_s(staleness_max_s), freshness.staleness_s()
        if staleness_s <= bound_s:
            return
        as_of = freshness.now()
        try:
            await self.read_barrier(timeout_s=timeout_s)
        except NotNow as error:
            why = f"this node cannot confirm that its state is at most {bound_s:g} s old: {error}"
            raise TooStale(why) from error
        freshness.confirmed(as_of)

    def is_fresh(self) -> bool:
        """Whether `stale_barrier` without a bound returns at once."""
        freshness = self._member.freshness
        return not freshness.bounded or freshness.staleness_s() <= freshness.max_s

    async def revision_barrier(self, revision: int, *, timeout_s: float) -> None:
        """Return when `revision` is applied here, so that `view` has it. Raises `RevisionNotReached`."""
        member = self._member
        if not await member.revisions.reached(revision, timeout_s=timeout_s):
            raise RevisionNotReached(revision, member.applier.revision)

    def observe_applied(self, observer: Callable[[int, int], None]) -> Callable[[], None]:
        """Call `observer` with revision and replicated time (ms) whenever entries were applied; see `Revisions`."""
        return self._member.revisions.observe(observer)

    @property
    def short_of_space(self) -> bool:
        """Whether this member is short of disk space or, as its leader, any that has reported it."""
        return self._member.shortage() is not None

    def staleness_s(self) -> float | None:
        """Return how stale `view` can be at most, in seconds; None if nothing is known of it."""
        found = self._member.freshness.staleness_s()
        return found if isfinite(found) else None

    async def ready_barrier(self, *, timeout_s: float) -> None:
        """Return when this member can serve: reads that are linearizable, or without a vote, recent enough.

        Raises `NotNow`.
        """
        if self._member.freshness.bounded:
            await self.stale_barrier(None, timeout_s=timeout_s)
        else:
            await self.read_barrier(timeout_s=timeout_s)

    def begin_read(self, waiter: Waiter[None], *, timeout_s: float) -> None:
        """Tell `waiter` when reads of `view` are linearizable that began before this call; call `read_confirmed` then.

        It does not wait for another leader: `waiter` is told `NotLeader`, and nothing was read.
        """
        self._consensus.await_read(self._loop.time() + timeout_s, waiter)

    def soon(self, callback: Callable[[], None]) -> None:
        """Run `callback`, which raises nothing, once all results were told that are known now.

        At the latest in the next turn of the loop; at the end of the driver's step when it is that which tells them.
        """
        self._consensus.telling.soon(callback)

    def read_confirmed(self, began: float) -> None:
        """Note that a read was confirmed that is not traced; it began at `began`, by `time.perf_counter`."""
        self._observer.read_confirmed(None, began, leader_s=0.0, confirm_s=perf_counter() - began)

    async def reclaim(self, lo: bytes, hi: bytes, *, timeout_s: float) -> None:
        """Drop what is left of deleted keys in `[lo, hi)`, which a scan could not pass. Raises `ReadTimedOut`.

        One range at a time: a call that finds another one running only waits for that.
        """
        running = self._reclaiming
        if running is None or running.done():
            member = self._member
            running = self._loop.run_in_executor(member.file_executor, member.storage.state.reclaim, lo, hi)
            self._reclaiming = running
        _, pending = await asyncio.wait((running,), timeout=timeout_s)
        if pending:
            raise ReadTimedOut("many keys of this list were deleted, and reclaiming their space takes longer")
        running.result()

    async def open_state(self) -> StateExport:
        """Return the applied state as a stream; see `StateExports.open`. Raises `NotNow`."""
        return await self._member.exports.open()

    async def committed_log(self, after: Index, *, bytes_max: int, timeout_s: float) -> tuple[Entry, ...]:
        """Return entries that follow `after`, applied here and so committed; wait for one if there is none yet.

        At most `bytes_max` of data, but at least one; none when the time is over. Everything that was acknowledged
        before the call is applied here when it returns; before the end of the wait, if there are none. Raises
        `InvalidRequest` if the log of this member begins behind `after`, `NotNow` if it has not got that far, or
        cannot confirm how far the cluster is (ReadIndex, thesis 6.4): it may be cut off.
        """
        consensus, state, stored = self._consensus, self._member.storage.state, self._member.storage.log
        deadline = self._loop.time() + timeout_s
        await self.read_barrier(timeout_s=LOG_CONFIRM_S)
        if after > state.applied.index:
            raise NotNow(f"index {after} is not applied on this member, whose last one is {state.applied.index}")
        try:
            await consensus.until(lambda: state.applied.index > after, deadline)
        except OutcomeUnknown:
            # Nothing came, or this member was cut off meanwhile: only the leader knows which.
            await self.read_barrier(timeout_s=LOG_CONFIRM_S)
        if state.applied.index <= after:
            return ()
        try:
            return stored.entries(Index(after + 1), Index(state.applied.index + 1), bytes_max)
        except Compacted:
            first = stored.first_index()
            raise InvalidRequest("compacted", f"the log of this member begins at index {first}") from None

    async def bootstrap(self, *, epoch: int | None = None) -> NodeStatus:
        """Make this empty node the only voter of a new cluster, of this epoch; once in its life.

        Raises `InvalidRequest` when it has ever been part of one.
        """
        me = MemberInfo(
            node_id=self.identity.node_id,
            name=self.identity.name,
            address=self._facts.peer_advertise,
            http_address=self._facts.client_advertise,
        )
        await self._administration.bootstrap(me, epoch or 0)
        return self.status()

    async def change_members(self, request: MembersRequest, *, timeout_s: float) -> NodeStatus:
        """Change the membership in one step and return when the new configuration is applied and not joint.

        Raises `InvalidRequest`, `NotNow` (nothing changed) or `OutcomeUnknown`; `NotLeader` on every other member,
        because the leader must see for itself that an operator asks.
        """
        await self._administration.change_members(request, self._loop.time() + timeout_s)
        return self.status()

    async def transfer_leadership(self, to: NodeId | None, *, timeout_s: float, epoch: int | None = None) -> NodeStatus:
        """Transfer leadership to `to`, or to the voter with the longest log, and return when it is done.

        Raises `InvalidRequest` when the caller's epoch is behind, `NotNow` or `OutcomeUnknown`; `NotLeader` on every
        other member.
        """
        await self._administration.transfer_leadership(to or NO_NODE, self._loop.time() + timeout_s, epoch)
        return self.status()

    def inspect(self) -> RaftReport:
        """Return the core, its view of the others and the queues, from memory."""
        return self._reporter.inspect()

    def status(self) -> NodeStatus:
        """Return what this node knows, from memory."""
        return self._reporter.status()

    async def _leader_change(self, leader_deadline: float) -> None:
        """Wait for another term or leader, but not long. Raises `NotLeader` past `leader_deadline` (loop time)."""
        raft, now = self._consensus.raft, self._loop.time()
        if now >= leader_deadline:
            raise NotLeader(raft.leader)
        before = (raft.term, raft.leader)
        limit = min(leader_deadline, now + LEADER_POLL_S)

        def changed_or_late() -> bool:
            core = self._consensus.raft
            return (core.term, core.leader) != before or self._loop.time() >= limit

        try:
            await self._consensus.until(changed_or_late, deadline=leader_deadline + 1)
        except OutcomeUnknown as error:
            # The driver has ended, and the request was sent nowhere: it is certainly not applied.
            raise NotNow(str(error)) from None
