"""The leader's receiving side: acknowledgements, commit, reads, check-quorum, transfer and step_down_index.

Invariants:
- only an entry of the current term is committed by counting (Raft 5.4.2, Figure 8);
- the leader counts itself only for what is durable here;
- the commit index never falls.
"""

from __future__ import annotations

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
    """Move the follower's progress, and with it perhaps the commit index."""
    leadership = state.leadership
    progress = leadership.progress.get(message.sender) if leadership is not None else None
    if leadership is None or progress is None:
        return
    progress.heard(state.tick)
    if message.rejected:
        _on_rejection(state, leadership, progress, message)
        return
    index = message.index
    # A reply that confirms what was known still ends the probing. Index 0 confirms nothing: it answers an older term.
    probed = progress.state is ProgressState.PROBE and 0 < index == progress.match_index
    if not progress.maybe_update(index) and not probed:
        return
    if progress.state is ProgressState.REPLICATE:
        progress.inflights.free_to(index)
    elif progress.state is ProgressState.PROBE or state.log.can_serve_after(index):
        # Whatever index its snapshot really had, it can be served from the log again (etcd-io/raft#110).
        progress.become_replicate()
    leadership.replication_pending = True
    if index > state.log.commit:
        maybe_commit(state)
    if progress.can_bump_commit(state.log.commit):
        progress.append_pending = True
    if message.sender == leadership.transferee and progress.match_index == state.log.last_index:
        _send_timeout_now(state, message.sender)


def _on_rejection(state: RaftState, leadership: Leadership, progress: Progress, message: AppendReply) -> None:
    """Step back to where the logs could match.

    The follower has already skipped its entries of higher terms. Here the leader skips its own entries whose term is
    above the hint's: had the follower one of them, its hint would have that term. So a probe per term is enough.
    """
    hint = message.hint_index
    if message.hint_term:
        hint, _ = state.log.find_conflict_by_term(hint, message.hint_term)
    if progress.maybe_decrease(message.index, hint):
        progress.append_pending = True
        leadership.replication_pending = True


def maybe_commit(state: RaftState) -> None:
    """Commit what a quorum of the configuration in force has stored, if that reaches into the current term."""
    leadership = state.leadership
    if leadership is None:
        return
    log, configuration = state.log, state.configuration
    if log.commit == log.last_index:
        return
    match_index = {node_id: progress.match_index for node_id, progress in leadership.progress.items()}
    match_index[state.node_id] = log.stable
    index = committed_index(match_index, configuration.voters, configuration.outgoing)
    if index < leadership.term_start or not log.commit_to(index):
        return
    leadership.uncommitted.committed(index)
    leadership.replication_pending = True
    for progress in leadership.progress.values():
        if progress.can_bump_commit(index):
            progress.append_pending = True
    if leadership.step_down_index is not None and index >= leadership.step_down_index:
        _step_down_after_removal(state, leadership)


def _step_down_after_removal(state: RaftState, leadership: Leadership) -> None:
    """End the leadership of a node outside the configuration, naming the best successor (thesis 4.2.2, 3.10)."""
    candidates = [(leadership.progress[voter].match_index, -voter) for voter in state.configuration.voters]
    _send_timeout_now(state, NodeId(-max(candidates)[1]))
    become_follower(state, state.term, NO_NODE)


def on_heartbeat_reply(state: RaftState, message: HeartbeatReply) -> None:
    """Note the sign of life: it may wake a probe, notice lost appends, and confirm reads."""
    leadership = state.leadership
    progress = leadership.progress.get(message.sender) if leadership is not None else None
    if leadership is None or progress is None:
        return
    progress.heard(state.tick)
    progress.paused = False
    if progress.match_index < state.log.last_index or progress.state is ProgressState.PROBE:
        progress.append_pending = True
        leadership.replication_pending = True
    leadership.reads.acknowledged(message.sender, message.read_sequence)
    confirm_reads(state)


# Reads


def on_read_index_request(state: RaftState, message: ReadIndexRequest) -> None:
    """Queue a follower's read. A node that does not lead stays silent: the follower gives up by itself."""
    if state.leadership is not None and message.sender in state.leadership.progress:
        state.leadership.reads.add(ReadRequest(message.sender, message.request_id))


def begin_reads(state: RaftState, leadership: Leadership) -> None:
    """Start a round for the waiting reads, unless one is out already: those that come meanwhile share the next.

    They also wait until an entry of this term is committed: before that the leader does not know what its
    predecessors have committed (Raft 8).
    """
    reads = leadership.reads
    if reads.waiting and not reads.unconfirmed and state.log.commit >= leadership.term_start:
        reads.begin_round(state.log.commit)
        confirm_reads(state)
        if reads.unconfirmed:
            send_heartbeats(state, leadership, voters_only=True)


def confirm_reads(state: RaftState) -> None:
    """Answer the reads whose round a quorum of the present configuration has confirmed."""
    leadership = state.leadership
    if leadership is None:
        return
    for batch in leadership.reads.confirmed(state.node_id, state.configuration):
        for origin, request_id in batch.requests:
            if origin == NO_NODE:
                state.read_states.append(ReadState(request_id, batch.commit))
            else:
                state.send(ReadIndexReply(state.node_id, origin, state.term, request_id, batch.commit))


# Time


def tick(state: RaftState, leadership: Leadership) -> None:
    """Let time pass for a leader: abort a stuck transfer, step down without a quorum, send heartbeats."""
    settings = state.settings
    if leadership.transferee:
        leadership.transfer_ticks += 1
        if leadership.transfer_ticks >= settings.election_ticks:
            leadership.transferee = NO_NODE
    leadership.quorum_ticks += 1
    if leadership.quorum_ticks >= settings.election_ticks:
        leadership.quorum_ticks = 0
        if settings.check_quorum and not _quorum_active(state, leadership):
            become_follower(state, state.term, NO_NODE)
            return
    leadership.heartbeat_ticks += 1
    if leadership.heartbeat_ticks >= settings.heartbeat_ticks:
        leadership.heartbeat_ticks = 0
        reads = leadership.reads
        if reads.waiting and state.log.commit >= leadership.term_start:
            # The heartbeat goes out anyway; it also replaces a round that was lost.
            reads.begin_round(state.log.commit)
            confirm_reads(state)
        send_heartbeats(state, leadership)


def _quorum_active(state: RaftState, leadership: Leadership) -> bool:
    """Whether a quorum was heard from since the last call, which starts the next period."""
    active = {node_id: progress.recent_active for node_id, progress in leadership.progress.items()}
    active[state.node_id] = True
    for progress in leadership.progress.values():
        progress.recent_active = False
    return vote_result(active, state.configuration.voters, state.configuration.outgoing) is VoteResult.WON


# Transfer


def transfer(state: RaftState, leadership: Leadership, to: NodeId) -> None:
    """Hand over to the voter `to` as soon as it has the whole log; refuse proposals until then, or until aborted."""
    if leadership.transferee == to:
        return
    leadership.transferee = to
    leadership.transfer_ticks = 0
    progress = leadership.progress[to]
    if progress.match_index == state.log.last_index:
        _send_timeout_now(state, to)
    else:
        progress.append_pending = True
        leadership.replication_pending = True


def _send_timeout_now(state: RaftState, to: NodeId) -> None:
    state.send(TimeoutNow(state.node_id, to, state.term))
