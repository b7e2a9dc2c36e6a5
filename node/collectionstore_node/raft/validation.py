"""Message validation: rejects what no correct peer sends, BEFORE any state changes.

TLS authenticates the sender. This module limits the damage by a member that is corrupt, misconfigured or malicious,
and detects violations of the safety properties: two leaders in one term, a conflict with a committed entry, a broken
hash chain. It cannot protect against a Byzantine leader or voter; no crash-fault-tolerant protocol can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from collectionstore_node.errors import MessageRejected
from collectionstore_node.raft import configuration
from collectionstore_node.raft.messages import (
    CHAIN_BYTES,
    NO_NODE,
    AppendEntries,
    AppendReply,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    Index,
    InstallSnapshot,
    Message,
    ReadIndexReply,
    RequestVote,
    TimeoutNow,
    VoteReply,
    chain_hash,
    decode_change,
)
from collectionstore_node.raft.state import RaftState

TERM_MAX: Final = 2**62
"""Upper bound of terms, which are hashed as 64 bits. One message raises the term by `term_gate.TERM_JUMP_MAX` at most,
so a faulty member cannot get near it."""
INDEX_MAX: Final = 2**62

_FROM_LEADER: Final = frozenset({AppendEntries, Heartbeat, InstallSnapshot, TimeoutNow, ReadIndexReply})


def validate(state: RaftState, message: Message) -> None:
    """Raise `MessageRejected` for a message that no correct peer sends to this node in its current state."""
    if message.to != state.node_id:
        raise MessageRejected(f"it is addressed to node {message.to:016x}")
    if message.sender == state.node_id or message.sender < 1:
        raise MessageRejected(f"{message.sender:016x} is not the ID of a peer")
    term = message.term
    if not 0 < term <= TERM_MAX:
        raise MessageRejected(f"term {term} is out of range; the current term is {state.term}")
    kind = type(message)
    known_leader = state.leader_of_term
    # Election Safety: at most one leader per term (Raft Figure 3). A second one means that a vote was lost or forged;
    # following both would mix two logs.
    if message.sender != known_leader != NO_NODE and term == state.term and kind in _FROM_LEADER:
        raise MessageRejected(f"two leaders in term {term}: {known_leader:016x} and {message.sender:016x}")
    check = _CHECKS.get(kind)
    if check is not None:
        check(state, message)


def _check_request_vote(state: RaftState, message: RequestVote) -> None:
    _check_position(message.last_log_index, message.last_log_term)
    # A pre-vote names the term it would campaign in, so both kinds lie above every entry.
    if message.last_log_term >= message.term:
        raise MessageRejected("the last log term of the candidate is not below its term")
    if message.commit_index > message.last_log_index:
        raise MessageRejected("the commit index of the candidate is beyond its last log index")
    _check_known_commit(state, message)


def _check_known_commit(state: RaftState, message: RequestVote | VoteReply) -> None:
    _check_position(message.commit_index, message.commit_term)
    if message.commit_term > message.term:
        raise MessageRejected(f"commit term {message.commit_term} is above the message's term {message.term}")
    log = state.log
    known = log.first_index() - 1 <= message.commit_index <= log.commit
    if known and not log.match_term(message.commit_index, message.commit_term):
        raise MessageRejected(f"it conflicts with entry {message.commit_index}, which is committed")


def _check_append_entries(state: RaftState, message: AppendEntries) -> None:
    _check_position(message.prev_log_index, message.prev_log_term)
    if message.leader_commit < 0:
        raise MessageRejected("negative commit index")
    if message.silent and message.entries:
        raise MessageRejected("entries that are not to be acknowledged")
    index, term = message.prev_log_index, message.prev_log_term
    for entry in message.entries:
        if entry.index != index + 1:
            raise MessageRejected(f"entry {entry.index} does not follow entry {index}")
        if entry.term < term or entry.term < 1:
            raise MessageRejected(f"the term decreases from {term} to {entry.term} at index {entry.index}")
        index, term = entry.index, entry.term
    if term > message.term:
        raise MessageRejected(f"an entry of term {term} in a message of term {message.term}")
    if message.term >= state.term and message.entries:
        _check_against_log(state, message)


def _check_against_log(state: RaftState, message: AppendEntries) -> None:
    """Check the entries where they overlap or extend this log. If they do not connect, the handler rejects them."""
    log = state.log
    entries = message.entries
    if message.prev_log_index >= log.commit:
        if not log.match_term(message.prev_log_index, message.prev_log_term):
            return
        known = log.find_conflict(entries)
    else:
        entries = tuple([entry for entry in entries if log.first_index() <= entry.index <= log.last_index])
        known = log.find_conflict(entries)
        if known < len(entries) and entries[known].index <= log.commit:
            raise MessageRejected(f"it conflicts with entry {entries[known].index}, which is committed")
        # Check the committed part only: the handler appends nothing from such a message.
        entries = entries[:known]
    # Same index, same term, other content: excluded by Log Matching, so one of the two logs is corrupt.
    for entry in entries[:known]:
        if entry.chain != log.chain(entry.index):
            raise MessageRejected(f"entry {entry.index} has the same term as ours, but another chain")
    if known < len(entries):
        _check_chain(log.chain(Index(entries[known].index - 1)), entries[known:])
        _check_changes(state, message, entries[known:])


def _check_chain(chain: bytes, entries: tuple[Entry, ...]) -> None:
    for entry in entries:
        chain = chain_hash(chain, entry.index, entry.term, entry.kind, entry.data)
        if chain != entry.chain:
            raise MessageRejected(f"the chain breaks at entry {entry.index}: it is corrupt, or follows another history")


def _check_changes(state: RaftState, message: AppendEntries, entries: tuple[Entry, ...]) -> None:
    """Check that at most one membership change would be uncommitted (rule 3 of `membership_change`)."""
    changes = [entry for entry in entries if entry.kind is EntryKind.CHANGE]
    if not changes:
        return
    for entry in changes:
        try:
            decode_change(entry.data)
        except msgspec.DecodeError as error:
            raise MessageRejected(f"entry {entry.index} of kind CHANGE is not a membership change: {error}") from error
    log = state.log
    # What this very message commits counts as committed: `Ready` stores the commit index in the batch of the entries.
    commit = max(log.commit, min(message.leader_commit, message.entries[-1].index))
    uncommitted = sum(1 for entry in changes if entry.index > commit)
    if uncommitted:
        uncommitted += log.count_changes(Index(commit + 1), entries[0].index, at_most=2)
    if uncommitted > 1:
        raise MessageRejected("two membership changes would be uncommitted")


def _check_append_reply(state: RaftState, message: AppendReply) -> None:
    if min(message.index, message.hint_index, message.hint_term) < 0:
        raise MessageRejected("negative index")
    if message.rejected and (message.hint_index > message.index or message.hint_term > message.term):
        raise MessageRejected("the hint is beyond the rejected index or term")
    # Beyond our own last index nothing can match. Counted, it would commit entries that the follower does not have.
    if message.term == state.term and state.leadership is not None and message.index > state.log.last_index:
        raise MessageRejected(f"it acknowledges entry {message.index}, but the last index is {state.log.last_index}")


def _check_heartbeat(state: RaftState, message: Heartbeat) -> None:
    if message.leader_commit < 0 or message.read_sequence < 0:
        raise MessageRejected("negative commit index or read sequence")
    if message.term >= state.term and message.leader_commit > state.log.last_index:
        raise MessageRejected(f"commit index {message.leader_commit} is beyond the last index {state.log.last_index}")


def _check_heartbeat_reply(state: RaftState, message: HeartbeatReply) -> None:
    issued = state.leadership.reads.sequence if state.leadership is not None else message.read_sequence
    if message.read_sequence < 0 or (message.term == state.term and message.read_sequence > issued):
        raise MessageRejected(f"read sequence {message.read_sequence} was never issued")


def _check_install_snapshot(state: RaftState, message: InstallSnapshot) -> None:
    snapshot = message.metadata
    _check_position(snapshot.index, snapshot.term)
    if snapshot.index < 1 or snapshot.term > message.term or len(snapshot.chain) != CHAIN_BYTES:
        raise MessageRejected("index, term or chain of the snapshot is invalid")
    broken = configuration.find_violation(snapshot.configuration)
    if broken is not None or not snapshot.configuration.voters:
        raise MessageRejected(f"the configuration of the snapshot is invalid: {broken or 'no voters'}")
    log = state.log
    if message.term >= state.term and log.first_index() - 1 <= snapshot.index <= log.last_index:
        same_term = log.match_term(snapshot.index, snapshot.term)
        if not same_term and snapshot.index <= log.commit:
            raise MessageRejected(f"it conflicts with entry {snapshot.index}, which is committed")
        if same_term and log.chain(snapshot.index) != snapshot.chain:
            raise MessageRejected(f"the snapshot at {snapshot.index} has the same term as our entry, but another chain")


def _check_read_index_reply(_state: RaftState, message: ReadIndexReply) -> None:
    if message.index < 0:
        raise MessageRejected("negative index")


def _check_position(index: int, term: int) -> None:
    """Check that (`index`, `term`) is a possible log position: both 0 before the first entry, both above 0 after it."""
    if not 0 <= index <= INDEX_MAX or term < 0 or (index == 0) != (term == 0):
        raise MessageRejected(f"no log can have term {term} at index {index}")


_CHECKS: Final[dict[type, Callable[[RaftState, Any], None]]] = {
    RequestVote: _check_request_vote,
    VoteReply: _check_known_commit,
    AppendEntries: _check_append_entries,
    AppendReply: _check_append_reply,
    Heartbeat: _check_heartbeat,
    HeartbeatReply: _check_heartbeat_reply,
    InstallSnapshot: _check_install_snapshot,
    ReadIndexReply: _check_read_index_reply,
}
