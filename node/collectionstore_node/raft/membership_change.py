"""Membership changes in the log: when one may be proposed, what applying it does, and how a joint phase ends.

A configuration is active when its entry is applied. That is safe because of three rules (etcd-io/etcd#7625):
1. a leader appends a change only after it applied every earlier one, and an entry of its own term: `propose`;
2. nobody campaigns with a committed change unapplied: `election.may_campaign`;
3. who holds a change in its log knows durably that every earlier one is committed: a message that would break this is
   rejected by `validation`, and `Ready` stores the commit index in the batch of the entries.
"""

from __future__ import annotations

import msgspec

from collectionstore_node.errors import ChangePending, InvalidRequest, InvariantViolated
from collectionstore_node.raft.configuration import next_configuration
from collectionstore_node.raft.leader import confirm_reads, maybe_commit
from collectionstore_node.raft.messages import (
    NO_NODE,
    ConfigChange,
    Configuration,
    Entry,
    EntryKind,
    decode_change,
    encode,
)
from collectionstore_node.raft.state import Leadership, RaftState


def propose(state: RaftState, leadership: Leadership, change: ConfigChange) -> Entry:
    """Append `change`. Raises `ChangePending` while another one runs, `InvalidRequest` for one that cannot work."""
    if leadership.pending_change > state.log.applied:
        raise ChangePending(
            f"index {leadership.pending_change} may hold a membership change and is not applied yet "
            f"(applied: {state.log.applied})"
        )
    if state.configuration.joint and change.changes:
        raise ChangePending("the joint configuration of the last change is not left yet")
    next_configuration(state.configuration, change)
    return _append(state, leadership, change)


def _append(state: RaftState, leadership: Leadership, change: ConfigChange) -> Entry:
    entry = state.log.append_own(state.term, EntryKind.CHANGE, encode(change))
    leadership.pending_change = entry.index
    leadership.replication_pending = True
    return entry


def maybe_leave_joint(state: RaftState) -> None:
    """Propose to leave the joint configuration once the change that entered it is applied.

    Asked after every applied entry, so that a lost proposal, an aborted transfer or a new leader cannot leave the
    cluster joint (etcd-io/etcd#12136). The proposal moves `pending_change`, so there is never a second one
    (etcd-io/etcd#12582).
    """
    leadership = state.leadership
    if leadership is None or not state.configuration.auto_leave:
        return
    if leadership.pending_change <= state.log.applied and not leadership.transferee:
        _append(state, leadership, ConfigChange())


def apply(state: RaftState, entry: Entry) -> Configuration:
    """Activate the change in a committed `entry` and return the configuration now in force."""
    was_joint = state.configuration.joint
    try:
        configuration = next_configuration(state.configuration, decode_change(entry.data))
    except (InvalidRequest, msgspec.DecodeError) as error:
        raise InvariantViolated(f"entry {entry.index} holds a change that cannot be applied: {error}") from error
    activate(state, configuration)
    if was_joint and not configuration.joint and state.leadership is not None:
        _append_barrier(state, state.leadership)
    return configuration


def activate(state: RaftState, configuration: Configuration) -> None:
    """Put `configuration` in force. A leader adapts its followers, its quorum and a running transfer."""
    state.configuration = configuration
    leadership = state.leadership
    if leadership is None:
        return
    members = configuration.members()
    for node_id in [node_id for node_id in leadership.progress if node_id not in members]:
        del leadership.progress[node_id]
    for node_id in sorted(members - leadership.progress.keys() - {state.node_id}):
        # Counts as heard, or check-quorum could fire before the new member had a chance to answer.
        leadership.progress[node_id] = progress = state.new_progress(recent_active=True)
        progress.append_pending = True
    if leadership.transferee not in configuration.voters:
        leadership.transferee = NO_NODE
    leadership.replication_pending = True
    maybe_commit(state)
    confirm_reads(state)


def _append_barrier(state: RaftState, leadership: Leadership) -> None:
    """Append one more entry behind the one that left the joint configuration; its commit completes the change.

    The new voters hold the entry that left, but may not know that it is committed. Were the old voters switched off
    now and the leader lost, the rest would wait for the old voters for ever. Who acknowledges the seal has stored a
    commit index beyond the change with it. So nothing is over before the seal is applied: no new change is taken
    until then, and a leader that led itself out of the voters stays as long.
    """
    seal = state.log.append_own(state.term, EntryKind.NOOP, b"")
    leadership.pending_change = seal.index
    leadership.replication_pending = True
    if state.node_id not in state.configuration.voters:
        leadership.step_down_index = seal.index
        leadership.transferee = NO_NODE
