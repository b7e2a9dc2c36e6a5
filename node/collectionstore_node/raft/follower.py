"""How a follower handles the leader's messages (Raft 5.3, 7; thesis 3.5).

Messages have passed `validation` and the term gate: the sender is the leader of the current term.
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
    """Follow the leader of this term and reset the election timer; a candidate steps down."""
    if state.role is not Role.FOLLOWER:
        become_follower(state, state.term, leader)
    elif state.leader != leader:
        state.follow(leader)
    state.election_ticks = 0


def on_append_entries(state: RaftState, message: AppendEntries) -> None:
    """Append the entries if the log matches before them, and acknowledge AFTER they are durable; else reject."""
    _accept_leader(state, message.sender)
    log = state.log
    prev_log_index = message.prev_log_index
    if prev_log_index < log.commit:
        # A delayed message. Committed entries match the leader's by Leader Completeness, so they need no comparison,
        # and their terms may be compacted: looking one up and reading 0 passed the check in etcd (76f1249).
        if not message.silent:
            _acknowledge(state, message.sender, log.commit)
        return
    if not log.match_term(prev_log_index, message.prev_log_term):
        _reject(state, message)
        return
    entries = message.entries
    if entries:
        conflict = log.find_conflict(entries)
        # Truncate only on a real conflict, never to the end of the message: an old, shorter AppendEntries may arrive
        # after a longer one, and truncating would drop entries that were acknowledged (Raft 5.3; microsoft/CCF#5927).
        if conflict < len(entries):
            log.append(entries[conflict:] if conflict else entries)
    last_new = Index(prev_log_index + len(entries))
    # Not beyond `last_new`: whatever follows in this log is not known to match the leader's.
    log.commit_to(min(message.leader_commit, last_new))
    if not message.silent:
        _acknowledge(state, message.sender, last_new)


def _acknowledge(state: RaftState, leader: NodeId, index: Index) -> None:
    # AFTER the append is durable (thesis 3.8): the leader counts this reply towards the commit quorum, so a crash that
    # loses the entry would lose an acknowledged write. Even if nothing was appended now, earlier entries up to `index`
    # may still be waiting for their sync.
    state.send_after_append(AppendReply(state.node_id, leader, state.term, index))


def _reject(state: RaftState, message: AppendEntries) -> None:
    """Reject, with a hint: the last entry that can match, as no later one has a term as low as the leader's there.

    With one index per round trip, finding the conflict in a long log "can result in hours" (etcd-io/raft stepLeader).
    """
    log = state.log
    start = min(message.prev_log_index, log.last_index)
    hint_index, hint_term = log.find_conflict_by_term(start, message.prev_log_term)
    # Waits for durability too: the hint names entries of this log.
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
    """Advance the commit index and reply with the read sequence."""
    _accept_leader(state, message.sender)
    # Never truncates and never rejects: a heartbeat carries no entries to conflict with (microsoft/CCF#5991).
    # `leader_commit` is bounded by what the leader knows to match here, so it needs no log check.
    state.log.commit_to(message.leader_commit)
    # Sent without waiting for the disk: the reply confirms leadership, and no entry.
    state.send(HeartbeatReply(state.node_id, message.sender, state.term, message.read_sequence))


def on_install_snapshot(state: RaftState, message: InstallSnapshot) -> None:
    """Restore a snapshot that is ahead of the commit index; acknowledge the commit index that results."""
    _accept_leader(state, message.sender)
    log = state.log
    snapshot = message.metadata
    # At or below the commit index the snapshot holds nothing new, and restoring it would undo applied entries.
    if snapshot.index > log.commit and _may_restore(state, message):
        if log.match_term(snapshot.index, snapshot.term):
            # Fast-forward: the log matches up to the snapshot, so its entries are committed. Replacing the log would
            # also drop the entries behind it, which this node has acknowledged.
            log.commit_to(snapshot.index)
        else:
            log.restore(snapshot)
    _acknowledge(state, message.sender, log.commit)


def _may_restore(state: RaftState, message: InstallSnapshot) -> bool:
    """Whether the snapshot's configuration includes this node, or this node does not know itself as a member either.

    A snapshot from before this node was added would remove it from its own configuration (etcd-io/etcd#21610). A new
    node is in no configuration yet and has to accept.
    """
    members = message.metadata.configuration.members()
    return state.node_id in members or state.node_id not in state.configuration.members()


def forward_read(state: RaftState, request_id: int) -> None:
    """Forward a ReadIndex request to the leader; fail it if no leader is known."""
    if state.leader == NO_NODE:
        state.failed_reads.append(request_id)
        return
    wire_id = state.forwarded.sent(request_id, state.tick)
    state.send(ReadIndexRequest(state.node_id, state.leader, state.term, wire_id))


def on_read_index_reply(state: RaftState, message: ReadIndexReply) -> None:
    """Pass a confirmed read to the driver."""
    if message.sender != state.leader:
        return
    request_id = state.forwarded.answered(message.request_id)
    # None: a duplicate, or the read has expired.
    if request_id is not None:
        state.read_states.append(ReadState(request_id, message.index))
