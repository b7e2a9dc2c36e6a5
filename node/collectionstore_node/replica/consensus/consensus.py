"""The Raft core of a member with the requests that wait for it. Knows no transport and never waits for the disk.

Clients, peers and ticks change the core here, between two awaits of the driver; each change wakes the driver, which
executes the `Ready` that follows from it. Commands and reads wait in `proposals` and `reads` until the driver gives
them to the core.

Invariant: none of the methods awaits between reading and changing the core.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from collectionstore_node.errors import InvalidRequest, NotLeader, NotNow
from collectionstore_node.metrics import ReplicaMetrics
from collectionstore_node.raft.messages import ConfigChange, Entry, HardState, Index, NodeId, Term
from collectionstore_node.raft.node import RaftNode
from collectionstore_node.raft.ready import Ready
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.replica.consensus.conditions import Conditions
from collectionstore_node.replica.consensus.proposals import Proposals
from collectionstore_node.replica.consensus.reads import Reads
from collectionstore_node.replica.consensus.stamps import Stamps
from collectionstore_node.replica.consensus.telling import Telling
from collectionstore_node.replica.consensus.wakeup import Wakeup
from collectionstore_node.replica.observation.command import EarlyWaiter, Waiter
from collectionstore_node.replica.observation.observer import DriverObserver
from collectionstore_node.replica.persistence.applier import Result
from collectionstore_node.replica.settings import ReplicaSettings
from collectionstore_node.replica.storage_port import Storage
from collectionstore_node.statemachine.commands import Outcome, SpanContext, join_batch
from collectionstore_node.statemachine.levels import CHANGES, HIGHEST
from collectionstore_node.statemachine.tokens import TOKEN_KEY_BYTES

if TYPE_CHECKING:
    from collectionstore_node.tracing.spans import Span

APPLY_BYTES_MAX = 256 << 10
"""Entry data applied in one go; bounds how long clients and peers wait for their turn while a log is replayed."""

INFLIGHT_BYTES_MAX = 16 << 20
"""More in flight would not make a connection faster."""


class Consensus:
    """The core of one member, its queues, and the futures that wait. Belongs to the event loop."""

    def __init__(
        self,
        storage: Storage,
        settings: ReplicaSettings,
        wakeup: Wakeup,
        metrics: ReplicaMetrics,
        observer: DriverObserver,
        stamps: Stamps,
        *,
        random: Callable[[], float],
    ) -> None:
        """Read the state. `random()` is in `[0, 1)`; `stamps` are what a leader stamps into entries."""
        self._storage = storage
        self._settings = settings
        self._wakeup = wakeup
        self._observer = observer
        self._random = random
        self._stamps = stamps
        self._raising: tuple[Term, int] | None = None
        self._founding = False
        """Whether this member founded a cluster, until it leads it."""
        self._loop = asyncio.get_running_loop()
        self._changes: dict[Index, tuple[Term, asyncio.Future[bool]]] = {}
        self.proposals = Proposals(
            waiting_max=settings.waiting_max,
            bytes_max=settings.waiting_bytes_max,
            loop=self._loop,
            series=metrics.proposals,
        )
        self.reads = Reads(self._loop, metrics.reads)
        self.conditions = Conditions(self._loop)
        self.telling = Telling()
        self.raft = self._make_core()
        """The core; `bootstrap` replaces it once, before it has done anything."""
        self.leaderless_ticks = 0
        """For how long this member has known no leader, in ticks; counted from the start."""

    def _make_core(self) -> RaftNode:
        settings, applied = self._settings, self._storage.state.applied
        return RaftNode(
            self._storage.identity.node_id,
            RaftSettings(
                election_ticks=settings.election_ticks,
                election_ticks_max=settings.election_ticks_max,
                heartbeat_ticks=settings.heartbeat_ticks,
                apply_bytes_max=APPLY_BYTES_MAX,
                inflight_bytes_max=min(INFLIGHT_BYTES_MAX, settings.inflight_bytes_max),
                uncommitted_bytes_max=settings.uncommitted_bytes_max,
                # `driver.commit_notice` tells it when no entry does.
                defer_commit=True,
                pre_vote=settings.pre_vote,
                check_quorum=settings.check_quorum,
            ),
            self._storage.log,
            hard_state=self._storage.log.hard_state(),
            configuration=applied.configuration,
            applied=applied.index,
            random_ticks=self._random_ticks,
        )

    def _random_ticks(self, lo: int, hi: int) -> int:
        return lo + int(self._random() * (hi - lo))

    # Requests

    def submit(self, command: bytes, deadline: float, span: Span | None = None) -> asyncio.Future[Outcome]:
        """Queue an encoded command for the next entry. Raises `Overloaded`; the future raises as `Proposals` says.

        `deadline` is loop time. `span` ends here when it raises, else with the future.
        """
        try:
            outcome = self.proposals.submit(command, deadline, span)
        except NotNow as error:
            self._observer.command_rejected(span, error)
            raise
        self._observer.command_queued(span, outcome)
        self._wakeup.wake()
        return outcome

    def enqueue(
        self, command: bytes, deadline: float, waiter: Waiter[Outcome], early: EarlyWaiter | None = None
    ) -> None:
        """Queue an encoded command that is not traced, as `submit` does; `waiter` is told what the future would be.

        `early` is the same, if it is to be told as soon as the command is durable here.
        """
        self.proposals.enqueue(command, deadline, waiter, early=early)
        self._observer.command_queued(None, None)
        self._wakeup.wake()

    def join_read(self, deadline: float) -> asyncio.Future[None]:
        """Return a future that resolves when local state is linearizable for a read that began before this call."""
        future = self.reads.join(deadline)
        self._wakeup.wake()
        return future

    def await_read(self, deadline: float, waiter: Waiter[None]) -> None:
        """Do as `join_read`; `waiter` is told what the future would be."""
        self.reads.enqueue(deadline, waiter)
        self._wakeup.wake()

    async def until(self, condition: Callable[[], bool], deadline: float) -> None:
        """Return when `condition` holds after some tick or Ready. `deadline` is loop time.

        Raises `OutcomeUnknown` at the deadline, and when the driver ends.
        """
        await self.conditions.until(condition, deadline)

    def propose_change(self, change: ConfigChange) -> asyncio.Future[bool]:
        """Propose a membership change; the future resolves to whether it was applied at its index."""
        self._found()
        index, term = self.raft.propose_change(change)
        survived: asyncio.Future[bool] = self._loop.create_future()
        self._changes[index] = (term, survived)
        self._wakeup.wake()
        return survived

    def transfer_leadership(self, to: NodeId) -> None:
        """Begin to transfer leadership (thesis 3.10)."""
        self.raft.transfer_leadership(to)
        self._wakeup.wake()

    def bootstrap(self, entry: Entry, hard_state: HardState) -> None:
        """Write the first entry of a new cluster, already committed, and start over from it.

        Raises `InvalidRequest` when the node has a log or a term.
        """
        raft = self.raft.status()
        if raft.last_index or raft.term or self.raft.has_ready():
            raise InvalidRequest("already_bootstrapped", "this node has a log already; a cluster is bootstrapped once")
        self._storage.log.append((entry,), hard_state)
        # Blocks the loop, on purpose: with an await in between, a message could change the empty core that is replaced.
        self._storage.log.sync()
        self.raft = self._make_core()
        self._founding = True
        self._wakeup.wake()

    @property
    def time_ms(self) -> int:
        """The replicated time of an entry that is proposed now; where this member does not lead, what it has applied.

        Ask it at level `BOUNDED` or higher.
        """
        stamps, raft = self._stamps, self.raft
        return stamps.time_ms(raft.term, stamps.level) if raft.is_leader else stamps.applied_ms

    # The driver's part

    def tick(self, now: float, *, may_campaign: bool) -> None:
        """Advance the core's clock by one tick and expire requests. Raises `NodeError`; `now` is loop time."""
        if self.raft.is_leader or may_campaign:
            self.raft.tick()
        self.leaderless_ticks = 0 if self.raft.leader else self.leaderless_ticks + 1
        if not self.raft.is_leader:
            # A message may have ended the leadership while the driver waits for the disk: fail fast, do not queue.
            self.proposals.refuse_waiting(lambda: NotLeader(self.raft.leader))
        self.proposals.expire(now)
        self.reads.expire(now)
        self.conditions.check()

    def feed(self, *, syncing: bool) -> bool:
        """Hand waiting commands and reads to the core; return whether it has a `Ready`.

        While entries are under way and the own disk is `syncing`, commands wait, to share the next entry and its sync,
        and then until they are enough for one. When a majority of others was faster than the disk nothing is under way,
        and they need not wait for it. Where no leader is they are refused.
        """
        proposals, raft = self.proposals, self.raft
        self._found()
        # By the log, and not by the table of proposals: that has those of an earlier leadership as well, which may have
        # been lost with it.
        if proposals.waiting and (
            raft.applied >= raft.last_index or (proposals.enough and not syncing) or not raft.is_leader
        ):
            self._propose_waiting()
        if self.reads.waiting:
            self.raft.read_index(self.reads.start())
        return self.raft.has_ready()

    def has_work(self) -> bool:
        """Whether the core may have a `Ready` now, or with the commands and reads that wait."""
        return bool(self.proposals.waiting or self.reads.waiting or self.raft.has_ready())

    def _propose_waiting(self) -> None:
        if not self.raft.is_leader:
            leader = self.raft.leader
            self.proposals.refuse_waiting(lambda: NotLeader(leader))
            self._observer.queue_rejected()
            return
        batch = self.proposals.take()
        if not batch:
            return
        try:
            contexts = self._observer.entry_contexts(batch)
            index, term, size_bytes = self._propose([waiting.command for waiting in batch], contexts)
        except NotNow as error:
            self.proposals.refuse(batch, error)
            return
        except BaseException:
            # A bug, which ends the driver. `close` fails what is queued or proposed, and the batch is neither.
            self.proposals.abandon(batch)
            raise
        self.proposals.proposed(index, term, batch, size_bytes)
        self._observer.entry_proposed(index, term, batch, sampled=bool(contexts), more=self.proposals.waiting > 0)

    def _propose(
        self,
        commands: Sequence[bytes],
        contexts: Sequence[SpanContext] = (),
        level: int | None = None,
        token_key: bytes = b"",
    ) -> tuple[Index, Term, int]:
        """Propose an entry of encoded commands and return its index, term and bytes. Raises as `RaftNode.propose`."""
        level = level or self._stamps.level
        # Time is stamped into the entry, so that no replica reads a clock while applying.
        time_ms = self._stamps.time_ms(self.raft.term, level)
        data = join_batch(time_ms, commands, contexts, level=level, token_key=token_key)
        index, term = self.raft.propose(data)
        return index, term, len(data)

    def _found(self) -> None:
        """Raise the level of a new cluster, BEFORE its first command and before it gets a second member.

        Its founder is all of it until then, so that the level is what every member supports.
        """
        if self._founding and self.raft.is_leader:
            self._founding = False
            self.raise_level(HIGHEST)

    def raise_level(self, level: int) -> None:
        """Propose to raise the feature level, once in a term, if this member leads and the level is lower.

        Call it only if every member of the configuration supports `level`.
        """
        raft = self.raft
        if not raft.is_leader or level <= self._stamps.level or self._raising == (raft.term, level):
            return
        try:
            self._propose((), level=level, token_key=self._token_key() if level >= CHANGES else b"")
        except NotNow:
            return  # leadership is being transferred: the next leader raises it
        self._raising = (raft.term, level)
        self._wakeup.wake()

    def _token_key(self) -> bytes:
        """Draw the key of cursors and tokens. It takes effect if the state has none."""
        return bytes(int(self._random() * 256) for _ in range(TOKEN_KEY_BYTES))

    def waits(self, entry: Entry) -> bool:
        """Whether commands of an entry are answered here."""
        return self.proposals.waits(entry.index, entry.term)

    def applied(self, result: Result) -> None:
        """Resolve the futures that wait for an entry; call AFTER the state that holds its effects is stored."""
        entry = result.entry
        self.proposals.applied(entry.index, entry.term, result.outcomes, result.answers)
        expected = self._changes.pop(entry.index, None)
        if expected is not None:
            term, survived = expected
            if not survived.done():
                # Another term at this index: a later leader replaced the change (Raft 5.3, figure 7).
                survived.set_result(term == entry.term)

    def synced(self) -> None:
        """Tell those who wait for this member's own disk; call AFTER the core knows what is durable."""
        raft = self.raft
        self.proposals.synced(raft.durable_index, raft.term if raft.is_leader else None)

    def skipped_to(self, index: Index) -> None:
        """A snapshot replaced the log up to `index`."""
        self.proposals.skipped_to(index)

    def serve_reads(self, ready: Ready, applied: Index) -> None:
        """Resolve reads whose index is applied; call AFTER `ready.committed` is."""
        self.reads.confirmed(ready.read_states)
        self.reads.failed(ready.failed_reads, self.raft.leader)
        self.reads.applied(applied)

    def step_down(self) -> bool:
        """Step down immediately, whatever the driver waits for, and return whether this node was the leader."""
        led = self.raft.is_leader
        self.raft.step_down()
        # Commands that the core was not given are certainly not applied; proposed ones may still commit.
        self.proposals.refuse_waiting(NotLeader)
        self.reads.abandon()
        self._wakeup.wake()
        return led

    def close(self) -> None:
        """Fail everything pending, and from now on every request."""
        self.proposals.close()
        self.reads.close()
        self.conditions.close()
