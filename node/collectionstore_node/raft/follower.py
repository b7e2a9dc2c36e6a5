"""What a node does with a leader's messages (Raft 5.3, 7; thesis 3.5).

The messages have passed `validation` and the gate of terms: the sender leads the current term.
"""

from __future__ import annotations

from collectionstore_node.raft.election import become_follower
from collectionstore_node.raft.messages import (
    NO_NODE,
    AppendEntries,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Index,
    InstallSnapshot,
    NodeId,
    ReadIndexReply,
    ReadIndexRequest,
)
from collectionstore_node.raft.ready import ReadState, Role
from collectionstore_node.raft.state import RaftState


def _accept_leader(state: RaftState, leader: NodeId) -> None:
    """Follow the leader of this term; a candidate gives up."""
    if state.role is not Role.FOLLOWER:
        become_follower(state, state.term, leader)
    elif state.leader != leader:
        state.follow(leader)
    state.election_ticks = 0


def on_append_entries(state: RaftState, message: AppendEntries) -> None:
    """Append what follows on a common entry, and acknowledge it AFTER it is durable; else hint where to look."""
    _accept_leader(state, message.sender)
    log = state.log
    prev_log_index = message.prev_log_index
    if prev_log_index < log.commit:
        # Late: everything committed is known to match.
        _acknowledge(state, message.sender, log.commit)
        return
    if not log.match_term(prev_log_index, message.prev_log_term):
        _reject(state, message)
        return
    entries = message.entries
    if entries:
        known = log.find_conflict(entries)
        # Only a real conflict truncates; what is already here stays, even if the message is an old, shorter one.
        if known < len(entries):
            log.append(entries[known:] if known else entries)
    last_new = Index(prev_log_index + len(entries))
    log.commit_to(min(message.leader_commit, last_new))
    _acknowledge(state, message.sender, last_new)


def _acknowledge(state: RaftState, leader: NodeId, index: Index) -> None:
    state.send_after_append(AppendReply(state.node_id, leader, state.term, index))


def _reject(state: RaftState, message: AppendEntries) -> None:
    """Refuse, naming the last entry that could still match: none after it has a term as low as the leader's there."""
    log = state.log
    start = min(message.prev_log_index, log.last_index)
    hint_index, hint_term = log.find_conflict_by_term(start, message.prev_log_term)
    state.send_after_append(
        AppendReply(
            sender=state.node_id,
            to=message.sender,
            term=state.term,
            index=message.prev_log_index,
            rejected=True,
            hint_index=hint_index,
            hint_term=hint_term,
        )
    )


def on_heartbeat(state: RaftState, message: Heartbeat) -> None:
    """Learn the commit index, never touching the log, and answer with the sequence of the read round."""
    _accept_leader(state, message.sender)
    state.log.commit_to(message.leader_commit)
    state.send(HeartbeatReply(state.node_id, message.sender, state.term, message.read_sequence))


def on_install_snapshot(state: RaftState, message: InstallSnapshot) -> None:
    """Take over a snapshot that is ahead of everything committed here; acknowledge what the log then holds."""
    _accept_leader(state, message.sender)
    log = state.log
    snapshot = message.metadata
    if snapshot.index > log.commit and _concerns(state, message):
        if log.match_term(snapshot.index, snapshot.term):
            # The entries are here; only their commit was unknown.
            log.commit_to(snapshot.index)
        else:
            log.restore(snapshot)
    _acknowledge(state, message.sender, log.commit)


def _concerns(state: RaftState, message: InstallSnapshot) -> bool:
    """Whether the snapshot knows this node, or this node is so new that it does not know itself either."""
    members = message.metadata.configuration.members()
    return state.node_id in members or state.node_id not in state.configuration.members()


def forward_read(state: RaftState, request_id: int) -> None:
    """Ask the leader for a read index; without a leader the read has failed."""
    if state.leader == NO_NODE:
        state.failed_reads.append(request_id)
        return
    wire_id = state.forwarded.sent(request_id, state.tick)
    state.send(ReadIndexRequest(state.node_id, state.leader, state.term, wire_id))


def on_read_index_reply(state: RaftState, message: ReadIndexReply) -> None:
    """Hand a confirmed read to the driver."""
    if message.sender != state.leader:
        return
    request_id = state.forwarded.answered(message.request_id)
    if request_id is not None:
        state.read_states.append(ReadState(request_id, message.index))
