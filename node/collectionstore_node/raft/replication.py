"""The leader's sending side: appends, snapshots and heartbeats, as fast as each follower's progress allows.

Proposals, acknowledgements and commits only set `replication_pending`; `send_appends` runs when the driver asks whether
there is a Ready, so that all changes since the last time share a message.
"""

from __future__ import annotations

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.log_reader import Compacted
from collectionstore_node.raft.messages import (
    MESSAGE_ENTRIES_MAX,
    NO_NODE,
    AppendEntries,
    Entry,
    Heartbeat,
    Index,
    InstallSnapshot,
    NodeId,
)
from collectionstore_node.raft.ready import ProgressState
from collectionstore_node.raft.state import NO_INDEX, Leadership, RaftState
from collectionstore_node.raft.tracker.progress import Progress


def send_appends(state: RaftState, leadership: Leadership) -> None:
    """Send each follower the appends that its progress allows.

    A new commit index is told with entries: with a message of its own, and its reply, half of all messages would be
    these. While entries are under way the next append carries it, at the latest the last one's commit or a heartbeat.
    When there are none it is told now, or kept for `RaftNode.tell_commit`.
    """
    leadership.replication_pending = False
    last_index, commit = state.log.last_index, state.log.commit
    idle = commit == last_index
    alone = idle and (leadership.commit_due or not state.settings.defer_commit)
    # At once, whatever is under way: the next step of a change of members or of a transfer waits for what the followers
    # know. This is the last change that may have committed, or the first entry of the term, on which the first change
    # of the term waits.
    at_once = state.configuration.joint or leadership.transferee != NO_NODE
    change = leadership.pending_change
    leadership.commit_due = untold = False
    for node_id, progress in leadership.progress.items():
        if progress.can_bump_commit(commit):
            if alone or at_once or progress.sent_commit < change <= commit:
                progress.append_pending = True
            else:
                untold = idle
        if progress.append_pending or progress.next_index <= last_index:
            _send_to(state, node_id, progress)
    leadership.untold_commit = commit if untold else NO_INDEX


def _send_to(state: RaftState, node_id: NodeId, progress: Progress) -> None:
    empty_too = progress.append_pending
    progress.append_pending = False
    while progress.may_send() and _send_append(state, node_id, progress, empty_too=empty_too):
        empty_too = False


def _send_append(state: RaftState, node_id: NodeId, progress: Progress, *, empty_too: bool) -> bool:
    """Send one AppendEntries, or a snapshot if the next entry is compacted; return whether to try another."""
    log = state.log
    prev_log_index = Index(progress.next_index - 1)
    try:
        prev_log_term = log.term(prev_log_index)
    except Compacted:
        _send_snapshot(state, node_id, progress)
        return False
    entries: tuple[Entry, ...] = ()
    if progress.next_index <= log.last_index and progress.has_room():
        # An unreadable log raises here and stops the process. It must never look like "no entries": an empty append
        # after index 0 matches every log, and the follower would acknowledge it (databendlabs/openraft#1795).
        hi = Index(min(log.last_index, progress.next_index + MESSAGE_ENTRIES_MAX - 1) + 1)
        entries = log.entries(progress.next_index, hi, state.settings.message_bytes_max)
    # Empty appends are worth a message only if asked for: they carry the commit index, or detect a lost window.
    if not entries and not empty_too:
        return False
    # All that was sent is acknowledged: a reply could say nothing new. A probe, or a window that may be lost, needs it.
    silent = not entries and progress.state is ProgressState.REPLICATE and progress.match_index == prev_log_index
    state.messages.append(
        AppendEntries(state.node_id, node_id, state.term, prev_log_index, prev_log_term, entries, log.commit, silent)
    )
    progress.sent(len(entries), sum([len(entry.data) for entry in entries]), log.commit)
    return progress.next_index <= log.last_index


def _send_snapshot(state: RaftState, node_id: NodeId, progress: Progress) -> None:
    """Request a snapshot transfer from the driver, if the follower is active."""
    if not progress.recent_active:
        # A node that is down would hold the export for nothing. It is tried again when it is heard.
        return
    snapshot = state.log.snapshot()
    # Sent even when the log is compacted to its very end; a leader that looked for an entry first never sent one
    # (databendlabs/openraft#1828).
    if snapshot.index == 0:
        raise InvariantViolated("entries are missing from the log, but nothing was compacted")
    progress.become_snapshot(snapshot.index)
    state.send(InstallSnapshot(state.node_id, node_id, state.term, snapshot))


def send_heartbeats(state: RaftState, leadership: Leadership, *, voters_only: bool = False) -> None:
    """Send a heartbeat with the current read sequence to every member, or to the voters only."""
    commit, sequence = state.log.commit, leadership.reads.sequence
    configuration = state.configuration
    for node_id, progress in leadership.progress.items():
        if voters_only and node_id not in configuration.voters and node_id not in configuration.outgoing:
            continue
        # min(match, commit): beyond `match_index` the follower's log may hold other entries, and a heartbeat has no
        # previous entry to check against. It would commit them.
        known = min(progress.match_index, commit)
        progress.sent_commit = max(progress.sent_commit, known)
        state.messages.append(Heartbeat(state.node_id, node_id, state.term, known, sequence))
