"""The leader's receiving side: acknowledgements, commit, reads, check-quorum, leadership transfer and step-down.

Invariants:
- only an entry of the current term is committed by counting replicas (Raft 5.4.2, Figure 8);
- the leader counts its own log only up to what is durable here;
- the commit index never decreases.
"""

from __future__ import annotations

from collectionstore_node.errors import LeadershipTransferring
from collectionstore_node.raft.election import become_follower
from collectionstore_node.raft.messages import (
    NO_NODE,
    AppendReply,
    HeartbeatReply,
    NodeId,
    ReadIndexReply,
    ReadIndexRequest,
    TimeoutNow,
)
from collectionstore_node.raft.ready import ProgressState, ReadState
from collectionstore_node.raft.replication import send_heartbeats
from collectionstore_node.raft.state import Leadership, RaftState
from collectionstore_node.raft.tracker.progress import Progress
from collectionstore_node.raft.tracker.quorum import VoteResult, committed_index, vote_result
from collectionstore_node.raft.tracker.read_index import ReadRequest


def on_append_reply(state: RaftState, message: AppendReply) -> None:
    """Update the follower's progress; advance the commit index if a quorum now stores more."""
    leadership = state.leadership
    progress = leadership.progress.get(message.sender) if leadership is not None else None
    if leadership is None or progress is None:
        return
    progress.heard(state.tick)
    if message.rejected:
        _on_rejection(state, leadership, progress, message)
        return
    index = message.index
    # An acknowledgement of what is already known to match ends the probe all the same; ignoring it would leave the
    # follower in PROBE until the next entry (scenario L9). Index 0 acknowledges nothing: see `term_gate`.
    probed = progress.state is ProgressState.PROBE and 0 < index == progress.match_index
    if not progress.maybe_update(index) and not probed:
        return
    if progress.state is ProgressState.REPLICATE:
        progress.inflights.free_to(index)
    elif progress.state is ProgressState.PROBE or state.log.can_serve_after(index):
        # Leave SNAPSHOT as soon as the follower connects to this log, at whatever index: the snapshot that it installed
        # may be older or newer than the one that was requested, and waiting for that index would wait forever
        # (etcd-io/raft#110).
        progress.become_replicate()
    leadership.replication_pending = True
    if index > state.log.commit:
        maybe_commit(state)


def _on_rejection(state: RaftState, leadership: Leadership, progress: Progress, message: AppendReply) -> None:
    """Move `next_index` back to where the logs can match.

    The follower has already skipped its entries of higher terms. The leader now skips its own entries whose term is
    above the hint's: if the follower had one of them, its hint would carry that term. At most one probe per term is
    needed (etcd-io/raft `findConflictByTerm`).
    """
    hint = message.hint_index
    if message.hint_term:
        hint, _ = state.log.find_conflict_by_term(hint, message.hint_term)
    if progress.maybe_decrease(message.index, hint):
        progress.append_pending = True
        leadership.replication_pending = True


def maybe_commit(state: RaftState) -> None:
    """Advance the commit index to what a quorum stores, if that includes an entry of this term."""
    leadership = state.leadership
    if leadership is None:
        return
    log, configuration = state.log, state.configuration
    if log.commit == log.last_index:
        return
    # Recomputed for every call, and in full: a change of the configuration changes whose `match_index` counts.
    match_index = {node_id: progress.match_index for node_id, progress in leadership.progress.items()}
    # `stable`, not `last_index`: AppendEntries leave before the leader's own sync (thesis 10.2.1), so its copy counts
    # only AFTER that. A single voter that counted unsynced entries lost acknowledged writes in a crash
    # (etcd-io/etcd#14370).
    match_index[state.node_id] = log.stable
    index = committed_index(match_index, configuration.voters, configuration.outgoing)
    # An entry of an earlier term on a majority is NOT committed by that: a later leader may still replace it (Raft
    # Figure 8; shipped by LogCabin, PySyncObj and async-raft, among others). It commits with the first entry of this
    # term; everything from `term_start` on is of this term, so an index comparison replaces a lookup of the term.
    if index < leadership.term_start or not log.commit_to(index):
        return
    leadership.uncommitted.committed(index)
    leadership.replication_pending = True
    if leadership.step_down_index is not None and index >= leadership.step_down_index:
        _step_down_after_removal(state, leadership)


def _step_down_after_removal(state: RaftState, leadership: Leadership) -> None:
    """Step down after this node has left the voters, and start the election of the most up-to-date voter.

    Only AFTER the change is committed: until then this node is the one to commit it (thesis 4.2.2). Not to step down
    at all left a leader that sends heartbeats forever and refuses proposals (etcd-io/etcd#11038, tikv/raft-rs#584).
    Without TimeoutNow (thesis 3.10) the rest would be without a leader for an election timeout.
    """
    candidates = [(leadership.progress[voter].match_index, -voter) for voter in state.configuration.voters]
    _send_timeout_now(state, NodeId(-max(candidates)[1]))
    become_follower(state, state.term, NO_NODE)


