"""A read-only view of the core, for status pages, metrics and tests."""

from __future__ import annotations

from collectionstore_node.raft.messages import NO_NODE, Index
from collectionstore_node.raft.ready import ProgressState, ProgressStatus, RaftStatus
from collectionstore_node.raft.state import Leadership, RaftState


def read_status(state: RaftState) -> RaftStatus:
    """Return the role, the indexes, the configuration and, on the leader, every member's progress."""
    log, leadership = state.log, state.leadership
    return RaftStatus(
        node_id=state.node_id,
        role=state.reported_role(),
        term=state.term,
        vote=state.vote,
        leader=state.leader,
        commit_index=log.commit,
        applied_index=log.applied,
        first_index=log.first_index(),
        last_index=log.last_index,
        last_log_term=log.last_term,
        configuration=state.configuration,
        pending_change_index=leadership.pending_change if leadership else Index(0),
        transferring_to=leadership.transferee if leadership else NO_NODE,
        progress=_progress(state, leadership) if leadership else (),
        elected_by=state.elected_by if leadership else frozenset(),
    )


def _progress(state: RaftState, leadership: Leadership) -> tuple[ProgressStatus, ...]:
    """Return the progress of all members by node id, the leader's own log included."""
    log = state.log
    own = ProgressStatus(
        node_id=state.node_id,
        state=ProgressState.REPLICATE,
        match_index=log.stable,
        next_index=Index(log.last_index + 1),
        recent_active=True,
        inflight=0,
        pending_snapshot=Index(0),
        silent_ticks=0,
    )
    others = [progress.status(node_id, state.tick) for node_id, progress in leadership.progress.items()]
    return tuple(sorted([own, *others], key=lambda status: status.node_id))
