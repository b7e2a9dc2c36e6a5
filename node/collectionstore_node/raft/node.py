"""`RaftNode`: the API of the core. Events in, `Ready` out; see the package docstring for the duties of a driver.

This module builds a Ready and processes its completion. The handlers of the events are in `election`, `follower`,
`leader`, `replication` and `membership_change`; `term_gate` runs before them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft import election, follower, leader, membership_change, proposals, replication, term_gate
from collectionstore_node.raft.configuration import find_violation, next_configuration
from collectionstore_node.raft.log import RaftLog
from collectionstore_node.raft.log_reader import LogReader
from collectionstore_node.raft.messages import (
    NO_NODE,
    AppendEntries,
    AppendReply,
    ConfigChange,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Index,
    InstallSnapshot,
    Message,
    NodeId,
    ReadIndexReply,
    ReadIndexRequest,
    RequestVote,
    Term,
    TimeoutNow,
    VoteReply,
)
from collectionstore_node.raft.ready import ProgressState, RaftStatus, Ready, Role, SoftState
from collectionstore_node.raft.settings import RaftSettings
from collectionstore_node.raft.state import NO_INDEX, RaftState
from collectionstore_node.raft.status import read_status
from collectionstore_node.raft.tracker.read_index import ForwardedReads, ReadRequest
from collectionstore_node.raft.validation import validate

_HANDLERS: Final[dict[type, Callable[[RaftState, Any], None]]] = {
    RequestVote: election.on_request_vote,
    VoteReply: election.on_vote_reply,
    TimeoutNow: election.on_timeout_now,
    AppendEntries: follower.on_append_entries,
    Heartbeat: follower.on_heartbeat,
    InstallSnapshot: follower.on_install_snapshot,
    ReadIndexReply: follower.on_read_index_reply,
    AppendReply: leader.on_append_reply,
    HeartbeatReply: leader.on_heartbeat_reply,
    ReadIndexRequest: leader.on_read_index_request,
}


class RaftNode:
    """One member of a Raft group, without clock, disk or network. Not thread-safe, never blocks.

    Raises `InvariantViolated` if the stored state contradicts itself, if the driver breaks the Ready protocol, or if
    an invariant of the algorithm fails: the process must stop.
    """

    def __init__(
        self,
        node_id: NodeId,
        settings: RaftSettings,
        reader: LogReader,
        *,
        hard_state: HardState,
        configuration: Configuration,
        applied: Index,
        random_ticks: Callable[[int, int], int],
    ) -> None:
        """Start from the durable state.

        `configuration` and `applied` are those of the state machine; `random_ticks(lo, hi)` returns an int in
        `[lo, hi)` and is the only source of randomness.
        """
        broken = find_violation(configuration)
        if broken is not None:
            raise InvariantViolated(f"the stored configuration is invalid: {broken}")
        log = RaftLog(reader, hard_state.commit, applied)
        # The term is stored no later than the first entry of it. A log from the future means that term and vote were
        # lost, and with them a vote that may have been counted (bakwc/PySyncObj#84).
        if log.last_term > hard_state.term:
            raise InvariantViolated(f"the log ends in term {log.last_term}, but the stored term is {hard_state.term}")
        self._state = RaftState(
            node_id=node_id,
            settings=settings,
            log=log,
            configuration=configuration,
            random_ticks=random_ticks,
            forwarded=ForwardedReads(first_id=random_ticks(0, 2**62)),
            term=hard_state.term,
            vote=hard_state.vote,
            durable=hard_state,
            emitted=hard_state,
        )
        self._state.reset_election_timeout()
        self._outstanding: Ready | None = None
        self._last_change_applied = applied
        self._soft_state = SoftState(self._state.leader, self._state.reported_role())

    # Queries

    @property
    def node_id(self) -> NodeId:
        return self._state.node_id

    @property
    def term(self) -> Term:
        return self._state.term

    @property
    def leader(self) -> NodeId:
        """The leader of the current term, possibly this node; NO_NODE if unknown."""
        return self._state.leader

    @property
    def vote(self) -> NodeId:
        """The candidate that received this node's vote in the current term; NO_NODE if none did."""
        return self._state.vote

    @property
    def role(self) -> Role:
        return self._state.reported_role()

    @property
    def is_leader(self) -> bool:
        return self._state.leadership is not None

    @property
    def commit_index(self) -> Index:
        return self._state.log.commit

    @property
    def known_commit(self) -> Index:
        """The commit index, or what votes told during a campaign, which is committed here when the campaign is over."""
        return max(self._state.log.commit, self._state.learnt_commit)

    @property
    def applied(self) -> Index:
        return self._state.log.applied

    @property
    def last_index(self) -> Index:
        return self._state.log.last_index

    @property
    def durable_index(self) -> Index:
        """The log is known to be durable here up to this index."""
        return self._state.log.stable

    @property
    def configuration(self) -> Configuration:
        """The active configuration: the one applied last."""
        return self._state.configuration

    def status(self) -> RaftStatus:
        """Return a read-only view, for status pages, metrics and tests."""
        return read_status(self._state)

    # Events

    def tick(self) -> None:
        """Advance the logical clock by one tick."""
        state = self._state
        state.tick += 1
        if state.leadership is not None:
            leader.tick(state, state.leadership)
            # A transfer holds back the entries that complete a change; the tick may have aborted one.
            membership_change.proceed(state)
        else:
            election.tick(state)

    def step(self, message: Message) -> None:
        """Process a message from a peer. Raises `MessageRejected`, with no state changed, if it is invalid."""
        state = self._state
        # BEFORE anything else, the term included: an invalid message must leave no trace.
        validate(state, message)
        # BEFORE the term gate: a committed entry is committed in every term, and the sender may be in a lower one.
        if isinstance(message, RequestVote | VoteReply):
            election.learn_commit(state, message)
        if message.term != state.term and not term_gate.admit(state, message):
            return
        _HANDLERS[type(message)](state, message)

    def propose(self, data: bytes) -> tuple[Index, Term]:
        """Append a COMMANDS entry and return its index and term; it is committed once it is in `Ready.committed`.

        Raises `NotLeader`, `LeadershipTransferring` or `Overloaded`, with nothing appended.
        """
        entry = proposals.propose(self._state, data)
        return entry.index, entry.term

    def propose_change(self, change: ConfigChange) -> tuple[Index, Term]:
        """Append a membership change. Raises as `propose`, and `ChangePending` or `InvalidRequest`."""
        entry = proposals.propose_change(self._state, change)
        return entry.index, entry.term

    def read_index(self, request_id: int) -> None:
        """Request a linearizable read; the result is in `Ready.read_states` or `Ready.failed_reads`."""
        state = self._state
        if state.leadership is not None:
            state.leadership.reads.add(ReadRequest(NO_NODE, request_id))
        else:
            follower.forward_read(state, request_id)

    def transfer_leadership(self, to: NodeId) -> None:
        """Transfer leadership to the voter `to`; proposals are refused until it leads or `election_ticks` have passed.

        Raises `NotLeader`, `InvalidRequest` with code `not_a_voter`, or `LeadershipTransferring` if this leader was
        removed, or has told another voter to take over. A transfer to this node is a no-op; one to another node
        replaces one that still waits for its target's log.
        """
        proposals.transfer_leadership(self._state, to)

    @property
    def untold_commit(self) -> Index:
        """The commit index that followers are not told until the next entry or `tell_commit`; 0 if there is none."""
        leadership = self._state.leadership
        return leadership.untold_commit if leadership is not None else NO_INDEX

    def tell_commit(self) -> None:
        """Tell the followers `untold_commit` with the next Ready; no-op when there is none.

        For a driver to which no further entry was proposed for a moment. Without it heartbeats tell them.
        """
        leadership = self._state.leadership
        if leadership is not None and leadership.untold_commit:
            leadership.commit_due = leadership.replication_pending = True

    def step_down(self) -> None:
        """Step down within the term; no-op unless this node is the leader.

        For a driver whose disk, state machine or event loop is stuck: the heartbeats of such a leader would prevent
        the others from electing a healthy one (etcd-io/etcd#15247). The vote is kept, pending reads fail, and the node
        does not campaign before an election timeout has passed. Its proposals may still commit.
        """
        if self._state.leadership is not None:
            election.become_follower(self._state, self._state.term, NO_NODE)

    def campaign(self) -> None:
        """Start an election without waiting for the timeout, if this node may campaign."""
        election.campaign(self._state)

    def report_unreachable(self, node_id: NodeId) -> None:
        """Report that messages to `node_id` were probably lost; the leader probes it again."""
        leadership = self._state.leadership
        progress = leadership.progress.get(node_id) if leadership else None
        if progress is not None and progress.state is ProgressState.REPLICATE:
            progress.become_probe()

    def report_snapshot(self, node_id: NodeId, *, delivered: bool) -> None:
        """Report the end of a snapshot transfer to `node_id`; due for every InstallSnapshot taken from a Ready."""
        leadership = self._state.leadership
        progress = leadership.progress.get(node_id) if leadership else None
        if progress is None or progress.state is not ProgressState.SNAPSHOT:
            return
        if not delivered:
            # BEFORE `become_probe`, which resumes after the pending snapshot.
            progress.pending_snapshot = Index(0)
        progress.become_probe()
        # Delivered: the follower's AppendReply comes next. Failed: retry at its next heartbeat reply, not in a loop.
        progress.paused = True

    # Effects

    def has_ready(self) -> bool:
        """Whether `ready` would return any work. False while a Ready is outstanding."""
        if self._outstanding is not None:
            return False
        self._prepare()
        state, log = self._state, self._state.log
        return bool(
            state.messages
            or state.messages_after_append
            or log.has_next_committed()
            or state.read_states
            or state.failed_reads
            or self._must_write()
            or self._soft_state_changed()
        )

    def _prepare(self) -> None:
        """Turn pending reads and pending replication into messages; find the write that others wait for."""
        state = self._state
        leadership = state.leadership
        if leadership is not None:
            if leadership.reads.waiting:
                leader.begin_reads(state, leadership)
            if leadership.replication_pending:
                replication.send_appends(state, leadership)
            if leadership.transferee:
                leader.proceed_with_transfer(state, leadership)
        # LAST: a message that rests on nothing that is still to be written waits for what is being written.
        if state.messages_after_append and len(state.log.writes) and not self._must_write():
            state.log.writes.hold(state.messages_after_append)
            state.messages_after_append = []

    def _must_write(self) -> bool:
        """Whether the driver has something to make durable that it has not taken yet."""
        log = self._state.log
        return log.written < log.last_index or self._promise_changed() or log.pending_snapshot is not None

    def _promise_changed(self) -> bool:
        """Whether term or vote differ from those that the driver has taken."""
        state = self._state
        return state.term != state.emitted.term or state.vote != state.emitted.vote

    def _soft_state_changed(self) -> bool:
        state, known = self._state, self._soft_state
        return state.leader != known.leader or state.reported_role() is not known.role

    def ready(self) -> Ready:
        """Return all work there is. Raises `InvariantViolated` while an earlier Ready is outstanding."""
        if self._outstanding is not None:
            raise InvariantViolated("ready was called before advance for the last Ready")
        self._prepare()
        state, log = self._state, self._state.log
        must_write, entries = self._must_write(), log.unwritten()
        hard_state, write = None, 0
        if must_write:
            # A commit index alone is not worth a write, see `HardState`; with a write goes the newest one.
            if self._promise_changed() or log.commit != state.emitted.commit:
                # `log.commit`, never the index of the page of committed entries below: a page that ended before the
                # stored commit index moved it back in etcd (etcd-io/raft 8ecce32).
                hard_state = state.emitted = HardState(state.term, state.vote, log.commit)
            write = log.begin_write(hard_state, state.messages_after_append)
        else:
            # All that these rest on is durable already, see `_prepare`.
            state.messages.extend(state.messages_after_append)
        state.messages_after_append = []
        soft_state = None
        if self._soft_state_changed():
            soft_state = self._soft_state = SoftState(state.leader, state.reported_role())
        ready = Ready(
            soft_state=soft_state,
            messages=tuple(state.messages),
            snapshot=log.pending_snapshot,
            entries=entries,
            hard_state=hard_state,
            write=write,
            committed=log.next_committed(state.settings.apply_bytes_max),
            read_states=tuple(state.read_states),
            failed_reads=tuple(state.failed_reads),
        )
        state.messages, state.read_states, state.failed_reads = [], [], []
        self._outstanding = ready
        return ready

    @property
    def held(self) -> tuple[Message, ...]:
        """What waits for a write that is under way."""
        return self._state.log.writes.held()

    def take_messages(self) -> tuple[Message, ...]:
        """Take what may leave while a Ready is outstanding: of a follower, all that rests on no unsynced state.

        For a driver whose disk is busy, as with a snapshot: a follower that leaves heartbeats unanswered for so long
        looks dead, and with one more that is dead the leader steps down. Votes and acknowledgements wait for the disk.
        Of a leader nothing: its heartbeats would prevent the others from electing one whose disk works
        (etcd-io/etcd#15247).
        """
        state = self._state
        if self._outstanding is None or state.leadership is not None:
            return ()
        messages, state.messages = tuple(state.messages), []
        return messages

    def apply_change(self, entry: Entry) -> Configuration:
        """Apply a committed CHANGE entry, in its position in `Ready.committed`.

        Returns the configuration to persist together with the applied index.
        """
        outstanding = self._outstanding
        if outstanding is None or entry.kind is not EntryKind.CHANGE or entry not in outstanding.committed:
            raise InvariantViolated(f"entry {entry.index} is not a membership change of the outstanding Ready")
        if entry.index <= self._last_change_applied:
            raise InvariantViolated(f"the membership change at index {entry.index} is already applied")
        self._last_change_applied = entry.index
        return membership_change.apply(self._state, entry)

    def next_configuration(self, change: ConfigChange) -> Configuration:
        """Return the configuration that `change` would lead to. Raises `InvalidRequest`."""
        return next_configuration(self._state.configuration, change)

    def advance(self, ready: Ready) -> None:
        """Acknowledge that `ready` is done: sent, installed, written and applied, but perhaps not yet durable."""
        if ready is not self._outstanding:
            raise InvariantViolated("advance was called with a Ready that is not the outstanding one")
        self._outstanding = None
        state, log = self._state, self._state.log
        if ready.snapshot is not None:
            log.stable_snapshot_to(ready.snapshot)
            self._last_change_applied = ready.snapshot.index
            # A snapshot replaces the configuration, also one that was entered by an uncommitted change: keeping that
            # one led to disjoint quorums (databendlabs/openraft#1808).
            membership_change.activate(state, ready.snapshot.configuration)
        if ready.committed:
            self._applied(ready.committed)
        if state.leadership is not None:
            # Again after every apply, not once: the leader that proposed to leave may have lost that entry.
            membership_change.proceed(state)
        elif state.order is not None:
            election.obey_order(state)

    def durable(self, write: int) -> tuple[Message, ...]:
        """Acknowledge that the writes up to number `write` are durable; return what may be sent now, in this order.

        Call it in the order of the writes; once for several of them, if one sync covered them. The Ready of `write` may
        still be outstanding, and later ones may have been taken. Raises `InvariantViolated` for an unknown number.
        """
        state = self._state
        messages: list[Message] = []
        for ended in state.log.durable_to(write):
            messages += ended.messages
            if ended.hard_state is not None:
                state.durable = ended.hard_state
        if state.leadership is not None:
            # `log.stable` may have advanced, and this node's own disk is part of the quorum.
            leader.maybe_commit(state)
        else:
            election.count_own_vote(state)
        return tuple(messages)

    def _applied(self, committed: tuple[Entry, ...]) -> None:
        for entry in committed:
            if entry.kind is EntryKind.CHANGE and entry.index > self._last_change_applied:
                raise InvariantViolated(f"the membership change at index {entry.index} was not applied")
        self._state.log.applied_to(committed[-1].index)