def on_heartbeat_reply(state: RaftState, message: HeartbeatReply) -> None:
    """Mark the follower as active: resume a paused probe, detect lost appends, and confirm read rounds."""
    leadership = state.leadership
    progress = leadership.progress.get(message.sender) if leadership is not None else None
    if leadership is None or progress is None:
        return
    progress.heard(state.tick)
    # The probe or the full window that paused it may have been lost: let one more message out. A follower that lost a
    # whole window, or a caught-up one in PROBE, would otherwise stay in that state (etcd-io/etcd#14633).
    progress.paused = False
    if progress.match_index < state.log.last_index or progress.state is ProgressState.PROBE:
        progress.append_pending = True
        leadership.replication_pending = True
    leadership.reads.acknowledged(message.sender, message.read_sequence)
    confirm_reads(state)


# Reads


def on_read_index_request(state: RaftState, message: ReadIndexRequest) -> None:
    """Queue a follower's read. Not the leader: drop it; the request expires at the follower."""
    if state.leadership is not None and message.sender in state.leadership.progress:
        state.leadership.reads.add(ReadRequest(message.sender, message.request_id))


def begin_reads(state: RaftState, leadership: Leadership) -> None:
    """Start a round for the waiting reads, unless one is in flight: reads that arrive meanwhile share the next."""
    reads = leadership.reads
    # BEFORE an entry of this term is committed, the commit index may be behind what earlier leaders committed and
    # acknowledged: a read at it would be stale (Raft 8; etcd-io/etcd#7331, tikv/tikv#9239).
    if reads.waiting and not reads.unconfirmed and state.log.commit >= leadership.term_start:
        reads.begin_round(state.log.commit)
        confirm_reads(state)
        if reads.unconfirmed:
            send_heartbeats(state, leadership, voters_only=True)


def confirm_reads(state: RaftState) -> None:
    """Answer the reads whose round a quorum has confirmed."""
    leadership = state.leadership
    if leadership is None:
        return
    # By the configuration that is active NOW, not when the round began: the old majority may no longer be able to
    # prevent another leader.
    for batch in leadership.reads.confirmed(state.node_id, state.configuration):
        for origin, request_id in batch.requests:
            if origin == NO_NODE:
                state.read_states.append(ReadState(request_id, batch.commit))
                continue
            state.send(ReadIndexReply(state.node_id, origin, state.term, request_id, batch.commit))
            progress = leadership.progress.get(origin)
            if progress is not None and progress.sent_commit < batch.commit:
                # The read waits until the follower has applied that, and may not wait until the next entry tells it.
                progress.append_pending = True
                leadership.replication_pending = True


# Time


def tick(state: RaftState, leadership: Leadership) -> None:
    """Advance the clock of a leader by one tick: abort a stuck transfer, check the quorum, send heartbeats."""
    settings = state.settings
    if leadership.transferee:
        leadership.transfer_ticks += 1
        if leadership.transfer_ticks >= settings.election_ticks:
            # Proposals are refused during a transfer. One whose target never answers would block writes forever
            # (hashicorp/raft#696, databendlabs/openraft#2088).
            leadership.end_transfer()
    leadership.quorum_ticks += 1
    if leadership.quorum_ticks >= settings.election_ticks:
        leadership.quorum_ticks = 0
        # A leader that cannot reach a quorum can commit nothing, yet its heartbeats keep the followers that it does
        # reach from electing one that can (Cloudflare's six-hour outage of 2020 was such a partial partition).
        if settings.check_quorum and not _quorum_active(state, leadership):
            become_follower(state, state.term, NO_NODE)
            return
    leadership.heartbeat_ticks += 1
    if leadership.heartbeat_ticks >= settings.heartbeat_ticks:
        leadership.heartbeat_ticks = 0
        reads = leadership.reads
        if reads.waiting and state.log.commit >= leadership.term_start:
            # The heartbeat is sent anyway. It also replaces a round whose messages were lost.
            reads.begin_round(state.log.commit)
            confirm_reads(state)
        send_heartbeats(state, leadership)


def _quorum_active(state: RaftState, leadership: Leadership) -> bool:
    """Whether a quorum was active since the last call; starts the next period."""
    active = {node_id: progress.recent_active for node_id, progress in leadership.progress.items()}
    active[state.node_id] = True
    for progress in leadership.progress.values():
        progress.recent_active = False
    return vote_result(active, state.configuration.voters, state.configuration.outgoing) is VoteResult.WON


# Transfer


def transfer(state: RaftState, leadership: Leadership, to: NodeId) -> None:
    """Transfer leadership to the voter `to` once its log is complete; proposals are refused until it ends or aborts.

    Raises `LeadershipTransferring` when another voter was already told to take over.
    """
    if leadership.transferee == to:
        return
    if leadership.timeout_now_sent:
        # Two candidates of one term may split the votes, and that costs an election timeout.
        raise LeadershipTransferring(f"{leadership.transferee:016x} was told to take over")
    leadership.transferee = to
    leadership.transfer_ticks = 0
    leadership.replication_pending = True
    progress = leadership.progress[to]
    if progress.match_index < state.log.last_index:
        progress.append_pending = True


def proceed_with_transfer(state: RaftState, leadership: Leadership) -> None:
    """Send TimeoutNow once the transferee has the whole log: with a shorter one its campaign would cost two.

    Called AFTER the appends of a Ready: those carry the commit index, without which the transferee might campaign under
    a configuration that the others have left.
    """
    to = leadership.transferee
    if to and not leadership.timeout_now_sent and leadership.progress[to].match_index == state.log.last_index:
        leadership.timeout_now_sent = True
        _send_timeout_now(state, to)


def _send_timeout_now(state: RaftState, to: NodeId) -> None:
    state.send(TimeoutNow(state.node_id, to, state.term))
