"""Membership changes in the log: when one may be proposed, how it is applied, and how a joint configuration is left.

A configuration takes effect when its entry is APPLIED, as in etcd-io/raft and tikv/raft-rs, not when it is appended as
in the thesis. Three rules make that safe (etcd-io/etcd#7625):
1. a leader appends a change only after it has applied every earlier one and an entry of its own term: `propose`;
2. a node with a committed, unapplied change does not campaign: `election.may_campaign`;
3. a node that holds a change in its log knows durably that every earlier one is committed: `validation` rejects a
   message that would break this, and `Ready` stores the commit index in the same batch as the entries.
"""

from __future__ import annotations

import msgspec

from collectionstore_node.errors import ChangePending, InvalidRequest, InvariantViolated
from collectionstore_node.raft.configuration import next_configuration
from collectionstore_node.raft.leader import confirm_reads, maybe_commit
from collectionstore_node.raft.messages import (
    ConfigChange,
    Configuration,
    Entry,
    EntryKind,
    Index,
    decode_change,
    encode,
)
from collectionstore_node.raft.state import Leadership, RaftState


def propose(state: RaftState, leadership: Leadership, change: ConfigChange) -> Entry:
    """Append `change`. Raises `ChangePending` while another one is in progress, `InvalidRequest` if it is invalid."""
    # Two changes in the log at once could lead from {1,2,3} to {1,..,5} with disjoint majorities in between. On a new
    # leader `pending_change` is its own no-op, so a change of an earlier leader, committed or not, is covered too.
    if leadership.pending_change > state.log.applied:
        raise ChangePending(
            f"the last membership change may be at index {leadership.pending_change}, and only "
            f"{state.log.applied} is applied; retry when it is"
        )
    if state.configuration.joint and change.changes:
        raise ChangePending(
            "the cluster is still in the joint configuration of the last change; retry when the leader has left it"
        )
    next_configuration(state.configuration, change)
    return _append(state, leadership, change)


def _append(state: RaftState, leadership: Leadership, change: ConfigChange) -> Entry:
    entry = state.log.append_own(state.term, EntryKind.CHANGE, encode(change))
    leadership.pending_change = entry.index
    leadership.replication_pending = True
    return entry


def proceed(state: RaftState) -> None:
    """Append what a change in progress needs next, unless a transfer is running: leave the joint configuration once the
    change that entered it is applied, or the barrier after that.

    During a transfer it would be appended behind the transferee's back: the voters that stored it would refuse the
    transferee, whose campaign has deposed this leader by then. Whoever leads next goes on: it leaves the joint
    configuration too, and its first entry is a barrier.
    """
    leadership = state.leadership
    if leadership is None or leadership.transferee:
        return
    if leadership.pending_change > state.log.last_index:
        _append_barrier(state, leadership)
    if not state.configuration.auto_leave:
        return
    # Evaluated after every apply and every tick: a lost proposal, an aborted transfer or a new leader must not leave
    # the cluster joint forever (etcd-io/etcd#12136). Only AFTER the entry that entered it is applied, hence committed:
    # a recovered leader that left earlier broke the overlap of the quorums (camunda/camunda#60086). The proposal moves
    # `pending_change`, so there is no second one, whose apply would be a violation (etcd-io/etcd#12582).
    if leadership.pending_change <= state.log.applied:
        _append(state, leadership, ConfigChange())


def apply(state: RaftState, entry: Entry) -> Configuration:
    """Apply the change in a committed `entry` and return the configuration that is now active."""
    was_joint = state.configuration.joint
    try:
        configuration = next_configuration(state.configuration, decode_change(entry.data))
    except (InvalidRequest, msgspec.DecodeError) as error:
        raise InvariantViolated(
            f"entry {entry.index} holds a membership change that cannot be applied: {error}"
        ) from error
    activate(state, configuration)
    if was_joint and not configuration.joint and state.leadership is not None:
        _require_barrier(state, state.leadership)
        proceed(state)
    return configuration


def activate(state: RaftState, configuration: Configuration) -> None:
    """Switch to `configuration`; a leader updates its followers, its quorum and a running transfer."""
    state.configuration = configuration
    leadership = state.leadership
    if leadership is None:
        return
    members = configuration.members()
    for node_id in [node_id for node_id in leadership.progress if node_id not in members]:
        del leadership.progress[node_id]
    for node_id in sorted(members - leadership.progress.keys() - {state.node_id}):
        # Counts as active: check-quorum could otherwise depose the leader before a new member had time to reply.
        leadership.progress[node_id] = progress = state.new_progress(recent_active=True)
        progress.append_pending = True
    if leadership.transferee not in configuration.voters and not leadership.timeout_now_sent:
        leadership.end_transfer()
    leadership.replication_pending = True
    # A smaller quorum may already be reached, and no further acknowledgement may come to notice it.
    maybe_commit(state)
    confirm_reads(state)


def _require_barrier(state: RaftState, leadership: Leadership) -> None:
    """Let the change end with a barrier, a no-op entry after the one that left the joint configuration.

    The new voters hold the entry that left, but may not know that it is committed. If the operator deleted the removed
    members now and the leader failed, the rest would still be in the joint configuration and wait for their votes
    forever. A voter that acknowledges the barrier has stored, in the same batch, a commit index at or beyond the
    change. So the change is complete when the barrier is applied: no other one is accepted before that, and a leader
    that is no longer a voter stays until then.
    """
    # The index that it will have: nothing else is appended before it, as a running transfer refuses proposals too.
    leadership.pending_change = Index(state.log.last_index + 1)
    if state.node_id not in state.configuration.voters:
        leadership.step_down_index = leadership.pending_change


def _append_barrier(state: RaftState, leadership: Leadership) -> None:
    state.log.append_own(state.term, EntryKind.NOOP, b"")
    leadership.replication_pending = True
